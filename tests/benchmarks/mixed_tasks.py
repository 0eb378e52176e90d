"""Batches in which every row has its own task, beside batches of one task: time, memory.

    python tests/benchmarks/mixed_tasks.py [--patch bottleneck:8] [--tasks 100]
    python tests/benchmarks/mixed_tasks.py --tasks 1000 --rounds 0

Tasks are as `transfer` makes them, but for their weights, which are made up and read from bundles.
With `--rounds 0`, memory alone.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_peterrec as kp
from keras_peterrec.benchmarks.report import describe_machine
from keras_peterrec.files.weights_file import write_weights
from keras_peterrec.tasks.classification import Classification

MIB = 2**20

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--patch", default="bottleneck:8")
parser.add_argument("--tasks", type=int, default=100)
parser.add_argument("--items", type=int, default=50_000)
parser.add_argument("--channels", type=int, default=64)
parser.add_argument("--blocks", type=int, default=8)
parser.add_argument("--length", type=int, default=50)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--rounds", type=int, default=60)


def resident():
    """Bytes of memory this process has now."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make_host(options):
    backbone = kp.ConvolutionNetwork(
        options.items, options.channels, (1, 4) * (options.blocks // 2)
    )
    vocabulary = kp.Vocabulary([f"i{number}" for number in range(options.items - 4)])
    return kp.Host(kp.CausalPretrainer(backbone, tied=True), vocabulary, options.length)


def write_bundles(host, options, folder):
    """Writes the tasks' bundles; returns their folders, and bytes of their weights."""
    kind, reads = Classification(list("abcdefg")), host.task_settings()
    model = kp.build_task(host.backbone, kind.new_head(), "patch", options.patch, **reads)
    kp.Task(model, "patch", kind).save(folder / "0", host)
    saved = (folder / "0" / "task.json").read_bytes()
    shapes = {path: weight.shape for path, weight in model.task_weights().items()}
    size = 0
    for seed in range(options.tasks):
        rng = np.random.default_rng(seed)
        arrays = {path: rng.normal(0, 0.05, s).astype("float32") for path, s in shapes.items()}
        (folder / str(seed)).mkdir(exist_ok=True)
        (folder / str(seed) / "task.json").write_bytes(saved)
        write_weights(folder / str(seed) / "weights.npz", arrays)
        size += sum(array.nbytes for array in arrays.values())
    return [folder / str(seed) for seed in range(options.tasks)], size


def measure(sides, rounds):
    """Median milliseconds of each side; they take turns, five rounds to warm up."""
    times = {name: [] for name in sides}
    for turn in range(rounds + 5):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if turn >= 5:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def compare_times(host, mixed, task, options):
    width = host.history_length(task.model)
    rng = np.random.default_rng(0)
    history = rng.integers(4, options.items, (options.batch, width)).astype("int32")
    place = rng.integers(0, options.tasks, options.batch).astype("int32")
    single = tf.function(lambda ids: task.model.user_states(ids))
    mixed_call = tf.function(lambda ids, place: mixed({"history": ids, "place": place}))
    sides = {
        "one task": lambda: single(history).numpy(),
        "mixed": lambda: mixed_call(history, place).numpy(),
    }
    medians = measure(sides, options.rounds)
    print(f"B {options.batch}, histories of {width}, of which the convolutions read L")
    for name, value in medians.items():
        print(f"{name}: {value:.2f} ms")
    print(f"mixed / one task: {medians['mixed'] / medians['one task']:.2f}")


def main():
    options = parser.parse_args()
    host = make_host(options)
    with tempfile.TemporaryDirectory() as folder:
        folders, size = write_bundles(host, options, Path(folder))
        files = sum(path.stat().st_size for path in Path(folder).rglob("*.npz"))
        kp.MixedTasks.load(folders[:1], host)  # what TensorFlow keeps of any first model
        before = resident()
        mixed = kp.MixedTasks.load(folders, host)
        grown = resident() - before
        task = kp.Task.load(folders[0], host)
    held = sum(weight.numpy().nbytes for weight in mixed.task_variables())
    print(f"machine: {describe_machine()}")
    print(
        f"{options.patch}, {options.tasks} tasks, V {options.items}, C {options.channels}, "
        f"L {options.length}"
    )
    print(
        f"bundles: {size / MIB:.1f} MiB of weights, {files / MIB:.1f} in files; "
        f"held: {held / MIB:.1f} in variables, {grown / MIB:.1f} more resident"
    )
    if options.rounds:
        compare_times(host, mixed, task, options)


if __name__ == "__main__":
    main()
