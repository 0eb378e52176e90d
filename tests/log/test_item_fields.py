"""Fields of items, and what they do to a host that is trained with them."""

import numpy as np
import pytest
import tensorflow as tf
from one_step import check_step

from keras_peterrec.errors import InputError
from keras_peterrec.log.item_fields import ItemFields, read_item_fields
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.training.inference import traced

ITEMS = [f"i{n}" for n in range(16)]
TABLE = {
    "item_id": [*ITEMS[:14], "elsewhere"],
    "genre": [*("a|b" if n % 3 else "c" for n in range(14)), "c"],
    "brand": [None, "alone", *["x", "y"] * 6, "x"],
    "price": [*(n / 2 for n in range(14)), 900.0],
}


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(ITEMS)


@pytest.fixture(scope="module")
def fields(vocabulary):
    return read_item_fields(TABLE, ["genre", "brand"], vocabulary)


def test_values_of_an_item_share_what_a_field_counts(fields):
    assert (fields.names, fields.count, len(fields.values)) == (["genre", "brand"], 5, 20)
    assert not fields.values[:4].any() and not fields.values[18:].any()  # no item, not in the table
    a, b, x, y = (
        set(fields.values[4 + n][fields.shares[4 + n] == s])
        for n, s in ((1, 0.5), (2, 0.5), (2, 1.0), (3, 1.0))
    )
    assert a == b and len(a) == 2  # both genres
    assert len(x) == 1 and x != y
    assert fields.shares[4].tolist() == [1.0, 0.0, 0.0]  # a genre, and no brand
    assert fields.shares[5].tolist() == [0.5, 0.5, 0.0]  # "alone" is the brand of one item
    assert fields.covered == 14 / 16


def test_many_numbers_are_read_in_buckets(vocabulary):
    years = [str(1900 + n) for n in range(40)]
    items = [f"n{n}" for n in range(40)]
    table = {"item_id": items, "year": years}
    fields = read_item_fields(table, ["year"], Vocabulary([*items, *ITEMS]))
    assert 2 <= fields.count < 32 and fields.values.shape[1] == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"brand": ITEMS}, "`item_fields` should be columns in which items of the log share"),
        ({"brand": [None] * 16}, "`item_fields` should be columns in which items of the log share"),
    ],
)
def test_what_tells_nothing_is_refused(vocabulary, columns, said):
    with pytest.raises(InputError, match=said):
        ItemFields.of_columns(vocabulary, ITEMS, columns)
    with pytest.raises(InputError, match="`items` should have one row for each item"):
        ItemFields.of_columns(vocabulary, ["i1", "i1"], {"brand": ["x", "x"]})


def pretrainer_with(fields, negatives=0):
    network = ConvolutionNetwork(20, 8, blocks=1)
    pretrainer = CausalPretrainer(network, tied=False, negatives=negatives, seed=1)
    pretrainer.use_item_fields(fields)
    return pretrainer


def batch(seed=0):
    draw = np.random.default_rng(seed)
    return tuple(tf.constant(draw.integers(4, 20, (3, 6)), tf.int32) for _ in range(2))


def test_an_items_vector_is_its_own_and_those_of_its_values(fields):
    pretrainer = pretrainer_with(fields)
    for table, layer, own, first in (
        (pretrainer.item_table, pretrainer.output_fields, pretrainer.output_table, 4),
        (None, pretrainer.input_fields, pretrainer.backbone.item_embedding, 0),
    ):
        rows, expected = np.asarray(layer.table), np.asarray(own.embeddings).copy()
        for id_ in range(4, 20):
            for value, share in zip(fields.values[id_], fields.shares[id_]):
                expected[id_ - first] += share * rows[value] * (value > 0)
        if table is None:
            table = np.asarray(own.embeddings) + np.asarray(layer.all())
        np.testing.assert_allclose(np.asarray(table), expected, atol=1e-6)


@pytest.mark.parametrize("negatives", [0, 5])
def test_folded_fields_change_no_answer(fields, negatives):
    pretrainer, (history, targets) = pretrainer_with(fields, negatives), batch()
    pretrainer.compile("sgd", jit_compile=False)
    before = [
        np.asarray(layer.table) for layer in (pretrainer.input_fields, pretrainer.output_fields)
    ]
    pretrainer.train_step((history, targets))
    after = [
        np.asarray(layer.table) for layer in (pretrainer.input_fields, pretrainer.output_fields)
    ]
    assert all(np.abs(a - b).max() > 1e-6 for a, b in zip(before, after))
    scores = np.asarray(pretrainer.next_item_scores(history))
    states, users = np.asarray(pretrainer(history)), np.asarray(pretrainer.user_states(history))
    np.testing.assert_allclose(traced(pretrainer.user_states)(history), users, atol=1e-5)
    pretrainer.fold_item_fields()
    np.testing.assert_allclose(traced(pretrainer.user_states)(history), users, atol=1e-5)
    assert pretrainer.input_fields is None and pretrainer.output_fields is None
    np.testing.assert_allclose(np.asarray(pretrainer.next_item_scores(history)), scores, atol=1e-5)
    np.testing.assert_allclose(np.asarray(pretrainer.backbone(history)), states, atol=1e-5)


def test_a_micro_batched_step_is_keras_own(fields):
    pretrainer = pretrainer_with(fields)
    for layer in (pretrainer.input_fields, pretrainer.output_fields):
        layer.hide.rate = 0.0  # two steps would not hide the same
    check_step(pretrainer, *batch())


EMBEDDING = [[n / 4, 1.0 - n, float(n * n)] for n in range(16)]


@pytest.fixture(scope="module")
def with_vectors(vocabulary):
    """A genre, and an embedding that all items but the last have."""
    columns = {"genre": TABLE["genre"][:14] + ["c", "c"], "text": [*EMBEDDING[:15], None]}
    return ItemFields.of_columns(vocabulary, ITEMS, columns)


def test_vectors_are_read_from_lists_and_from_texts(vocabulary, with_vectors, tmp_path):
    vectors = with_vectors.vectors
    assert (with_vectors.names, vectors.shape) == (["genre", "text"], (20, 3))
    assert not vectors[:4].any() and not vectors[19].any()
    known, given = vectors[4:19], np.array(EMBEDDING[:15])
    np.testing.assert_allclose(known.mean(axis=0), 0.0, atol=1e-6)
    assert np.sqrt(np.mean(known**2)) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(np.corrcoef(known[:, 1], given[:, 1])[0, 1], 1.0, atol=1e-6)
    rows = [f'{item},"{EMBEDDING[n] if n < 15 else ""}"' for n, item in enumerate(ITEMS)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,text", *rows]))
    read = read_item_fields(tmp_path / "items.csv", ["text"], vocabulary)
    np.testing.assert_allclose(read.vectors, vectors, atol=1e-6)
    assert (read.count, read.covered) == (0, 15 / 16)
    spaces = ItemFields.of_columns(vocabulary, ITEMS[:2], {"text": ["[0 1.5]", "[ 2e-1  3 ]"]})
    assert spaces.vectors.shape == (20, 2)
    assert read.fingerprint() != spaces.fingerprint()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            [[0.5, 1.0], [0.5]],
            "`text` should have vectors of one length. Received: vectors of 1 and 2",
        ),
        ([[0.5, 1.0], [0.5, float("nan")]], "`text` should have vectors of finite numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vocabulary, cells, said):
    with pytest.raises(InputError, match=said):
        ItemFields.of_columns(vocabulary, ITEMS[:2], {"text": cells})


@pytest.mark.parametrize("negatives", [0, 5])
def test_a_projection_of_vectors_is_trained_and_folded(with_vectors, negatives):
    pretrainer, (history, targets) = pretrainer_with(with_vectors, negatives), batch()
    layers = pretrainer.input_fields, pretrainer.output_fields
    for layer, own in zip(layers, (np.zeros((20, 8)), np.zeros((20, 8)))):
        words = np.asarray(layer.all()) - with_vectors.vectors @ np.asarray(layer.projection)
        np.testing.assert_allclose(words[4], words[7], atol=1e-6)  # of the same genre
        assert not words[:4].any() and np.abs(np.asarray(layer.all())[4:19]).min() > 0
    pretrainer.compile("sgd", jit_compile=False)
    before = [np.asarray(layer.projection) for layer in layers]
    pretrainer.train_step((history, targets))
    assert all(np.abs(np.asarray(n.projection) - b).max() > 1e-6 for n, b in zip(layers, before))
    scores = np.asarray(pretrainer.next_item_scores(history))
    pretrainer.fold_item_fields()
    np.testing.assert_allclose(np.asarray(pretrainer.next_item_scores(history)), scores, atol=1e-5)


@pytest.mark.parametrize("name", ["input_fields", "output_fields"])
def test_training_hides_some_items_own_vectors(fields, name):
    layer = getattr(pretrainer_with(fields), name)
    ids, own = np.tile(np.arange(4, 20), (50, 1)), np.ones((50, 16, 8), "float32")
    content = np.asarray(layer(ids))
    np.testing.assert_allclose(np.asarray(layer.beside(own, ids)) - content, own, atol=1e-6)
    left = np.asarray(layer.beside(own, ids, training=True)) - content
    hidden = np.abs(left).max(axis=-1) < 1e-6
    assert 0.05 < hidden.mean() < 0.16
    assert np.abs(left[~hidden]).min() > 1.0  # all of the others' numbers are there
