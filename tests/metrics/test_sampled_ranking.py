"""sampled_ranks: which items are drawn, and the rank among them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import full_ranks, sampled_ranks


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14))
def test_sampling_every_item_is_the_full_ranking(seed, negatives):
    generator = np.random.default_rng(seed)
    users, size = generator.integers(1, 6), generator.integers(1, 13)
    queries = generator.integers(-2, 3, (users, 2))
    items = generator.integers(-2, 3, (size, 2)).astype(np.float32)
    items[generator.integers(size)] = generator.choice([np.nan, 1])
    pairs = (generator.integers(0, users, 8), generator.integers(-1, size, 8))
    known = generator.integers(-1, size, users * 3)
    arguments = (queries, items, *pairs, np.arange(users + 1) * 3, known)
    excluded = generator.choice(size, generator.integers(0, min(3, size)), replace=False)
    sampled = sampled_ranks(*arguments, negatives=negatives, excluded_items=excluded)
    full = full_ranks(*arguments, excluded_items=excluded)
    ranked = sampled <= negatives
    assert ((sampled >= 1) & (sampled <= negatives + 1)).all()
    assert (sampled <= full)[ranked].all()
    if negatives >= size:
        assert sampled[ranked].tolist() == full[ranked].tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_added_scores_count_as_those_of_the_products(seed):
    generator = np.random.default_rng(seed)
    queries, items = generator.integers(-2, 3, (4, 2)), generator.integers(-2, 3, (30, 2))
    added = generator.integers(-3, 4, (4, 30)).astype(np.float32)
    pairs = np.repeat(np.arange(4), 3), generator.integers(-1, 30, 12)
    rest = np.arange(5) * 3, generator.integers(0, 30, 12)
    # The same as more columns: each query picks its own row of what is added.
    wider = np.c_[queries, np.eye(4)], np.c_[items, added.T]
    for negatives in (5, 99):
        drawn = {"negatives": negatives, "seed": 3}
        found = sampled_ranks(
            queries, items, *pairs, *rest, **drawn, added=lambda rows: added[rows]
        )
        assert found.tolist() == sampled_ranks(*wider, *pairs, *rest, **drawn).tolist()


def test_a_nan_never_helps_and_a_missing_target_is_last():
    items = np.float32([[np.nan, 1], [3, 0], [2, 0]])
    arguments = (items, [0, 0, 0], [0, 1, -1], [0, 0], [])
    assert sampled_ranks([[1, 0]], *arguments, negatives=2).tolist() == [3, 2, 3]
    assert sampled_ranks([[np.nan, 0]], *arguments, negatives=2).tolist() == [3, 3, 3]
    # With fewer items than `negatives` a miss is still a miss.
    assert sampled_ranks([[1, 0]], *arguments).tolist() == [100, 2, 100]


def test_no_pairs():
    assert sampled_ranks(np.ones((2, 3)), np.ones((4, 3)), [], [], [0, 0, 0], []).shape == (0,)


def test_negatives_are_uniform_different_and_allowed():
    """Two of five allowed items are drawn: each in two fifths of the pairs."""
    pairs, size = 20_000, 9
    known, excluded, target = [3, 5, 5], [0], 7
    seen = np.zeros(size)
    for item in range(size):
        # Only `item` beats the target, so the rank says whether it was drawn.
        items = np.zeros((size, 1), np.float32)
        items[target], items[item] = 1, 2
        ranks = sampled_ranks(
            [[1.0]],
            items,
            np.zeros(pairs, int),
            np.full(pairs, target),
            [0, 3],
            known,
            negatives=2,
            seed=1,
            excluded_items=excluded,
        )
        seen[item] = np.mean(ranks - 1)
    allowed = [1, 2, 4, 6, 8]
    assert seen[[0, 3, 5, 7]].tolist() == [0, 0, 0, 0]
    assert seen[allowed] == pytest.approx(0.4, abs=0.02)
    assert seen.sum() == pytest.approx(2)  # always two, never one of them twice


def test_sampling_follows_the_seed_and_not_the_scores():
    generator = np.random.default_rng(0)
    queries = generator.standard_normal((50, 4)).astype(np.float32)
    items = generator.standard_normal((300, 4)).astype(np.float32)
    rest = (np.arange(50), generator.integers(0, 300, 50), np.arange(51) * 3)
    known = generator.integers(0, 300, 150)
    first = sampled_ranks(queries, items, *rest, known, seed=4)
    assert first.tolist() == sampled_ranks(queries, items, *rest, known, seed=4).tolist()
    assert first.tolist() != sampled_ranks(queries, items, *rest, known, seed=5).tolist()
    broken = queries.copy()
    broken[0] = np.nan
    again = sampled_ranks(broken, items, *rest, known, seed=4)
    assert again[0] == 100 and again[1:].tolist() == first[1:].tolist()


def test_ranks_do_not_depend_on_the_sampler_chunks(monkeypatch):
    generator = np.random.default_rng(0)
    arguments = (
        generator.standard_normal((30, 4)),
        generator.standard_normal((200, 4)),
        np.arange(30),
        generator.integers(0, 200, 30),
        np.zeros(31, int),
        [],
    )
    whole = sampled_ranks(*arguments, negatives=20)
    monkeypatch.setattr("keras_peterrec.metrics.sampled_ranking.GATHERED_VALUES", 7 * 20 * 4)
    assert whole.tolist() == sampled_ranks(*arguments, negatives=20).tolist()


@pytest.mark.parametrize(("name", "value"), [("negatives", 0), ("seed", -1)])
def test_sampler_settings_are_checked(name, value):
    with pytest.raises(InputError, match=f"`{name}` should be a .* integer. Received: .{name}."):
        sampled_ranks([[1.0]], [[1.0]], [0], [0], [0, 0], [], **{name: value})
