"""The heads of our kinds, and the paths of the weights of any head."""

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.tasks.heads import (
    LinearHead,
    RecommenderHead,
    head_weights,
    start_outputs,
)
from keras_peterrec.tasks.regression import Regression

HEADS = {"recommender": RecommenderHead(7), "linear": LinearHead(7)}
each = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


@pytest.fixture
def user():
    return np.random.default_rng(0).normal(size=(3, 5)).astype("float32")


def test_recommender_scores_are_dot_products(user):
    head = RecommenderHead(7)
    head.build(user.shape)
    reference.randomise(head)
    table = reference.numbers(head.item_table)
    expected = [[sum(state * row) for row in table] for state in user]
    np.testing.assert_allclose(np.asarray(head(user)), expected, rtol=1e-4, atol=1e-5)
    assert [tuple(weight.shape) for weight in head.weights] == [(7, 5)]


def test_outputs_of_a_linear_head_are_linear(user):
    head = LinearHead(4)
    head.build(user.shape)
    reference.randomise(head)
    expected = user @ reference.numbers(head.kernel) + reference.numbers(head.bias)
    np.testing.assert_allclose(np.asarray(head(user)), expected, rtol=1e-4, atol=1e-5)
    assert [tuple(weight.shape) for weight in head.weights] == [(5, 4), (4,)]


def test_a_linear_head_can_start_with_the_shares_of_its_classes():
    shares = np.array([0.2, 0.7, 0.1])
    start = keras.initializers.Constant(np.log(shares).tolist())
    head = LinearHead(3, bias_initializer=start)
    for one in (head, LinearHead.from_config(head.get_config())):
        logits = one(np.zeros((1, 5), "float32"))
        np.testing.assert_allclose(keras.ops.softmax(logits)[0], shares, rtol=1e-6)


@each
def test_config_round_trip(head):
    twin = type(head).from_config(head.get_config())
    assert twin.get_config() == head.get_config()


@each
def test_scores_are_float32_whatever_the_states_are(head):
    config = {**head.get_config(), "dtype": "mixed_bfloat16"}
    half = type(head).from_config(config)
    announced = half(keras.Input((5,), dtype="bfloat16"))
    assert (announced.shape, keras.backend.standardize_dtype(announced.dtype)) == (
        (None, 7),
        "float32",
    )
    scores = half(keras.ops.ones((2, 5), dtype="bfloat16"))
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"


@each
def test_a_new_head_is_not_blind(head, user):
    scores = np.asarray(head(user))
    assert len(np.unique(scores.round(7))) > 10


def test_weights_are_shrunk_towards_constant_outputs(user):
    head, towards = LinearHead(3), np.array([1.0, -2.0, 0.5])
    before = np.asarray(head(user))
    head.shrink(0.25, towards)
    np.testing.assert_allclose(head(user), towards + 0.25 * (before - towards), atol=1e-6)


def test_every_weight_of_a_head_has_a_path_of_its_own():
    deep = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.Dense(2, name="out"),
        ],
        name="head",
    )
    assert {path: tuple(weight.shape) for path, weight in head_weights(deep).items()} == {
        "head/hidden/kernel": (5, 4),
        "head/hidden/bias": (4,),
        "head/out/kernel": (4, 2),
        "head/out/bias": (2,),
    }
    for name in ("head", "another"):  # a head's own name is not part of the format
        head = LinearHead(2, name=name)
        head(np.zeros((1, 5), "float32"))
        assert list(head_weights(head)) == ["head/kernel", "head/bias"]


@pytest.mark.parametrize("make, width", [(RecommenderHead, 3), (LinearHead, 3)])
def test_a_head_starts_with_what_was_known_of_its_labels(make, width):
    old, new = make(3), make(4)
    for head in (old, new):
        head.build((None, width))
        reference.randomise(head, seed=len(head.weights[0].shape) + head.weights[0].shape[0])
    arrays = {path: np.array(weight) for path, weight in head_weights(old).items()}
    fresh = {path: np.array(weight) for path, weight in head_weights(new).items()}
    start_outputs(new, ["c", "x", "a", "y"], arrays, ["a", "b", "c"])
    for path, weight in head_weights(new).items():
        found, known, own = (
            np.moveaxis(array, make.output_axes[path.removeprefix("head/")], 0)
            for array in (np.array(weight), arrays[path], fresh[path])
        )
        np.testing.assert_array_equal(found, [known[2], own[1], known[0], own[3]])


def test_a_regression_starts_with_the_same_numbers_in_its_own_units():
    old, new = Regression("spend", 3.0, 2.0), Regression("spend", 5.0, 0.5)
    heads, user = [LinearHead(1), LinearHead(1)], np.random.default_rng(0).normal(size=(4, 3))
    for head in heads:
        head.build(user.shape)
        reference.randomise(head)
    new.start_head(heads[1], head_weights(heads[0]), old)
    one, two = (kind.values(head(user)) for kind, head in zip((old, new), heads))
    np.testing.assert_allclose(one, two, rtol=1e-5)
