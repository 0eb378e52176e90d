"""A host that knows more items without training, by vectors predicted from their columns."""

import dataclasses
from pathlib import Path

import numpy as np

from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.item_features import ItemFeatures
from keras_peterrec.log.vocabulary import UNK, Vocabulary, rows_of_items
from keras_peterrec.network.network import ITEM_TABLE
from keras_peterrec.transfer.grown_host import (
    host_with_vectors,
    item_tables,
    vectors_by_columns,
)
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task
from keras_peterrec.types import AnyPath

_ITEMS, _VECTORS = "items.txt", "vectors.npz"  # of a folder with added items


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

    They are predicted from what that network learned of the known items; see `add_items`.

    Args:
        task: Task of a method that trains a copy of the host, loaded on a host with new items.
        host: Host, that one.
        known: int. Items that the task was trained with, the first ones.
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
