"""Histories become the same ids when training and inside the SavedModel."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_text import EventReader
from keras_peterrec.log.item_table import ItemTable
from keras_peterrec.log.preprocessing import left_pad
from keras_peterrec.log.vocabulary import PAD, Vocabulary

MAX_LENGTH = 5
ITEMS = ["a", "b", "42", "ключ", "a/b", "#", "0", "é", "日本", '"q"']
SPECIAL = {*ITEMS, "@", ";"}
SPACES = st.text(" \t\n\r\f\v", min_size=1, max_size=3)
UNKNOWN = st.text(min_size=1, max_size=4).filter(
    lambda text: text.split() == [text] and text.isprintable() and not {*text, text} & SPECIAL
)
HISTORY = st.lists(st.sampled_from(ITEMS) | UNKNOWN, max_size=2 * MAX_LENGTH)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(ITEMS)


@pytest.fixture(scope="module")
def serve(vocabulary, tmp_path_factory):
    """The graph's preprocessing, with its table from a file."""
    source = ItemTable(vocabulary, tmp_path_factory.mktemp("texts") / "vocabulary.txt")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def preprocess(history):
        return left_pad(EventReader(source.ids, EventFields())(history).rows, MAX_LENGTH)

    return preprocess


def train(vocabulary, rows):
    """The training's preprocessing: encoded by the vocabulary, padded in batches."""
    flat = vocabulary.encode([item for row in rows for item in row])
    return left_pad(tf.RaggedTensor.from_row_lengths(flat, [len(r) for r in rows]), MAX_LENGTH)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.lists(HISTORY, min_size=1, max_size=4))
def test_training_and_serving_read_the_same_ids(vocabulary, serve, data, rows):
    texts = []
    for row in rows:
        ends = data.draw(st.sampled_from(["", " ", "\n\t "]))
        texts.append(ends + "".join(item + data.draw(SPACES) for item in row))
    served = serve(tf.constant(texts)).numpy()
    np.testing.assert_array_equal(served, train(vocabulary, rows).numpy())
    # And once more by hand: the last known items, on the right.
    for row, ids in zip(rows, served):
        known = vocabulary.encode([item for item in row if item in ITEMS])[-MAX_LENGTH:]
        np.testing.assert_array_equal(ids[len(ids) - len(known) :], known)
        assert (ids[: len(ids) - len(known)] == PAD).all()


def test_special_lines_of_the_file_are_no_items(serve):
    # The words of "# 0 padding" are unknown, but for "#" and "0", which are items here.
    np.testing.assert_array_equal(serve(tf.constant(["# 0 padding"])), [[9, 10]])


def test_no_histories(serve):
    assert serve(tf.constant([], tf.string)).shape == (0, 1)


def test_catalogue_reads_back_every_item(vocabulary, tmp_path):
    source = ItemTable(vocabulary, tmp_path / "vocabulary.txt")
    ids = tf.range(len(vocabulary), dtype=tf.int64)[vocabulary.first_id :]
    assert [item.decode() for item in source.items.lookup(ids).numpy()] == ITEMS
    assert source.items.lookup(tf.constant([10**6], tf.int64)).numpy() == [b""]
