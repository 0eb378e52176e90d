"""Two workers on loopback, and two devices of one process, train as one device does."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from training.recorded_run import circle_log, train

from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.transfer.host import Host

RUN = Path(__file__).parent / "recorded_run.py"
SECONDS = 400  # of one job, on a busy machine
SMALL = {
    "hidden_dim": 8,
    "blocks": 1,
    "max_length": 8,
    "epochs": 3,
    "batch_size": 8,
    "dropout": 0.0,
}
TASK = {"epochs": 2, "batch_size": 8, "dropout": 0.0}


def start(folder, name, runs, environment=None, cpus=None):
    """Starts a process that trains `runs`, one after the other."""
    settings = {"runs": runs, "cpus": cpus}
    (folder / f"{name}.settings").write_text(json.dumps(settings, default=str))
    return subprocess.Popen(
        [sys.executable, str(RUN), str(folder / f"{name}.settings")],
        stderr=(folder / f"{name}.stderr").open("w"),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **(environment or {}),
        },
    )


def finish(processes, until=all):
    """Waits until all (or any) processes have ended, then kills the rest.

    Returns the exit statuses.
    """
    end = time.monotonic() + SECONDS
    try:
        while not until(p.poll() is not None for p in processes):
            assert time.monotonic() < end, "took too long"
            time.sleep(0.1)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return [p.returncode for p in processes]


def notes_of(folder, name):
    found = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as weights:
        found["weights"] = [weights[key] for key in weights.files]
    return found


def start_two(folder, runs, second=None):
    """Starts runs, `{command: arguments}` or `{command.name: arguments}`, on two workers.

    Each worker has its own folder, so anything in the second worker's is a mistake.
    `second` holds extra settings of the second worker's first run.
    """
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other)]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        settings = [
            {
                "command": command.partition(".")[0],
                "arguments": {**arguments, "out": folder / f"{command}{index}"},
                "notes": folder / f"{command}{index}.notes",
            }
            for command, arguments in runs.items()
        ]
        settings[0].update(second or {} if index else {})
        environment = {"TF_CONFIG": json.dumps(task)}
        processes.append(start(folder, f"worker{index}", settings, environment))
    return processes


def run_two(folder, runs):
    """Trains on two workers; their notes, `{command: [first's, second's]}`."""
    assert finish(start_two(folder, runs)) == [0, 0], errors(folder)
    return {
        command: [notes_of(folder, f"{command}{index}.notes") for index in range(2)]
        for command in runs
    }


def errors(folder):
    return "\n".join(file.read_text()[-3000:] for file in folder.glob("*.stderr"))


def assert_close(weights, others, atol=2e-5):
    assert len(weights) == len(others)
    for one, other in zip(weights, others):
        np.testing.assert_allclose(one, other, atol=atol, rtol=1e-4)


def losses(notes):
    return [logs["loss"] for logs in notes["logs"]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One device, the same global batch."""
    return train("pretrain", {**SMALL, "out": tmp_path_factory.mktemp("alone") / "run"})


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two workers pretrain a host and then two tasks on it."""
    folder = tmp_path_factory.mktemp("together")
    task = {**TASK, "host": folder / "pretrain0"}
    log = circle_log()
    prepare_in_process(log, Plan.of(log, shards=4), folder / "prepared")
    streamed = {**SMALL, "log": str(folder / "prepared")}
    runs = {"pretrain": SMALL, "transfer": task, "classify": task, "pretrain.streamed": streamed}
    return folder, run_two(folder, runs)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pretrain", "transfer", "classify", "pretrain.streamed"])
def test_two_workers_have_the_same_weights_to_the_bit(together, command):
    one, other = together[1][command]
    assert len(one["weights"]) == len(other["weights"]) > 5
    for weight, same in zip(one["weights"], other["weights"]):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.slow
def test_two_workers_train_as_one_does(together, alone):
    one, _ = together[1]["pretrain"]
    assert losses(one) == pytest.approx(losses(alone), rel=1e-5)
    assert_close(one["weights"], alone["weights"])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["transfer", "classify"])
def test_two_workers_train_a_task_as_one_does(together, command, tmp_path):
    folder, notes = together
    one, _ = notes[command]
    task = {**TASK, "host": folder / "pretrain0", "out": tmp_path / "alone"}
    alone = train(command, task)
    assert losses(one) == pytest.approx(losses(alone), rel=1e-5)
    assert_close(one["weights"], alone["weights"])
    # What is measured of the finished task, calibrated where it classifies.
    for split, metrics in alone["result"]["metrics"].items():
        assert one["result"]["metrics"][split] == pytest.approx(metrics, abs=1e-4)


@pytest.mark.slow
def test_two_workers_read_their_own_shards(together, alone):
    one, other = together[1]["pretrain.streamed"]
    assert {tuple(shards) for shards in one["shards"]} == {(0, 2)}
    assert {tuple(shards) for shards in other["shards"]} == {(1, 3)}
    # Other users share a batch, so the losses are only about those of one worker.
    assert losses(one) == pytest.approx(losses(alone), rel=0.1)
    assert one["result"]["data"]["events"] == alone["result"]["data"]["events"]


@pytest.mark.slow
def test_both_workers_see_the_same_logs_and_result(together, alone):
    for one, other in together[1].values():
        assert one["logs"] == other["logs"]
        assert one["result"] == other["result"]
    one, _ = together[1]["pretrain"]
    assert {"val_ndcg@10", "improved", "loss"} <= one["logs"][0].keys()
    assert one["result"].keys() == alone["result"].keys()


@pytest.mark.slow
def test_chief_alone_writes(together):
    folder, notes = together
    assert not list(folder.glob("*1/"))  # pretrain1, transfer1
    written = json.loads((folder / "pretrain0" / "metrics.json").read_text())
    assert written == notes["pretrain"][0]["result"]
    assert list((folder / "pretrain0" / "logs" / "train").glob("*"))
    assert (folder / "pretrain0" / "state" / "state.json").exists()  # its epochs were over
    Host.load(folder / "pretrain0")
    assert (folder / "transfer0" / "task.json").exists()


@pytest.mark.slow
def test_killed_job_goes_on_and_ends_as_if_nothing_had_been(together, tmp_path):
    straight, _ = together[1]["pretrain"]
    processes = start_two(tmp_path, {"pretrain": SMALL}, second={"die_after": 0})
    # In its second epoch a worker is killed; the cluster's manager ends the other.
    assert -9 in finish(processes, until=any), errors(tmp_path)
    assert (tmp_path / "pretrain0" / "state" / "state.json").exists()
    one, other = run_two(tmp_path, {"pretrain": SMALL})["pretrain"]
    assert len(one["logs"]) == 2 and one["logs"] == other["logs"]
    assert losses(one) == pytest.approx(losses(straight)[1:], rel=1e-5)
    assert_close(one["weights"], straight["weights"], atol=1e-6)
    assert one["result"]["metrics"] == straight["result"]["metrics"]
    assert not (tmp_path / "pretrain1").exists()


@pytest.mark.slow
def test_killed_training_from_shards_goes_on_and_ends_as_if_nothing_had_been(tmp_path):
    log = circle_log()
    prepare_in_process(log, Plan.of(log, shards=4), tmp_path / "prepared")
    # Epochs end in the middle of a pass, which has some eight steps.
    arguments = {**SMALL, "log": str(tmp_path / "prepared"), "steps_per_epoch": 3, "dropout": 0.3}
    run = lambda name, **more: {
        "command": "pretrain",
        "arguments": {**arguments, "out": tmp_path / f"{name}_run"},
        "notes": tmp_path / name,
        "chunk_events": 80,
        **more,
    }
    assert finish([start(tmp_path, "dies", [run("killed", die_after=0)])]) == [-9]
    runs = [run("killed"), run("straight")]
    assert finish([start(tmp_path, "goes_on", runs)]) == [0], errors(tmp_path)
    killed, straight = (notes_of(tmp_path, name) for name in ("killed", "straight"))
    assert len(killed["logs"]) == 2 and len(straight["logs"]) == 3
    assert len({tuple(shards) for shards in straight["shards"]}) > 1
    assert losses(killed) == pytest.approx(losses(straight)[1:], rel=1e-5)
    assert_close(killed["weights"], straight["weights"], atol=1e-6)


@pytest.mark.slow
def test_two_devices_of_one_process_train_as_one_does(alone, tmp_path):
    changes = {"plain": {}, "dropout": {"dropout": 0.3, "epochs": 1}}
    runs = [
        {
            "command": "pretrain",
            "arguments": {**SMALL, **change, "out": tmp_path / f"{name}_run", "devices": 2},
            "notes": tmp_path / name,
        }
        for name, change in changes.items()
    ]
    assert finish([start(tmp_path, "both", runs, cpus=2)]) == [0], errors(tmp_path)
    both = notes_of(tmp_path, "plain")
    assert losses(both) == pytest.approx(losses(alone), rel=1e-5)
    assert_close(both["weights"], alone["weights"])
    # Each device has dropped what the other has not, as often as the other.
    states = notes_of(tmp_path, "dropout")["random_states"]
    assert len(states) == 2
    for (seed, drawn), (other_seed, other_drawn) in states:
        assert seed != other_seed and drawn == other_drawn > 1
