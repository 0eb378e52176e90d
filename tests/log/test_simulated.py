"""Simulated data: its shape, and the signal that it should contain."""

import collections
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources.simulated import PROFILES, TOPICS, Simulated


@pytest.fixture(scope="module")
def simulated():
    return Simulated()


def numbers(log):
    """Users, items and times as numbers, by user and time."""
    users = np.array([int(user[1:]) for user in log.user_ids])[log.users]
    items = np.array([int(item[1:]) for item in log.item_ids])[log.items]
    order = np.lexsort((log.timestamps, users))
    return users[order], items[order], log.timestamps[order]


def counts(log, shape):
    users, items, _ = numbers(log)
    matrix = np.zeros(shape)
    matrix[users, items] = 1
    return matrix


def ridge(inputs, outputs, train):
    """Scores of a linear model of the history, fitted on the users of `train`."""
    centred = inputs - inputs[train].mean(axis=0)
    gram = centred[train].T @ centred[train] + 30 * np.eye(inputs.shape[1])
    mean = outputs[train].mean(axis=0)
    return mean + centred @ np.linalg.solve(gram, centred[train].T @ (outputs[train] - mean))


def hits(scores, wanted, k=10):
    best = np.argsort(-scores, axis=1)[:, :k]
    return np.take_along_axis(wanted, best, axis=1).sum() / wanted.sum()


@settings(max_examples=20, deadline=None)
@given(
    users=st.integers(2, 60),
    events=st.integers(2, 12),
    target_events=st.integers(1, 4),
    order=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_events_have_the_requested_shape(users, events, target_events, order, seed):
    sizes = {"items": 3 * events, "target_items": 4 * target_events}
    simulated = Simulated(
        users,
        **sizes,
        events=events,
        target_events=target_events,
        order=order,
        seed=seed,
    )
    for name, least, most in [
        ("source", (events + 1) // 2, events * 3 // 2),
        ("target", 1, 2 * target_events - 1),
    ]:
        log = simulated.domain(name)
        pairs = [*zip(log.users.tolist(), log.items.tolist())]
        assert len(set(pairs)) == len(pairs), "a user met an item twice"
        per_user = np.bincount(log.users)
        assert len(per_user) == users
        assert least <= per_user.min() and per_user.max() <= most
        assert set(log.item_ids) <= set(simulated.titles)
    assert not {*simulated.domain("source").item_ids} & {*simulated.domain("target").item_ids}


def test_the_same_seed_gives_the_same_and_another_seed_something_else():
    def prints(simulated):
        logs = [simulated.domain(name) for name in ("source", "target")]
        labels = [simulated.labels(column) for column in PROFILES]
        return [data.fingerprint() for data in logs + labels]

    one, same, other = (prints(Simulated(users=50, seed=seed)) for seed in (3, 3, 4))
    assert one == same
    assert not set(one) & set(other)


def test_the_default_size_takes_little_time():
    start = time.perf_counter()
    simulated = Simulated()
    assert time.perf_counter() - start < 2
    assert 25_000 < len(simulated.domain("source")) < 40_000
    assert 1_600 < len(simulated.domain("target")) < 3_200


def test_targets_lie_within_the_source_times(simulated):
    times = collections.defaultdict(list)
    users, _, stamps = numbers(simulated.domain("source"))
    for user, stamp in zip(users.tolist(), stamps.tolist()):
        times[user].append(stamp)
    users, _, stamps = numbers(simulated.domain("target"))
    for user, stamp in zip(users.tolist(), stamps.tolist()):
        assert times[user][len(times[user]) // 2] <= stamp <= times[user][-1]


def test_taste_beats_popularity_in_the_target(simulated):
    source = counts(simulated.domain("source"), (800, 400))
    target = counts(simulated.domain("target"), (800, 120))
    train = np.arange(800) < 600
    popularity = np.tile(target[train].sum(axis=0), (200, 1))
    taste = hits(ridge(source, target, train)[~train], target[~train])
    assert taste > 1.4 * hits(popularity, target[~train])


@pytest.mark.parametrize("column", ["gender", "age"])
def test_the_history_predicts_the_profile(simulated, column):
    labels = simulated.labels(column)
    names = labels.order(labels.values)
    classes = np.array([names.index(value) for value in labels.values])
    source = counts(simulated.domain("source"), (800, 400))
    train = np.arange(800) < 600
    scores = ridge(source, np.eye(len(names))[classes], train)[~train]
    accuracy = (scores.argmax(axis=1) == classes[~train]).mean()
    majority = np.bincount(classes[~train]).max() / 200
    assert accuracy > majority + 0.2
    assert np.bincount(classes).min() > 150


def test_the_history_predicts_the_spend(simulated):
    labels = simulated.labels("spend")
    spend = labels.values.astype(float)[:, None]
    assert len(spend) == 800 and 30 < spend.mean() < 70
    source = counts(simulated.domain("source"), (800, 400))
    train = np.arange(800) < 600
    errors = ridge(source, spend, train)[~train] - spend[~train]
    assert np.std(errors) < 0.8 * np.std(spend[~train])


def test_the_history_predicts_the_topics(simulated):
    users, sets = simulated.labels("topics").sets()
    assert set().union(*sets) == set(TOPICS) and 1.2 < np.mean([*map(len, sets)]) < 3
    rows = [int(user[1:]) for user in users]
    have = np.array([[topic in topics for topic in TOPICS] for topics in sets], float)
    source = counts(simulated.domain("source"), (800, 400))[rows]
    train = np.arange(len(rows)) < 500
    scores = ridge(source, have, train)[~train]
    accuracy = ((scores > 0.5) == have[~train]).mean()
    share = have[~train].mean(axis=0)
    assert accuracy > np.maximum(share, 1 - share).mean() + 0.1


def next_item_ranks(simulated):
    """Ranks of the next item, by what followed the same item and by popularity."""
    users, items, _ = numbers(simulated.domain("source"))
    train = users < 600
    same = users[1:] == users[:-1]
    popularity = np.bincount(items[train], minlength=400) / train.sum()
    follows = np.tile(popularity, (400, 1))
    pairs = same & train[1:]
    np.add.at(follows, (items[:-1][pairs], items[1:][pairs]), 1)
    before, after = items[:-1][same & ~train[1:]], items[1:][same & ~train[1:]]
    ranks = (follows[before] >= follows[before, after][:, None]).sum(axis=1)
    return ranks, (popularity >= popularity[after][:, None]).sum(axis=1)


def test_the_order_of_a_history_matters_unless_order_is_0(simulated):
    by_order, by_popularity = next_item_ranks(simulated)
    assert np.mean(by_order <= 10) > 3 * np.mean(by_popularity <= 10)
    by_order, by_popularity = next_item_ranks(Simulated(order=0))
    assert np.mean(by_order <= 10) < 2 * np.mean(by_popularity <= 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 1}, "`users` should be an integer of at least 2. Received: `users` = 1"),
        ({"users": 2.5}, "`users`.*Received: `users` = 2.5"),
        ({"events": True}, "`events`.*Received: `events` = True"),
        ({"events": 40, "items": 119}, "`items`.*at least 120. Received: `items` = 119"),
        ({"target_items": 3}, "`target_items`.*at least 12"),
        ({"target_events": 0}, "`target_events` should be a positive integer"),
        ({"order": 1.5}, "`order` should be from 0 to 1. Received: `order` = 1.5"),
        ({"order": float("nan")}, "`order`"),
        ({"seed": -1}, "`seed`.*Received: `seed` = -1"),
    ],
)
def test_arguments_out_of_range_raise(arguments, message):
    with pytest.raises(InputError, match=message):
        Simulated(**arguments)


def test_its_repr_says_what_was_drawn(simulated):
    expected = "Simulated(users=800, items=400, target_items=120, order=0.5, seed=0)"
    assert repr(simulated) == expected


def test_unknown_names_raise(simulated):
    with pytest.raises(InputError, match="`name`.*source, target. Received: 'films'"):
        simulated.domain("films")
    with pytest.raises(InputError, match="`column`.*gender, age, spend, topics. Received: 'sex'"):
        simulated.labels("sex")
