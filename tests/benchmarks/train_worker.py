"""Our side of the training benchmark: a worker, see `keras_peterrec.benchmarks.worker`.

Besides `run` it answers

    to `again`      {"second_seconds": 0.8}, the time of building a second model of the same form
                    and of its first step
    to `parts 5`    {"parts": {"products": 0.5, ...}}, the shares of a step, see `step_parts`;
                    null on a GPU
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from step_parts import step_parts

from keras_peterrec.benchmarks.worker import peak_bytes
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.training.fit import compile_model
from keras_peterrec.training.seeds import seeded

LEARNING_RATE = 1e-3


class SumOfSquares:
    """A trivial loss in the place of a sampled softmax, to measure the backbone alone."""

    def draw(self, targets):
        return tf.zeros([1], tf.int32)

    def row_losses(self, states, targets, true_rows, negatives, negative_rows):
        # The rows that a softmax would read need a gradient: here it is zero.
        unused = tf.reduce_sum(true_rows, -1) + tf.reduce_sum(negative_rows)
        squares = tf.reduce_sum(tf.square(tf.cast(states, "float32")), -1)
        return squares + 0.0 * tf.cast(unused, "float32")


def build_model(configuration):
    """The compiled model of a configuration (dict), as a run would train it."""
    keras.config.set_dtype_policy(configuration["precision"])
    with seeded(configuration["seed"]):
        taken = {name: configuration[name] for name in ("hidden_dim", "blocks")}
        backbone = ConvolutionNetwork(configuration["items"] + FIRST_ITEM, **taken)
        alone = configuration["loss"] == "backbone"
        model = CausalPretrainer(
            backbone,
            tied=alone,  # no second table
            negatives=0 if configuration["loss"] == "full" else configuration["negatives"],
            seed=configuration["seed"],
        )
        if alone:
            model.sampled_softmax = SumOfSquares()
        compile_model(model, None, LEARNING_RATE)
        return model


class Steps:
    """Training steps on a few batches, over and over.

    Args:
        model: keras.Model, compiled.
        batches: int array `[n, B, L + 1]`.
    """

    def __init__(self, model, batches):
        batches = batches.astype("int32")
        dataset = tf.data.Dataset.from_tensor_slices((batches[..., :-1], batches[..., 1:]))
        self.iterator = iter(dataset.cache().repeat().prefetch(tf.data.AUTOTUNE))
        self.model = model
        model.make_train_function()

    def step(self):
        """Takes one step, as `fit` does; returns the mean loss so far."""
        return float(self.model.train_function(self.iterator)["loss"])

    def run(self, steps):
        """Takes a step that is not timed, then `steps` that are."""
        self.model.reset_metrics()
        self.step()
        milliseconds = []
        for _ in range(int(steps)):
            began = time.perf_counter()
            loss = self.step()
            milliseconds.append((time.perf_counter() - began) * 1e3)
        return {"milliseconds": milliseconds, "peak_bytes": peak_bytes(), "loss": loss}


def start():
    """Builds the model and takes the first step, which compiles."""
    configuration = json.loads(sys.argv[-1])
    start_bytes = peak_bytes()
    batches = np.load(configuration["batches"])

    def first_step():
        steps = Steps(build_model(configuration), batches)
        steps.step()
        return steps

    def again():
        began = time.perf_counter()
        first_step()
        return {"second_seconds": time.perf_counter() - began}

    def parts(count):
        if tf.config.list_logical_devices("GPU"):  # only what the CPU does is traced
            return {"parts": None}
        return {"parts": step_parts(steps.step, int(count), steps.model.optimizer.name)}

    steps = first_step()
    ready = {
        "name": "keras_peterrec",
        "start_bytes": start_bytes,
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
    }
    return ready, {"run": steps.run, "again": again, "parts": parts}
