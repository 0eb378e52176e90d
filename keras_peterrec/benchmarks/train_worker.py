"""Our side of the training benchmark: a worker, see `keras_peterrec.benchmarks.worker`.

It also answers `multiply` with the seconds of `matmul_seconds` in this very process.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec.benchmarks.matmul_rate import matmul_seconds
from keras_peterrec.benchmarks.train_configuration import TrainConfiguration
from keras_peterrec.benchmarks.worker import peak_bytes, serve
from keras_peterrec.data.special_ids import FIRST_ITEM
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.models.micro_batches import MicroBatchedStep
from keras_peterrec.runs.training import compile_model

LEARNING_RATE = 1e-3


class SumOfSquares(keras.losses.Loss):
    """The trivial loss of a backbone measured alone; also in the place of a sampled softmax."""

    def __init__(self):
        super().__init__(reduction="sum")

    def call(self, y_true, y_pred):
        return keras.ops.square(keras.ops.cast(y_pred, "float32"))

    def draw(self, targets):
        return tf.zeros([1], tf.int32)

    def losses(self, states, targets, true_rows, negatives, negative_rows):
        unused = tf.reduce_sum(true_rows, -1) + tf.reduce_sum(negative_rows)
        return tf.reduce_sum(self.call(targets, states), -1) + 0.0 * tf.cast(unused, "float32")


class BackboneAlone(Backbone):
    """A backbone that is trained without an output loss, in a pretrainer's micro-batches.

    The table's gradient has the zeros of the rows that a loss would read, so the time of
    a step is a little too long rather than too short.
    """

    tied, sampled_softmax = True, SumOfSquares()
    backbone = property(lambda self: self)

    def train_step(self, data):
        loss, gradients = MicroBatchedStep(self, *data, 1.0).run()
        self.optimizer.apply(gradients, self.trainable_variables)
        self._loss_tracker.update_state(loss)
        return self.get_metrics_result()


def build_model(configuration):
    """The compiled model of a configuration, as a run would train it."""
    keras.config.set_dtype_policy(configuration.precision)
    keras.utils.set_random_seed(configuration.seed)
    kind, loss = (
        (BackboneAlone, SumOfSquares()) if configuration.loss == "backbone" else (Backbone, None)
    )
    model = kind(
        configuration.items + FIRST_ITEM,
        configuration.hidden_dim,
        [(1, 4)[n % 2] for n in range(configuration.blocks)],
    )
    if loss is None:
        negatives = configuration.negatives if configuration.loss == "sampled" else 0
        model = CausalPretrainer(model, tied=False, negatives=negatives, seed=configuration.seed)
    compile_model(model, loss, LEARNING_RATE)
    return model


class Steps:
    """Training steps of a model on batches that come round again and again.

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
        """One step as `fit` takes it; returns the mean loss so far."""
        return float(self.model.train_function(self.iterator)["loss"])

    def run(self, steps):
        """Milliseconds of some steps after one that is not timed."""
        self.model.reset_metrics()
        self.step()
        milliseconds = []
        for _ in range(int(steps)):
            began = time.perf_counter()
            loss = self.step()
            milliseconds.append((time.perf_counter() - began) * 1e3)
        return {"milliseconds": milliseconds, "peak_bytes": peak_bytes(), "loss": loss}


def main():
    settings = json.loads(sys.argv[1])
    batches, _ = np.load(settings.pop("batches")), settings.pop("variant")
    configuration = TrainConfiguration(**settings)
    built = []

    def start():
        resident, began = peak_bytes(), time.perf_counter()
        built.append(Steps(build_model(configuration), batches))
        for _ in range(2):
            built[0].step()
        return {
            "name": "keras_peterrec",
            "first_seconds": time.perf_counter() - began,
            "start_bytes": resident,
            "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        }

    def multiply():
        dtype = keras.dtype_policies.get(configuration.precision).compute_dtype
        return matmul_seconds(configuration.tokens, configuration.hidden_dim, dtype)

    serve({"run": lambda steps: built[0].run(steps), "multiply": multiply}, start)


if __name__ == "__main__":
    main()
