"""Turns of the sides, with workers that only say that they work."""

import shutil
import sys
from pathlib import Path

import pytest

from keras_peterrec.benchmarks.measurement import Side, measure
from keras_peterrec.benchmarks.train_configuration import TrainConfiguration
from keras_peterrec.benchmarks.worker import WorkerError

CONFIGURATION = TrainConfiguration(
    items=50, hidden_dim=4, blocks=1, length=5, batch_size=2, loss="backbone"
)


@pytest.fixture
def measured(tmp_path):
    script = tmp_path / "fake_worker.py"
    shutil.copy(Path(__file__).with_name("fake_worker.py"), script)

    def run(*variants, rounds=2):
        sides = [Side("side", [sys.executable, script], variant) for variant in variants]
        skipped = []
        rows = measure(
            CONFIGURATION, sides, rounds, 3, tmp_path, lambda *skip: skipped.append(skip)
        )
        return rows, skipped, (tmp_path / "turns.log").read_text().split("\n")[:-1]

    return run


def test_sides_take_turns_and_never_run_at_once(measured):
    _, _, turns = measured("a", "b")
    assert turns[::2] == [
        "a begins run",
        "b begins run",
        "a begins multiply",
        "b begins run",
        "a begins run",
        "a begins multiply",
    ]
    # Whoever begins ends before another begins.
    assert turns[1::2] == [turn.split()[0] + " ends" for turn in turns[::2]]


def test_numbers_of_a_row_belong_together(measured):
    rows, skipped, _ = measured("a", "b")
    assert not skipped and [row["side"] for row in rows] == ["side a", "side b"]
    for row in rows:
        assert len(row["step_ms"]["all"]) == 6
        assert row["step_ms"]["median"] == row["step_ms"]["min"] == 40.0
        assert row["tokens_per_second"] == pytest.approx(10 / 0.040)
        assert row["operations"] == 3 * 2 * 10 * (2 * 3 * 4 * 4)
        assert row["operations_per_second"] == pytest.approx(row["operations"] / 0.040)
        # Three products of 2 · 10 · 12 · 4 operations in 10 ms each.
        assert row["matmul_rates"]["products"] == pytest.approx(2 * 10 * 12 * 4 / 0.010)
        assert row["share_of_products"] == pytest.approx(
            row["operations_per_second"] / row["matmul_rates"]["products"]
        )
        assert row["times_ours"] == 1.0


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("broken", "a module is missing"),
        ("unwilling", "not in this precision"),
        ("dying", "out of memory"),
    ],
)
def test_reference_that_fails_drops_out(measured, variant, reason):
    rows, skipped, _ = measured("a", variant, "b")
    assert [row["side"] for row in rows] == ["side a", "side b"]
    assert skipped == [(f"side {variant}", reason)]
    assert all(len(row["step_ms"]["all"]) == 6 for row in rows)


def test_our_own_side_that_fails_is_an_error(measured):
    with pytest.raises(WorkerError, match="out of memory"):
        measured("dying", "b")
