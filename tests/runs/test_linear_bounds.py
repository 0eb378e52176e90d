"""The linear part of a host costs about as much as its training at most, by counted work."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_peterrec.linear import item_regression
from keras_peterrec.linear.bag import Bag
from keras_peterrec.log.event_split import VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs import host_linear, next_item
from keras_peterrec.runs.host_linear import Bounds, fit_linear, sparse_regression_of
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.settings.pretrain import PretrainSettings


def bounds(events, epochs=PretrainSettings.epochs, hidden_dim=64):
    log = SimpleNamespace(summary={"events": events})
    return Bounds.of(log, epochs, ConvolutionNetwork(9, hidden_dim))


def test_longer_trainings_may_have_larger_linear_parts():
    small, large = bounds(1_000_000, epochs=1), bounds(1_000_000)
    assert small.items < large.items and small.exact <= large.exact and small.rows <= large.rows
    assert bounds(1_000_000, epochs=1, hidden_dim=128).items > small.items
    assert bounds(10**9).items == 100_000 and bounds(10**9).exact == item_regression.EXACT_UP_TO
    default = ConvolutionNetwork(9).multiplications
    assert default == host_linear.BASE_MULTIPLICATIONS
    # MovieLens-100K and -1M are exact, whatever the epochs.
    assert bounds(100_000, epochs=1).is_exact(1_682) and bounds(1_000_000).is_exact(3_706)
    assert not bounds(100_000, epochs=1).is_exact(8_000)


@pytest.fixture(scope="module")
def log():
    """Users who view one of 40 items after the other, some of them again."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 12)
    items = (random.integers(0, 40, 200)[:, None] + np.arange(12)) % 40
    again = random.random(items.shape) < 0.3
    again[:, 0] = False
    items = np.where(again, np.roll(items, 1, axis=1), items).reshape(-1)
    columns = [f"u{user}" for user in users], [f"i{item}" for item in items], np.arange(len(users))
    found = PretrainingLog.of(Events.from_columns(*columns), 1)
    return found.deciding(True)


def test_its_line_says_how_many_items_take_part(log, monkeypatch, capsys):
    for module in (item_regression, host_linear):
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    parts = [
        fit_linear(log, sparse_regression_of, Bounds(exact=10, items=15, rows=500))
        for _ in range(2)
    ]
    assert "between the 15 most frequent of 40 items" in capsys.readouterr().err
    tables = [part.table.toarray() for part in parts]
    assert (tables[0] == tables[1]).all()
    # What every item of a history says of itself is beside the regression; see `copying`.
    np.fill_diagonal(tables[0], 0.0)
    assert np.count_nonzero(tables[0].any(axis=0)) <= 15


def test_sparse_scores_are_ranked_a_few_rows_at_a_time(log, monkeypatch):
    part = sparse_regression_of(log, Bag(1.0)).solve(5.0)
    for kept in (True, False):
        evaluation = NextItemEvaluation(log.sequences, 20, VALIDATION, kept)
        whole = evaluation.linear_gains(part, "ndcg@10").mean()
        monkeypatch.setattr(next_item, "SPARSE_ROWS", 7)
        assert evaluation.linear_gains(part, "ndcg@10").mean() == pytest.approx(whole)
        assert whole == pytest.approx(evaluation.measure_linear(part)["ndcg@10"], abs=0.02)
        monkeypatch.undo()
