"""The losses of a recommendation task, against NumPy."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.tasks.target_loss import TargetLoss

SCORES = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


def row_losses(y_true, scores=SCORES, **arguments):
    loss = TargetLoss(reduction=None, **arguments)
    return np.asarray(loss(np.asarray(y_true), np.asarray(scores, "float32")))


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def test_softmax_equals_keras_for_one_target_each():
    targets = np.array([0, 5, 2, 2])
    expected = keras.losses.sparse_categorical_crossentropy(targets, SCORES, from_logits=True)
    np.testing.assert_allclose(row_losses(targets[:, np.newaxis]), np.asarray(expected), rtol=1e-5)


def test_every_event_counts_the_same_and_filler_does_not():
    targets = [[0, 1, 3], [5, -1, -1], [-1, 2, -1], [-1, -1, -1]]
    log_probability = log_softmax(SCORES.astype("float64"))
    expected = [
        -log_probability[0, [0, 1, 3]].sum(),
        -log_probability[1, 5],
        -log_probability[2, 2],
        0.0,
    ]
    np.testing.assert_allclose(row_losses(targets), expected, rtol=1e-5)
    halved = row_losses(targets, events_per_row=2.0)
    np.testing.assert_allclose(halved, np.array(expected) / 2, rtol=1e-5)


def test_bce_pushes_what_was_chosen_up_and_all_else_down():
    targets = [[0, 1, 3], [5, -1, -1], [2, 2, -1], [-1, -1, -1]]
    logits = SCORES.astype("float64") + math.log(0.25 / 0.75)
    expected = np.zeros(4)
    for row, items in enumerate(targets):
        for item in range(6):
            chosen = items.count(item)  # an item chosen twice counts twice
            sign, times = (-1, chosen) if chosen else (1, 1)
            expected[row] += times * np.log1p(np.exp(sign * logits[row, item]))
    got = row_losses(targets, kind="bce", events_per_row=1.5)
    np.testing.assert_allclose(got, expected / 1.5, rtol=1e-5)


def test_bce_of_certain_and_true_scores_is_zero():
    scores = np.where(np.eye(6)[[0, 3]], 50.0, -50.0)
    np.testing.assert_allclose(row_losses([[0], [3]], scores, kind="bce"), 0.0, atol=1e-6)


def test_bce_is_least_near_the_shares_of_events():
    # Scores of zero say what the mean row has; more or less costs more.
    rows = [[n % 100] for n in range(100)]
    cost = [
        row_losses(rows, np.full((100, 100), shift), kind="bce", events_per_row=1.0).mean()
        for shift in (-1.0, 0.0, 1.0)
    ]
    assert cost[1] < cost[0] and cost[1] < cost[2]


@pytest.mark.parametrize("kind", ["softmax", "bce", "sampled", "bpr"])
def test_weights_multiply_what_their_items_add(kind):
    targets = np.array([[0, 1, 3], [5, -1, -1], [2, 4, -1], [1, -1, -1]])
    weights = np.array([[2.0, 0.0, 0.5], [3.0, 9.0, 9.0], [1.0, 1.0, 9.0], [0.0, 9.0, 9.0]])
    of_weights = lambda weights: row_losses(np.stack([targets, weights], -1), kind=kind, seed=4)
    ones = of_weights(np.ones_like(weights))
    np.testing.assert_allclose(ones, row_losses(targets, kind=kind, seed=4), rtol=1e-6)
    # Linear in each weight, beside what `bce` says of the items that are not chosen.
    nothing, found = of_weights(np.zeros_like(weights)), of_weights(weights)
    single = [of_weights(np.eye(3)[[n] * 4]) - nothing for n in range(3)]
    filled = np.where(targets < 0, 0.0, weights)
    expected = nothing + sum(filled[:, n] * single[n] for n in range(3))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (kind == "bce") == bool(nothing.any())


@pytest.mark.parametrize("kind", ["softmax", "bce", "sampled"])
def test_filler_has_no_part_in_the_loss(kind):
    short = row_losses([[0, 2], [1, 3], [2, 4], [3, 5]], kind=kind, seed=3)
    filled = row_losses([[0, 2, -1], [1, -1, 3], [-1, 2, 4], [3, 5, -1]], kind=kind, seed=3)
    np.testing.assert_allclose(short, filled, rtol=1e-5)


def test_filler_has_no_part_in_bpr():
    scores = np.zeros((2, 3))  # whatever is drawn, a target costs log 2
    got = row_losses([[1, -1, -1], [-1, -1, -1]], scores, kind="bpr", seed=3)
    np.testing.assert_allclose(got, [math.log(2), 0.0], rtol=1e-5)


def test_large_scores_neither_overflow_nor_vanish():
    scores = np.array([[1000.0, 0.0, -1000.0]])
    for kind in ("softmax", "bce", "sampled", "bpr"):
        assert np.isfinite(row_losses([[2]], scores, kind=kind, seed=0)).all()
    np.testing.assert_allclose(row_losses([[2]], scores), [2000.0])


def mean_over_draws(kind, y_true, scores, draws=300, **arguments):
    """Over so many copies of the rows, each of which draws its own."""
    loss = TargetLoss(kind, seed=0, reduction=None, **arguments)
    targets, scores = (np.concatenate([part] * draws) for part in (y_true, scores))
    losses = np.asarray(loss(targets, scores.astype("float32")))
    return losses.reshape(draws, -1).mean(axis=0)


def test_bpr_is_the_mean_over_uniform_items_but_those_that_were_chosen():
    margins = SCORES.astype("float64")[:, None] - SCORES[:, [1, 4], None]  # [4, 2, 6]
    losses = np.log1p(np.exp(margins))
    losses[..., [1, 4]] = 0.0
    got = mean_over_draws("bpr", [[1, -1, 4]] * 4, SCORES, draws=600)
    np.testing.assert_allclose(got, losses.mean(axis=2).sum(axis=1), rtol=0.15)


def test_bpr_draws_an_item_for_every_row():
    # One item for all rows would make the gradient of a batch that of one negative.
    scores = np.tile(np.linspace(0.0, 20.0, 50, dtype="float32"), (64, 1))
    assert len(np.unique(row_losses([[0]] * 64, scores, kind="bpr", seed=1))) > 20


def test_sampled_is_softmax_over_the_target_and_the_negatives():
    # All scores equal: whatever is drawn, the loss is log(1 + negatives).
    equal = np.zeros((2, 5_000), "float32")
    for negatives in (1, 7, 100):
        got = row_losses([[3], [9]], equal, kind="sampled", negatives=negatives, seed=0)
        np.testing.assert_allclose(got, [math.log(1 + negatives)] * 2, rtol=1e-5)
    # Many negatives stand for all items equally; those that were chosen have no part.
    negatives, targets = 50_000, [1, 4]
    got = row_losses([targets] * 4, kind="sampled", negatives=negatives, seed=0)
    powers = np.exp(SCORES.astype("float64"))
    others = np.delete(powers, targets, axis=1).sum(axis=1, keepdims=True) / 6
    expected = np.log1p(negatives * others / powers[:, targets]).sum(axis=1)
    np.testing.assert_allclose(got, expected, rtol=0.01)


@pytest.mark.parametrize("kind", ["bce", "sampled", "bpr"])
def test_no_true_item_of_a_row_is_pushed_down(kind):
    loss = TargetLoss(kind, negatives=50, seed=0)
    targets, scores = [[[0, 3, -1], [5, 1, 2]], [[4, -1, -1], [2, 4, 1]]], SCORES.reshape(2, 2, 6)
    draws = {"bce": 1, "sampled": 5, "bpr": 20}[kind]  # enough to have drawn every item
    gradient = np.mean([gradient_of(loss, targets, scores) for _ in range(draws)], axis=0)
    true = np.zeros((2, 2, 6), bool)
    for place in np.ndindex(2, 2):
        true[place][[item for item in targets[place[0]][place[1]] if item >= 0]] = True
    assert (gradient[true] < 0).all() and (gradient[~true] > 0).all()


def gradient_of(loss, targets, scores):
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = loss(np.array(targets), scores)
    return tape.gradient(total, scores).numpy()


@pytest.mark.parametrize("kind", ["sampled", "bpr"])
def test_draws_anew_at_every_call_and_alike_for_a_seed(kind):
    loss, twin = (TargetLoss(kind, negatives=3, seed=5) for _ in range(2))
    targets = np.array([[0], [1], [2], [3]])
    first = [float(loss(targets, SCORES)) for _ in range(5)]
    assert len(set(first)) > 1
    assert [float(twin(targets, SCORES)) for _ in range(5)] == first


def test_the_batch_loss_is_the_mean_of_its_rows():
    targets = np.array([[0], [1], [2], [3]])
    assert float(TargetLoss()(targets, SCORES)) == pytest.approx(
        float(row_losses(targets).mean()), rel=1e-6
    )


def test_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="`kind` should be one of .* Received: `kind` = 'hinge'"):
        TargetLoss("hinge")


def test_config_round_trip():
    loss = TargetLoss("sampled", negatives=7, events_per_row=2.5, seed=3)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert twin.get_config() == loss.get_config()
    assert (twin.kind, twin.negatives, twin.seed) == ("sampled", 7, 3)
