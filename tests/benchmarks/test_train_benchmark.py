"""`keras-peterrec benchmark train` as a person types it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_peterrec.benchmarks import train
from keras_peterrec.benchmarks.matmul_rate import matmul_seconds
from keras_peterrec.benchmarks.train_configuration import TrainConfiguration
from keras_peterrec.benchmarks.train_worker import Steps, build_model
from keras_peterrec.errors import InputError

SMALL = {"items": 60, "hidden_dim": 4, "blocks": 1, "length": 6, "batch_size": 3, "negatives": 7}
FAKE = Path(__file__).with_name("fake_worker.py")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "keras_peterrec", "benchmark", "train", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command's folder and what it printed; the reference is always 40 ms."""
    folder = tmp_path_factory.mktemp("benchmark")
    fake = folder / "fake_worker.py"  # its log stays out of the tree
    fake.write_text(FAKE.read_text())
    small = [word for k, v in SMALL.items() for word in (f"--{k.replace('_', '-')}", v)]
    done = run(
        *small,
        "--sweep",
        "items=50,60",
        "--loss",
        "sampled",
        "--rounds",
        2,
        "--steps",
        2,
        "--reference",
        fake,
        "--reference-variant",
        "a",
        "--reference-variant",
        "broken",
        "--out",
        folder / "out",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(done.stdout)


def test_files_say_what_was_printed(finished):
    out, result = finished
    assert json.loads((out / "metrics.json").read_text()) == result
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(result["rows"]) == 4
    for line, row in zip(lines, result["rows"]):
        assert (line["side"], int(line["items"])) == (row["side"], row["items"])
        assert float(line["step_ms"]) == row["step_ms"]["median"]
    table = (out / "table.md").read_text()
    assert result["machine"]["processor"] in table
    assert table.count("| items | 50 |") == 3  # two sides, and our bounds
    assert "fake_worker broken: a module is missing" in table
    assert plt.imread(out / "plot.png").std() > 0


def test_numbers_are_consistent(finished):
    _, result = finished
    ours, reference = (
        [row for row in result["rows"] if row["side"] == side]
        for side in ("keras_peterrec", "fake_worker a")
    )
    assert [row["items"] for row in ours] == [row["items"] for row in reference] == [50, 60]
    for row in ours:
        assert row["tokens"] == 18 and len(row["step_ms"]["all"]) == 4
        assert row["tokens_per_second"] == pytest.approx(18e3 / row["step_ms"]["median"])
        assert row["step_ms"]["min"] <= row["step_ms"]["median"]
        assert row["peak_bytes"] > row["start_bytes"] > 0
        assert row["share_of_square"] == pytest.approx(
            row["operations"] / (row["step_ms"]["median"] / 1e3) / row["matmul_rates"]["square"]
        )
        assert 0 < row["loss_value"] < 20
    for row, our in zip(reference, ours):
        turns = np.median(np.reshape(our["step_ms"]["all"], (2, 2)), axis=1)
        assert row["times_ours"] == pytest.approx(np.median(40.0 / turns))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sweep", "heads"), "`sweep` should be one of items, length, batch, channels"),
        (("--reference", "nowhere.py"), "`reference` should be a script"),
        (("--steps", "0"), "`steps` should be a positive integer"),
        (("--out", str(FAKE.parent)), "`out` should be a new folder"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"keras-peterrec: error: {message}")
    assert done.stderr.count("\n") == 1


def test_help_names_what_is_measured():
    done = run("--help")
    assert done.returncode == 0 and "--sweep" in done.stdout


def test_full_softmax_beyond_memory_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(train, "memory_bytes", lambda: 1000)
    with pytest.raises(InputError, match="nothing could be measured: the scores"):
        train.benchmark_train(loss=["full"], **SMALL)


def test_backbone_alone_is_trained_on_the_squares_of_its_states():
    configuration = TrainConfiguration(**SMALL, loss="backbone")
    model = build_model(configuration)
    batches = configuration.batches()
    states = keras.ops.convert_to_numpy(model(batches[0, :, :-1]))
    model.optimizer.learning_rate = 0.01
    steps = Steps(model, batches[:1])
    assert steps.step() == pytest.approx(float(np.sum(states**2)), rel=1e-5)
    for _ in range(40):
        steps.step()
    after = keras.ops.convert_to_numpy(model(batches[0, :, :-1]))
    assert np.sum(after**2) < 0.7 * np.sum(states**2)


def test_steps_go_round_the_batches():
    configuration = TrainConfiguration(**SMALL, loss="full")
    batches = configuration.batches()[:2]
    model = build_model(configuration)
    model.optimizer.learning_rate = 0.0
    steps, losses = Steps(model, batches), []
    for _ in range(4):
        model.reset_metrics()
        losses.append(steps.step())
    assert losses[0] != losses[1] and losses[:2] == pytest.approx(losses[2:], rel=1e-6)
    assert len(steps.run(3)["milliseconds"]) == 3


def test_every_product_is_timed():
    seconds = matmul_seconds(tokens=32, channels=4, compute_dtype="bfloat16", repeats=1)
    assert set(seconds) == {"forward", "input_gradient", "kernel_gradient", "square"}
    assert all(0 < value < 60 for value in seconds.values())
