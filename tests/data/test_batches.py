"""Batches: what a model is shown, how it is shuffled, hidden and masked."""

import math

import numpy as np
import pytest

from keras_peterrec.data.batches import (
    causal_batches,
    history_batches,
    masked_batches,
    task_batches,
)

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


def long_windows(count):
    """`count` full windows over ids from 4 to 1003."""
    items = np.arange(count * LENGTH + 1) % 1000 + 4
    starts = np.arange(count) * LENGTH
    return items.astype("int32"), starts, starts + LENGTH


def within(share, expected, count):
    return abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / count)


def test_causal_targets_are_the_inputs_one_later():
    batches = numpy_batches(causal_batches(ITEMS, STARTS, STOPS, LENGTH, 7))
    assert rows_of(batches) == windows()
    histories, targets = (np.concatenate(parts) for parts in zip(*batches))
    for start, stop, history, target in zip(STARTS, STOPS, histories, targets, strict=True):
        padding = [0] * (LENGTH - (stop - start))
        assert history.tolist() == padding + ITEMS[start:stop].tolist()
        assert target.tolist() == padding + ITEMS[start + 1 : stop + 1].tolist()
    assert histories.dtype == targets.dtype == np.int32


def test_special_ids_are_read_but_never_asked():
    items = np.array([5, 1, 6, 2, 3, 7], "int32")
    [(history, targets)] = numpy_batches(causal_batches(items, [0], [5], 5, 1))
    assert history.tolist() == [[5, 1, 6, 2, 3]]
    assert targets.tolist() == [[0, 6, 0, 0, 7]]
    for rate in (1.0, 0.0):
        [(_, targets)] = numpy_batches(masked_batches(items, [0], [5], 6, 1, 10, 0, rate))
        assert targets.tolist() == [[5, 0, 6, 0, 0, 7] if rate else [0] * 6]


def make_causal(**arguments):
    return causal_batches(ITEMS, STARTS, STOPS, LENGTH, 7, **arguments)


def make_masked(**arguments):
    return masked_batches(ITEMS, STARTS, STOPS, LENGTH, 7, 104, **arguments)


def make_task(**arguments):
    return task_batches(ITEMS, STARTS, STOPS, np.arange(30), LENGTH, 7, **arguments)


@pytest.mark.parametrize("make", [make_causal, make_masked, make_task])
def test_a_seed_fixes_every_epoch_and_epochs_differ(make):
    def epochs(seed):
        dataset = make(seed=seed)
        return [np.concatenate([part.ravel() for batch in numpy_batches(dataset) for part in batch])
                for _ in range(3)]

    first, again, other = epochs(5), epochs(5), epochs(6)
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("make", [make_causal, make_task])
def test_an_epoch_covers_every_row_in_batches_of_one_shape(make):
    dataset = make(seed=0)
    for _ in range(2):
        batches = numpy_batches(dataset)
        assert [len(history) for history, _ in batches] == [7] * 5
        rows = rows_of(batches)
        assert sorted(rows[:30]) == sorted(windows())
        assert set(rows[30:]) <= set(windows())
        assert rows[:30] != windows()
        assert all(history.shape[1] == LENGTH for history, _ in batches)


def test_every_mask_is_drawn_anew():
    items, starts, stops = long_windows(50)
    dataset = masked_batches(items, starts, stops, LENGTH, 50, 1004)
    masks = [targets != 0 for _ in range(3) for _, targets in numpy_batches(dataset)]
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[1], masks[2])


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_masks_a_share_of_the_positions_80_10_10(rate):
    items, starts, stops = long_windows(5000)
    dataset = masked_batches(items, starts, stops, LENGTH, 500, 1004, seed=1, mask_rate=rate)
    shown, targets = (np.concatenate(parts) for parts in zip(*numpy_batches(dataset)))
    chosen = targets != 0
    assert within(chosen.mean(), rate, chosen.size)
    masked = shown[chosen] == 2
    kept = shown[chosen] == targets[chosen]
    others = shown[chosen][~masked & ~kept]
    count = chosen.sum()
    assert within(masked.mean(), 0.8, count)
    # A random item is the true one in one of a thousand.
    assert within(kept.mean(), 0.1 + 0.1 / 1000, count)
    assert others.min() >= 4 and others.max() <= 1003
    assert len(np.unique(others)) > 500 and abs(others.mean() - 503.5) < 30
    assert shown[~chosen].min() >= 4
    # Not one position is favoured, nor is fate bound to choice.
    assert all(within(column.mean(), rate, len(column)) for column in chosen.T)


def test_masked_positions_are_asked_for_what_stood_there():
    items, starts, stops = long_windows(200)
    dataset = masked_batches(items, starts, stops, LENGTH, 50, 1004)
    for _ in range(2):
        shown, targets = (np.concatenate(parts) for parts in zip(*numpy_batches(dataset)))
        truth = items[(starts + 1)[:, np.newaxis] + np.arange(LENGTH)]
        chosen = targets != 0
        np.testing.assert_array_equal(targets[chosen], truth[chosen])
        np.testing.assert_array_equal(shown[~chosen], truth[~chosen])


def test_padding_is_neither_masked_nor_hidden():
    for dataset in (
        make_masked(mask_rate=1.0, seed=0),
        make_causal(unknown_rate=1.0),
        make_task(unknown_rate=1.0),
    ):
        for history, _ in numpy_batches(dataset):
            for row in history:
                real = np.flatnonzero(row)
                assert len(real) == LENGTH - real[0]
    for history, targets in numpy_batches(make_masked(mask_rate=1.0, seed=0)):
        np.testing.assert_array_equal(history == 0, targets == 0)


def test_a_share_of_the_inputs_becomes_unknown_and_no_target():
    items, starts, stops = long_windows(5000)
    arguments = dict(max_length=LENGTH, batch_size=500, unknown_rate=0.2)
    hidden = numpy_batches(causal_batches(items, starts, stops, **arguments))
    history, targets = (np.concatenate(parts) for parts in zip(*hidden))
    truth = items[starts[:, np.newaxis] + np.arange(LENGTH)]
    assert within((history == 1).mean(), 0.2, history.size)
    np.testing.assert_array_equal(history[history != 1], truth[history != 1])
    assert (targets >= 4).all()


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


@pytest.mark.parametrize("make", [causal_batches, history_batches])
def test_long_rows_lose_their_beginning(make):
    [batch] = make(ITEMS, [0], [20], LENGTH, 4)
    history = batch[0] if make is causal_batches else batch
    assert np.asarray(history).tolist() == [ITEMS[14:20].tolist()]
