"""One more event of a user: a step from the state, beside the whole history computed anew.

    python tests/benchmarks/incremental.py [--patch bottleneck:8] [--rounds 60]
"""

import argparse
import statistics
import time

import numpy as np

import keras_peterrec as kp
from keras_peterrec.benchmarks.machine import describe_machine

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--patch", default="bottleneck:8")
parser.add_argument("--items", type=int, default=50_000)
parser.add_argument("--channels", type=int, default=64)
parser.add_argument("--blocks", type=int, default=8)
parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200, 1000])
parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
parser.add_argument("--rounds", type=int, default=60)


def make_model(options):
    host = kp.Backbone(options.items, options.channels, (1, 4) * (options.blocks // 2))
    model = kp.build_task(host, kp.ClassifierHead(7), "patch", options.patch)
    rng = np.random.default_rng(0)
    for weight in model.task_weights().values():
        weight.assign(rng.normal(0, 0.05, weight.shape))
    return model


def medians(sides, rounds):
    """Milliseconds of each side; they take turns, so that what else runs falls on all."""
    times = {name: [] for name in sides}
    for turn in range(rounds + 5):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if turn >= 5:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    options = parser.parse_args()
    import tensorflow as tf

    from keras_peterrec.transfer.incremental_task import IncrementalTask

    model = make_model(options)
    task = IncrementalTask(model)
    whole = tf.function(lambda history: model(history, training=False))
    step = tf.function(task.step)
    rng = np.random.default_rng(0)
    print(f"machine: {describe_machine()}")
    print(f"{options.patch}, V {options.items}, C {options.channels}, {options.blocks} blocks")
    for batch in options.batches:
        for length in options.lengths:
            history = rng.integers(4, options.items, (batch, length)).astype("int32")
            state, item = tf.constant(task.read(history[:, :-1])), tf.constant(history[:, -1])
            inputs = tf.constant(history)
            # Both know the same events now, so they must say the same.
            np.testing.assert_allclose(step(state, item)[1], whole(inputs), atol=1e-4)
            found = medians(
                {
                    "step": lambda: step(state, item)[1].numpy(),
                    "whole": lambda: whole(inputs).numpy(),
                },
                options.rounds,
            )
            print(
                f"B {batch}, L {length}: step {found['step']:.2f} ms, whole "
                f"{found['whole']:.2f} ms, {found['whole'] / found['step']:.1f} times"
            )


if __name__ == "__main__":
    main()
