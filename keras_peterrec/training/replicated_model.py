"""What a model needs so that several devices and machines can train it."""

import contextlib

import keras

from keras_peterrec.keras_internals import Prebuilt
from keras_peterrec.layers.sampled_softmax import SHARED_SEED
from keras_peterrec.training.seeds import seed_states
from keras_peterrec.types import Model, Tensor, Variable

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class ReplicatedTraining(Prebuilt):
    """A base, before keras.Model, of a model that `fit` can train under any strategy.

    On one device, and on other Keras backends, it changes nothing. Keras 3 itself
    fails under `MultiWorkerMirroredStrategy` in two places (keras#20585): it averages
    the metrics of a step, which are scalars, over axis 0; and it builds the model on a
    batch that is still one per replica. This class replaces the first with a step of
    its own and leaves out the second, see `Prebuilt`.

    XLA compiles the loss and its gradients alone, where `compile` has been told `jit_compile`; see
    `loss_and_gradients`. Summing the gradients over replicas and the optimizer stay outside, for
    XLA has no collective operations between processes, and takes seconds to compile the many small
    operations of an optimizer. A subclass whose loss calls `sum_over_replicas` needs its own
    `train_step`, which does that outside as well.
    """

    def train_step(self, *arguments):
        if keras.backend.backend() != "tensorflow" or self.run_eagerly:
            return super().train_step(*arguments)
        from keras_peterrec.training.compiled_step import loss_and_gradients

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*arguments)
        loss, y_pred, gradients = loss_and_gradients(self, x, y, sample_weight)
        # A Keras loss comes divided by the number of replicas, because gradients are summed
        # over them. The metric takes the mean over the replicas, so it needs the whole loss.
        loss = loss * self.distribute_strategy.num_replicas_in_sync
        rows = keras.ops.shape(keras.tree.flatten(x)[0])[0]
        record_loss(self, loss, rows)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def unused_in_training(self) -> list:
        """Layers that a training step does not run: the linear part."""
        return []

    def unused_variables(self) -> list[Variable]:
        """The variables that a training step does not read."""
        return [variable for layer in self.unused_in_training() for variable in layer.variables]

    def frozen_rows(self) -> list:
        """Pairs of a table and how many of its first rows training leaves as they are."""
        return []

    @property
    def jit_compile(self) -> bool:
        return keras.Model.jit_compile.fget(self)

    @jit_compile.setter
    def jit_compile(self, value: bool) -> None:
        # Keras compiles no model with a layer that XLA does not know, but a training step does
        # without these.
        unused = self.unused_in_training()
        for layer in unused:
            layer.supports_jit = True
        keras.Model.jit_compile.fset(self, value)
        for layer in unused:
            layer.supports_jit = False

    def make_train_function(self, force=False):
        _build_optimizer(self)
        if not _several_workers(self):
            # What XLA should compile, `loss_and_gradients` gives it.
            with _not_compiled(self):
                return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = _step_of_all_workers(self, self.train_step)

    def make_test_function(self, force=False):
        if not _several_workers(self):
            with _not_compiled(self, self.unused_in_training()):
                return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = _step_of_all_workers(self, self.test_step)

    def make_predict_function(self, force=False):
        with _not_compiled(self, self.unused_in_training()):
            return super().make_predict_function(force)


class ReplicatedModel(ReplicatedTraining, keras.Model):
    """A functional model with `ReplicatedTraining`.

    A model that is not functional takes both bases for itself: with the first functional model
    of a class, Keras makes all classes between that one and keras.Model functional.
    """


@contextlib.contextmanager
def _not_compiled(model, where=True):
    """Within this block, Keras does not compile a whole step of a model, if `where` is true."""
    if keras.backend.backend() != "tensorflow" or not where:
        yield
        return
    wanted, model.jit_compile = model.jit_compile, False
    try:
        yield
    finally:
        model.jit_compile = wanted


def _build_optimizer(model):
    """Makes the optimizer's variables, so that the first step is traced once: not twice.

    Keras makes them while it traces, and then has to trace again without.
    """
    if keras.backend.backend() != "tensorflow" or model.optimizer is None:
        return
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)


def record_loss(model: Model, loss: Tensor, rows: Tensor) -> None:
    """Adds the loss of a step to the mean that `fit` shows as `loss`.

    Args:
        model: keras.Model, compiled.
        loss: Scalar tensor.
        rows: Scalar tensor. Rows of the step's batch, the weight of its loss in the mean.
    """
    # The public way to Keras' own tracker; an inner model's metrics are not among these.
    tracker = next(metric for metric in model.metrics if metric.name == "loss")
    tracker.update_state(loss, sample_weight=rows)


def sum_over_replicas(value: Tensor) -> Tensor:
    """Sums each replica's value over all replicas of all workers.

    Replicas may count different numbers of targets. The mean over all of them is exact
    if each replica divides its sum by the count of all, since gradients are summed over
    the replicas afterwards.

    Args:
        value: Tensor, of this replica.

    Returns:
        Tensor, the same on all replicas; `value` itself without a strategy.
    """
    if not _has_strategy():
        return value
    replica = tf.distribute.get_replica_context()
    if replica is None:  # between replicas, such as where a model is built
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def vary_dropout(model: Model) -> None:
    """Gives the dropout of each replica its own random numbers.

    The state of a random generator is copied to all replicas. With the same state, each
    replica would drop the same positions of its rows. Sampled negatives keep the same
    state on purpose: all rows of a step share them.

    Args:
        model: keras.Model, built under its strategy. Call this once, before `fit`.
    """
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return
    states = [state for state in seed_states(model) if SHARED_SEED not in state.path.split("/")]

    def shift():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:  # `[seed, draws]`: the seed moves, the count of draws does not
            shifted = state.value + tf.cast([number, 0], state.dtype)
            state.assign(shifted)

    if states:
        strategy.run(shift)


def _has_strategy():
    return keras.backend.backend() == "tensorflow" and tf.distribute.has_strategy()


def _several_workers(model):
    return keras.backend.backend() == "tensorflow" and isinstance(
        model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy
    )


def _step_of_all_workers(model, step):
    """Runs a step on every replica and returns the logs of this worker's first one.

    At the end of an epoch `fit` reads the metrics, whose variables are then summed over
    all workers. So the logs of a single step need no collective operation.
    """
    strategy = model.distribute_strategy

    def one_step(iterator):
        outputs = strategy.run(step, args=(next(iterator),))
        first = lambda value: strategy.experimental_local_results(value)[0]
        return keras.tree.map_structure(first, outputs)

    return one_step if model.run_eagerly else tf.function(one_step)
