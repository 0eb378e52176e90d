"""Packed batches: every target once, a PAD between windows, and one shape."""

import functools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.log.vocabulary import Vocabulary

VOCABULARY_SIZE = 1004


def causal_batches(
    items, starts, stops, tokens, *packing, later_rate=0.0, unknown_rate=0.0, **more
):
    shown = NextItems(unknown_rate, later_rate)
    return packed_batches(items, starts, stops, shown, tokens, *packing, **more)


def masked_batches(items, starts, stops, tokens, vocabulary_size, mask_rate=0.3, **packing):
    shown = HiddenItems(vocabulary_size, mask_rate)
    return packed_batches(items, starts, stops, shown, tokens, **packing)


def windows_of(lengths):
    """Different items from 4 on, and windows of these lengths with gaps between them."""
    stops = np.cumsum(np.asarray(lengths) + 2) - 2
    return np.arange(4, 4 + stops[-1] + 1, dtype="int32"), stops - lengths, stops


def epoch_of(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset]


def stacked(dataset):
    return [np.concatenate(parts) for parts in zip(*epoch_of(dataset))]


def runs_of(rows):
    """The ids between PADs in each row, as tuples."""
    runs = []
    for row in rows:
        pieces = np.split(row, np.flatnonzero(row == 0))
        runs += [tuple(piece[piece != 0].tolist()) for piece in pieces if (piece != 0).any()]
    return runs


LENGTHS = [1 + n % 6 for n in range(30)]
ITEMS, STARTS, STOPS = windows_of(LENGTHS)
make_causal = functools.partial(causal_batches, ITEMS, STARTS, STOPS, 28)
make_masked = functools.partial(masked_batches, ITEMS, STARTS, STOPS, 28, VOCABULARY_SIZE)


@settings(max_examples=6, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=25),
    tokens=st.integers(1, 80),
    rows=st.integers(1, 4),
    seed=st.one_of(st.none(), st.integers(0, 2**31)),
    steps=st.one_of(st.none(), st.integers(1, 12)),
)
def test_every_pair_once_one_pad_between_windows_one_shape(lengths, tokens, rows, seed, steps):
    items, starts, stops = windows_of(lengths)
    dataset = causal_batches(items, starts, stops, tokens, rows, seed, steps=steps)
    for _ in range(2):
        batches = epoch_of(dataset)
        history, targets = (np.concatenate(parts) for parts in zip(*batches))
        check_every_pair_occurs_once(history, targets, items, starts, stops)
        check_pads_part_windows(history, items, starts, stops, in_order=seed is None)
        check_shape_and_padding(dataset, batches, history, lengths, tokens, rows, steps)


def test_weights_stand_beside_their_targets():
    weights = ITEMS / 8.0  # of an event as told by its item, all of which differ
    for make in (make_causal, make_masked):
        plain, weighted = stacked(make(seed=3)), stacked(make(seed=3, weights=weights))
        for wanted, found in zip(plain, weighted):
            np.testing.assert_array_equal(found, wanted)
        targets, given_weights = weighted[1:]
        assert given_weights.dtype == np.float32
        np.testing.assert_array_equal(given_weights[targets > 0], targets[targets > 0] / 8.0)


def test_weights_stand_beside_later_targets_too():
    batches = make_causal(seed=3, later_rate=0.9, weights=ITEMS / 8.0)
    history, targets, given_weights = stacked(batches)
    assert ((targets > history + 1) & (history > 0)).any()
    np.testing.assert_array_equal(given_weights[targets > 0], targets[targets > 0] / 8.0)


@pytest.mark.parametrize("width", [1, 28, *slow(2, 3)])
def test_later_targets_stay_in_their_window_and_row(width):
    starts, stops = windows_of(LENGTHS)[1:]
    ends = dict(zip(ITEMS[starts].tolist(), ITEMS[stops].tolist()))
    batches = causal_batches(ITEMS, starts, stops, width, seed=5, later_rate=0.99)
    far = Counter()
    for history, targets in [tuple(row) for b in epoch_of(batches) for row in zip(*b)]:
        for run in runs_of(history[np.newaxis]):
            asked = targets[np.isin(history, run)]
            begin = max(first for first in ends if first <= run[0])
            assert (asked <= min(run[-1] + 1, ends[begin])).all() and (asked > run).all()
            far.update((asked - run).tolist())
    assert set(far) <= {1, 2, 3, 4} and len(far) == min(width, 4)


def test_later_targets_are_no_other_users_where_their_events_touch():
    """As with `--final`, where no event is held out between two users."""
    items, starts = np.arange(4, 304, dtype="int32"), np.arange(0, 300, 3)
    for order in (None, 7):
        batches = causal_batches(items, starts, starts + 2, 400, seed=order, later_rate=0.99)
        history, targets = stacked(batches)
        assert ((targets - 4) // 3 == (history - 4) // 3)[history > 0].all()


def test_later_targets_are_drawn_by_their_rate():
    """Of a long window: 8, 4, 2 and 1 of 15; near its end, of those that are left."""
    items = np.arange(4, 20_005, dtype="int32")
    ((history, targets),) = epoch_of(causal_batches(items, [0], [20_000], 20_001, later_rate=0.5))
    apart = (targets - history)[history > 0]
    shares = np.bincount(apart, minlength=5)[1:] / len(apart)
    np.testing.assert_allclose(shares, np.array([8, 4, 2, 1]) / 15, atol=0.015)
    short = items[:4000]
    starts = np.arange(0, 3990, 5)  # two inputs each, so that the first has two answers
    ((history, targets),) = epoch_of(
        causal_batches(short, starts, starts + 2, 10**6, seed=0, later_rate=0.5, steps=1)
    )
    first = np.isin(history, short[starts])
    np.testing.assert_allclose(np.mean((targets - history)[first] == 1), 2 / 3, atol=0.05)
    assert ((targets - history)[(history > 0) & ~first] == 1).all()


def test_an_epoch_asks_for_others_than_the_last_one_and_a_seed_for_the_same():
    batches = make_causal(seed=3, later_rate=0.5)
    first, second = stacked(batches), stacked(batches)
    asked = [dict(zip(history[history > 0], t[history > 0])) for history, t in (first, second)]
    assert asked[0] != asked[1]
    np.testing.assert_array_equal(stacked(make_causal(seed=3, later_rate=0.5)), first)
    # What is shown, and what is hidden of it, does not depend on what is asked.
    hidden = [stacked(make_causal(seed=3, unknown_rate=0.3, later_rate=r))[0] for r in (0, 0.5)]
    np.testing.assert_array_equal(*hidden)


def check_every_pair_occurs_once(history, targets, items, starts, stops):
    pairs = Counter(zip(history.ravel().tolist(), targets.ravel().tolist()))
    del pairs[0, 0]
    assert pairs == Counter(
        (int(items[at]), int(items[at + 1]))
        for start, stop in zip(starts, stops)
        for at in range(start, stop)
    )


def check_pads_part_windows(history, items, starts, stops, in_order):
    runs, cuts = runs_of(history), len(history) - 1
    # Ids rise by one inside a window and jump between any two.
    assert all(np.all(np.diff(run) == 1) for run in runs)
    assert len(starts) <= len(runs) <= len(starts) + cuts
    if cuts == 0:
        windows = [tuple(items[a:b].tolist()) for a, b in zip(starts, stops)]
        assert (runs if in_order else sorted(runs)) == windows


def check_shape_and_padding(dataset, batches, history, lengths, tokens, rows, steps):
    total = sum(lengths) + len(lengths)
    steps = steps or max(1, round(total / tokens))
    width = math.ceil(total / (steps * rows))
    assert len(dataset) == len(batches) == steps
    assert all(tuple(spec.shape) == (rows, width) for spec in dataset.element_spec)
    assert all(part.shape == (rows, width) for batch in batches for part in batch)
    assert all(part.dtype == np.int32 for part in batches[0])
    # Besides the PAD of each window, at most one ends a row: no batch is empty.
    assert np.sum(history == 0) - len(lengths) < steps * rows


def test_order_without_seed_and_targets_one_later():
    items = np.array([4, 5, 6, 7, 8, 9], "int32")
    [(history, targets)] = epoch_of(causal_batches(items, [0, 4], [3, 5], 6))
    assert history.tolist() == [[4, 5, 6, 0, 8, 0]]
    assert targets.tolist() == [[5, 6, 7, 0, 9, 0]]


def test_a_cut_window_goes_on_in_the_next_row():
    items = np.arange(4, 12, dtype="int32")
    [(history, targets)] = epoch_of(causal_batches(items, [0], [7], 8, rows=2))
    assert history.tolist() == [[4, 5, 6, 7], [8, 9, 10, 0]]
    assert targets.tolist() == [[5, 6, 7, 8], [9, 10, 11, 0]]


def test_special_ids_are_read_but_never_asked():
    items = np.array([5, 1, 6, 2, 3, 7], "int32")
    [(history, targets)] = epoch_of(causal_batches(items, [0], [5], 6))
    assert history.tolist() == [[5, 1, 6, 2, 3, 0]]
    assert targets.tolist() == [[0, 6, 0, 0, 7, 0]]
    for rate in (1.0, 0.0):
        [(_, targets)] = epoch_of(masked_batches(items, [0], [5], 7, 10, mask_rate=rate))
        assert targets.tolist() == [[5, 0, 6, 0, 0, 7, 0] if rate else [0] * 7]


@pytest.mark.parametrize("make", [make_causal, make_masked])
def test_a_seed_fixes_every_epoch_and_epochs_differ(make):
    def epochs(seed):
        dataset = make(seed=seed)
        return [np.stack(stacked(dataset)) for _ in range(2)]

    first, again, other = epochs(5), epochs(5), epochs(6)
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_the_shuffle_moves_windows_about():
    dataset = causal_batches(ITEMS, STARTS, STOPS, tokens=1000, seed=0)
    places = np.zeros((30, 30))
    window_of = {tuple(ITEMS[a:b].tolist()): n for n, (a, b) in enumerate(zip(STARTS, STOPS))}
    for _ in range(15):
        order = [window_of[run] for run in runs_of(stacked(dataset)[0])]
        places[order, np.arange(30)] += 1
    # Each window comes to about all places, on average to the middle one.
    means = places @ np.arange(30) / 15
    assert np.all(np.abs(means - 14.5) < 4.5 * math.sqrt(900 / 12 / 15))
    assert places.max() < 8


def test_masked_windows_show_their_last_event_too():
    dataset = masked_batches(ITEMS, STARTS, STOPS, 1000, VOCABULARY_SIZE, seed=0, mask_rate=1.0)
    whole = [tuple(ITEMS[a : b + 1].tolist()) for a, b in zip(STARTS, STOPS)]
    shown, targets = stacked(dataset)
    assert sorted(runs_of(targets)) == whole
    np.testing.assert_array_equal(shown == 0, targets == 0)


def test_masks_are_drawn_anew_at_the_given_rate():
    items, starts, stops = windows_of([40] * 500)
    dataset = masked_batches(items % 1000 + 4, starts, stops, 2000, VOCABULARY_SIZE)
    masks = []
    for _ in range(2):
        shown, targets = stacked(dataset)
        chosen = targets != 0
        share = chosen.sum() / (shown != 0).sum()
        assert abs(share - 0.3) < 4.5 * math.sqrt(0.3 * 0.7 / (41 * 500))
        assert abs((shown[chosen] == 2).mean() - 0.8) < 4.5 * math.sqrt(0.8 * 0.2 / chosen.sum())
        masks.append(chosen)
    assert not np.array_equal(masks[0], masks[1])  # epochs
    assert not np.array_equal(masks[0][0], masks[0][1])  # batches


def test_a_share_of_the_inputs_becomes_unknown_and_no_target():
    plain = stacked(make_causal(seed=3))
    hidden = stacked(make_causal(seed=3, unknown_rate=0.5))
    np.testing.assert_array_equal(plain[1], hidden[1])
    unknown = hidden[0] == 1
    np.testing.assert_array_equal(plain[0][~unknown], hidden[0][~unknown])
    assert abs(unknown.sum() / sum(LENGTHS) - 0.5) < 4.5 * math.sqrt(0.25 / sum(LENGTHS))


@settings(max_examples=4, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=2, max_size=8),
    max_length=st.integers(2, 7),
    tokens=st.integers(4, 60),
)
def test_held_out_events_do_not_leak(counts, max_length, tokens):
    users = np.repeat(np.arange(len(counts)), counts)
    log = Events.from_columns(users, np.arange(len(users)), np.arange(len(users)))
    vocabulary = Vocabulary.from_counts(log.item_ids, np.ones(len(log.item_ids), int))
    sequences = log.encode(vocabulary)
    held_out = [sequences[u][-2:] for u in range(len(counts)) if counts[u] > 2]
    forbidden = set(np.concatenate(held_out).tolist()) if held_out else set()
    windows = sequences.training_windows(max_length)
    if not len(windows[0]):
        return
    trained = Counter(stacked(causal_batches(sequences.items, *windows, tokens, seed=0))[1].ravel())
    expected = {
        int(item)
        for u, count in enumerate(counts)
        for item in (sequences[u][1:-2] if count > 2 else sequences[u][1:])
    }
    del trained[0]
    assert trained == Counter(expected)
    windows = sequences.training_windows(max_length - 1)
    asked = masked_batches(
        sequences.items, *windows, tokens, len(vocabulary), seed=0, mask_rate=1.0
    )
    assert not forbidden & set(stacked(asked)[1].ravel().tolist())


def test_workers_share_the_windows_and_agree_on_the_steps():
    seen, alone = Counter(), stacked(make_causal())[1]
    for worker in range(3):
        dataset = causal_batches(ITEMS, STARTS[worker::3], STOPS[worker::3], 28, 2, seed=0, steps=2)
        assert len(dataset) == 2
        seen.update(stacked(dataset)[1].ravel().tolist())
    del seen[0]
    assert seen == Counter(alone[alone > 0].tolist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": 0}, "`tokens` should be a positive integer. Received: `tokens` = 0"),
        ({"rows": -1}, "`rows` should be a positive integer"),
        ({"steps": 0}, "`steps` should be a positive integer"),
        ({"starts": [], "stops": []}, "`starts` should have at least one window"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    good = {"items": ITEMS, "starts": STARTS, "stops": STOPS, "tokens": 28}
    with pytest.raises(InputError, match=message):
        causal_batches(**{**good, **arguments})
