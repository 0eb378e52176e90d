"""What a model needs to be trained by several devices and machines."""

import keras
import tensorflow as tf


class ReplicatedModel(keras.Model):
    """A functional model that `fit` can train under any `tf.distribute` strategy.

    On one device, and on other Keras backends, it is a `keras.Model`. Keras 3 fails
    under `MultiWorkerMirroredStrategy` in two places (keras#20585), which are set
    right here and nowhere else: it averages the metrics of a step, which are scalars,
    over axis 0; and it builds the model on a batch that is still one for each replica,
    which takes that batch out of the data as well.

    Under a strategy, `train_step` compiles with XLA what a replica computes alone; the
    sum of the gradients and the optimizer stay outside, since XLA has no collectives
    between processes. A subclass whose loss calls `sum_over_replicas` brings a
    `train_step` of its own, with `compile_alone`.
    """

    def train_step(self, *arguments):
        if not _has_strategy():
            return super().train_step(*arguments)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*arguments)
        step = compile_alone(self, self._loss_and_gradients)
        loss, y_pred, gradients = step(x, y, sample_weight)
        # Losses of Keras come divided by the replicas, over which gradients are summed.
        loss = loss * self.distribute_strategy.num_replicas_in_sync
        rows = keras.ops.shape(keras.tree.flatten(x)[0])[0]
        self._loss_tracker.update_state(loss, sample_weight=rows)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def _loss_and_gradients(self, x, y, sample_weight):
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        weights = [weight.value for weight in self.trainable_weights]
        return loss, y_pred, tape.gradient(scaled, weights)

    def make_train_function(self, force=False):
        if not _several_workers(self):
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = _step_of_all_workers(self, self.train_step)

    def make_test_function(self, force=False):
        if not _several_workers(self):
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = _step_of_all_workers(self, self.test_step)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: a functional model is built when it is made."""


def sum_over_replicas(value):
    """The sum of a replica's value over all replicas of all workers.

    A mean over what replicas have different counts of is exact if each divides its
    sum by the count of all; gradients are summed over the replicas afterwards.
    """
    if not _has_strategy():
        return value
    replica = tf.distribute.get_replica_context()
    if replica is None:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def compile_alone(model, function):
    """A part of a step, without collectives, that XLA compiles for each replica.

    Without a strategy the function itself: `fit` compiles the whole step then.
    """
    if not _has_strategy() or model.run_eagerly:
        return function
    return tf.function(function, autograph=False, jit_compile=True)


def vary_dropout(model):
    """Gives the dropout of each replica random numbers of its own.

    Variables of random states are copied to the replicas; with one state the same
    positions would be dropped everywhere. Sampled negatives stay shared.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    states = [layer.seed_generator.state for layer in layers if layer.rate > 0]

    def shift():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            shifted = state.value + tf.cast([number, 0], state.dtype)
            state.assign(shifted)

    strategy = model.distribute_strategy
    if states and strategy.num_replicas_in_sync > 1:
        strategy.run(shift)


def random_states(model):
    """The variables that a model, and its loss, draw random numbers with."""
    found = [v for v in model.variables if v.name == "seed_generator_state"]
    generator = getattr(getattr(model, "loss", None), "seed_generator", None)
    return found + ([generator.state] if generator is not None else [])


def _has_strategy():
    return keras.backend.backend() == "tensorflow" and tf.distribute.has_strategy()


def _several_workers(model):
    return keras.backend.backend() == "tensorflow" and isinstance(
        model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy
    )


def _step_of_all_workers(model, step):
    """A step on every replica; the logs of `fit` are those of this worker's first.

    At the end of an epoch `fit` reads the metrics, which are then summed over all
    workers: no collective of their own is needed in each step.
    """
    strategy = model.distribute_strategy

    def one_step(iterator):
        outputs = strategy.run(step, args=(next(iterator),))
        first = lambda value: strategy.experimental_local_results(value)[0]
        return keras.tree.map_structure(first, outputs)

    return one_step if model.run_eagerly else tf.function(one_step)
