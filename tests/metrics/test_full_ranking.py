"""full_ranks compared with brute force and with ir-measures."""

import re
import time
import tracemalloc

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_cases import slow

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.metrics import full_ranking, full_ranks, ranking_metrics, sampled_ranks
from keras_peterrec.metrics.ranking import MISSED, among_known


def to_csr(lists):
    offsets = np.cumsum([0] + [len(items) for items in lists])
    return offsets, np.array([item for items in lists for item in items], np.int64)


def brute_force_ranks(queries, items, pair_query, pair_item, known, excluded=(), added=None):
    """One item at a time, as in the docstring."""
    ranks = []
    for query, target in zip(pair_query, pair_item, strict=True):
        scores = [float(np.dot(queries[query].astype(float), item)) for item in items.astype(float)]
        if added is not None:
            scores = [score + more for score, more in zip(scores, added[query].tolist())]
        if target == -1 or target in excluded or not np.isfinite(scores[target]):
            ranks.append(len(items))
            continue
        others = set(range(len(items))) - {target} - set(known[query]) - set(excluded)
        above = [i for i in others if np.isnan(scores[i]) or scores[i] >= scores[target]]
        ranks.append(1 + len(above))
    return ranks


@st.composite
def problems(draw):
    """Small integers, so that every score is exact and there are many ties."""
    n, v, c, p = (draw(st.integers(1, high)) for high in (5, 12, 3, 8))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    queries = generator.integers(-2, 3, (n, c)).astype(np.float32)
    items = generator.integers(-2, 3, (v, c)).astype(np.float32)
    if draw(st.booleans()):
        items[generator.integers(v)] = np.nan
    known = [generator.integers(-1, v, generator.integers(5)).tolist() for _ in range(n)]
    pair_query, pair_item = generator.integers(0, n, p), generator.integers(-1, v, p)
    excluded = generator.choice(v, generator.integers(0, min(3, v)), replace=False).tolist()
    return queries, items, pair_query, pair_item, known, excluded


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(1, 9), st.integers(1, 13))
def test_ranks_equal_brute_force_at_any_chunk_size(problem, query_chunk, item_chunk):
    queries, items, pair_query, pair_item, known, excluded = problem
    ranks = full_ranks(
        queries,
        items,
        pair_query,
        pair_item,
        *to_csr(known),
        excluded_items=excluded,
        query_chunk=query_chunk,
        item_chunk=item_chunk,
    )
    assert ranks.dtype == np.int64
    assert ranks.tolist() == brute_force_ranks(*problem)


@settings(deadline=None)
@given(problems())
def test_targets_among_the_known_items_are_those_of_a_loop(problem):
    _, _, pair_query, pair_item, known, _ = problem
    found = among_known(pair_query, pair_item, *to_csr(known))
    pairs = zip(pair_query, pair_item)
    assert found.tolist() == [item >= 0 and item in known[query] for query, item in pairs]


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(1, 9), st.integers(1, 13), st.booleans())
def test_added_scores_count_as_those_of_the_products(problem, query_chunk, item_chunk, alone):
    """Small integers, and many ties; added in chunks, which are asked for in any order."""
    queries, items, pair_query, pair_item, known, excluded = problem
    shape = len(queries), len(items)
    added = np.random.default_rng(len(pair_query)).integers(-3, 4, shape).astype(np.float32)
    if alone:
        queries, items = np.zeros_like(queries), np.zeros_like(items)
    found = full_ranks(
        queries,
        items,
        pair_query,
        pair_item,
        *to_csr(known),
        excluded_items=excluded,
        query_chunk=query_chunk,
        item_chunk=item_chunk,
        added=lambda rows: added[rows],
    )
    arguments = queries, items, pair_query, pair_item, known, excluded, added
    assert found.tolist() == brute_force_ranks(*arguments)


def test_added_scores_are_held_for_some_queries_at_a_time(monkeypatch):
    random = np.random.default_rng(0)
    queries, items = random.normal(size=(9, 3)), random.normal(size=(20, 3))
    added, asked = random.normal(size=(9, 20)).astype(np.float32), []
    pairs = np.arange(9), random.integers(0, 20, 9)
    monkeypatch.setattr(full_ranking, "MOST_ADDED", 45)

    def some(rows):
        asked.append(len(rows))
        return added[rows]

    ranks = full_ranks(queries, items, *pairs, np.zeros(10, int), [], added=some)
    exact = queries.astype(np.float32).astype(float) @ items.astype(np.float32).astype(float).T
    exact += added
    own = exact[np.arange(9), pairs[1]]
    assert ranks.tolist() == (exact >= own[:, None]).sum(axis=1).tolist()
    assert max(asked) == 2 and sum(asked) == 9


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_rounding_of_added_scores_orders_nothing(scale):
    """Large added scores that are alike, and products that differ in their last digits."""
    random = np.random.default_rng(1)
    queries, items = random.normal(size=(5, 16)), random.normal(size=(300, 16))
    added = np.repeat(random.normal(size=(5, 3)) * scale, 100, axis=1).astype(np.float32)
    pairs = np.repeat(np.arange(5), 20), random.integers(0, 300, 100)
    expected = []
    for query, target in zip(*pairs):
        scores = (queries[query].astype(np.float32).astype(float) * items.astype(np.float32)).sum(1)
        scores = scores + added[query].astype(float)
        expected.append(np.sum(scores >= scores[target]))
    for chunk in (7, 8192):
        arguments = queries, items, *pairs, np.zeros(6, int), []
        found = full_ranks(*arguments, item_chunk=chunk, added=lambda rows: added[rows])
        assert found.tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_items_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    queries = generator.standard_normal((7, 5)).astype(np.float32)
    items = generator.standard_normal((40, 5)).astype(np.float32)
    known = generator.integers(0, 40, (7, 4))
    pair_item = generator.integers(0, 40, 7)
    offsets = np.arange(8) * 4
    before = full_ranks(queries, items, np.arange(7), pair_item, offsets, known.ravel())
    order = generator.permutation(40)
    place = np.argsort(order)
    after = full_ranks(
        queries, items[order], np.arange(7), place[pair_item], offsets, place[known].ravel()
    )
    assert before.tolist() == after.tolist()


@pytest.mark.parametrize("channels", [257, *slow(1, 3, 16, 64, 100)])
def test_equal_vectors_tie_wherever_they_stand(channels):
    """A matrix product may round copies of a vector differently; they tie nevertheless."""
    generator = np.random.default_rng(channels)
    queries = generator.standard_normal((13, channels)).astype(np.float32)
    items = generator.standard_normal((501, channels)).astype(np.float32)
    copies = generator.choice(501, 40, replace=False)
    items[copies] = items[copies[0]]
    pair_query, pair_item = np.repeat(np.arange(13), 40), np.tile(copies, 13)
    none = (np.zeros(14, int), [])
    exact = (queries[:, None].astype(float) * items.astype(float)).sum(axis=2)
    expected = (exact >= exact[:, copies[:1]]).sum(axis=1)
    for chunks in [(1024, 65536), (1, 7), (3, 64), (100, 500)]:
        ranks = full_ranks(
            queries,
            items,
            pair_query,
            pair_item,
            *none,
            query_chunk=chunks[0],
            item_chunk=chunks[1],
        )
        assert ranks.reshape(13, 40).tolist() == np.repeat(expected[:, None], 40, axis=1).tolist()


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1.0, 1e18, 1e30])
def test_ranks_do_not_depend_on_the_size_of_the_numbers(scale):
    generator = np.random.default_rng(0)
    queries = (generator.standard_normal((6, 32)) * scale).astype(np.float32)
    items = (generator.standard_normal((200, 32)) * scale).astype(np.float32)
    exact = queries.astype(float) @ items.astype(float).T
    targets = generator.integers(0, 200, 6)
    ranks = full_ranks(queries, items, np.arange(6), targets, np.zeros(7, int), [])
    own = exact[np.arange(6), targets]
    assert ranks.tolist() == (exact >= own[:, None]).sum(axis=1).tolist()


def test_scores_below_float32_resolution_still_order_the_items():
    items = np.float32([[1, 1e-9], [1, 0], [1, -1e-9]])
    ranks = full_ranks([[1.0, 1.0]], items, [0, 0, 0], [0, 1, 2], [0, 0], [])
    assert ranks.tolist() == [1, 2, 3]


def test_ties_count_against_the_model():
    ranks = full_ranks(np.ones((1, 1)), np.zeros((50, 1)), [0], [7], [0, 0], [])
    assert ranks.tolist() == [50]


def test_other_known_items_are_removed_and_the_target_is_not():
    items = np.float32([[4], [3], [2], [1]])
    arguments = ([[1.0]], items, [0, 0], [3, 1])
    assert full_ranks(*arguments, [0, 0], []).tolist() == [4, 2]
    assert full_ranks(*arguments, [0, 4], [3, 1, 1, 0]).tolist() == [2, 1]
    assert full_ranks(*arguments, [0, 0], [], excluded_items=[0]).tolist() == [3, 1]
    assert full_ranks(*arguments, [0, 0], [], excluded_items=[3]).tolist() == [4, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_nan_never_helps(bad):
    items = np.float32([[1, 1], [3, 0], [2, 0]])
    items[0] = [bad, 1]
    none = ([0, 0], [])
    assert full_ranks([[1, 0]], items, [0, 0, 0], [0, 1, 2], *none).tolist() == [3, 2, 3]
    # The NaN item is known: it is removed like any other.
    assert full_ranks([[1, 0]], items, [0, 0], [1, 2], [0, 1], [0]).tolist() == [1, 2]
    assert full_ranks([[bad, 0]], items, [0], [1], *none).tolist() == [3]


def test_no_pairs_and_no_known_items():
    assert full_ranks(np.ones((2, 3)), np.ones((4, 3)), [], [], [0, 0, 0], []).shape == (0,)


def test_metrics_agree_with_ir_measures():
    generator = np.random.default_rng(3)
    users, size = 40, 60
    queries = generator.standard_normal((users, 8)).astype(np.float32)
    items = generator.standard_normal((size, 8)).astype(np.float32)
    targets = generator.integers(0, size, users)
    known = [generator.choice(size, 6, replace=False).tolist() for _ in range(users)]
    scores = queries.astype(float) @ items.astype(float).T
    run, relevant = [], []
    for user in range(users):
        relevant.append(ir_measures.Qrel(str(user), str(targets[user]), 1))
        for item in set(range(size)) - (set(known[user]) - {targets[user]}):
            run.append(ir_measures.ScoredDoc(str(user), str(item), scores[user, item]))
    ks = (1, 5, 10, 20)
    kinds = {"hr": ir_measures.Success, "mrr": ir_measures.RR, "ndcg": ir_measures.nDCG}
    measures = {f"{name}@{k}": kind @ k for k in ks for name, kind in kinds.items()}
    oracle = ir_measures.calc_aggregate(measures.values(), relevant, run)
    ranks = full_ranks(queries, items, np.arange(users), targets, *to_csr(known))
    ours = ranking_metrics(ranks, ks)
    assert ours == {name: pytest.approx(oracle[kind]) for name, kind in measures.items()}


def test_lists_with_several_targets_agree_with_ir_measures():
    """As served: some of a user's targets are in the history, and are never answered."""
    generator = np.random.default_rng(5)
    users, size = 40, 60
    queries = generator.standard_normal((users, 8)).astype(np.float32)
    items = generator.standard_normal((size, 8)).astype(np.float32)
    targets = [generator.choice(size, n % 7 + 1, replace=False) for n in range(users)]
    known = [generator.choice(size, 20, replace=False).tolist() for _ in range(users)]
    scores = queries.astype(float) @ items.astype(float).T
    run, relevant = [], []
    for user in range(users):
        relevant += [ir_measures.Qrel(str(user), str(item), 1) for item in targets[user]]
        for item in set(range(size)) - set(known[user]):
            run.append(ir_measures.ScoredDoc(str(user), str(item), scores[user, item]))
    ks = (1, 5, 10, 20)
    kinds = {"hr": ir_measures.Success, "mrr": ir_measures.RR, "ndcg": ir_measures.nDCG}
    measures = {f"{name}@{k}": kind @ k for k in ks for name, kind in kinds.items()}
    oracle = ir_measures.calc_aggregate(measures.values(), relevant, run)
    rows = np.repeat(np.arange(users), [len(own) for own in targets])
    pairs = rows, np.concatenate(targets)
    ranks = full_ranks(queries, items, *pairs, *to_csr(known))
    missed = among_known(*pairs, *to_csr(known))
    ranks[missed] = MISSED
    assert 0 < missed.sum() < len(ranks)
    ours = ranking_metrics(ranks, ks, lists=rows)
    assert ours == {name: pytest.approx(oracle[kind]) for name, kind in measures.items()}


@pytest.mark.parametrize("item_chunk", [1024, 2048, 5000, 65536])
def test_long_rows_of_flags_are_counted_completely(item_chunk, monkeypatch):
    """No packed counter overflows where whole chunks are above, level or below.

    More of them are level than wait at once for their exact scores.
    """
    monkeypatch.setattr(full_ranking, "MOST_WAITING", 3000)
    items = np.repeat(np.float32([[3], [2], [1]]), 2048, axis=0)[:5000]
    targets = np.array([0, 2047, 2048, 4095, 4096, 4999])
    arguments = (np.ones((6, 1)), items, np.arange(6), targets, np.zeros(7, int), [])
    expected = [2048, 2048, 4096, 4096, 5000, 5000]
    assert full_ranks(*arguments, item_chunk=item_chunk).tolist() == expected


@pytest.mark.parametrize("item_chunk", [2, 16, 1024])
def test_queries_with_many_and_few_targets_share_a_product(item_chunk):
    generator = np.random.default_rng(4)
    queries = generator.integers(-2, 3, (9, 4)).astype(np.float32)
    items = generator.integers(-2, 3, (40, 4)).astype(np.float32)
    pair_query = generator.permutation(np.repeat(np.arange(9), [1, 7, 0, 2, 30, 1, 3, 0, 2]))
    pair_item = generator.integers(-1, 40, len(pair_query))
    known = [generator.integers(0, 40, n).tolist() for n in range(9)]
    problem = (queries, items, pair_query, pair_item, known, [5, 6, 7, 8])
    for query_chunk in (1, 4, 9):
        ranks = full_ranks(
            *problem[:4],
            *to_csr(known),
            excluded_items=[5, 6, 7, 8],
            query_chunk=query_chunk,
            item_chunk=item_chunk,
        )
        assert ranks.tolist() == brute_force_ranks(*problem)


def test_an_error_in_a_thread_is_raised():
    def fail(job):
        raise ArithmeticError(job)

    with pytest.raises(ArithmeticError, match="7"):
        full_ranking.thread_map(fail, [7, 8, 9], "ranking")


def test_memory_stays_within_the_chunks():
    """The users x items matrix would be 4 GB."""
    generator = np.random.default_rng(0)
    users, size = 20_000, 50_000
    queries = generator.standard_normal((users, 16), np.float32)
    items = generator.standard_normal((size, 16), np.float32)
    # A few pairs in every chunk of queries are enough, and quick.
    pairs = np.arange(0, users, 8)
    tracemalloc.start()
    try:
        full_ranks(
            queries,
            items,
            pairs,
            generator.integers(0, size, len(pairs)),
            np.arange(users + 1) * 10,
            generator.integers(0, size, users * 10),
            query_chunk=256,
            item_chunk=16384,
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize("rank", [full_ranks, sampled_ranks])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ones(3)}, "`queries` should be a matrix"),
        ({"queries": np.ones((2, 4))}, "same number of columns"),
        ({"pair_query": [2]}, "`pair_query` should be integers from 0 to 1. Received: 2"),
        ({"pair_item": [-2]}, "`pair_item` should be integers from -1 to 4"),
        ({"pair_item": [0.5]}, "`pair_item` should be a one-dimensional array of integers"),
        ({"pair_item": [0, 1]}, "same length"),
        ({"known_offsets": [0, 1]}, "`known_offsets` should be 3 rising integers"),
        ({"known_offsets": [0, 2, 1]}, "`known_offsets` should be integers from 0 to 1"),
        ({"known_items": [5]}, "`known_items` should be integers from -1 to 4"),
        ({"excluded_items": [-1]}, "`excluded_items` should be integers from 0 to 4"),
    ],
)
def test_mistakes_end_in_one_line(rank, change, message):
    good = {
        "queries": np.ones((2, 3)),
        "item_table": np.ones((5, 3)),
        "pair_query": [0],
        "pair_item": [1],
        "known_offsets": [0, 0, 1],
        "known_items": [2],
    }
    with pytest.raises(InputError) as error:
        rank(**(good | change))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["query_chunk", "item_chunk"])
def test_chunks_that_are_not_positive_raise(name):
    with pytest.raises(InputError, match=f"`{name}` should be a positive integer. Received"):
        full_ranks([[1.0]], [[1.0]], [0], [0], [0, 0], [], **{name: 0})


def test_a_stage_that_waits_for_ranks_says_how_far_they_are(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(progress, "LONGEST_PAUSE", 0.02)

    def slow(queries):
        time.sleep(0.1)
        return np.zeros((len(queries), 3), "float32")

    pairs = np.arange(8), np.zeros(8, int)
    nothing = np.zeros(9, int), []
    with progress.stage("measuring"):
        full_ranks(np.ones((8, 1)), np.ones((3, 1)), *pairs, *nothing, query_chunk=1, added=slow)
    assert re.search("^measuring ... ranking [257][50] %", capsys.readouterr().err, re.M)
