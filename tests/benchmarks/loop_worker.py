"""Longer training than a few steps: a worker, see `keras_peterrec.benchmarks.worker`.

Beside a configuration it is told `log`, `max_length` and `models`. It answers

    to `epoch`      seconds of one epoch of `pretrain` on the log, and what the epoch has
    to `models same`, `models different`
                    the resident memory after each of several models of a task, trained for a step
                    and dropped: all of one form, or each with another width of its patches
"""

import contextlib
import ctypes
import gc
import json
import sys
import time

import keras
import numpy as np
import psutil
from train_worker import LEARNING_RATE

from keras_peterrec.log.sources import load_log
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.host_life import new_pretrainer, training_batches
from keras_peterrec.runs.pretraining_log import encode_log
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.training.fit import compile_model, worth_compiling
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.strategies import build_task

SMALLEST_WIDTH = 8


def epoch(configuration):
    """Trains an epoch as `pretrain` does; the first step, which compiles, comes before."""
    taken = {name: configuration[name] for name in ("hidden_dim", "blocks", "max_length", "seed")}
    # The network that the reference trains too.
    settings = PretrainSettings(configuration["log"], "", network="convolution", **taken)
    settings = settings.sized(0, 0)
    log = load_log(settings.log)
    sequences, vocabulary, _ = encode_log(log)
    with seeded(settings.seed):
        model = new_pretrainer(settings, len(vocabulary))
        batches = training_batches(model, sequences, settings)
        compiles = worth_compiling(model, batches, settings.epochs)
        compile_model(model, None, settings.learning_rate, compiles)
        model.fit(batches.take(1), verbose=0, shuffle=False)
        began = time.perf_counter()
        model.fit(batches, verbose=0, shuffle=False)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "steps": int(batches.cardinality()),
        "events": len(log),
        "items": len(log.item_ids),
    }


def models(configuration, widths):
    """Builds, compiles, trains and drops models of a task, whose patches have these widths."""
    taken = {name: configuration[name] for name in ("hidden_dim", "blocks")}
    host = ConvolutionNetwork(configuration["items"] + FIRST_ITEM, **taken)
    shape = configuration["batch_size"], configuration["length"]
    random = np.random.default_rng(configuration["seed"])
    history = random.integers(FIRST_ITEM, FIRST_ITEM + configuration["items"], shape, "int32")
    answers = np.arange(len(history)) % 2
    resident_bytes = []
    for width in widths:
        model = build_task(host, LinearHead(2), patch=f"bottleneck:{width}")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        compile_model(model, loss, LEARNING_RATE)
        model.train_on_batch(history, answers)
        del model
        resident_bytes.append(_resident_bytes())
    return {"resident_bytes": resident_bytes}


def _resident_bytes():
    """The memory that is in use: what is free is given back to the system first."""
    gc.collect()
    with contextlib.suppress(AttributeError, TypeError):  # only glibc can
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def start():
    configuration = json.loads(sys.argv[-1])

    def models_of(kind):
        grows = kind == "different"
        widths = [SMALLEST_WIDTH + grows * number for number in range(configuration["models"])]
        return models(configuration, widths)

    answers = {"epoch": lambda: epoch(configuration), "models": models_of}
    return {"name": "keras_peterrec"}, answers
