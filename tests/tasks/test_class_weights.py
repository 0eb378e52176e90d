"""`--class-weight balanced`: every class counts the same, however rare."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_split import TRAIN, VALIDATION
from keras_peterrec.runs.task_data import with_kind
from keras_peterrec.settings.transfer import TransferSettings
from keras_peterrec.task_kinds import get_kind

PLACES = ("host", "log", "out")


def settings(**changes):
    return TransferSettings(*PLACES, labels="users.csv", column="age", **changes)


@pytest.fixture
def both(source, simulated):
    """The data of a task, plain and balanced."""
    labels, kind = simulated.labels("age"), get_kind("classification")
    return [
        kind.make_data(source, labels, 20, settings(class_weight=weight))
        for weight in (None, "balanced")
    ]


def test_weights_are_those_of_scikit_learn(both):
    plain, balanced = both
    answers = plain.splits[TRAIN].answers
    count = len(plain.kind.labels)
    expected = compute_class_weight("balanced", classes=np.arange(count), y=answers)
    np.testing.assert_allclose(balanced.weights, expected, rtol=0.05)  # half a user is added
    np.testing.assert_allclose(balanced.start(), np.log(1 / count))
    assert (plain.kind.metric.name, balanced.kind.metric.name) == ("log_loss", "balanced_log_loss")
    assert get_kind("classification").metric.name == "log_loss"


def test_the_loss_and_all_that_is_chosen_by_it_are_weighed(both):
    plain, balanced = both
    answers = plain.splits[VALIDATION].answers
    outputs = np.random.default_rng(0).normal(size=(len(answers), len(plain.kind.labels)))
    losses, gradient = plain.losses_and_gradient(outputs, answers)
    weights = balanced.weights[answers]
    weighed, its_gradient = balanced.losses_and_gradient(outputs, answers)
    np.testing.assert_allclose(weighed, weights * losses)
    np.testing.assert_allclose(its_gradient, weights[:, None] * gradient)
    np.testing.assert_allclose(float(balanced.loss()(answers, outputs)), weighed.mean(), rtol=1e-5)
    found = balanced.metrics(outputs, answers)
    assert found["balanced_log_loss"] == pytest.approx(weighed.mean())
    assert found["log_loss"] == pytest.approx(losses.mean())
    assert balanced.kind.metric.name in balanced.baseline(VALIDATION)["test"]


@pytest.mark.parametrize(
    "changes", [{"kind": "regression"}, {"kind": "multilabel"}, {"target": "t.csv"}]
)
def test_a_task_without_classes_refuses_it(changes, simulated):
    if "target" in changes:
        asked, answers = TransferSettings(*PLACES, class_weight="balanced", **changes), None
    else:
        asked, answers = settings(class_weight="balanced", **changes), simulated.labels("spend")
    with pytest.raises(InputError, match="`class_weight` should be left out for a .* task"):
        with_kind(asked, answers)
