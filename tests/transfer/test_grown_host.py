"""A host with more items: what they begin with, and what stays as it was."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_split import all_events
from keras_peterrec.log.events import Events
from keras_peterrec.log.item_features import ItemFeatures
from keras_peterrec.log.item_fields import ItemFields
from keras_peterrec.log.vocabulary import FIRST_ITEM, Vocabulary
from keras_peterrec.network.network import ITEM_TABLE
from keras_peterrec.transfer.grown_host import (
    BESIDE,
    add_items,
    grow_host,
    grown_vocabulary,
    vectors_beside,
)
from keras_peterrec.transfer.host import OUTPUT_TABLE, Host
from keras_peterrec.transfer.learned_fields import LearnedFields

# Of the items of `host` only item0 to item3 occur.
WALKS = [
    ["item0", "new", "item1", "item2", "item3", "new"],
    ["lone"],
    ["other", "new", "item3"],
    ["item2", "far"],
]


def log():
    users = np.repeat(np.arange(len(WALKS)), [len(walk) for walk in WALKS])
    return Events.from_columns(users, np.concatenate(WALKS), np.arange(len(users)))


@pytest.fixture
def host(new_host):
    return new_host()  # some tests change it


@pytest.fixture
def grown(host):
    events = log()
    counts = np.bincount(events.items)
    vocabulary, of_items = grown_vocabulary(host.vocabulary, events.item_ids, counts)
    split = all_events(np.bincount(events.users))
    sequences = events.encode(vocabulary, split=split)
    return grow_host(host, vocabulary, of_items, sequences, seed=0), of_items


def test_new_items_follow_by_count(host, grown):
    new_host, counts = grown
    names = new_host.vocabulary.items.tolist()
    known = host.vocabulary.items.tolist()
    assert names[: len(known)] == known
    assert names[len(known) :] == ["new", "far", "lone", "other"]
    assert counts[: len(known)].tolist() == [1, 1, 2, 2] + [0] * (len(known) - 4)
    assert counts[len(known) :].tolist() == [3, 1, 1, 1]


def test_a_new_item_begins_at_the_mean_of_those_beside_it(host, grown):
    new_host, _ = grown
    table = np.asarray(host.backbone.item_embedding.embeddings)
    place = {name: FIRST_ITEM + n for n, name in enumerate(host.vocabulary.items)}
    beside = []
    for walk in WALKS:
        for n, item in enumerate(walk):
            near = walk[max(0, n - BESIDE) : n] + walk[n + 1 : n + 1 + BESIDE]
            beside += [table[place[other]] for other in near if item == "new" and other in place]
    found = np.asarray(new_host.backbone.item_embedding.embeddings)[-4:]
    np.testing.assert_allclose(found[0], np.mean(beside, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[1], table[place["item2"]], rtol=1e-5)
    np.testing.assert_allclose(found[2], table[FIRST_ITEM:].mean(axis=0), rtol=1e-4, atol=1e-6)
    # Beside a new one and a known one, which is enough.
    np.testing.assert_allclose(found[3], table[place["item3"]], rtol=1e-5)


def test_an_item_beside_new_ones_alone_follows_them():
    import scipy.sparse

    table = np.array([[1.0, 2.0]], "float32")
    pairs = scipy.sparse.csr_matrix(np.array([[3.0, 0, 0], [0, 4.0, 0]], "float32"))
    np.testing.assert_allclose(vectors_beside(table, pairs), [[1, 2], [1, 2]])


def test_the_old_host_is_not_changed_and_its_answers_stay(host, grown, histories, bits):
    new_host, _ = grown
    before = np.asarray(host.backbone(histories))
    np.testing.assert_array_equal(np.asarray(new_host.backbone(histories)), before)
    known = len(host.vocabulary.items)
    new_host.compatible_with = {host.fingerprint(): known}
    assert new_host.fingerprint(known) == host.fingerprint() != new_host.fingerprint()
    untouched = bits(host.backbone)
    new_host.backbone.item_embedding.embeddings.assign_add(
        np.ones(new_host.backbone.item_embedding.embeddings.shape, "float32")
    )
    assert bits(host.backbone) == untouched


def test_rare_new_items_stay_unknown():
    vocabulary, counts = grown_vocabulary(
        Vocabulary(["a"]), np.array(["b", "c", "a"], object), np.array([1, 5, 2]), min_count=2
    )
    assert vocabulary.items.tolist() == ["a", "c"] and counts.tolist() == [2, 5]


def table_of_items(host, more=("cold",)):
    """Items whose words tell where their vectors are: three groups, and `more` in the first."""
    known = host.vocabulary.items
    words = [f"group{n % 3}" for n in range(len(known))] + ["group0"] * len(more)
    return ItemFeatures.from_columns([*known, *more], {"group": words})


def test_cold_items_lie_where_their_columns_say(host, histories, bits):
    tables = [host.backbone.item_embedding.embeddings]
    table = np.array(tables[0])
    for n in range(len(host.vocabulary.items)):
        table[FIRST_ITEM + n] = 0.1 * table[FIRST_ITEM + n] + np.eye(3, 8)[n % 3]
    tables[0].assign(table)
    before, untouched = host.fingerprint(), bits(host.backbone)
    grown = add_items(host, table_of_items(host))
    assert grown.vocabulary.items[-1] == "cold" and bits(host.backbone) == untouched
    vector = np.asarray(grown.backbone.item_embedding.embeddings)[-1]
    assert np.argmax(vector) == 0 and vector[0] > 0.5
    np.testing.assert_array_equal(
        np.asarray(grown.backbone(histories)), np.asarray(host.backbone(histories))
    )
    assert grown.compatible_with == {before: len(host.vocabulary.items)}
    scores = grown.next_item_scores(np.maximum(histories, 4))
    np.testing.assert_allclose(
        scores[:, :-1], host.next_item_scores(np.maximum(histories, 4)), rtol=1e-5, atol=1e-5
    )


def test_columns_help_where_few_were_clicked_beside(host):
    events = log()
    vocabulary, counts = grown_vocabulary(
        host.vocabulary, events.item_ids, np.bincount(events.items)
    )
    sequences = events.encode(vocabulary, split=all_events(np.bincount(events.users)))
    asked = host, vocabulary, counts, sequences, 0
    alone = np.asarray(grow_host(*asked).backbone.item_embedding.embeddings)[-4:]
    features = table_of_items(host, ["new", "lone"])
    both = np.asarray(grow_host(*asked, features).backbone.item_embedding.embeddings)[-4:]
    cold = np.asarray(add_items(host, features).backbone.item_embedding.embeddings)[-2:]
    np.testing.assert_allclose(both[1], alone[1], rtol=1e-5)  # no row in the table
    np.testing.assert_allclose(both[2], cold[1], rtol=1e-4, atol=1e-6)  # beside nothing
    near = len([1 for walk in WALKS for n, item in enumerate(walk) if item == "new"])
    assert near and not np.allclose(both[0], alone[0]) and not np.allclose(both[0], cold[0])


def test_a_table_of_other_items_is_refused(host):
    features = ItemFeatures.from_columns(["x", "y"], {"word": ["a", "b"]})
    with pytest.raises(InputError, match="`items` should have items that the host knows"):
        add_items(host, features)


def test_a_new_items_fields_say_where_it_lies(host, tmp_path):
    """What the host learned of them is added up; what it cannot say of known items is predicted."""
    known, table = host.vocabulary.items, host.backbone.item_embedding.embeddings
    genres = [["war", "drama"][n % 2] for n in range(len(known))] + ["drama|war"]
    lengths = [[float(n), 1.0] for n in range(len(known))] + [[2.0, 1.0]]
    columns = {"genre": genres, "text": lengths}
    items = [*known, "cold"]
    fields = ItemFields.of_columns(host.vocabulary, items, columns)
    draw = np.random.default_rng(3)
    weights = {"table": draw.normal(size=(3, 8)), "projection": draw.normal(size=(2, 8))}
    every = dict.fromkeys([ITEM_TABLE, OUTPUT_TABLE], weights)
    host.item_fields = LearnedFields(fields.fields, every)
    features = ItemFeatures.from_columns(items, columns)
    told = host.item_fields.vectors(ITEM_TABLE, features)
    text = (np.array([2.0, 1.0]) - fields.fields[1].centre) / fields.fields[1].size
    cold = weights["table"][1:].mean(axis=0) + text @ weights["projection"]
    np.testing.assert_allclose(told[-1], cold, rtol=1e-5)
    own = np.ones(8, "float32")
    table.assign(np.concatenate([np.asarray(table)[:FIRST_ITEM], told[:-1] + own]))
    host.save(tmp_path)
    for each in (host, Host.load(tmp_path)):
        vector = np.asarray(add_items(each, features).backbone.item_embedding.embeddings)[-1]
        np.testing.assert_allclose(vector, cold + own, rtol=1e-4, atol=1e-5)
    short = ItemFeatures.from_columns(items, {"text": [row[:1] for row in lengths]})
    with pytest.raises(InputError, match="`text` should have vectors of 2 numbers.*vectors of 1"):
        add_items(host, short)
