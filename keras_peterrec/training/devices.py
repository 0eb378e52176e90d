"""The devices and machines that one run trains on."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.settings.base import device_count
from keras_peterrec.types import Model, Variable


class Devices:
    """The devices that a run trains on, and how its processes agree.

    Every process of a run (a *worker*) reads all data and runs the same code. They share
    each step: every *replica* (one device of one worker) takes its rows of the same
    global batch, and the gradients are summed. Whatever must be decided or done only
    once is up to the *chief*, the first worker: it alone validates and writes the run
    folder, and it tells the others the outcome.

    Attributes:
        replicas: int. The number of devices of all workers together.
        workers: int. The number of processes.
        worker: int. Which of them this is; the chief is 0.
        is_chief: bool. Whether this process is the chief. `True` for a single process.

    Example:

    >>> devices = Devices.open()
    >>> with devices.scope():
    ...     model = build_and_compile()
    >>> model.fit(devices.share(batches), steps_per_epoch=100)
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        tasks = resolver.cluster_spec().as_dict() if resolver is not None else {}
        self.workers = max(1, sum(len(tasks[kind]) for kind in tasks))
        chief = ("chief" if "chief" in tasks else "worker", 0)
        self.is_chief = not tasks or (resolver.task_type, resolver.task_id) == chief
        self.worker = 0
        if tasks:
            before = len(tasks.get("chief", ())) if resolver.task_type == "worker" else 0
            self.worker = before + resolver.task_id

    @classmethod
    def open(cls, count: int | str | None = None) -> "Devices":
        """Opens the workers that `TF_CONFIG` names or, without it, devices of this machine.

        Call this before TensorFlow is used for anything else: afterwards it can no
        longer join a cluster or hide GPUs.

        Args:
            count: int, `"all"` or `None`. How many GPUs of each machine to use (CPU
                devices if it has no GPU). Defaults to `None`: all if `TF_CONFIG` is set,
                otherwise one.

        Raises:
            InputError: The machine has fewer devices, or `TF_CONFIG` is wrong.
        """
        if count is not None:
            device_count("devices", count)
        config = os.environ.get("TF_CONFIG")
        return cls(_workers_strategy(config, count) if config else _local_strategy(count))

    @classmethod
    def of(cls, model: Model) -> "Devices":
        """The devices for which a model was made."""
        return cls(model.distribute_strategy)

    def scope(self) -> contextlib.AbstractContextManager:
        """The scope in which all workers make their models, optimizers and metrics.

        Do nothing else in it. To make a variable, a worker waits for all others to make
        the same one, so anything that only the chief does would wait forever; and Keras
        makes variables in unexpected places, such as `save_weights`.
        """
        if self.strategy is tf.distribute.get_strategy():  # the default, or already entered
            return contextlib.nullcontext()
        return self.strategy.scope()

    def check_batch_size(self, batch_size: int | None, default: int) -> int:
        """The global batch size: the one asked for, or the default rounded up to fit.

        Args:
            batch_size: int or `None`. What the user asked for.
            default: int. Rounded up to a multiple of the replicas.

        Raises:
            InputError: `batch_size` cannot be divided equally among the replicas.
        """
        if batch_size is None:
            return -(-default // self.replicas) * self.replicas
        if batch_size % self.replicas:
            raise InputError(
                f"`batch_size` should be a multiple of the {self.replicas} devices, which share "
                f"each batch equally. Received: `batch_size` = {batch_size}."
            )
        return batch_size

    def share(self, batches: tf.data.Dataset, of_worker: bool = False) -> tf.data.Dataset:
        """Gives each replica its rows of every batch.

        Every worker makes the same global batches and keeps its own part, so that a step
        trains on the same rows whatever the number of devices.

        Args:
            batches: Endless tf.data.Dataset of tensors `[B, ...]`, the same on all
                workers. B must be a multiple of `replicas`.
            of_worker: bool. Whether the batches are this worker's own instead, and B a multiple
                of its devices. Defaults to `False`.

        Returns:
            Dataset for `fit`, which also needs `steps_per_epoch`.
        """
        if self.replicas == 1:
            return batches

        def of_this_worker(context):
            local = self.replicas // context.num_input_pipelines
            first = 0 if of_worker else context.input_pipeline_id * local
            count = local if of_worker else self.replicas

            def split(tensor):  # [B, ...] to one [B / count, ...] for each local replica
                rows = tensor.shape[0] and tensor.shape[0] // count
                shape = [count, rows or -1, *tensor.shape[1:]]
                return tf.reshape(tensor, shape)[first : first + local]

            # Every local replica takes one element of the dataset for each step, in order.
            parts = batches.map(lambda *columns: tf.nest.map_structure(split, columns))
            return parts.unbatch().prefetch(tf.data.AUTOTUNE)

        return self.strategy.distribute_datasets_from_function(of_this_worker)

    def on_chief(self, function: Callable[[], Any]) -> Any:
        """Calls a function on the chief alone and returns its result on every worker.

        Args:
            function: Callable without arguments. Its result must survive JSON.

        Returns:
            What `function` returned on the chief.

        Raises:
            InputError: `function` raised one on the chief; every worker raises it, so
                that none is left waiting.
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

    def copy_from_chief(self, variables: Iterable[Variable]) -> None:
        """Gives variables on all workers the values that they have on the chief."""
        if self.workers == 1:
            return
        for variable in variables:
            value = np.asarray(variable)
            # The all-reduce is of floats; float64 holds integers up to 2**53 exactly.
            exact = value.astype("float64" if value.dtype.kind in "iu" else value.dtype)
            variable.assign(self._array_of_chief(exact).astype(value.dtype))

    def _text_of_chief(self, text):
        """Sends a text: first its length, which the others cannot know, then its bytes."""
        content = np.frombuffer(text.encode(), "uint8").astype("float32")
        size = int(self._array_of_chief(np.array([len(content)], "float64"))[0])
        content = content if self.is_chief else np.zeros(size, "float32")
        return self._array_of_chief(content).astype("uint8").tobytes().decode()

    def _array_of_chief(self, array):
        """Sums the chief's array and zeros of the same shape from all others.

        It is a broadcast by way of an all-reduce, the one collective that every
        communication backend offers for floats. Every worker must call this at the same
        point, or all wait.
        """

        def value(context):
            is_first = context.replica_id_in_sync_group == 0  # the chief's first device
            return tf.constant(array if is_first else np.zeros_like(array))

        values = self.strategy.experimental_distribute_values_from_function(value)
        return self.strategy.reduce("SUM", values, axis=None).numpy()


@functools.cache  # a process can join a cluster only once
def _workers_strategy(config, count):
    try:
        tasks = json.loads(config)
        workers = {kind: list(tasks["cluster"][kind]) for kind in tasks["cluster"]}
        _, _ = workers[tasks["task"]["type"]][tasks["task"]["index"]].split(":")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            "`TF_CONFIG` should be JSON with `cluster`, the host:port of each worker, and `task`, "
            f"the type and index of this one. Received: {config!r}."
        ) from error
    if not workers.keys() <= {"chief", "worker"}:
        raise InputError(
            "`TF_CONFIG` should name only tasks of the types chief and worker. "
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
