"""What looks wrong in classes is said, and beside classifiers stands the uniform answer."""

import numpy as np
import pytest

from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.labels import Labels
from keras_peterrec.metrics import classification_metrics, uniform_probabilities
from keras_peterrec.runs.task_data import say_what_is_little
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.tasks.label_doubts import class_doubts


def test_classes_that_look_alike_are_named():
    [line] = class_doubts(["F", "f", "M", "New York", "new  york"], [200, 13, 90, 40, 50])
    assert "only by case or white space" in line
    assert "'F' (200) and 'f' (13)" in line and "'new  york' (50) and 'New York' (40)" in line
    assert "'M'" not in line


def test_classes_of_a_handful_of_users_are_named_the_rarest_first():
    [line] = class_doubts(list("abcdef"), [500, 2, 9, 1, 3, 10])
    assert "4 of 6 classes have fewer than 10 users: 'd' (1), 'b' (2), 'e' (3) and 1 more" in line


@pytest.mark.parametrize(
    ("classes", "users", "wanted"),
    [
        (700, 2, "700 classes have 2.0 users each"),
        (2_000, 30, "2,000 classes: is the column a name or an id"),
        (3, 40, None),
    ],
)
def test_too_many_classes_are_one_line(classes, users, wanted):
    found = class_doubts([f"job {n}" for n in range(classes)], np.full(classes, users))
    assert len(found) == (wanted is not None) and all(wanted in line for line in found)


@pytest.mark.parametrize(
    ("kind", "column"), [("classification", "gender"), ("multilabel", "topics")]
)
def test_a_tasks_doubts_are_said_once(kind, column, source, simulated, capsys):
    labels = simulated.labels(column)
    some = labels.values[0].split("|")[0]
    values = np.where(np.arange(len(labels)) == 0, some.swapcase() + " ", labels.values)
    changed = Labels.from_columns(labels.user_ids, values, column)
    say_what_is_little(get_kind(kind).make_data(source, changed, 20))
    said = [s for s in capsys.readouterr().err.splitlines() if "only by case" in s]
    assert len(said) == 1 and repr(some) in said[0] and repr(some.swapcase()) in said[0]
    say_what_is_little(get_kind(kind).make_data(source, labels, 20))
    assert "case" not in capsys.readouterr().err


def test_the_uniform_answer_is_a_baseline_of_classifiers(source, simulated):
    data = get_kind("classification").make_data(source, simulated.labels("age"), 20)
    [found] = data.more_baselines(TEST)
    assert found["name"] == "uniform"
    assert found["test"].keys() == data.baseline(TEST)["test"].keys()
    assert found["test"]["log_loss"] == pytest.approx(np.log(len(data.kind.labels)))
    # What a class at random gets, by a long draw.
    truths, count = data.splits[TEST].answers, len(data.kind.labels)
    drawn = np.random.default_rng(0).integers(count, size=(2000, len(truths)))
    draws = [classification_metrics(np.eye(count)[row], truths, count) for row in drawn]
    for name in ("accuracy", "macro_f1"):
        mean = np.mean([draw[name] for draw in draws])
        assert found["test"][name] == pytest.approx(mean, abs=0.01), name
    truths = np.arange(700) % 350
    metrics = classification_metrics(uniform_probabilities(350, 700), truths, 350)
    assert metrics["log_loss"] == pytest.approx(np.log(350)) and metrics["accuracy"] == 0.0
