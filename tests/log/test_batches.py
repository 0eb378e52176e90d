"""Batches of tasks: what a model is shown, how it is shuffled, and what is hidden."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.log.batches import (
    hide_behind_mask,
    hide_events,
    history_batches,
    state_batches,
    task_batches,
)
from keras_peterrec.log.task_examples import ItemLists

LENGTH = 6
ITEMS = np.arange(4, 104, dtype="int32")
# Windows of one to six inputs, all different.
STARTS = np.arange(0, 90, 3)
STOPS = STARTS + 1 + np.arange(30) % LENGTH
VOCABULARY_SIZE = 1004
IDS = tf.constant(np.arange(30_000).reshape(5000, 6) % 1000 + 4, tf.int32)
NOISE = tf.constant([5, 7], tf.int64)


def numpy_batches(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset]


def rows_of(batches):
    """Every history as a tuple of its real ids, in order."""
    return [tuple(row[row != 0]) for history, *_ in batches for row in history]


def windows():
    return [tuple(ITEMS[a:b]) for a, b in zip(STARTS, STOPS)]


def make_task(**arguments):
    return task_batches(ITEMS, STARTS, STOPS, np.arange(30), LENGTH, 7, **arguments)


def make_one(items, starts, stops, max_length, batch_size):
    return task_batches(items, starts, stops, [0], max_length, batch_size)


def test_a_seed_fixes_every_epoch_and_epochs_differ():
    def epochs(seed):
        dataset = make_task(seed=seed)
        return [
            np.concatenate([part.ravel() for batch in numpy_batches(dataset) for part in batch])
            for _ in range(3)
        ]

    first, again, other = epochs(5), epochs(5), epochs(6)
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    assert not np.array_equal(first[0], other[0])


def test_an_epoch_covers_every_row_in_batches_of_one_shape():
    dataset = make_task(seed=0)
    for _ in range(2):
        batches = numpy_batches(dataset)
        assert [len(history) for history, _ in batches] == [7] * 5
        rows = rows_of(batches)
        assert sorted(rows[:30]) == sorted(windows())
        assert set(rows[30:]) <= set(windows())
        assert rows[:30] != windows()
        assert all(history.shape[1] == LENGTH for history, _ in batches)


def test_answers_stay_with_their_histories():
    answers = np.stack([np.arange(30), -np.ones(30)], axis=1).astype("int32")
    for seed in (None, 3):
        dataset = task_batches(ITEMS, STARTS, STOPS, answers, LENGTH, 7, seed)
        expected = dict(zip(windows(), answers[:, 0]))
        for history, answer in numpy_batches(dataset):
            for row, (first, filler) in zip(history, answer, strict=True):
                assert expected[tuple(row[row != 0])] == first and filler == -1


@pytest.mark.parametrize("seed", [None, 3])
def test_lists_of_items_are_filled_up_to_one_width(seed):
    lists = [[n] * (n % 5) for n in range(30)]
    histories = task_batches(ITEMS, STARTS, STOPS, ItemLists.of(lists), LENGTH, 7, seed)
    expected = dict(zip(windows(), lists))
    for history, answers in numpy_batches(histories):
        assert answers.shape == (len(history), 4) and answers.dtype == "int32"
        for row, items in zip(history, answers.tolist()):
            wanted = expected[tuple(row[row != 0])]
            assert items == wanted + [-1] * (4 - len(wanted))
    states = state_batches(np.arange(30.0), ItemLists.of(lists), 7, seed)
    assert states.element_spec[1].shape[1] == 4
    for state, answers in numpy_batches(states):
        assert [row[row >= 0].tolist() for row in answers] == [lists[int(n)] for n in state]


def test_an_epoch_can_be_a_part_of_the_rows():
    dataset = make_task(seed=0, steps=2)
    first, second = (rows_of(numpy_batches(dataset)) for _ in range(2))
    assert len(first) == len(second) == 14 and first != second


def test_histories_alone_come_in_order_and_no_wider_than_needed():
    batches = list(history_batches(ITEMS, STARTS[:6], STOPS[:6], LENGTH, 4))
    assert [batch.shape for batch in batches] == [(4, 4), (2, 6)]
    assert rows_of([(np.asarray(batch),) for batch in batches]) == windows()[:6]
    [batch] = history_batches(ITEMS, [3], [3], LENGTH, 4)
    assert np.asarray(batch).tolist() == [[0]]


@pytest.mark.parametrize("make", [make_one, history_batches])
def test_long_rows_lose_their_beginning(make):
    [batch] = make(ITEMS, [0], [20], LENGTH, 4)
    history = batch[0] if make is make_one else batch
    assert np.asarray(history).tolist() == [ITEMS[14:20].tolist()]


def test_padding_of_a_batch_is_not_hidden():
    for history, _ in numpy_batches(make_task(hide_rate=1.0)):
        for row in history:
            assert row.tolist() == [0] * (row == 0).sum() + [1] * (row != 0).sum()


def within(share, expected, count):
    return abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_masks_a_share_of_the_positions_80_10_10(rate):
    shown, asked = map(np.asarray, hide_behind_mask(IDS, NOISE, rate, VOCABULARY_SIZE))
    chosen = asked != 0
    assert within(chosen.mean(), rate, chosen.size)
    masked = shown[chosen] == 2
    kept = shown[chosen] == asked[chosen]
    others = shown[chosen][~masked & ~kept]
    count = chosen.sum()
    assert within(masked.mean(), 0.8, count)
    # A random item is the true one in one case of a thousand.
    assert within(kept.mean(), 0.1 + 0.1 / 1000, count)
    assert others.min() >= 4 and others.max() <= 1003
    assert len(np.unique(others)) > 500 and abs(others.mean() - 503.5) < 30
    # All positions are chosen equally often.
    assert all(within(column.mean(), rate, len(column)) for column in chosen.T)


def test_masked_positions_ask_for_what_stood_there():
    shown, asked = map(np.asarray, hide_behind_mask(IDS, NOISE, 0.3, VOCABULARY_SIZE))
    chosen = asked != 0
    np.testing.assert_array_equal(asked[chosen], np.asarray(IDS)[chosen])
    np.testing.assert_array_equal(shown[~chosen], np.asarray(IDS)[~chosen])


def test_a_share_of_the_items_becomes_unknown():
    hidden, ids = np.asarray(hide_events(IDS, NOISE, 0.2)), np.asarray(IDS)
    assert within((hidden == 1).mean(), 0.2, hidden.size)
    np.testing.assert_array_equal(hidden[hidden != 1], ids[hidden != 1])
    np.testing.assert_array_equal(hide_events(IDS, NOISE, 0.0), ids)


def test_padding_is_neither_masked_nor_hidden():
    ids = tf.where(tf.range(6) % 2 == 0, 0, IDS)
    shown, asked = hide_behind_mask(ids, NOISE, 1.0, VOCABULARY_SIZE)
    unknown = hide_events(ids, NOISE, 1.0)
    for hidden in (shown, asked, unknown):
        np.testing.assert_array_equal(hidden == 0, ids == 0)
    assert set(np.unique(unknown)) == {0, 1}


def test_the_same_noise_hides_the_same():
    def masks(noise):
        return np.asarray(hide_behind_mask(IDS, tf.constant(noise, tf.int64), 0.3, 1004)[1])

    np.testing.assert_array_equal(masks([1, 2]), masks([1, 2]))
    assert not np.array_equal(masks([1, 2]), masks([1, 3]))
