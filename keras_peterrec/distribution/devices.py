"""The devices and machines that one run trains on."""

import contextlib
import functools
import json
import os

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError


class Devices:
    """What a run trains on, and how its processes come to the same decisions.

    Every process of a run has the whole data and executes the same code. A step is
    shared: each *replica* (a device of one of the workers) takes its rows of the
    same global batch, and the gradients are summed. All else that must be the same
    everywhere or happen once is said by the *chief*, the first worker: it alone
    validates, writes the run folder and tells the others what came of it.

    Args:
        strategy: tf.distribute.Strategy.

    Attributes:
        replicas: int. Devices of all workers together.
        is_chief: bool. Whether this process writes. True where it is alone.

    Example:

    >>> devices = Devices.open()
    >>> with devices.scope():
    ...     model = build_and_compile()
    >>> model.fit(devices.share(batches), steps_per_epoch=100)
    """

    def __init__(self, strategy):
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver is not None else {}
        self.workers = max(1, sum(len(tasks[kind]) for kind in tasks))
        chief = ("chief" if "chief" in tasks else "worker", 0)
        self.is_chief = not tasks or (resolver.task_type, resolver.task_id) == chief

    @classmethod
    def open(cls, count=None):
        """The workers that `TF_CONFIG` names; without it, devices of this machine.

        To be called before TensorFlow is used otherwise.

        Args:
            count: int, `"all"` or `None`. GPUs to use of each machine (CPU devices
                where there is no GPU). Defaults to `None`: all where `TF_CONFIG` is
                set, else one.

        Raises:
            InputError: there are not so many, or `TF_CONFIG` cannot be used.
        """
        if count is not None and count != "all" and (not isinstance(count, int) or count < 1):
            raise InputError(
                f"`devices` should be a positive integer or 'all'. Received: `devices` = {count!r}."
            )
        config = os.environ.get("TF_CONFIG")
        return cls(_workers_strategy(config, count) if config else _local_strategy(count))

    @classmethod
    def of(cls, model):
        """Those that a model was made for."""
        return cls(model.distribute_strategy)

    def scope(self):
        """Models, optimizers and metrics are to be made in it, by all workers alike.

        And nothing else: a variable made by the chief alone would wait for the others,
        and Keras makes some where one does not expect it (in `save_weights`).
        """
        if self.strategy is tf.distribute.get_strategy():  # the default one, or opened already
            return contextlib.nullcontext()
        return self.strategy.scope()

    def check_batch_size(self, batch_size, default):
        """The global batch size: what is asked for, or the default made to fit.

        Raises:
            InputError: the replicas cannot take equal parts of it.
        """
        if batch_size is None:
            return -(-default // self.replicas) * self.replicas
        if batch_size % self.replicas:
            raise InputError(
                f"`batch_size` should be a multiple of the {self.replicas} devices, which share "
                f"each batch. Received: `batch_size` = {batch_size}."
            )
        return batch_size

    def share(self, batches):
        """Gives each replica its rows of every batch.

        Every worker makes the same global batches and keeps its own part, so that
        what a step trains on does not depend on the number of devices.

        Args:
            batches: endless tf.data.Dataset of tensors `[B, ...]`, the same on all
                workers; B a multiple of the replicas.

        Returns:
            Dataset for `fit`, with `steps_per_epoch`.
        """
        if self.replicas == 1:
            return batches

        def of_this_worker(context):
            local = self.replicas // context.num_input_pipelines
            first = context.input_pipeline_id * local

            def split(tensor):  # [B, ...] to one [B / replicas, ...] for each local replica
                rows = tensor.shape[0] and tensor.shape[0] // self.replicas
                shape = [self.replicas, rows or -1, *tensor.shape[1:]]
                return tf.reshape(tensor, shape)[first : first + local]

            parts = batches.map(lambda *columns: tf.nest.map_structure(split, columns))
            return parts.unbatch().prefetch(tf.data.AUTOTUNE)

        return self.strategy.distribute_datasets_from_function(of_this_worker)

    def on_chief(self, function):
        """Calls a function on the chief alone and tells every worker its answer.

        Args:
            function: Callable without arguments; what it returns goes through JSON.

        Raises:
            InputError: if the function does, on every worker.
        """
        if self.workers == 1:
            return function()
        answer = {}
        if self.is_chief:
            try:
                answer = {"result": function()}
            except InputError as error:
                answer = {"error": str(error)}
        answer = json.loads(self._text_of_chief(json.dumps(answer)))
        if "error" in answer:
            raise InputError(answer["error"])
        return answer["result"]

    def copy_from_chief(self, variables):
        """Gives variables the values that they have on the chief."""
        if self.workers == 1:
            return
        for variable in variables:
            value = np.asarray(variable)
            exact = value.astype("float64" if value.dtype.kind in "iu" else value.dtype)
            variable.assign(self._array_of_chief(exact).astype(value.dtype))

    def _text_of_chief(self, text):
        content = np.frombuffer(text.encode(), "uint8").astype("float32")
        size = int(self._array_of_chief(np.array([len(content)], "float64"))[0])
        content = content if self.is_chief else np.zeros(size, "float32")
        return self._array_of_chief(content).astype("uint8").tobytes().decode()

    def _array_of_chief(self, array):
        """The sum of the chief's array and the zeros of all others.

        An all-reduce, since that is the collective every back end has for floats.
        """

        def value(context):
            is_first = context.replica_id_in_sync_group == 0
            return tf.constant(array if is_first else np.zeros_like(array))

        values = self.strategy.experimental_distribute_values_from_function(value)
        return self.strategy.reduce("SUM", values, axis=None).numpy()


@functools.cache  # TensorFlow joins a cluster once in a process
def _workers_strategy(config, count):
    try:
        tasks = json.loads(config)
        workers = {kind: list(tasks["cluster"][kind]) for kind in tasks["cluster"]}
        _, _ = workers[tasks["task"]["type"]][tasks["task"]["index"]].split(":")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            "`TF_CONFIG` should be JSON with the `cluster`, host:port of each worker, and the "
            f"`task` of this one, its type and index. Received: {config!r}."
        ) from error
    if not workers.keys() <= {"chief", "worker"}:
        raise InputError(
            "`TF_CONFIG` should name tasks of the types chief and worker alone. "
            f"Received: {', '.join(sorted(workers))}."
        )
    devices = tf.config.list_physical_devices("GPU")
    if count not in (None, "all") and devices:
        _check_count(count, devices)
        tf.config.set_visible_devices(devices[:count], "GPU")
    return tf.distribute.MultiWorkerMirroredStrategy()


def _local_strategy(count):
    if count in (None, 1):
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if count == "all":
        count = len(devices)
    _check_count(count, devices)
    if count == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]])


def _check_count(count, devices):
    if count > len(devices):
        raise InputError(
            f"`devices` should be at most the {len(devices)} that this machine has. "
            f"Received: `devices` = {count}."
        )
