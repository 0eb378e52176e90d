"""Nothing that is done to a task model reaches the host that it shares with others."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from slow_cases import slow

from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.strategies import METHODS, SHARED_HOST, build_task
from keras_peterrec.transfer.task import Task

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
each_method = pytest.mark.parametrize("method", METHODS)
# One with the host that others share, one with a copy of it.
SOME = ("patch", "all")
some_methods = pytest.mark.parametrize(
    "method", [*SOME, *slow(*(method for method in METHODS if method not in SOME))]
)


def flags(host):
    """Every `trainable` there is in a host."""
    layers = [host, *host.layers, *(c for block in host.blocks for c in block.convolutions)]
    return [one.trainable for one in (*layers, *host.variables)]


def fit(model, histories, eagerly=True):
    model.compile(keras.optimizers.Adam(0.05), loss=LOSS, run_eagerly=eagerly, jit_compile=False)
    batch = tf.data.Dataset.from_tensors((histories, np.arange(len(histories)) % 3))
    model.fit(batch, verbose=0)


def switch_model(task):
    task.trainable = False
    assert not task.trainable_variables and not task.trainable_weights
    task.trainable = True


def switch_layers(task):
    for layer in task.layers:
        layer.trainable = False
    assert not task.trainable_variables
    for layer in task.layers:
        layer.trainable = True


def switch_each_by_name(task):
    for layer in list(task.layers):
        task.get_layer(layer.name).trainable = False
        task.get_layer(layer.name).trainable = True


@some_methods
def test_building_a_task_leaves_the_host_trainable(new_host, method, histories):
    host = new_host()
    before = flags(host.backbone)
    build_task(host.backbone, LinearHead(3), method)
    assert flags(host.backbone) == before
    # It can be pretrained further, and all of it.
    assert len(host.pretrainer.trainable_variables) == len(host.backbone.weights)
    host.pretrainer.compile("adam", run_eagerly=True)
    old = [weight.numpy() for weight in host.backbone.weights]
    host.pretrainer.fit(histories, histories, verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(old, host.backbone.weights)]
    assert np.mean(moved) > 0.6


@each_method
def test_switching_trainable_off_and_on_changes_nothing(host, method, histories, bits):
    backbone = host.backbone
    task = build_task(backbone, LinearHead(3), method)
    trained = [id(weight) for weight in task.trainable_variables]
    before, states = bits(backbone), flags(backbone)
    for switch in (switch_model, switch_layers, switch_each_by_name):
        switch(task)
        assert [id(weight) for weight in task.trainable_variables] == trained
        assert flags(backbone) == states
    own = [weight.numpy() for weight in task.host.weights]
    fit(task, histories, eagerly=method != "patch")
    assert bits(backbone) == before
    changed = any(not np.array_equal(a, b) for a, b in zip(own, task.host.weights))
    assert changed == (method in ("all", "last1", "last2", "scratch"))


@some_methods
def test_a_host_frozen_by_its_owner_stays_frozen_and_tasks_train(new_host, method, histories):
    host = new_host()
    host.backbone.trainable = False
    task = build_task(host.backbone, LinearHead(3), method)
    fit(task, histories)
    task.trainable = True
    assert not host.backbone.trainable_variables


@pytest.mark.parametrize("method", SHARED_HOST)
def test_tasks_do_not_reach_one_another_through_the_host(host, method, histories, bits):
    one, other = (
        build_task(host.backbone, LinearHead(3), method, name=name) for name in ("one", "other")
    )
    said = np.asarray(other(histories))
    one.trainable = False
    assert len(other.trainable_variables) > 0
    one.trainable = True
    fit(one, histories)
    np.testing.assert_array_equal(np.asarray(other(histories)), said)


@each_method
def test_trainable_and_frozen_variables_are_all_variables(host, method):
    task = build_task(host.backbone, LinearHead(3), method)
    for of in ("variables", "weights"):
        parts = [*getattr(task, f"trainable_{of}"), *getattr(task, f"non_trainable_{of}")]
        assert sorted(map(id, parts)) == sorted(map(id, getattr(task, of)))


# Every method comes back from a bundle, and one with each sort of host in the other ways.
@pytest.mark.parametrize(
    ("method", "way"),
    [
        *((method, "bundle") for method in METHODS),
        *(("patch", "keras file"), ("all", "clone")),
        *slow(
            *((method, "keras file") for method in ("last1", "scratch")),
            *((method, "clone") for method in ("head", "last2", "random_host")),
        ),
    ],
)
def test_a_task_from_elsewhere_trains_the_same_parts(host, method, way, tmp_path, histories, bits):
    task = build_task(host.backbone, LinearHead(3), method, "lora:2")
    before = bits(host.backbone)
    if way == "keras file":
        task.save(tmp_path / "task.keras")
        twin = keras.models.load_model(tmp_path / "task.keras")
    elif way == "clone":
        twin = keras.models.clone_model(task)
        assert not {*map(id, twin.weights)} & {*map(id, task.weights)}
        twin.set_weights(task.get_weights())
    else:
        Task(task, method, Classification(list("abc"))).save(tmp_path / "task", host)
        twin = Task.load(tmp_path / "task", host).model
    assert type(twin) is type(task)
    np.testing.assert_array_equal(np.asarray(twin(histories)), np.asarray(task(histories)))
    names = lambda model: [weight.path for weight in model.trainable_variables]
    assert names(twin) == names(task)
    twin.trainable = False
    twin.trainable = True
    assert names(twin) == names(task)
    own = bits(twin.host)
    fit(twin, histories)
    assert bits(host.backbone) == before
    assert (bits(twin.host) == own) == (method in ("patch", "head", "random_host"))


def test_a_summary_can_be_printed(host):
    lines = []
    task = build_task(host.backbone, LinearHead(3))
    task.summary(print_fn=lambda text, **_: lines.append(text))
    text = "\n".join(lines)
    assert all(name in text for name in ("patched_host", "user_dropout", "head"))
    assert f"{task.count_params():,}" in text
    assert repr(task) == "<TaskModel task: bottleneck:1+item_lora:8, LinearHead>"


MIRRORED = """
import keras, numpy as np, sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_peterrec.training.devices import Devices
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.strategies import build_task
histories = np.array([[0, 0, 4, 9], [4, 5, 6, 7], [0, 0, 0, 0], [0, 0, 1, 15]])
rows = tf.data.Dataset.from_tensor_slices((histories, np.arange(4) % 3))
batches = rows.repeat().batch(4, drop_remainder=True)
devices = Devices(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
with devices.scope():
    host = ConvolutionNetwork(16, hidden_dim=8, dilations=(1,))
    task = build_task(host, LinearHead(3), sys.argv[1])
    task.trainable = False
    task.trainable = True
    task.compile(keras.optimizers.Adam(0.05),
                 loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                 jit_compile=False)
before = [w.numpy().tobytes() for w in host.weights]
own = [w.numpy() for w in task.host.weights]
trained = [w.numpy() for w in task.trainable_weights]
task.fit(devices.share(batches), steps_per_epoch=2, verbose=0)
assert [w.numpy().tobytes() for w in host.weights] == before
assert any((a != b.numpy()).any() for a, b in zip(trained, task.trainable_weights))
changed = any((a != b.numpy()).any() for a, b in zip(own, task.host.weights))
assert changed == (sys.argv[1] == "last1")
"""


@pytest.mark.slow  # a task of two devices has the weights of one: see test_training_together.py
@pytest.mark.parametrize("method", ["patch", "last1"])
def test_holds_under_a_strategy(method):
    command = [sys.executable, "-c", MIRRORED, method]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
