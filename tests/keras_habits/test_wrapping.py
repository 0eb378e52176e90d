"""A task model inside another model: what it does not train, the other does not train either."""

import copy

import keras
import numpy as np
import pytest
from slow_cases import slow

import keras_peterrec as kp


def sequential(task):
    return keras.Sequential([keras.Input((None,), dtype="int32"), task, keras.layers.Softmax()])


def functional(task):
    history = keras.Input((None,), dtype="int32")
    return keras.Model(history, keras.layers.Softmax()(task(history)))


class Subclassed(keras.Model):
    def __init__(self, task):
        super().__init__()
        self.task = task

    def call(self, history, training=None):
        return keras.ops.softmax(self.task(history, training=training))


WAYS = pytest.mark.parametrize("wrap", [Subclassed, *slow(functional, sequential)])
SHARES = "sparse_categorical_crossentropy"


def ids(variables):
    return [id(variable) for variable in variables]


@WAYS
def test_a_model_around_a_task_trains_what_the_task_trains(new_task, fitted, rows, wrap):
    task = new_task()
    model = fitted(wrap(task), SHARES, rate=0.1)  # the fixture sees that the host stays
    assert ids(model.trainable_variables) == ids(task.trainable_variables)
    assert ids(model.trainable_weights) == ids(task.trainable_weights)
    assert len(set(ids(model.weights))) == len(model.weights) == len(task.weights)
    said = model.predict(rows[0], verbose=0)
    np.testing.assert_allclose(said, keras.ops.softmax(task(rows[0])), rtol=1e-5)


@WAYS
def test_switching_a_model_around_a_task_off_and_on_reaches_no_host(new_task, backbone, wrap):
    task = new_task()
    model = wrap(task)
    if not model.built:
        model(np.array([[4, 5]]))
    trained = ids(model.trainable_variables)
    model.trainable = False
    assert not model.trainable_variables and not task.trainable_variables
    model.trainable = True
    for weight in model.weights:
        weight.trainable = True
    assert ids(model.trainable_variables) == trained
    assert len(backbone.trainable_variables) == len(backbone.weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, wrap", [("last1", Subclassed), ("head", sequential), ("all", sequential)]
)
def test_other_methods_train_the_same_inside_a_model(backbone, method, wrap, fitted):
    task = kp.build_task(backbone, kp.LinearHead(3), method)
    model = fitted(wrap(task), SHARES)
    assert ids(model.trainable_variables) == ids(task.trainable_variables)


def two_tasks(new_task):
    history = keras.Input((None,), dtype="int32", name="history")
    tasks = [new_task("gender"), new_task("age")]
    return keras.Model(history, [task(history) for task in tasks]), tasks


@pytest.mark.slow
def test_a_model_of_two_tasks_holds_their_host_once(new_task, backbone, rows, tmp_path):
    model, tasks = two_tasks(new_task)
    hosts = len(backbone.weights)
    own = [len(task.weights) - hosts for task in tasks]
    assert len(model.weights) == hosts + sum(own)
    assert model.count_params() == backbone.count_params() + sum(
        task.count_params() - backbone.count_params() for task in tasks
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=[loss, loss], jit_compile=False)
    model.fit(rows[0], [rows[1], rows[1]], verbose=0)
    model.save(tmp_path / "both.keras")
    loaded = keras.models.load_model(tmp_path / "both.keras")
    first, second = (loaded.get_layer(task.name) for task in tasks)
    assert first.host is second.host
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    for one, other in zip(loaded(rows[0]), model(rows[0])):
        np.testing.assert_array_equal(one, other)


def test_a_model_of_a_pretrainer_and_a_task_trains_the_host_once(rows):
    """The pretrainer's part says that the host is trained, whatever the task says."""
    backbone = kp.ConvolutionNetwork(16, 8, (1,))
    pretrainer, task = kp.CausalPretrainer(backbone), kp.build_task(backbone, kp.LinearHead(3))
    history = keras.Input((None,), dtype="int32", name="history")
    model = keras.Model(history, [pretrainer(history), task(history)])
    own = {*ids(task.trainable_variables)}
    assert {*ids(model.trainable_variables)} == own | {*ids(backbone.weights)}


@pytest.mark.parametrize("wrap", [sequential, *slow(functional)])
def test_a_model_around_a_task_survives_the_disk_and_a_clone(
    new_task, fitted, rows, wrap, tmp_path
):
    model = fitted(wrap(new_task()), SHARES)
    model.save(tmp_path / "model.keras")
    twins = [keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)]
    twins[1].set_weights(model.get_weights())
    for twin in twins:
        np.testing.assert_array_equal(twin(rows[0]), model(rows[0]))
        assert len(twin.trainable_variables) == len(model.trainable_variables)
        assert not {*ids(twin.weights)} & {*ids(model.weights)}


def test_a_frozen_weight_is_the_weight(new_task, backbone):
    task = new_task()
    frozen = [w for w in task.weights if w.path == backbone.item_embedding.embeddings.path]
    (weight,), real = frozen, backbone.item_embedding.embeddings
    assert not weight.trainable and real.trainable
    assert (weight.shape, weight.dtype, weight.name) == (real.shape, real.dtype, real.name)
    before = real.numpy()
    weight.assign(before + 1)
    np.testing.assert_array_equal(real.numpy(), before + 1)
    weight.assign(before)
    np.testing.assert_array_equal(keras.ops.sum(weight), keras.ops.sum(real))
    assert copy.copy(weight).of is real


def test_a_plain_model_is_no_host(backbone):
    clone = keras.models.clone_model(backbone)  # of Keras' own class, without our methods
    with pytest.raises(kp.InputError, match="`host` should be a Network"):
        kp.build_task(clone, kp.LinearHead(2))
