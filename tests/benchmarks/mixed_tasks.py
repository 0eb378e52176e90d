"""Batches in which every row has its own task, beside batches of one task: time, memory.

    python tests/benchmarks/mixed_tasks.py [--patch bottleneck:8] [--tasks 100]
"""

import argparse
import os
import statistics
import time

import numpy as np

import keras_peterrec as kp
from keras_peterrec.benchmarks.machine import describe_machine

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
    """MiB of memory this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def make_task(host, patch, seed):
    model = kp.build_task(host, kp.ClassifierHead(7), "patch", patch)
    rng = np.random.default_rng(seed)
    for weight in model.task_weights().values():
        weight.assign(rng.normal(0, 0.05, weight.shape))
    return kp.Task(model, "patch", classes=list("abcdefg"))


def main():
    options = parser.parse_args()
    host = kp.Backbone(options.items, options.channels, (1, 4) * (options.blocks // 2))
    one = make_task(host, options.patch, 0)
    tasks = {"0": one}
    for seed in range(1, options.tasks):
        tasks[str(seed)] = make_task(host, options.patch, seed)
    mixed = kp.MixedTasks.of_tasks(tasks)
    rng = np.random.default_rng(0)
    history = rng.integers(4, options.items, (options.batch, options.length)).astype("int32")
    place = rng.integers(0, options.tasks, options.batch).astype("int32")
    single = one.model.user_states
    import tensorflow as tf

    compiled = tf.function(lambda ids: single(ids))
    mixed_call = tf.function(lambda ids, place: mixed({"history": ids, "place": place}))
    sides = {
        "one task": lambda: compiled(history).numpy(),
        "mixed": lambda: mixed_call(history, place).numpy(),
    }
    times = {name: [] for name in sides}
    for turn in range(options.rounds + 5):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if turn >= 5:
                times[name].append(1000 * (time.perf_counter() - began))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"machine: {describe_machine()}")
    print(f"{options.patch}, {options.tasks} tasks, B {options.batch}, L {options.length}")
    for name, value in medians.items():
        print(f"{name}: {value:.2f} ms")
    print(f"mixed / one task: {medians['mixed'] / medians['one task']:.2f}")
    bundles = sum(
        weight.numpy().nbytes for task in tasks.values() for weight in task.model.task_weights().values()
    )
    held = sum(weight.numpy().nbytes for weight in mixed.task_variables())
    print(f"weights of the {options.tasks} tasks: {bundles / 2**20:.1f} MiB; held: {held / 2**20:.1f}")


if __name__ == "__main__":
    main()
