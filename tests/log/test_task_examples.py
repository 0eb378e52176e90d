"""Examples of tasks, against a brute-force loop over events."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.log.events import Events
from keras_peterrec.log.task_examples import ItemLists, label_examples, recommendation_examples


class Codes:
    """As a vocabulary: the item "n" has the id n + `first`."""

    unknown = -1

    def __init__(self, first):
        self.first = first

    def encode(self, items):
        return np.array([int(item) + self.first for item in items], "int32")


def make_log(rows):
    users, items, times = zip(*rows)
    return Events.from_columns(list(users), list(items), list(times))


def source_of(rows):
    return make_log(rows).encode(Codes(4))


def asked_by_loop(source_rows, target_rows, cut):
    """One (user, history, item) for each target event, in order of user and time."""
    asked = []
    for user, item, time in target_rows:
        mine = sorted((row for row in source_rows if row[0] == user), key=lambda row: row[2])
        if mine:
            history = tuple(i + 4 for _, i, t in mine if not cut or t < time)
            asked.append((user, history, item))
    return sorted(asked)


def asked_by(examples, source):
    assert len(examples) == len(examples.stops) == len(examples.answers) == len(examples.user_ids)
    asked = []
    for user, start, stop, answers in zip(
        examples.user_ids, examples.starts, examples.stops, examples.answers, strict=True
    ):
        assert len(answers)
        history = tuple(source.items[start:stop].tolist())
        asked += [(user, history, item) for item in answers.tolist()]
    return sorted(asked)


def events(users):
    return st.lists(
        st.tuples(st.sampled_from(users), st.integers(0, 9), st.integers(0, 6)),
        min_size=2,
        max_size=25,
    ).filter(lambda rows: len({user for user, _, _ in rows}) > 1)


@settings(max_examples=100, deadline=None)
@given(source_rows=events("abcd"), target_rows=events("bcde"), cut=st.booleans())
def test_histories_end_strictly_before_their_targets(source_rows, target_rows, cut):
    source, target_log = source_of(source_rows), make_log(target_rows)
    shared = {row[0] for row in source_rows} & {row[0] for row in target_rows}
    if not shared:
        with pytest.raises(InputError, match="`target` should share users with `log`"):
            recommendation_examples(source, target_log, Codes(0), cut)
        return
    examples = recommendation_examples(source, target_log, Codes(0), cut)
    assert asked_by(examples, source) == asked_by_loop(source_rows, target_rows, cut)
    assert examples.dropped_users == len({row[0] for row in target_rows} - shared)
    # Targets with the same history share a row.
    keys = list(zip(examples.user_ids, examples.stops.tolist()))
    assert len(set(keys)) == len(keys)


def test_a_source_event_at_the_same_time_is_not_in_the_history():
    source = source_of([("a", 1, 5), ("a", 2, 6), ("a", 3, 7), ("b", 1, 1)])
    examples = recommendation_examples(source, make_log([("a", 0, 6), ("b", 0, 1)]), Codes(0))
    assert (examples.stops - examples.starts).tolist() == [1, 0]


def test_uncut_histories_are_whole():
    source = source_of([("a", 1, 5), ("a", 2, 6), ("b", 3, 7)])
    log = make_log([("a", 0, 0), ("a", 1, 99), ("b", 2, 0)])
    examples = recommendation_examples(source, log, Codes(0), cut_history=False)
    assert (examples.stops - examples.starts).tolist() == [2, 1]
    assert [items.tolist() for items in examples.answers] == [[0, 1], [2]]


@pytest.mark.parametrize("cut", [True, False])
def test_all_targets_of_a_history_are_one_row_however_many(cut):
    source = source_of([("a", 1, 0), ("b", 2, 0)])
    rows = [("a", n, 10 + n) for n in range(10_000)] + [("b", 3, 5)]
    examples = recommendation_examples(source, make_log(rows), Codes(0), cut)
    assert examples.user_ids.tolist() == ["a", "b"]
    assert examples.answers.lengths.tolist() == [10_000, 1]
    assert len(examples.answers.items) == 10_001  # nothing is padded
    assert asked_by(examples, source) == sorted(
        [("a", (5,), n) for n in range(10_000)] + [("b", (6,), 3)]
    )


@settings(max_examples=50, deadline=None)
@given(
    lists=st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), data=st.data()
)
def test_item_lists_are_chosen_like_rows_of_an_array(lists, data):
    found, rows = ItemLists.of(lists), np.arange(len(lists))
    assert [row.tolist() for row in found] == lists and len(found) == len(lists)
    assert found.lengths.tolist() == [len(row) for row in lists]
    assert found.rows.tolist() == [n for n, row in enumerate(lists) for _ in row]
    assert found[-1].tolist() == lists[-1]
    order = np.array(data.draw(st.permutations(rows.tolist())))
    for chosen in (order, order > 1, order[:0]):
        assert [row.tolist() for row in found[chosen]] == [lists[n] for n in rows[chosen]]


def test_times_of_another_type_are_compared_as_numbers():
    source = source_of([("a", 1, 1.5), ("a", 2, 2.5), ("b", 1, 9.5)])
    examples = recommendation_examples(source, make_log([("a", 0, 2), ("b", 0, 10)]), Codes(0))
    assert (examples.stops - examples.starts).tolist() == [1, 1]


def test_nanoseconds_are_not_rounded():
    now = 1_700_000_000_000_000_000
    source = source_of([("a", 1, now), ("a", 2, now + 1), ("b", 1, now)])
    log = make_log([("a", 0, now + 1), ("b", 0, now)])
    examples = recommendation_examples(source, log, Codes(0))
    assert (examples.stops - examples.starts).tolist() == [1, 0]


@pytest.mark.parametrize("answers", [[1, 0, 0], [[0.5, 1.0], [0.0, 0.0], [-1.0, 2.0]]])
def test_labels_are_guessed_from_the_whole_history(answers):
    source = source_of([("a", 1, 5), ("b", 2, 1), ("a", 3, 9)])
    answers = np.array(answers)
    examples = label_examples(source, ["b", "nobody", "a"], answers)
    assert examples.user_ids.tolist() == ["b", "a"]
    assert [source.items[a:b].tolist() for a, b in zip(examples.starts, examples.stops)] == [
        [6],
        [5, 7],
    ]
    np.testing.assert_array_equal(examples.answers, answers[[0, 2]])
    assert examples.dropped_users == 1
    others = examples.replace(answers=-examples.answers)
    np.testing.assert_array_equal(others.answers, -answers[[0, 2]])
    assert others.dropped_users == 1 and others.user_ids is examples.user_ids
    with pytest.raises(Misfit, match="`labels` should share users with `log`"):
        label_examples(source, ["nobody"], answers[:1])


def test_selects_rows_together():
    source = source_of([("a", 1, 0), ("b", 2, 0)])
    rows = [("a", n, 10 + n) for n in range(70)] + [("b", 3, 5)]
    examples = recommendation_examples(source, make_log(rows), Codes(0))
    some = examples.select(examples.user_ids == "b")
    assert len(some) == 1 and some.user_ids.tolist() == ["b"]
    assert source.items[some.starts[0] : some.stops[0]].tolist() == [6]
    assert some.answers[0].tolist() == [3]


CLOCK = 1_700_000_000


def examples_of(source_times, target_times, weights=None):
    source = Events.from_columns(list("aabb"), list("0123"), source_times)
    target = Events.from_columns(list("ab"), list("45"), target_times, weights=weights)
    return recommendation_examples(source.encode(Codes(4)), target, Codes(0))


def test_logs_of_two_units_are_cut_on_one_clock(capsys):
    seconds = [CLOCK, CLOCK + 10, CLOCK, CLOCK + 10]
    expected = examples_of(seconds, [CLOCK + 5, CLOCK + 20])
    assert (expected.stops - expected.starts).tolist() == [1, 2]
    assert capsys.readouterr().err == ""
    found = examples_of(seconds, [(CLOCK + 5) * 1000, (CLOCK + 20) * 1000])
    assert found.stops.tolist() == expected.stops.tolist()
    said = "the log counts seconds and the target milliseconds: they are compared as seconds\n"
    assert capsys.readouterr().err == said
    found = examples_of([time * 10**6 for time in seconds], [CLOCK + 5, CLOCK + 20])
    assert found.stops.tolist() == expected.stops.tolist()


def test_clocks_that_have_nothing_in_common_are_named(capsys):
    examples_of([0, 1, 0, 1], [CLOCK, CLOCK + 1])
    assert "look different, so histories may be cut at the wrong place" in capsys.readouterr().err
    examples_of([0, 1, 0, 1], [3, 7])
    assert capsys.readouterr().err == ""


def test_weights_of_target_events_go_with_their_items():
    examples = examples_of([1, 2, 1, 2], [3, 3], weights=[1.0, 3.0])
    assert [answers.tolist() for answers in examples.answers] == [[4], [5]]
    assert examples.answers.weights.tolist() == [0.5, 1.5]  # their mean is 1
    assert examples.answers[np.array([False, True])].weights.tolist() == [1.5]
    with pytest.raises(InputError, match="0 in all of them"):
        source = Events.from_columns(list("aab"), list("001"), [1, 2, 3]).encode(Codes(4))
        target = Events.from_columns(list("ac"), list("45"), [3, 3], weights=[0.0, 1.0])
        recommendation_examples(source, target, Codes(0))
