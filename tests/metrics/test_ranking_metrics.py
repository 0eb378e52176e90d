"""HR, MRR and NDCG with one relevant item each."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import ranking_metrics
from keras_peterrec.metrics.ranking import MISSED, ranking_gains, whole_gains


def test_values_worked_out_by_hand():
    metrics = ranking_metrics(np.array([1, 3, 6, 100]), ks=(5, 10))
    assert metrics == {
        "hr@5": 0.5,
        "mrr@5": pytest.approx((1 + 1 / 3) / 4),
        "ndcg@5": pytest.approx((1 + 1 / 2) / 4),
        "hr@10": 0.75,
        "mrr@10": pytest.approx((1 + 1 / 3 + 1 / 6) / 4),
        "ndcg@10": pytest.approx((1 + 1 / 2 + 1 / np.log2(7)) / 4),
    }
    assert all(type(value) is float for value in metrics.values())


def test_a_list_with_several_relevant_items_worked_out_by_hand():
    metrics = ranking_metrics([3, 1, MISSED, 7, 2], ks=[5], lists=np.array([0, 0, 0, 1, 1]))
    first = (1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)  # of three, places 1 and 3
    second = (1 / np.log2(3)) / (1 + 1 / np.log2(3))  # of two, place 2
    assert metrics == {
        "hr@5": 1.0,
        "mrr@5": pytest.approx((1 + 1 / 2) / 2),
        "ndcg@5": pytest.approx((first + second) / 2),
    }


def test_relevant_items_that_tie_share_the_last_places_of_the_tie():
    """Two of three level items are relevant: whatever stands first, places 2 and 3 are theirs."""
    tied = ranking_gains(np.array([3, 3]), ks=[2, 5], lists=np.array([0, 0]))
    assert tied == ranking_gains(np.array([2, 3]), ks=[2, 5], lists=np.array([0, 0]))
    missed = ranking_gains(np.array([MISSED, MISSED]), ks=[2], lists=np.array([0, 0]))
    assert all(gains.tolist() == [0.0] for gains in missed.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True), min_size=1))
def test_lists_are_measured_one_by_one(lists):
    rows = np.repeat(np.arange(len(lists)), [len(ranks) for ranks in lists])
    found = ranking_gains(np.concatenate(lists), lists=rows)
    for row, ranks in enumerate(lists):
        alone = ranking_gains(np.array(ranks), lists=np.zeros(len(ranks), int))
        assert {name: gains[row] for name, gains in found.items()} == {
            name: pytest.approx(gains[0]) for name, gains in alone.items()
        }
        assert alone["mrr@10"][0] <= alone["hr@10"][0] and alone["ndcg@10"][0] <= 1.0 + 1e-12
    if all(len(ranks) == 1 for ranks in lists):
        single = ranking_gains(np.concatenate(lists))
        assert all(np.array_equal(single[name], gains) for name, gains in found.items())


def test_default_cutoffs_and_prefix():
    names = [f"sampled_{name}@{k}" for k in (5, 10, 20) for name in ("hr", "mrr", "ndcg")]
    assert list(ranking_metrics([1], prefix="sampled_")) == names


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1), st.integers(1, 50), st.integers(1, 50))
def test_metrics_are_ordered_and_grow_with_k(ranks, k, more):
    metrics = ranking_metrics(ranks, ks=(k, k + more))
    assert 0 <= metrics[f"mrr@{k}"] <= metrics[f"ndcg@{k}"] <= metrics[f"hr@{k}"] <= 1
    for name in ("hr", "mrr", "ndcg"):
        assert metrics[f"{name}@{k}"] <= metrics[f"{name}@{k + more}"]


@pytest.mark.parametrize("ranks", [[], [0], [-3, 2], [1.5], [[1]], np.array(["a"])])
def test_bad_ranks(ranks):
    with pytest.raises(InputError, match="`ranks` should be .* Received: shape"):
        ranking_metrics(ranks)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "5"])
def test_bad_cutoffs(k):
    message = f"`k` should be a positive integer. Received: `k` = {k!r}."
    with pytest.raises(InputError) as error:
        ranking_metrics([1], ks=[k])
    assert str(error.value) == message


def test_no_cutoffs():
    with pytest.raises(InputError, match="`ks` should hold at least one"):
        ranking_metrics([1], ks=())


def test_importing_metrics_does_not_import_tensorflow():
    code = "import sys, keras_peterrec.metrics; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_whole_gains_are_those_of_users():
    ranks, owners = np.array([1, 3, 7, 1]), np.array([0, 0, 0, 1])
    expected = np.array([1 + 0.5 + 1 / 3, 1.0]) * 2 / 4
    np.testing.assert_allclose(whole_gains(ranks, owners), expected)
    assert whole_gains(ranks, owners).mean() == pytest.approx((1 + 0.5 + 1 / 3 + 1) / 4)
