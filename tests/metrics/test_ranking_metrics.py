"""HR, MRR and NDCG with one relevant item each."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.metrics import ranking_metrics


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
