"""Batches of whole histories with their cuts: every cut once, with all the events it needs."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.log.task_examples import ItemLists
from keras_peterrec.log.user_batches import UserBatches


def make_examples(lengths, cuts_of_users, seed=0):
    """Items that all differ, and examples of users in a mixed order."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rng = np.random.default_rng(seed)
    starts, stops = [], []
    for offset, length, count in zip(offsets, lengths, cuts_of_users):
        starts += [offset] * count
        stops += (offset + rng.integers(0, length + 1, count)).tolist()
    order = rng.permutation(len(starts))
    return np.arange(4, 4 + offsets[-1]), np.array(starts)[order], np.array(stops)[order]


def read_before(history, cut):
    """The events of one row before a cut, up to the padding before them."""
    padding = np.flatnonzero(history[:cut] == 0)
    return history[padding[-1] + 1 if len(padding) else 0 : cut].tolist()


users = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(users=users, reach=st.integers(1, 25), cuts=st.integers(1, 80), seed=st.integers(0, 9))
def test_every_example_is_read_once_with_the_events_within_its_reach(users, reach, cuts, seed):
    items, starts, stops = make_examples(*zip(*users), seed)
    plan = UserBatches(starts, stops, reach, cuts=cuts)
    order = np.random.default_rng(seed).permutation(len(plan.stretches.starts))
    events, columns, examples = plan.pack(order)
    rows, length, slots = plan.shape
    assert events.shape[1:] == (rows, length) and columns.shape[1:] == (rows, slots)
    assert sorted(examples[examples >= 0]) == list(range(len(starts)))
    history = np.where(events < 0, 0, items[events])
    for place in zip(*np.nonzero(examples >= 0)):
        start, stop = starts[examples[place]], stops[examples[place]]
        seen = read_before(history[place[:2]], columns[place])
        needed = items[max(start, stop - reach) : stop].tolist()
        assert seen[len(seen) - len(needed) :] == needed
        assert len(seen) <= stop - start


def test_little_is_padding():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 200, 400)
    _, starts, stops = make_examples(lengths, rng.integers(1, lengths))
    plan = UserBatches(starts, stops, reach=60, positions=4_000)
    events, _, examples = plan.pack(rng.permutation(len(plan.stretches.starts)))
    assert np.mean(events >= 0) > 0.9 and np.mean(examples >= 0) > 0.8
    assert abs(len(events) - plan.steps) <= 0.1 * plan.steps


def small_plan():
    items, starts, stops = make_examples([9, 30, 4, 17] * 5, [4, 8, 2, 5] * 5)
    return UserBatches(starts, stops, reach=10, cuts=20, rows=2), items, starts, stops


def read(batches):
    return [tf.nest.map_structure(lambda part: part.numpy(), batch) for batch in batches]


def test_training_batches_hold_histories_answers_and_weights():
    plan, items, starts, stops = small_plan()
    answers = np.stack([stops, starts], axis=1).astype("int32")
    batches = read(plan.training(items, answers, seed=3, steps=plan.steps))
    assert len(batches) == plan.steps
    rows, length, slots = plan.shape
    assert rows % 2 == 0
    weights = np.concatenate([weight for _, _, weight in batches])
    assert set(np.unique(weights)) == {0.0, weights.max()}
    assert weights.mean() == pytest.approx(1.0, abs=0.3)  # more exactly where a pass is long
    for inputs, answered, weight in batches:
        assert inputs["history"].shape == (rows, length)
        assert inputs["cuts"].shape == weight.shape == (rows, slots)
        for row, slot in zip(*np.nonzero(weight)):
            seen = read_before(inputs["history"][row], inputs["cuts"][row, slot])
            stop, start = answered[row, slot]
            assert seen == items[stop - len(seen) : stop].tolist() and len(seen) <= stop - start


def test_training_batches_hold_lists_of_items():
    plan, items, starts, stops = small_plan()
    lists = [[int(start)] * (1 + stop % 3) for start, stop in zip(starts, stops)]
    batches = plan.training(items, ItemLists.of(lists), seed=3, steps=plan.steps)
    assert batches.element_spec[1].shape == (*plan.shape[::2], 3)
    by_row, by_list = (
        read(plan.training(items, np.arange(len(starts)), 3, plan.steps)),
        read(batches),
    )
    for (_, rows, weight), (_, answered, _) in zip(by_row, by_list, strict=True):
        for place in zip(*np.nonzero(weight)):
            items_of_row = answered[place]
            assert items_of_row[items_of_row >= 0].tolist() == lists[rows[place]]


def test_epochs_differ_and_are_the_same_for_the_same_seed_wherever_one_begins():
    plan, items, starts, _ = small_plan()

    def histories(seed, epochs, skipped=0):
        batches = plan.training(items, starts, seed, plan.steps).repeat(epochs)
        return [inputs["history"].tolist() for inputs, *_ in read(batches.skip(skipped))]

    three = histories(0, 3)
    assert three == histories(0, 3) != histories(1, 3)
    assert three[plan.steps :] == histories(0, 3, skipped=plan.steps)
    assert three[: plan.steps] != three[plan.steps : 2 * plan.steps]


def test_an_epoch_may_be_longer_or_shorter_than_a_pass():
    plan, items, starts, _ = small_plan()
    for steps in (1, 3 * plan.steps):
        batches = read(plan.training(items, starts, 0, steps))
        assert len(batches) == steps and all(weight.any() for *_, weight in batches)


def test_outputs_are_in_the_order_of_the_examples():
    plan, items, starts, stops = small_plan()

    def last_item(history, cuts):  # of each cut, [R·S, 1]
        padded = tf.pad(history, [[0, 0], [1, 0]])
        return tf.reshape(tf.gather(padded, cuts, batch_dims=1), [-1, 1])

    found = plan.outputs(last_item, items)[:, 0]
    expected = np.where(stops > starts, items[np.maximum(stops - 1, 0)], 0)
    np.testing.assert_array_equal(found, expected)


def test_events_are_hidden_at_random_and_padding_never():
    plan, items, starts, stops = small_plan()
    answers = np.zeros(len(starts), "int32")
    given = items, answers, 3, 40
    shown = np.concatenate([inputs["history"] for inputs, _, _ in read(plan.training(*given))])
    asked = read(plan.training(*given, 0.3, 2))
    hidden = np.concatenate([inputs["history"] for inputs, _, _ in asked])
    assert set(np.unique(hidden[hidden != shown])) == {2}
    assert not np.any(hidden[shown == 0])
    share = np.mean(hidden[shown != 0] == 2)
    error = np.sqrt(0.3 * 0.7 / np.count_nonzero(shown))
    assert abs(share - 0.3) < 4 * error
    # The same seed hides the same; others are hidden in each epoch.
    again = np.concatenate([i["history"] for i, _, _ in read(plan.training(*given, 0.3, 2))])
    np.testing.assert_array_equal(again, hidden)
