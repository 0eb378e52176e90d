"""The compiled part of a step against Keras' own, and what models share of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from slow_cases import slow

from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.heads import LinearHead, RecommenderHead
from keras_peterrec.tasks.target_loss import TargetLoss
from keras_peterrec.training import compiled_step
from keras_peterrec.training.compiled_step import loss_and_gradients
from keras_peterrec.transfer.strategies import build_task

HISTORY = np.random.default_rng(0).integers(4, 30, (6, 12)).astype("int32")
HISTORY[0, :5] = 0
CLASSES = np.arange(6) % 3


def make_task(method="patch", patch="bottleneck:2", head=None, seed=0, **settings):
    keras.utils.set_random_seed(seed)
    host = ConvolutionNetwork(30, hidden_dim=8, dilations=(2,))
    patch = patch if method in ("patch", "random_host") else None
    task = build_task(host, head or LinearHead(3), method, patch, **settings)
    draw = np.random.default_rng(seed)
    for weight in task.weights:
        if weight.name != "seed_generator_state":
            weight.assign(draw.normal(size=weight.shape) * 0.3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    task.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=True)
    return task


def gradients_of(task, known_shapes=True):
    return traced(task, known_shapes)(HISTORY, CLASSES)


def traced(task, known_shapes=True):
    """A step, which XLA compiles when it is called."""
    shapes = [list(HISTORY.shape), [6]] if known_shapes else [[None, None], [None]]
    signature = [tf.TensorSpec(shape, tf.int32) for shape in shapes]

    @tf.function(input_signature=signature)
    def step(x, y):
        loss, y_pred, gradients = loss_and_gradients(task, x, y)
        return loss, y_pred, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return step


def keras_gradients(task):
    with tf.GradientTape() as tape:
        y_pred = task(HISTORY, training=True)
        loss = task.compute_loss(HISTORY, CLASSES, y_pred)
    weights = [weight.value for weight in task.trainable_weights]
    return loss, y_pred, [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]


@pytest.mark.parametrize(
    "method, patch, known_shapes",
    [
        ("patch", "bottleneck:2+item_lora:2,rows=20", False),
        ("all", None, True),
        *slow(
            ("patch", "bottleneck:2", True),
            ("patch", "lora:2", True),
            ("patch", "scale_shift", True),
            ("patch", "norm", True),
            ("patch", "bottleneck:2+item_lora:2,rows=20", True),
            ("all", None, False),
            ("last1", None, True),
        ),
    ],
)
def test_loss_and_gradients_are_those_of_keras(method, patch, known_shapes):
    task = make_task(method, patch)
    expected, found = keras_gradients(task), gradients_of(task, known_shapes)
    assert len(found[2]) == len(task.trainable_weights)
    for mine, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_dropout_moves_on_and_is_that_of_a_call():
    task = make_task(dropout=0.5)
    task.jit_compile = False  # XLA draws other numbers from a seed
    seeds = [v for v in task.variables if v.name == "seed_generator_state"]
    before = [seed.numpy() for seed in seeds]
    found = gradients_of(task)
    assert all((seed.numpy() != old).any() for seed, old in zip(seeds, before))
    for seed, old in zip(seeds, before):
        seed.assign(old)
    np.testing.assert_allclose(found[1], task(HISTORY, training=True), rtol=1e-4, atol=1e-5)


def test_the_first_step_of_a_new_optimizer_is_traced_once(monkeypatch):
    task, traced = make_task(), []
    train_step = task.train_step
    monkeypatch.setattr(task, "train_step", lambda data: traced.append(1) or train_step(data))
    task.compile("adam", loss=task.loss, jit_compile=False)
    task.train_on_batch(HISTORY, CLASSES)
    assert len(traced) == 1 and int(task.optimizer.iterations) == 1


@pytest.mark.slow
def test_equal_models_compile_once_and_others_anew(monkeypatch):
    monkeypatch.setattr(compiled_step, "_COMPILED", compiled := {})
    one, other = make_task(), make_task(seed=1)
    first = gradients_of(one)
    assert len(compiled) == 1
    second = gradients_of(other)
    assert len(compiled) == 1
    assert float(first[0]) != float(second[0])
    expected = keras_gradients(other)
    np.testing.assert_allclose(second[0], expected[0], rtol=1e-5)
    different = [
        make_task(patch="bottleneck:2,serial"),
        make_task(dropout=0.1),
        make_task(head=LinearHead(4)),
    ]
    for number, model in enumerate(different, 2):
        traced(model).get_concrete_function()
        assert len(compiled) == number


@pytest.mark.slow
def test_a_head_of_ones_own_shares_only_with_itself(monkeypatch):
    monkeypatch.setattr(compiled_step, "_COMPILED", compiled := {})

    def head_class(factor):
        class Head(LinearHead):
            def call(self, user):
                return factor * super().call(user)

        return Head

    for factor in (1.0, 2.0):
        task = make_task(head=head_class(factor)(3))
        np.testing.assert_allclose(gradients_of(task)[0], keras_gradients(task)[0], rtol=1e-4)
    assert len(compiled) == 2


@pytest.mark.slow
def test_losses_with_other_settings_are_not_shared(monkeypatch):
    monkeypatch.setattr(compiled_step, "_COMPILED", compiled := {})
    answers = np.array([[0, 1], [2, -1], [1, -1], [3, 0], [0, -1], [2, 1]], "int32")
    found = []
    for kind in ("softmax", "bce", "softmax"):
        task = make_task(head=RecommenderHead(5))
        task.compile("sgd", loss=TargetLoss(kind), jit_compile=True)
        step = tf.function(lambda x, y, task=task: loss_and_gradients(task, x, y)[0])
        found.append(float(step(tf.constant(HISTORY), tf.constant(answers))))
    assert len(compiled) == 2
    assert found[0] == found[2] != found[1]


@pytest.mark.slow
@pytest.mark.parametrize("negatives", [0, 10])
def test_pretrainers_share_a_step(monkeypatch, negatives):
    monkeypatch.setattr(compiled_step, "_COMPILED", compiled := {})
    histories = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        backbone = ConvolutionNetwork(30, hidden_dim=8, dilations=(1, 4), dropout=0.1)
        model = CausalPretrainer(backbone, tied=False, negatives=negatives, seed=seed)
        model.compile("adam", jit_compile=True)
        batches = tf.data.Dataset.from_tensors((HISTORY, HISTORY)).repeat(20)
        histories.append(model.fit(batches, epochs=2, verbose=0).history["loss"])
    assert len(compiled) == 1
    assert histories[0] != histories[1]
    assert all(history[1] < history[0] for history in histories)
