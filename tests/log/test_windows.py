"""Events: order, windows and held-out events, compared with plain loops."""

import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.log.event_split import TEST, VALIDATION, EventSplit, all_events
from keras_peterrec.log.events import Events
from keras_peterrec.log.vocabulary import Vocabulary


class Codes:
    """Stands in for a vocabulary: the item "n" has the id n + 4."""

    unknown = 1

    def encode(self, items):
        return np.array([int(item) + 4 for item in items], "int32")


def of_lengths(lengths):
    """Events in which every event has a different item, in order of time."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    order = np.random.default_rng(0).permutation(len(users))
    log = Events.from_columns(
        [f"u{user:04d}" for user in users[order]], order.tolist(), order.tolist()
    )
    sequences = log.encode(Codes())
    assert sorted(sequences.lengths) == sorted(lengths)
    return sequences


# A log has at least two users.
lengths = st.lists(st.integers(1, 14), min_size=2, max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 3)),
        min_size=2,
        max_size=30,
    ).filter(lambda rows: len({user for user, _, _ in rows}) > 1)
)
def test_holds_each_users_events_by_time_and_ties_in_the_logs_order(rows):
    sequences = Events.from_columns(*map(list, zip(*rows))).encode(Codes())
    for n, user in enumerate(sequences.user_ids):
        mine = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        assert sequences[n].tolist() == [item + 4 for _, item, _ in mine]
        start, stop = sequences.offsets[n : n + 2]
        assert sequences.timestamps[start:stop].tolist() == [time for _, _, time in mine]
    assert len(sequences) == len(rows)
    assert sequences.user_count == len({user for user, _, _ in rows})
    assert sequences.items.dtype == np.int32


@settings(max_examples=60, deadline=None)
@given(lengths=lengths, max_length=st.integers(1, 6), held_out=st.integers(0, 3))
def test_every_training_event_but_the_first_is_a_target_once(lengths, max_length, held_out):
    sequences = of_lengths(lengths)
    left = np.where(sequences.lengths > held_out, sequences.lengths - held_out, sequences.lengths)
    sequences.split = EventSplit(left, None, None)
    starts, stops = sequences.training_windows(max_length)
    targets, inputs = Counter(), Counter()
    for start, stop in zip(starts, stops, strict=True):
        owner = np.searchsorted(sequences.offsets, start, side="right") - 1
        assert sequences.offsets[owner] <= start < stop < sequences.offsets[owner + 1]
        assert stop - start <= max_length
        inputs.update(range(start, stop))
        targets.update(range(start + 1, stop + 1))
    expected = Counter()
    for first, length in zip(sequences.offsets[:-1], sequences.lengths, strict=True):
        seen = length - held_out if length > held_out else length
        expected.update(range(first + 1, first + seen))
    assert targets == expected
    # A window is as long as allowed, so its targets have as much past as possible.
    for start, stop in zip(starts, stops, strict=True):
        assert stop - start == max_length or start in sequences.offsets


@settings(max_examples=40, deadline=None)
@given(lengths=lengths, max_length=st.integers(1, 6))
def test_held_out_events_are_never_trained_on(lengths, max_length):
    sequences = of_lengths(lengths)
    starts, stops = sequences.training_windows(max_length)
    trained = {n for start, stop in zip(starts, stops) for n in range(start, stop + 1)}
    for part in (VALIDATION, TEST):
        _, asked, targets = sequences.held_out(part)
        assert not trained & set(asked.tolist())
        assert not set(sequences.items[sorted(trained)]) & set(targets.tolist())


@settings(max_examples=20, deadline=None)
@given(lengths=lengths)
def test_the_last_events_are_asked_for(lengths):
    sequences = of_lengths(lengths)
    long = [n for n in range(sequences.user_count) if sequences.lengths[n] >= 3]
    for part, last in ((TEST, 1), (VALIDATION, 2)):
        starts, stops, targets = sequences.held_out(part)
        histories = [sequences.items[a:b].tolist() for a, b in zip(starts, stops)]
        assert histories == [sequences[n][:-last].tolist() for n in long]
        assert targets.tolist() == [sequences[n][-last] for n in long]


def test_everything_is_trained_on_where_nothing_is_held_out():
    sequences = of_lengths([3, 1, 2])
    sequences.split = all_events(sequences.lengths)
    starts, stops = sequences.training_windows(99)
    assert sorted((stops - starts + 1).tolist()) == [2, 3]
    assert len(sequences.held_out(TEST)[0]) == 0


def test_its_repr_says_what_it_holds():
    assert repr(of_lengths([3, 1, 2])) == "Events(name='log', events=6, users=3)"


def test_finds_users():
    sequences = of_lengths([3, 1, 2])
    found = sequences.index(["nobody", *sequences.user_ids[::-1]])
    assert found.tolist() == [-1, 2, 1, 0]


def test_unknown_items_become_unknown_or_are_left_out():
    log = Events.from_columns(["a", "a", "b"], ["x", "new", "y"], [1, 2, 3])
    vocabulary = Vocabulary(["x", "y"])
    assert log.encode(vocabulary).items.tolist() == [4, 1, 5]
    known = log.encode(vocabulary, known_only=True)
    assert known.items.tolist() == [4, 5] and known.timestamps.tolist() == [1, 3]
    # A user stays one without events, whose history is empty.
    none = log.encode(Vocabulary(["y"]), known_only=True)
    assert none.offsets.tolist() == [0, 0, 1] and none.index(["a"]).tolist() == [0]


@pytest.mark.parametrize("max_length", [1, 50])
def test_nothing_is_quadratic(max_length):
    # One user with very many events, and very many users with few.
    events = 400_000
    for users in (np.arange(events) > 10, np.arange(events) // 4):
        counts = np.bincount(users.astype(int))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype("int64")
        sequences = Events(None, np.zeros(events, "int32"), offsets)
        tracemalloc.start()
        began = time.perf_counter()
        starts, stops = sequences.training_windows(max_length)
        seconds = time.perf_counter() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 2
        assert peak < 150 * events
        assert len(starts) == (-(-np.maximum(counts - 3, 0) // max_length)).sum()
