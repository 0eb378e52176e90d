"""The kinds by name, and the guess of a column's kind."""

import subprocess
import sys

import pytest

from keras_peterrec import task_kinds
from keras_peterrec.errors import InputError
from keras_peterrec.log.labels import Labels
from keras_peterrec.task_kinds import choose_kind, get_kind, kind_names, register_task_kind
from keras_peterrec.tasks.task_kind import Metric, TaskKind


def labels_of(values):
    return Labels.from_columns(range(len(values)), values, "x")


def test_every_kind_is_complete():
    assert kind_names() == ["recommendation", "classification", "multilabel", "regression"]
    for name in kind_names():
        kind = get_kind(name)
        assert kind.name == name and issubclass(kind, TaskKind)
        assert kind.reads in ("target", "labels")
        assert kind.unit in ("score", "probability", "number")
        assert kind.metric.name == kind.shown[0]
        assert kind.example_suffix in ("_classify", "_regress")


def test_names_can_be_listed_without_tensorflow():
    script = (
        "import sys; from keras_peterrec.task_kinds import kind_names; kind_names();"
        "print(*({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "" and done.returncode == 0, done.stderr


def test_an_unknown_kind_is_one_clear_line():
    with pytest.raises(InputError, match="`kind` should be one of recommendation, .*'classify'"):
        get_kind("classify")


def test_a_name_is_registered_once(monkeypatch):
    monkeypatch.setattr(task_kinds, "_KINDS", dict(task_kinds._KINDS))

    class Ordinal(TaskKind):
        name = "ordinal"

    class Other(TaskKind):
        name = "ordinal"

    class Fake(TaskKind):
        name = "regression"

    assert register_task_kind(Ordinal) is Ordinal
    register_task_kind(Ordinal)  # as when a notebook's cell is run again
    assert get_kind("ordinal") is Ordinal and "ordinal" in kind_names()
    for taken in (Other, Fake):
        with pytest.raises(InputError, match="`kind` should have a name that is free. Received"):
            register_task_kind(taken)
    assert get_kind("regression") is not Fake


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (["F", "M", "F"], "classification", "2 different words (F 2, M 1)"),
        ([f"job {n}" for n in range(100)], "classification", "100 different words"),
        ([1, 2, 1], "classification", "2 different whole numbers (1 2, 2 1)"),
        ([*range(20)], "classification", "20 different whole numbers"),
        ([1.0, 2.0], "classification", "2 different whole numbers"),
        (["sports|news", "news"], "multilabel", "separated by | (news 2, sports 1)"),
        ([["a", "b"], ["a"]], "multilabel", "several labels, separated by |"),
        (["1|2", "3"], "multilabel", "several labels, separated by |"),
    ],
)
def test_a_kind_that_is_safe_is_guessed_and_said(values, kind, reason, capsys):
    assert choose_kind(None, labels_of(values)).name == kind
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    for part in ("column 'x'", reason, f"the kind of the task is {kind}", "--kind"):
        assert part in said.err


@pytest.mark.parametrize(
    ("values", "likely", "received"),
    [
        ([0.5 * n for n in range(800)], "regression or classification", "800 different numbers"),
        ([0.5, 1.0], "regression or classification", "2 different numbers"),
        ([*range(21)], "regression or classification", "21 different numbers"),
        (["1", "nan", "2"], "regression or classification", "3 different numbers"),
        (["1", "inf"], "regression or classification", "2 different numbers"),
        ([f"w{n}" for n in range(101)], "classification or multilabel", "101 different words"),
    ],
)
def test_a_kind_that_is_not_safe_has_to_be_given(values, likely, received, capsys):
    with pytest.raises(InputError) as caught:
        choose_kind(None, labels_of(values))
    text = str(caught.value)
    assert f"as --kind {likely}" in text and f"Received: {received}" in text and "\n" not in text
    assert capsys.readouterr().err == ""
    assert choose_kind("regression", labels_of(values)).name == "regression"


def test_a_target_log_is_recommended_from_and_nothing_else():
    assert choose_kind(None).name == "recommendation" == choose_kind("recommendation").name
    with pytest.raises(InputError, match="reads `target`.*'regression', which reads `labels`"):
        choose_kind("regression")
    with pytest.raises(InputError, match="reads `labels`.*'recommendation', which reads `targe"):
        choose_kind("recommendation", labels_of(["a", "b"]))


@pytest.mark.parametrize(
    "better, worse, metric",
    [
        (0.3, 0.2, Metric("ndcg@10", higher_is_better=True)),
        (0.2, 0.3, Metric("rmse", higher_is_better=False)),
    ],
)
def test_a_metric_says_which_way_is_better(better, worse, metric):
    assert metric.is_better(better, worse) and not metric.is_better(worse, better)
    assert not metric.is_better(better, better)
    assert metric.log_quality(better) > metric.log_quality(worse)
    # One per cent counts the same in all units, and nought is no error.
    gain = metric.log_quality(1.01) - metric.log_quality(1.0)
    assert metric.log_quality(1010.0) - metric.log_quality(1000.0) == pytest.approx(gain)
    assert metric.log_quality(0.0) == metric.log_quality(0.0)
    assert metric.monitor == f"val_{metric.name}"
    assert metric.mode == ("max" if metric.higher_is_better else "min")
