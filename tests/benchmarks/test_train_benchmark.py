"""`train.py` as a person types it, and the turns that its sides take."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import loop_worker
import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
import train
from train import (
    TrainBenchmarkSettings,
    _bars,
    _plot_columns,
    benchmark_train,
    configurations,
    measure_loops,
    save_bars,
)
from train_turns import FIRST_ITEM, made_batches, measure
from train_worker import Steps, build_model

from keras_peterrec.benchmarks.report import save_plot
from keras_peterrec.errors import InputError

SMALL = {"items": 60, "hidden_dim": 4, "blocks": 1, "length": 6, "batch_size": 3, "negatives": 7}
FAKE = Path(__file__).with_name("fake_worker.py")


def configuration(loss="full", **changes):
    """What the workers are told."""
    settings = TrainBenchmarkSettings(**{**SMALL, **changes}, loss=(loss,))
    ((_, found),) = configurations(settings)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and what lies there; the reference is always 40 ms."""
    folder = tmp_path_factory.mktemp("benchmark")
    fake = folder / "fake_worker.py"  # its log stays out of the tree
    shutil.copy(FAKE, fake)
    words = [word for k, v in SMALL.items() for word in (f"--{k.replace('_', '-')}", v)]
    words += ["--sweep", "items=60", "--loss", "sampled", "--rounds", 2, "--steps", 2]
    words += ["--reference", fake, "--reference-variant", "a", "--reference-variant", "broken"]
    words += ["--out", folder / "out"]
    command = [sys.executable, Path(__file__).with_name("train.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## Training steps")
    return folder / "out", json.loads((folder / "out" / "metrics.json").read_text())


@pytest.mark.slow
def test_files_say_the_same(finished):
    out, result = finished
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(result["rows"]) == 2
    for line, row in zip(lines, result["rows"]):
        assert (line["side"], int(line["items"])) == (row["side"], row["items"])
        assert float(line["step_ms"]) == row["step_ms"]
        assert "all_ms" not in line
    table = (out / "table.md").read_text()
    assert result["machine"]["processor"] in table
    steps, parts = table.split("## Parts of our step, ms")
    assert steps.count("| items | 60 ") == 2 and parts.count("| items | 60 ") == 1
    assert "fake_worker broken: a module is missing" in table
    assert plt.imread(out / "plot.png").std() > 0


@pytest.mark.slow
def test_numbers_are_consistent(finished):
    _, result = finished
    ours, reference = (
        [row for row in result["rows"] if row["side"] == side]
        for side in ("keras_peterrec", "fake_worker a")
    )
    assert [row["items"] for row in ours] == [row["items"] for row in reference] == [60]
    for row in ours:
        assert row["tokens"] == 18 and len(row["all_ms"]) == 4
        assert row["tokens_per_second"] == pytest.approx(18e3 / row["step_ms"])
        assert row["min_ms"] <= row["step_ms"] == np.median(row["all_ms"])
        assert row["peak_bytes"] > row["start_bytes"] > 0
        assert 0 < row["loss_value"] < 20
        assert row["start_seconds"] > row["second_seconds"] > 0 and row["cached_seconds"] > 0
        assert sum(row["parts"].values()) == pytest.approx(1.0)
    for row, our in zip(reference, ours):
        turns = np.median(np.reshape(our["all_ms"], (2, 2)), axis=1)
        assert row["times_ours"] == pytest.approx(np.median(40.0 / turns))
        assert row["start_seconds"] > 0 and row["cached_seconds"] > 0
        assert row["second_seconds"] is None and row["parts"] is None
    assert result["loops"] == []  # not in a sweep


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sweep", "heads"), "`sweep` should be one of items, length, batch, channels"),
        (("--sweep", "items=many"), "`sweep` should be a name or name=integers"),
        (("--sweep", "items="), "`sweep` should be a name or name=integers"),
        (("--sweep", "items=10,-3"), "`items` should be a positive integer"),
        (("--sweep", "length=0,8"), "`length` should be a positive integer"),
        (("--loss", "bpr"), "`loss` should be one of backbone, sampled, full"),
        (("--items", "0"), "`items` should be a positive integer"),
        (("--reference", "nowhere.py"), "`reference` should be a script"),
        (("--steps", "0"), "`steps` should be a positive integer"),
        (("--models", "-1"), "`models` should be at least 0"),
        (("--log", "nowhere.csv"), "`path` should be a file that exists"),
        (("--out", str(FAKE.parent)), "`out` should be a new folder"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(words)
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == ""
    assert told.err.startswith(f"keras-peterrec: error: {message}")
    assert told.err.count("\n") == 1


def test_python_settings_are_checked_too():
    for change, message in (
        ({"negatives": 1.5}, "`negatives` should be an integer"),
        ({"precision": "float64"}, "`precision` should be one of"),
    ):
        with pytest.raises(InputError, match=message):
            TrainBenchmarkSettings(**change)


def test_full_softmax_beyond_memory_is_left_out(monkeypatch):
    memory = psutil.virtual_memory()._replace(total=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(InputError, match="nothing could be measured: the scores"):
        benchmark_train(TrainBenchmarkSettings(loss=("full",), **SMALL))


# Configurations


def test_no_sweep_is_one_configuration_with_every_loss():
    found = configurations(TrainBenchmarkSettings(loss=("backbone", "full")))
    assert [(name, each["loss"], each["items"]) for name, each in found] == [
        ("none", "backbone", 50_000),
        ("none", "full", 50_000),
    ]


def test_sweeps_change_one_setting_each():
    settings = TrainBenchmarkSettings(sweep=("items", "channels=16,24"), loss=("sampled",))
    found = configurations(settings)
    assert [(name, each["items"], each["hidden_dim"]) for name, each in found] == [
        ("items", 10_000, 64),
        ("items", 50_000, 64),
        ("items", 1_000_000, 64),
        ("channels", 50_000, 16),
        ("channels", 50_000, 24),
    ]


def test_lengths_are_compared_at_the_same_tokens():
    found = configurations(TrainBenchmarkSettings(sweep=("length",), loss=("sampled",)))
    assert [(each["length"], each["batch_size"]) for _, each in found] == [
        (64, 128),
        (512, 16),
        (4096, 2),
    ]


def test_batches_are_constant_and_log_uniform():
    large = configuration(items=300, batch_size=1000, length=7)
    batches = made_batches(large)
    assert batches.shape == (8, 1000, 8)
    assert batches.min() == FIRST_ITEM and batches.max() < FIRST_ITEM + 300
    share = np.mean(batches == FIRST_ITEM + 2)
    assert share == pytest.approx(np.log(4 / 3) / np.log(301), rel=0.1)
    assert np.array_equal(batches, made_batches(large))


def test_plot_without_a_sweep_has_the_losses_side_by_side(tmp_path):
    given = {"sweep": "none", "tokens_per_second": 9.0, "peak_bytes": 2**30, "step_ms": 8.0}
    rows = [{**given, "side": side, "loss": loss} for loss in ("full", "sampled") for side in "ab"]
    for row in rows:
        row["parts"] = {"products": 0.75, "idle": 0.25} if row["side"] == "a" else None
    columns = _plot_columns(rows)
    assert list(columns) == ["loss"]
    for lines in columns["loss"].values():
        assert [line.xs for line in lines] == [["full", "sampled"]] * 2
    bars = _bars(rows)
    assert bars == {loss: {"products": 6.0, "idle": 2.0} for loss in ("full", "sampled")}
    save_plot(tmp_path / "plot.png", "a machine", columns)
    save_bars(tmp_path / "parts.png", bars)
    assert plt.imread(tmp_path / "parts.png").std() > 0
    assert plt.imread(tmp_path / "plot.png").std() > 0


# Turns, with workers that only say that they work


@pytest.fixture
def measured(tmp_path):
    script = shutil.copy(FAKE, tmp_path / FAKE.name)

    def run(*variants, rounds=2):
        sides = {f"side {name}": ([sys.executable, script], name) for name in variants}
        rows, failed = measure(configuration("backbone"), sides, rounds, 3)
        return rows, failed, (tmp_path / "turns.log").read_text().split("\n")[:-1]

    return run


def test_sides_take_turns_and_never_run_at_once(measured):
    rows, failed, turns = measured("a", "b", rounds=3)
    order = ["a", "b", "b", "a", "a", "b"]
    assert turns == [f"{name} {what}" for name in order for what in ("begins run", "ends")]
    assert not failed and [row["side"] for row in rows] == ["side a", "side b"]
    for row in rows:
        assert row["all_ms"] == [40.0] * 9 and row["times_ours"] == 1.0
        assert row["tokens_per_second"] == pytest.approx(18 / 0.040)


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("broken", "a module is missing"),
        ("unwilling", "not in this precision"),
        ("dying", "out of memory"),
    ],
)
def test_reference_that_fails_drops_out(measured, variant, reason):
    rows, failed, _ = measured("a", variant, "b")
    assert [row["side"] for row in rows] == ["side a", "side b"]
    assert failed == {f"side {variant}": reason}
    assert all(len(row["all_ms"]) == 6 for row in rows)


def test_without_our_own_side_there_are_no_rows(measured):
    rows, failed, _ = measured("dying", "b")
    assert rows == [] and failed == {"side dying": "out of memory"}


def test_a_side_starts_again_with_the_caches_of_its_first_start(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(
        """
import os, sys, json, time
from pathlib import Path
cache = Path(os.environ["XDG_CACHE_HOME"])
assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(cache)
assert os.environ["KERAS_PETERREC_COMPILE_CACHE"] == "1"
if not cache.exists():
    time.sleep(1)
    cache.mkdir()
print(json.dumps({"name": "caching", "start_bytes": 1}), flush=True)
answer = {"milliseconds": [1.0], "peak_bytes": 2, "loss": 1.0, "parts": {}}
for request in sys.stdin:
    print(json.dumps(answer), flush=True)
"""
    )
    sides = {name: ([sys.executable, worker], None) for name in ("ours", "other")}
    rows, failed = measure(configuration("backbone"), sides, 1, 1)
    assert not failed
    for row in rows:
        assert row["cached_seconds"] < 1 < row["start_seconds"] < 60


# Our workers


@pytest.mark.slow
def test_models_in_a_row_and_an_epoch_of_a_log(tmp_path, monkeypatch):
    log = tmp_path / "log.csv"
    lines = [f"u{user},i{event % 7},{event}" for user in range(20) for event in range(user)]
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines]))
    told = {**configuration(), "log": str(log), "max_length": 5, "models": 3}
    monkeypatch.setattr(sys, "argv", ["loop_worker", json.dumps(told)])
    _, answers = loop_worker.start()
    for kind in ("same", "different"):
        resident = answers["models"](kind)["resident_bytes"]
        assert len(resident) == 3 and min(resident) > 50 * 2**20
    epoch = answers["epoch"]()
    assert epoch["events"] == len(lines) and epoch["items"] == 7
    assert epoch["steps"] >= 1 and epoch["seconds"] > 0


FAILING = [sys.executable, "-c", "raise ValueError('no file is called nowhere.csv')"]


@pytest.mark.parametrize("worker", [FAILING, pytest.param(train.LOOPS, marks=pytest.mark.slow)])
def test_a_loop_that_fails_says_why(worker, monkeypatch):
    monkeypatch.setattr(train, "LOOPS", worker)
    settings = TrainBenchmarkSettings(**SMALL, models=0, log="nowhere.csv")
    (loop,) = measure_loops(settings)
    assert "nowhere.csv" in loop["reason"]


def test_an_epoch_finds_what_was_downloaded_and_models_leave_the_cache_alone(monkeypatch):
    made = []

    class Asked:
        def __init__(self, command, settings, caches):
            made.append(caches)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def ask(self, request):
            return {"reason": "not now"}

    monkeypatch.setattr(train, "Worker", Asked)
    settings = TrainBenchmarkSettings(**SMALL, log="movielens-100k/source")
    *models, epoch = measure_loops(settings)
    assert len(models) == 2 and "movielens-100k/source" in epoch["what"]
    assert None not in made[:2] and made[2] is None


def test_backbone_alone_is_trained_on_the_squares_of_its_states():
    alone = configuration("backbone")
    model = build_model(alone)
    batches = made_batches(alone)
    states = keras.ops.convert_to_numpy(model(batches[0, :, :-1]))
    model.optimizer.learning_rate = 0.01
    steps = Steps(model, batches[:1])
    assert steps.step() == pytest.approx(float(np.sum(states**2)) / 18, rel=1e-5)
    for _ in range(40):
        steps.step()
    after = keras.ops.convert_to_numpy(model(batches[0, :, :-1]))
    assert np.sum(after**2) < 0.7 * np.sum(states**2)


def test_steps_go_round_the_batches():
    batches = made_batches(configuration())[:2]
    model = build_model(configuration())
    model.optimizer.learning_rate = 0.0
    steps, losses = Steps(model, batches), []
    for _ in range(4):
        model.reset_metrics()
        losses.append(steps.step())
    assert losses[0] != losses[1] and losses[:2] == pytest.approx(losses[2:], rel=1e-6)
    assert len(steps.run(3)["milliseconds"]) == 3
