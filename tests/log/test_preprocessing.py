"""Truncation and padding, compared with a Python loop."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.log.event_text import split_items
from keras_peterrec.log.preprocessing import gather_rows, known_items, left_pad
from keras_peterrec.log.vocabulary import UNK

IDS = st.just(UNK) | st.integers(2, 99)


def padded_by_loop(rows, max_length, fixed):
    rows = [[n for n in row if n != UNK][-max_length:] for row in rows]
    width = max_length if fixed else max([1, *map(len, rows)])
    return [[0] * (width - len(row)) + row for row in rows]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(IDS, max_size=9), min_size=1, max_size=5),
    max_length=st.integers(1, 11),
    fixed=st.booleans(),
)
def test_keeps_the_last_known_items_and_pads_on_the_left(rows, max_length, fixed):
    ragged = tf.ragged.constant(rows, tf.int64, ragged_rank=1)
    got = left_pad(ragged, max_length, fixed)
    assert got.dtype == tf.int32
    assert got.numpy().tolist() == padded_by_loop(rows, max_length, fixed)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(IDS, max_size=9), min_size=1, max_size=5))
def test_padded_histories_keep_their_known_items(rows):
    padded = np.array([[0] * (9 - len(row)) + row for row in rows])
    assert known_items(padded).tolist() == [
        [0] * (9 - len(row)) + row for row in ([n for n in row if n != UNK] for row in rows)
    ]
    assert known_items(np.zeros((2, 0), "int32")).shape == (2, 0)


@pytest.mark.parametrize("fixed, width", [(False, 1), (True, 3)])
def test_a_batch_without_rows_still_has_a_width(fixed, width):
    empty = tf.ragged.constant([], tf.int64, ragged_rank=1)
    assert left_pad(empty, 3, fixed).shape == (0, width)


def test_left_pad_works_inside_a_graph():
    padded = tf.function(
        lambda rows: left_pad(rows, 3),
        input_signature=[tf.RaggedTensorSpec([None, None], tf.int64)],
    )
    for rows in ([[1, 2, 3, 4], [5]], [[]], [[7], [8], [9, 1]]):
        got = padded(tf.ragged.constant(rows, tf.int64, ragged_rank=1))
        assert got.numpy().tolist() == padded_by_loop(rows, 3, False)


def test_gathers_slices_of_a_flat_array():
    items = tf.constant([10, 11, 12, 13, 14])
    rows = gather_rows(items, np.array([0, 3, 2]), np.array([3, 5, 2]))
    assert rows.to_list() == [[10, 11, 12], [13, 14], []]


def test_splits_histories_at_white_space():
    items = split_items(tf.constant(["a ü a", "", "  ü\t?  ", "a\nü@5 @7"]))
    rows = [[item.decode() for item in row] for row in items.to_list()]
    assert rows == [["a", "ü", "a"], [], ["ü", "?"], ["a", "ü"]]
