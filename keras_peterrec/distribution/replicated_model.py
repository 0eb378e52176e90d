"""What a model needs to be trained by several devices and machines."""

import keras


class ReplicatedModel(keras.Model):
    """A functional model that `fit` can train under any `tf.distribute` strategy.

    Under one device, and on other Keras backends, it is a `keras.Model`. Keras 3 fails
    under `MultiWorkerMirroredStrategy` in two places (keras#20585), which are set
    right here and nowhere else: it averages the metrics of a step, which are scalars,
    over axis 0; and it builds the model on a batch that is still one for each replica,
    which takes that batch out of the data as well.
    """

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
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def vary_dropout(model):
    """Gives the dropout of each replica random numbers of its own.

    Variables of random states are copied to the replicas; with one state the same
    positions would be dropped everywhere. Sampled negatives stay shared.
    """
    import tensorflow as tf

    states = [v for v in random_states(model) if "dropout" in v.path]

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


def _several_workers(model):
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _step_of_all_workers(model, step):
    """A step on every replica; the logs of `fit` are those of this worker's first.

    At the end of an epoch `fit` reads the metrics, which are then summed over all
    workers: no collective of their own is needed in each step.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy

    def one_step(iterator):
        outputs = strategy.run(step, args=(next(iterator),))
        first = lambda value: strategy.experimental_local_results(value)[0]  # noqa: E731
        return keras.tree.map_structure(first, outputs)

    return one_step if model.run_eagerly else tf.function(one_step)
