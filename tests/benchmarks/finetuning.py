"""Fine-tuning under `patch`, `head` and `all` side by side: step time and memory.

    python tests/benchmarks/finetuning.py [--items 20000] [--targets 5000] [--users 6000]

Each method trains in a process of its own, on the same made-up data, through the code of
`transfer`. A step is one batch, in the median over the epochs but for the first, which
compiles. "Once" is what is spent before the first step: under `head` the host's one run
over the users of training and validation. Memory is the most that was resident.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time

METHODS = ("patch", "head", "all")
SIZES = {
    "items": 20_000,
    "targets": 5_000,
    "users": 6_000,
    "channels": 64,
    "blocks": 8,
    "length": 100,
    "batch": 128,
    "steps": 30,
    "epochs": 4,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(train(options)))
        return
    print(", ".join(f"{name} {getattr(options, name):,}" for name in SIZES))
    print("| method | trained | once, s | ms a step | MB before training | peak MB |")
    print("|---|---|---|---|---|---|")
    for method in METHODS:
        command = [sys.executable, __file__, *sys.argv[1:], "--method", method]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        cells = "{trained:,} | {once:.1f} | {step:.2f} | {before:.0f} | {peak:.0f}"
        print(f"| {method} | {cells.format(**found)} |", flush=True)


def train(options):
    """Trains under one method; what its row of the table says."""
    import keras

    from keras_peterrec.network.convolution import ConvolutionNetwork
    from keras_peterrec.runs.task_parts import by_rows, on_states
    from keras_peterrec.transfer.strategies import build_task

    keras.utils.set_random_seed(0)
    data = make_data(options)
    host = ConvolutionNetwork(options.items + 4, options.channels, (1, 4) * (options.blocks // 2))
    model = build_task(host, data.new_head(), options.method, dropout=0.5)
    before, began = peak_mb(), time.perf_counter()
    by = on_states if options.method == "head" else by_rows
    parts = by(model, data, options.batch, seed=0, steps=options.steps)
    trained, batches = parts.model, parts.batches
    once = time.perf_counter() - began
    marks = []
    clock = keras.callbacks.LambdaCallback(
        # From the first step's end to the last one's: without the epoch's start.
        on_train_batch_end=lambda batch, logs: (
            marks.append(time.perf_counter()) if batch in (0, options.steps - 1) else None
        )
    )
    trained.compile(keras.optimizers.Adam(), data.loss(), jit_compile=True)
    trained.fit(batches, epochs=options.epochs, verbose=0, shuffle=False, callbacks=[clock])
    epochs = [last - first for first, last in zip(marks[::2], marks[1::2])]
    return {
        "trained": sum(math.prod(weight.shape) for weight in trained.trainable_variables),
        "once": once,
        "step": 1e3 * statistics.median(epochs[1:]) / (options.steps - 1),
        "before": before,
        "peak": peak_mb(),
    }


def make_data(options):
    """Random histories, and one target event for each user."""
    import numpy as np

    from keras_peterrec.log.events import Events
    from keras_peterrec.log.vocabulary import Vocabulary
    from keras_peterrec.settings.transfer import SplitSettings
    from keras_peterrec.tasks.recommendation import RecommendationData

    generator = np.random.default_rng(0)
    users = np.arange(options.users).astype(str)
    items = np.arange(options.items).astype(str)
    events = options.users * options.length
    source = Events.from_columns(
        np.repeat(users, options.length), generator.choice(items, events), np.arange(events)
    )
    # Every target is somebody's.
    chosen = generator.permutation(np.resize(np.arange(options.targets), options.users))
    target = Events.from_columns(users, chosen.astype(str), np.full(options.users, events))
    sequences = source.encode(Vocabulary(items))
    settings = SplitSettings(cut_history=False)
    return RecommendationData(sequences, target, options.length, settings)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
