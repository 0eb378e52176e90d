"""One more event of a user: a step from the state, beside the whole history computed anew.

    python tests/benchmarks/incremental.py [--patch bottleneck:8] [--burst 20]
    python tests/benchmarks/incremental.py --served

With `--served`, signatures of an export in a session, as a server calls them: strings in and
out, the state with them. Sides take turns of `--burst` calls: a server that takes in events takes
in many; with 1, a step finds the caches full of the other side's tensors.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import keras_peterrec as kp
from keras_peterrec.benchmarks.report import describe_machine
from keras_peterrec.tasks.classification import Classification

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--patch", default="bottleneck:8")
parser.add_argument("--items", type=int, default=50_000)
parser.add_argument("--channels", type=int, default=64)
parser.add_argument("--blocks", type=int, default=8)
parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200, 1000])
parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
parser.add_argument("--rounds", type=int, default=12)
parser.add_argument("--burst", type=int, default=20)
parser.add_argument("--served", action="store_true")


def make_model(options):
    host = kp.ConvolutionNetwork(options.items, options.channels, (1, 4) * (options.blocks // 2))
    model = kp.build_task(host, Classification(list("abcdefg")).new_head(), "patch", options.patch)
    rng = np.random.default_rng(0)
    for weight in model.task_weights().values():
        weight.assign(rng.normal(0, 0.05, weight.shape))
    return model


def medians(sides, options):
    """Milliseconds of each side; they take turns, so that what else runs falls on all."""
    times = {name: [] for name in sides}
    for turn in range(options.rounds + 1):
        for name, run in sides.items():
            for _ in range(options.burst):
                began = time.perf_counter()
                run()
                if turn:  # the first warms
                    times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def in_python(options):
    """Cells of the model's own functions: (users, length, milliseconds of each side)."""
    import tensorflow as tf

    from keras_peterrec.transfer.incremental_task import IncrementalTask

    model = make_model(options)
    task = IncrementalTask(model)
    whole = tf.function(lambda history: model(history, training=False))
    step = tf.function(task.step)
    rng = np.random.default_rng(0)
    for batch in options.batches:
        for length in options.lengths:
            history = rng.integers(4, options.items, (batch, length)).astype("int32")
            state, item = tf.constant(task.read(history[:, :-1])), tf.constant(history[:, -1])
            inputs = tf.constant(history)
            # Both know the same events now, so they must say the same.
            np.testing.assert_allclose(step(state, item)[1], whole(inputs), atol=1e-4)
            sides = {
                "step": lambda: step(state, item)[1].numpy(),
                "whole": lambda: whole(inputs).numpy(),
            }
            yield batch, length, medians(sides, options)


def served(options):
    """Cells of the signatures `age_step` and `age`."""
    from keras_peterrec.benchmarks.serve_direct import make_model
    from keras_peterrec.server.loaded_version import LoadedVersion
    from keras_peterrec.serving.signature_names import STATE

    for length in options.lengths:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "1"
            make_model(out, options.items, 10, options.channels, options.blocks, length, 0, True)
            signatures = LoadedVersion(out, 1).signatures
        whole, step = signatures["age"], signatures["age_step"]
        place = list(step.outputs).index(STATE)
        for batch in options.batches:
            drawn = np.random.default_rng(0).integers(0, options.items, (batch, length))
            histories = texts(" ".join(f"i{item}" for item in row) for row in drawn)
            seen, state = texts([""] * batch), texts([""] * batch)
            for items in drawn.T:
                events = {STATE: state, "item": texts(f"i{n}" for n in items), "seen": seen}
                state = step.run(events)[place]
            sides = {
                "step": lambda: step.run(events),
                "whole": lambda: whole.run({"history": histories}),
            }
            yield batch, length, medians(sides, options)


def texts(rows):
    return np.array([row.encode() for row in rows], dtype=object)


def main():
    options = parser.parse_args()
    print(f"machine: {describe_machine()}")
    what = "served" if options.served else options.patch
    print(f"{what}, V {options.items}, C {options.channels}, {options.blocks} blocks")
    for batch, length, found in (served if options.served else in_python)(options):
        print(
            f"B {batch}, L {length}: step {found['step']:.2f} ms, whole "
            f"{found['whole']:.2f} ms, {found['whole'] / found['step']:.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
