"""Rows that each name their task, through one signature, against the tasks one by one."""

import dataclasses
import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_samples import (
    CLASSES,
    HISTORIES,
    TOPICS,
    assert_same,
    make_host,
    make_kind,
    make_task,
    problems,
    without_counts,
)
from serving_samples import expected as python_answers

from keras_peterrec.errors import InputError
from keras_peterrec.log.item_table import ItemTable, hidden_items
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.mixed_signature import MixedSignature
from keras_peterrec.serving.signature_names import COUNTS
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.verify.verify_export import checks
from keras_peterrec.tasks.regression import Regression
from keras_peterrec.transfer.mixed_tasks import MixedTasks

pytestmark = pytest.mark.usefixtures("unasked")

NO_SCORE = np.finfo("float32").min
WIDTH = 10  # of what Python answers; the export answers as many as there are


@pytest.fixture(scope="module")
def host():
    return make_host()


@pytest.fixture(scope="module")
def tasks(host):
    """A task of each kind, and a second recommendation with target items of the first."""
    return {
        "films": make_task(host),
        "age": make_task(host, "classification", seed=2),
        "books": make_task(host, items=8, seed=3),
        "topics": make_task(host, "multilabel", seed=4),
        "spend": make_task(host, "regression", seed=5),
    }


@pytest.fixture(scope="module")
def out(host, tasks, tmp_path_factory):
    """Mixed tasks alone."""
    out = tmp_path_factory.mktemp("mixed") / "peterrec" / "1"
    export(host, {}, out, k=10, mixed=MixedTasks.of_tasks(tasks))
    return out


@pytest.fixture(scope="module")
def model(stepping_export):
    return stepping_export.model


@pytest.fixture(scope="module")
def single(stepping_export):
    """What each task answers to a history by itself, in Python."""
    asked = SimpleNamespace(host=stepping_export.host, tasks=stepping_export.mixed)
    return functools.cache(lambda task, history: python_answers(asked, task, [history]))


def expected(single, history, task):
    """What the task itself answers, filled up."""
    labels, scores = np.full((1, WIDTH), "", object), np.full((1, WIDTH), NO_SCORE, "float32")
    if task not in ("nope", ""):
        answer = without_counts(single(task, history))
        if "value" in answer:
            answer = {"labels": np.array([["spend"]], object), "scores": answer["value"][:, None]}
        found = next(values for key, values in answer.items() if key != "scores")
        labels[:, : found.shape[1]], scores[:, : found.shape[1]] = found, answer["scores"]
    return {"labels": labels, "scores": scores}


def row_of(answer, n):
    """Of row `n`, the first `WIDTH` labels and scores."""
    cut = lambda values: values[n : n + 1, :WIDTH] if values.ndim > 1 else values[n : n + 1]
    return {key: cut(values) for key, values in answer.items()}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(HISTORIES),
            st.sampled_from(["books", "age", "topics", "income", "nope", ""]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_row_is_answered_as_its_own_task_does(model, single, rows):
    histories, names = zip(*rows)
    answer = model.mixed(list(histories), list(names))
    for n, (history, name) in enumerate(rows):
        assert_same(row_of(answer, n), expected(single, history, name))


def test_every_kind_in_one_batch(model, single, stepping_export):
    """What a history holds is left out of recommendations alone: "s1" is one of the topics."""
    names = [*stepping_export.mixed, "nope"]
    answer = model.mixed(["s1 t0 s5"] * len(names), names)
    for n, name in enumerate(names):
        assert_same(row_of(answer, n), expected(single, "s1 t0 s5", name))
    found = dict(zip(names, answer["labels"]))
    assert "s1" in found["topics"] and "s1" not in found["books"]
    assert [len([label for label in found[name] if label]) for name in names] == [27, 3, 4, 1, 0]


MADE = {}  # mixed tasks by what they are of


def mixed_of(tasks):
    key = tuple(map(id, tasks.values()))
    if key not in MADE:
        MADE[key] = MixedTasks.of_tasks(tasks)
    return MADE[key]


def answers(host, tasks, k, folder, histories, names, hidden=None):
    """What a signature says without being exported."""
    folder = folder / str(len(list(folder.iterdir())))  # tables are named after their files
    folder.mkdir()
    source = ItemTable(host.vocabulary, folder / "vocabulary.txt")
    hidden = None if hidden is None else hidden_items(hidden, folder)
    signature = MixedSignature(host, source, mixed_of(tasks), k, folder, hidden)
    answer = signature.function(history=tf.constant(histories), task=tf.constant(names))
    labels = [[label.decode() for label in row] for row in answer["labels"].numpy()]
    return labels, answer["scores"].numpy()


def test_a_task_that_may_repeat_what_the_user_had(host, tasks, tmp_path):
    names, monkeypatch = ["films", "books"], pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(tasks["films"].kind, "keep_seen", True)
        labels, _ = answers(host, tasks, 30, tmp_path, ["s1 t1"] * 2, names)
    assert {"s1", "t1"} <= set(labels[0])
    assert not {"s1", "t1"} & set(labels[1])


def test_items_that_may_not_be_shown(host, tasks, tmp_path):
    """They are left out of recommendations; a topic of the same name stays."""
    names, asked = ["films", "books", "topics", "nope"], (host, tasks, 30, tmp_path)
    hidden = ["s1", "t0", "unheard-of"]
    before, _ = answers(*asked, ["s2"] * 4, names)
    after, scores = answers(*asked, ["s2"] * 4, names, hidden=hidden)
    for n in range(2):
        assert {"s1", "t0"} <= set(before[n])
        shown = [item for item in before[n] if item and item not in hidden]
        assert after[n] == [*shown, *[""] * (30 - len(shown))]
        assert (scores[n, len(shown) :] == NO_SCORE).all()
    assert after[2:] == before[2:] and "s1" in after[2]
    # None that may be shown, and none hidden.
    nothing, _ = answers(*asked, ["s2"], ["books"], hidden=host.vocabulary.items.tolist())
    assert nothing == [[""] * 30]
    assert answers(*asked, ["s2"] * 4, names, hidden=[])[0] == before
    # Where nothing is recommended, nothing is hidden.
    alone = {"topics": tasks["topics"]}
    topics = answers(host, alone, 3, tmp_path, ["s2"], ["topics"], hidden=["s1"])
    assert set(topics[0][0]) == set(TOPICS)


def test_more_labels_than_k(host, tasks, tmp_path):
    labels, _ = answers(host, tasks, 2, tmp_path, ["s1"] * 3, ["films", "age", "topics"])
    assert [[bool(label) for label in row] for row in labels] == [
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]
    assert set(labels[1]) == {*CLASSES, ""} and set(labels[2]) == set(TOPICS)


def test_a_regression_alone(host, tasks, tmp_path):
    """It needs one place, however many items an answer has."""
    names = ["spend"] * len(HISTORIES)
    labels, scores = answers(host, {"spend": tasks["spend"]}, 10, tmp_path, HISTORIES, names)
    assert labels == [["spend"]] * len(HISTORIES)
    asked = SimpleNamespace(host=host, tasks=tasks)
    wanted = python_answers(asked, "spend", HISTORIES)["value"]
    assert_same({"value": scores[:, 0]}, {"value": wanted})


def test_nobody_asks(model):
    for name, values in model.mixed([], []).items():
        assert values.shape == ((0,) if name in COUNTS else (0, 100))


@pytest.mark.slow  # as those of all tasks in test_export.py
def test_each_weight_is_stored_once(host, tasks, out):
    stored = dict(tf.train.list_variables(str(out / "variables" / "variables")))
    numbers = sum(
        int(np.prod(shape))
        for path, shape in stored.items()
        if not path.startswith("_CHECKPOINTABLE")
    )
    own = MixedTasks.of_tasks(tasks).task_variables()
    shared = [*host.backbone.weights, *host.pretrainer.linear.weights]
    count = sum(int(np.prod(weight.shape)) for weight in (*shared, *own))
    # The bias of a recommendation is that of its linear part; `similar` has a length of each item.
    assert numbers == count + 30 + 8 + len(host.vocabulary.items)
    assert not [path for path in stored if "other" in path]


@pytest.mark.slow  # as another loader says of mixed rows beside steps, in test_step_signature.py
def test_nothing_is_wrong_with_the_export(out, tasks):
    assert problems(out) == []
    assert ExportedModel(out).signatures == ["embed", "serving_default"]
    description = json.loads((out / "assets.extra" / "peterrec.json").read_text())
    assert description["mixed"] == list(tasks) and description["tasks"] == {}


@pytest.mark.slow  # as test_nothing_is_wrong_with_the_export of steps sees
def test_beside_single_and_incremental_tasks(host, tasks, tmp_path):
    mixed = MixedTasks.of_tasks({name: tasks[name] for name in ("age", "books")})
    report = export(host, {"films": tasks["films"]}, tmp_path / "1", incremental=True, mixed=mixed)
    assert report["signatures"][-2:] == ["films_step", "mixed"]
    folder = ExportFolder(tmp_path / "1")
    for check in ("signatures", "operations", "weights", "warm-up"):
        assert checks(thorough=True)[check](folder) == []


def test_tasks_that_cannot_be_mixed(host, tasks, tmp_path):
    def refuse(message, mixed, single=()):
        with pytest.raises(InputError, match=message) as info:
            export(host, dict(single), tmp_path / "1", mixed=mixed)
        assert "\n" not in str(info.value) and list(tmp_path.iterdir()) == []

    mixed = MixedTasks.of_tasks(tasks)
    refuse("Received: 'films' in both", mixed, {"films": tasks["films"]})
    refuse("built on another", MixedTasks.of_tasks({"films": make_task(make_host())}))
    for name in ("a/b", ".."):
        refuse("names that a folder can have", MixedTasks.of_tasks({name: tasks["films"]}))
    cases = MixedTasks.of_tasks({"a": tasks["films"], "A": tasks["films"]})
    refuse("`mixed` should have names that differ by more than upper", cases)
    split = MixedTasks.of_tasks({"a\nb": tasks["films"]})
    refuse("without line breaks", split)
    column = dataclasses.replace(tasks["spend"], kind=Regression("a\nb"))
    refuse("without line breaks", MixedTasks.of_tasks({"spend": column}))
    mixed.heads[0].item_table.assign(np.full((30, 16), np.nan))
    refuse("`mixed` should have finite weights", mixed)


def test_a_head_of_another_kind_cannot_be_mixed(tasks):
    wrong = {"films": make_kind("recommendation", items=8), "age": make_kind("regression")}
    for name, kind in wrong.items():
        with pytest.raises(InputError, match=f"{name}.*head/"):
            MixedTasks.of_tasks({name: dataclasses.replace(tasks[name], kind=kind)})


def test_reader_refuses_other_rows(model, causal_export):
    with pytest.raises(InputError, match="`model` should have mixed tasks"):
        causal_export.model.mixed(["s1"], ["films"])
    with pytest.raises(InputError, match="`tasks` should be a list of strings"):
        model.mixed(["s1"], "books")
    with pytest.raises(InputError, match="one for each history. Received: 2 for 1"):
        model.mixed(["s1"], ["books", "age"])
