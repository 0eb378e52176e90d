"""One pass over a history against a row for each of its cuts."""

import keras
import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf
from slow_cases import slow
from task_samples import EVERY_PATCH

from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.tasks.heads import RecommenderHead
from keras_peterrec.tasks.target_loss import TargetLoss
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task_model import UserPasses

PATCHES = (
    "bottleneck:2,serial,inner_skip",
    "bottleneck:3,parallel_after_activation",
    *EVERY_PATCH,
    "lora:1+norm",
)
# Where a patch stands, what it computes and what it reads are what can differ: these have all.
SOME = ("bottleneck:3,parallel_after_activation", "compacter:4", PATCHES[-2], PATCHES[-1])
METHODS = ("head", "last1", "last2", "scratch", "random_host")
# Five histories in two rows, two without events and one with an unknown item; padding after each.
HISTORY = np.array(
    [
        [*range(4, 19), 0, 7, 1, 7, 9, 0, 0],
        [0, 5, 5, 6, 0, *range(19, 4, -1), 0, 0],
    ]
)
CUTS = np.array([[0, 3, 9, 15, 16, 18, 20, 21], [0, 1, 4, 5, 7, 12, 20, 2]])
WEIGHTS = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0]], "float32")
ANSWERS = np.random.default_rng(0).integers(-1, 5, (2, 8, 2))


def make_task(method="patch", patch=None, dtype=None):
    host = ConvolutionNetwork(20, hidden_dim=8, dilations=(1, 2), dtype=dtype)
    task = build_task(host, RecommenderHead(5), method, patch, window=18)
    return reference.randomise(task, scale=0.3, mean=0.1)


def rows(length=24):
    """The history of each cut as a row of its own, padded on the left."""
    found = []
    for history, cuts in zip(HISTORY, CUTS):
        for cut in cuts:
            before = np.flatnonzero(history[:cut] == 0)
            start = before[-1] + 1 if len(before) else 0
            found.append([0] * (length - cut + start) + history[start:cut].tolist())
    return np.array(found)


def loss_and_gradients(model, inputs, answers, weights):
    with tf.GradientTape() as tape:
        loss = TargetLoss()(answers, model(inputs, training=True), sample_weight=weights)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    dense = [None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]
    names = [weight.path for weight in model.trainable_weights]
    return float(loss), dict(zip(names, dense, strict=True))


# Of the blocks, one patch that reads what came before an end and one that does not, and of items.
@pytest.mark.parametrize("patch", [*PATCHES[-2:], *slow(*(patch for patch in PATCHES[:-2]))])
def test_users_at_the_ends_of_histories_cost_no_second_stream(patch):
    task = make_task("patch", patch)
    ends = np.array([[15, 20], [4, 20]])
    expected = np.asarray(task.user_states_at(HISTORY, ends))
    np.testing.assert_allclose(task.user_states_at_ends(HISTORY, ends), expected, atol=1e-4)
    answers, weights = ANSWERS[:, :2], WEIGHTS[:, :2]
    inputs = {"history": HISTORY, "cuts": ends}
    loss, gradients = loss_and_gradients(UserPasses(task), inputs, answers, weights)
    other, others = loss_and_gradients(UserPasses(task, True), inputs, answers, weights)
    assert loss == pytest.approx(other, rel=1e-5)
    for path, gradient in gradients.items():
        np.testing.assert_allclose(gradient, others[path], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "method, patch",
    [
        *(("patch", patch) for patch in SOME),
        ("all", None),
        *slow(
            *(("patch", patch) for patch in PATCHES if patch not in SOME),
            *((method, None) for method in METHODS),
        ),
    ],
)
def test_loss_and_gradients_are_those_of_a_row_a_cut(method, patch):
    task = make_task(method, patch)
    passes = UserPasses(task)
    inputs = {"history": HISTORY, "cuts": CUTS}
    of_rows = loss_and_gradients(task, rows(), ANSWERS.reshape(-1, 2), WEIGHTS.reshape(-1))
    of_passes = loss_and_gradients(passes, inputs, ANSWERS, WEIGHTS)
    assert of_passes[0] == pytest.approx(of_rows[0], rel=1e-5)
    assert of_passes[1].keys() == of_rows[1].keys()
    for name, gradient in of_rows[1].items():
        scale = 1e-6 + np.abs(gradient).max()
        np.testing.assert_allclose(of_passes[1][name] / scale, gradient / scale, atol=1e-4)
    states = np.asarray(task.user_states(rows()))
    np.testing.assert_allclose(task.user_states_at(HISTORY, CUTS), states, atol=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "bce", "sampled", "bpr"])
def test_every_loss_is_the_same_of_passes_and_of_rows(kind):
    scores = np.random.default_rng(1).normal(size=(2, 8, 5)).astype("float32")
    of_passes = TargetLoss(kind, seed=3)(ANSWERS, scores, sample_weight=WEIGHTS)
    of_rows = TargetLoss(kind, seed=3)(
        ANSWERS.reshape(-1, 2), scores.reshape(-1, 5), sample_weight=WEIGHTS.reshape(-1)
    )
    np.testing.assert_allclose(of_passes, of_rows, rtol=1e-5)


def test_half_precision_reads_the_same_way():
    task = make_task(dtype="mixed_bfloat16")
    states = np.asarray(task.user_states(rows()), "float32")
    got = np.asarray(task.user_states_at(HISTORY, CUTS), "float32")
    assert np.abs(got - states).mean() < 0.05 * np.abs(states).mean()


def test_training_passes_trains_the_task_and_leaves_the_host_alone():
    task = make_task()
    passes = UserPasses(task)
    before = [weight.numpy() for weight in task.host.weights]
    fresh = [weight.numpy() for weight in task.trainable_weights]
    passes.compile(keras.optimizers.Adam(0.05), loss=TargetLoss(), run_eagerly=True)
    passes.fit({"history": HISTORY, "cuts": CUTS}, ANSWERS, sample_weight=WEIGHTS, verbose=0)
    for old, weight in zip(before, task.host.weights):
        np.testing.assert_array_equal(old, weight.numpy())
    assert all(np.any(o != w.numpy()) for o, w in zip(fresh, task.trainable_weights, strict=True))


def test_dropout_acts_in_training_only():
    host = ConvolutionNetwork(20, hidden_dim=8, dilations=(1, 2), dropout=0.3)
    passes = UserPasses(build_task(host, RecommenderHead(5), dropout=0.5))
    inputs = {"history": HISTORY, "cuts": CUTS}
    at_rest = np.asarray(passes(inputs))
    np.testing.assert_array_equal(at_rest, passes(inputs))
    assert np.abs(passes(inputs, training=True) - at_rest).max() > 1e-4


@pytest.mark.parametrize(
    "arguments, max_length, reach",
    [
        ({}, 18, 18),
        ({}, 30, 18),
        ({}, 17, None),  # the task reads less than the host sees
        ({"window": 17}, 18, None),
        ({"window": 18, "history_length": 30}, 30, 18),
    ],
)
def test_a_pass_says_how_far_back_it_has_to_read(arguments, max_length, reach):
    host = ConvolutionNetwork(20, hidden_dim=8, dilations=(1, 2))
    assert build_task(host, RecommenderHead(5), **arguments).reach(max_length) == reach


def test_a_bidirectional_host_is_read_row_by_row():
    host = ConvolutionNetwork(20, hidden_dim=8, dilations=(1, 2), causal=False)
    assert build_task(host, RecommenderHead(5)).reach(99) is None
