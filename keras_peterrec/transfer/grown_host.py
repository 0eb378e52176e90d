"""A host with more items: the old ones keep their ids and vectors, the new ones are appended.

`grow_host` makes one of new events, to be trained; `add_items` of columns alone, without training.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import scipy.sparse

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.integers import slices
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.linear.vector_regression import predicted_vectors
from keras_peterrec.log.events import Events
from keras_peterrec.log.item_features import ItemFeatures
from keras_peterrec.log.vocabulary import UNK, Vocabulary, number_of, rows_of_items
from keras_peterrec.models.pretrainer import OBJECTIVES
from keras_peterrec.network.network import ITEM_TABLE
from keras_peterrec.transfer.host import OUTPUT_TABLE, Host
from keras_peterrec.transfer.task import Task
from keras_peterrec.types import AnyPath

BESIDE = 3  # events before and after that count as beside
FROM_COLUMNS = 10.0  # so many items beside a new one say as much as its columns
_ITEMS, _VECTORS = "items.txt", "vectors.npz"  # of a folder with added items


def grown_vocabulary(
    vocabulary: Vocabulary, item_ids: np.ndarray, counts: np.ndarray, min_count: int = 1
) -> tuple[Vocabulary, np.ndarray]:
    """The items of a vocabulary and, after them, new ones by falling counts.

    `item_ids` and `counts`, `[I]` each, are of known items and new ones; new ones with fewer than
    `min_count` are left out. Beside the new vocabulary it gives the counts of its items, 0 for
    those not in `item_ids`.
    """
    new = (vocabulary.encode(item_ids) == UNK) & (counts >= min_count)
    items = vocabulary.items
    if new.any():
        added = Vocabulary.from_counts(item_ids[new], counts[new])
        items = np.concatenate([items, added.items])
    grown = Vocabulary(items)
    of_items = np.zeros(len(grown.items), "int64")
    places = grown.encode(item_ids)
    has_place = places != UNK
    of_items[number_of(places[has_place])] = counts[has_place]
    return grown, of_items


def grow_host(
    host: Host,
    vocabulary: Vocabulary,
    counts: np.ndarray,
    sequences: Events,
    seed: int,
    features: ItemFeatures | None = None,
) -> Host:
    """A copy of a host, to be trained, that knows new items as well.

    A new item's vector starts at the mean of those of the items that come up to three events before
    or after it in training, each as often as it does. If none of these is known, theirs are found
    first; an item beside nothing starts at the mean of all known items. With features of items, a
    vector by their columns counts as `FROM_COLUMNS` such neighbours.

    Its sampled softmax, if it has one, draws items as often as they are counted, since they are no
    longer in the order of their frequency. The copy has no linear part.

    Args:
        vocabulary, counts: of `grown_vocabulary`; how often training sees each item.
        sequences: of the new log and that vocabulary.
        seed: of the negatives.
    """
    known_items = len(host.vocabulary.items)
    pairs = pairs_beside(sequences, known_items, len(vocabulary.items))

    def started(path, table):
        beside = vectors_beside(table, pairs)
        if features is None:
            return beside
        asked = vocabulary.items, known_items, table, features, path
        has_columns, predicted = vectors_by_columns(host, *asked)
        weight = FROM_COLUMNS * has_columns[:, None]
        near = np.asarray(pairs.sum(axis=1))
        return (near * beside + weight * predicted) / np.maximum(near + weight, 1e-9) + (
            (near + weight == 0) * beside
        )

    vectors = {path: started(path, table) for path, table in item_tables(host).items()}
    return host_with_vectors(host, vocabulary, vectors, counts, seed)


def item_tables(host: Host) -> dict[str, np.ndarray]:
    """The tables with a row for each item, without special ids, `{path: array [I, C]}`."""
    tables = {ITEM_TABLE: rows_of_items(np.asarray(host.backbone.item_embedding.embeddings))}
    if not host.pretrainer.tied:
        tables[OUTPUT_TABLE] = np.asarray(host.pretrainer.output_table.embeddings)
    return tables


def vectors_by_columns(
    host: Host,
    items: np.ndarray,
    known: int,
    table: np.ndarray,
    features: ItemFeatures,
    path: str = ITEM_TABLE,
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of new items by their columns.

    An item's vector is what the fields say that the host was trained with, if it was, and a
    regression from its columns to what is left of the known items' vectors; see
    `predicted_vectors`.

    Args:
        items: `[K + N]`, known items and new ones; `known` is K.
        table: `[K, C]`, of the known items; `path` says which of `item_tables` it is.

    Returns:
        Which new items the features are of, bool `[N]`, and a vector for each, `[N, C]`: the mean
        for an item without features.

    Raises:
        InputError: the features are of none of the known items, or their columns are not what the
            host was trained with.
    """
    places = {item: n for n, item in enumerate(features.item_ids)}
    rows = np.array([places.get(item, -1) for item in items], "int64")
    of_known, of_new = rows[:known], rows[known:]
    if not (of_known >= 0).any():
        raise InputError(
            "`items` should have items that the host knows, to learn from. "
            f"Received: {len(places)} others."
        )
    learned = np.flatnonzero(of_known >= 0)
    of_known, of_new, has_columns = of_known[learned], np.maximum(of_new, 0), of_new >= 0
    told = np.zeros((len(features.item_ids), table.shape[1]), "float32")
    if host.item_fields is not None:
        told = host.item_fields.vectors(path, features)
    left = table[learned] - told[of_known]
    predicted = predicted_vectors(features.matrix[of_known], left, features.matrix[of_new])
    predicted += told[of_new]
    return has_columns, np.where(has_columns[:, None], predicted, table.mean(axis=0))


def host_with_vectors(
    host: Host, vocabulary: Vocabulary, vectors: dict, counts: np.ndarray | None, seed: int
) -> Host:
    """A copy of a host with more items, without a linear part.

    The vocabulary begins with the host's items; `vectors` are the new ones', by the paths of
    `item_tables`. A sampled softmax draws items as often as `counts` say, or as before where they
    are `None`.
    """
    old, network = host.pretrainer, host.backbone
    config = {**network.get_config(), "vocabulary_size": len(vocabulary)}
    backbone = type(network).from_config(config)
    pretrainer_of = functools.partial(
        OBJECTIVES[host.objective], backbone, tied=old.tied, negatives=old.negatives, seed=seed
    )
    drawn = None
    if old.counts is not None:
        more = len(vocabulary.items) - len(old.counts)
        drawn = np.pad(np.asarray(old.counts), (0, more))
    pretrainer = pretrainer_of(sampler=old.sampler, counts=drawn)
    if pretrainer.sampled_softmax is not None and counts is not None:
        pretrainer = pretrainer_of(sampler="counts", counts=counts)
    before, after = network.named_weights(), backbone.named_weights()
    for path, weight in after.items():
        value = np.asarray(before[path])
        if path == ITEM_TABLE:
            value = np.concatenate([value, vectors[path]])
        weight.assign(value)
    if not old.tied:
        table = np.asarray(old.output_table.embeddings)
        table = np.concatenate([table, vectors[OUTPUT_TABLE]])
        pretrainer.output_table.embeddings.assign(table)
    kept = host.keep_seen, host.fields, host.predict
    grown = Host(pretrainer, vocabulary, host.max_length, None, *kept)
    grown.item_fields = host.item_fields
    return grown


def pairs_beside(sequences: Events, known: int, items: int) -> scipy.sparse.csr_matrix:
    """How often each item comes beside each new one in the events that are trained on.

    Of `items` items the first `known` are not new. A float32 matrix `[new items, items]`.
    """
    starts, stops = sequences.training_windows(max(1, len(sequences.items)))
    lengths = stops + 1 - starts
    owner, events = slices(starts, lengths)
    numbers = number_of(sequences.items[events])
    rows, columns = [], []
    for step in range(1, BESIDE + 1):
        one, other = numbers[:-step], numbers[step:]
        near = (owner[:-step] == owner[step:]) & (one >= 0) & (other >= 0)
        for left, right in ((one[near], other[near]), (other[near], one[near])):
            rows.append(left[left >= known] - known)
            columns.append(right[left >= known])
    ones = np.ones(sum(map(len, rows)), "float32")
    places = np.concatenate(rows), np.concatenate(columns)
    return scipy.sparse.csr_matrix((ones, places), (items - known, items))


def vectors_beside(table: np.ndarray, pairs: scipy.sparse.csr_matrix) -> np.ndarray:
    """Vectors of new items, float32 `[N, C]`, from those of the items beside them.

    Of the known items' `table`, `[K, C]`, and of `pairs_beside`, `[N, K + N]`.
    """
    count = pairs.shape[0]
    mean = table.mean(axis=0) if len(table) else np.zeros(table.shape[1])
    vectors = np.concatenate([table, np.tile(mean, (count, 1))]).astype("float32")
    has_vector = np.arange(len(vectors)) < len(table)
    while True:
        beside = pairs @ scipy.sparse.diags(has_vector.astype("float32"))
        sums = np.asarray(beside.sum(axis=1)).ravel()
        reached = (sums > 0) & ~has_vector[len(table) :]
        if not reached.any():
            return vectors[len(table) :]
        means = (beside[reached] @ vectors) / sums[reached, None]
        vectors[len(table) :][reached] = means
        has_vector[len(table) :] |= reached


def add_items(host: Host, features: ItemFeatures) -> Host:
    """A host that knows the items of a table as well, without training.

    The vectors of new items follow from their columns, see `vectors_by_columns`. All else stays as
    it is, bit for bit, so that the host's tasks are tasks of the new one.

    Args:
        host: Host. It is not changed.
        features: ItemFeatures, of `read_items`: known items, to learn from, and new ones.

    Raises:
        InputError: see `vectors_by_columns`.

    Example:

    >>> host = add_items(Host.load("runs/host"), read_items("items.csv"))
    """
    known_items = len(host.vocabulary.items)
    new = features.item_ids[host.vocabulary.encode(features.item_ids) == UNK]
    items = np.concatenate([host.vocabulary.items, new])
    vectors = {
        path: vectors_by_columns(host, items, known_items, table, features, path)[1]
        for path, table in item_tables(host).items()
    }
    return _appended(host, new, vectors)


def save_added(host: Host, count: int, folder: AnyPath) -> None:
    """Writes a host's last items and their vectors into a new folder."""
    folder = Path(folder)
    folder.mkdir()
    Vocabulary(host.vocabulary.items[-count:], special_ids=False).save(folder / _ITEMS)
    vectors = {path: table[-count:] for path, table in item_tables(host).items()}
    write_weights(folder / _VECTORS, vectors)


def append_saved(host: Host, folder: AnyPath) -> Host:
    """The host with the items that `save_added` wrote, bit for bit."""
    new = Vocabulary.load(Path(folder) / _ITEMS).items
    return _appended(host, new, read_weights(Path(folder) / _VECTORS))


def tell_own_network(task: Task, host: Host, known: int, features: ItemFeatures) -> None:
    """Gives new items vectors in a task that has a network of its own, not the host's.

    They are predicted from what that network learned of the first `known` items, those that the
    task was trained with. `host` is the one with new items that the task was loaded on.
    """
    weight = task.model.host.named_weights()[ITEM_TABLE]
    table = np.array(weight)
    rows = rows_of_items(table)  # a view: what it gets, the table has
    asked = host.vocabulary.items, known, rows[:known], features
    rows[known:] = vectors_by_columns(host, *asked)[1]
    weight.assign(table)


def _appended(host, new, vectors):
    vocabulary = Vocabulary(np.concatenate([host.vocabulary.items, new]))
    grown = host_with_vectors(host, vocabulary, vectors, None, host.pretrainer.seed)
    grown.origin = {**host.origin, "parent": host.fingerprint()}
    grown.compatible_with = {host.fingerprint(): len(host.vocabulary.items), **host.compatible_with}
    if host.pretrainer.linear is not None:
        grown.pretrainer.linear = _linear_of_more(host.pretrainer.linear, len(new))
    return grown


def _linear_of_more(layer, more):
    """A LinearTable that says nothing of so many items more."""
    part = layer.part()
    if part.is_sparse:
        size = part.table.shape[0] + more
        table = part.table.copy()
        table.resize(size, size)
    else:
        table = np.pad(part.table, ((0, more), (0, more)))
    bias = np.pad(part.bias, (0, more))
    return LinearTable.of_part(dataclasses.replace(part, table=table, bias=bias))
