"""A head trained over states computed once: the task model's own head, nothing else."""

import keras
import numpy as np
import pytest

from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.transfer.head_model import head_model
from keras_peterrec.transfer.strategies import build_task


@pytest.mark.parametrize("summary", [False, True])
@pytest.mark.parametrize("head_class", [ClassifierHead, RecommenderHead])
def test_says_what_the_whole_task_says(any_host, head_class, summary, histories):
    task = build_task(any_host.backbone, head_class(3), "head", dropout=0.5, summary=summary)
    if summary:
        kernel = task.summary.kernel
        kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    small, features = head_model(task), task.features(histories)
    np.testing.assert_allclose(small(features), task(histories), rtol=1e-5, atol=1e-5)
    users = task.user_of(features)
    np.testing.assert_allclose(task.head(users), task(histories), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(users, task.user_states(histories))


def test_trains_the_tasks_head_and_nothing_else(any_host, histories, bits):
    task = build_task(any_host.backbone, ClassifierHead(3), "head", dropout=0.5)
    states = np.asarray(task.features(histories))
    small = head_model(task)
    frozen = bits(any_host.backbone), task.task_token.token.numpy().tobytes()
    before = bits(task.head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    small.compile(keras.optimizers.Adam(0.1), loss=loss)
    small.fit(states, np.arange(len(states)) % 3, epochs=3, verbose=0)
    assert (bits(any_host.backbone), task.task_token.token.numpy().tobytes()) == frozen
    assert all(old != new for old, new in zip(before, bits(task.head), strict=True))
    # Adam's two moments of kernel and bias, its steps and its rate: no other slot.
    shapes = sorted(tuple(v.shape) for v in small.optimizer.variables)
    assert shapes == sorted([(), (), (8, 3), (8, 3), (3,), (3,)])
    np.testing.assert_allclose(small(states), task(histories), rtol=1e-5, atol=1e-5)


def test_dropout_is_on_the_state(host, histories):
    task = build_task(host.backbone, ClassifierHead(3), "head", dropout=0.5)
    small, states = head_model(task), task.features(histories)
    assert np.abs(np.asarray(small(states, training=True) - small(states))).max() > 1e-4
