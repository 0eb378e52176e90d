"""Batches of tasks: what a model is shown, how it is shuffled and hidden."""

import numpy as np
import pytest

from keras_peterrec.data.batches import history_batches, task_batches

LENGTH = 6
ITEMS = np.arange(4, 104, dtype="int32")
# Windows of one to six inputs, all different.
STARTS = np.arange(0, 90, 3)
STOPS = STARTS + 1 + np.arange(30) % LENGTH


def numpy_batches(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset]


def rows_of(batches):
    """Every history as the tuple of its real ids, in order."""
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


def test_an_epoch_can_be_a_part():
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


def test_padding_is_not_hidden():
    for history, _ in numpy_batches(make_task(unknown_rate=1.0)):
        for row in history:
            assert row.tolist() == [0] * (row == 0).sum() + [1] * (row != 0).sum()
