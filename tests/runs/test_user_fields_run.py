"""Columns of users: what a table says of users is learned, measured and served; the host is not."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet
import pytest
from serving_samples import without_warmup

from keras_peterrec.errors import InputError
from keras_peterrec.log.histories import Histories
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.user_fields import UserFields, find_user_fields, read_users
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.predict import predict
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.transfer.combined_tasks import average_tasks
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task, user_field_vectors

PLANS = ["gold", "free", "a b"]  # a space in it, as ids may have
QUICK = {"baselines": False, "epochs": 6, "learning_rate": 0.02}
MIXED = ("again", "plain", "films")
NEW = 40  # users of whom the log has nothing


@pytest.fixture(scope="module")
def tables():
    """Plans drawn at random, a number, and a label that the two alone tell."""
    users = [*load_log("simulated/source").user_ids, *(f"new{n}" for n in range(NEW))]
    draw = np.random.default_rng(0)
    plans, ages = draw.choice(PLANS, len(users)), draw.uniform(18, 80, len(users)).round(1)
    told = draw.uniform(size=len(users)) > 0.1  # the table says nothing of some
    stays = np.where(plans == "gold", "yes", np.where(ages > 60, "yes", "no"))
    users_table = {
        "user_id": users,
        "plan": [plan if tell else None for plan, tell in zip(plans, told)],
        "age": ages,
    }
    return users_table, {"user_id": users, "stays": stays}


@pytest.fixture(scope="module")
def host(host_folder):
    return Host.load(host_folder)


def test_a_table_of_users_is_read_once(tmp_path, capsys):
    file = tmp_path / "users.csv"
    file.write_text("user_id,plan,age,city\nann,gold,31,Rome\nbob,none,,Oslo\n")
    table = read_users(file, "plan,age")
    assert table.columns == {"plan": {"ann": "gold"}, "age": {"ann": "31"}}
    said = capsys.readouterr().err.splitlines()
    assert "1 row of plan have a word for a missing value" in said[0]
    assert "2 rows; plan of 1 users" in said[1] and "; age of 1 users" in said[1]
    assert said[1].count("not read") == 1 and "not read: city" in said[1] and len(said) == 2


def untrained(host, kind, fields=UserFields()):
    """A patch task with random weights, for what does not depend on what was learned."""
    model = build_task(host.backbone, kind.new_head(), "patch", "bias", **host.task_settings())
    model.user_fields = user_field_vectors(fields, host.backbone)
    random = np.random.default_rng(0)
    for weight in model.task_weights().values():
        weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape))
    return Task(model, "patch", kind, host=host, user_fields=fields)


@pytest.fixture(scope="module")
def folder(host, host_folder, tables, tmp_path_factory):
    """Tasks with columns of users and without, of several methods, and an export of these."""
    out, (users, labels) = tmp_path_factory.mktemp("users"), tables
    asked = {"users": users, "user_fields": "plan,age", **QUICK}
    of_labels = {"labels": labels, "column": "stays"}
    log, of_head = "simulated/source", {"method": "head", "linear": False}
    transfer(host_folder, log, out / "head", **of_head, **of_labels, **asked)
    linear(log, out / "untold", **of_labels)
    transfer(host_folder, log, out / "stays", patch="bias", **of_labels, **asked)
    plans = find_user_fields(read_users(users, "plan"), users["user_id"])
    items = Vocabulary([f"t{n}" for n in range(20)], special_ids=False)
    untrained(host, Classification(["no", "yes"])).save(out / "mixed" / "plain", host)
    untrained(host, Recommendation(items), plans).save(out / "mixed" / "films", host)
    shutil.copytree(out / "stays", out / "mixed" / "again")
    runs = {"host": host_folder, "task": (out / "stays",), "mixed": out / "mixed"}
    with without_warmup():
        export_runs(**runs, out=out / "peterrec" / "1", incremental=True)
    return out


@pytest.fixture(scope="module")
def exported(folder, kept_open):
    return kept_open(folder / "peterrec")


def result(folder, name):
    return json.loads((folder / name / "metrics.json").read_text())


def test_what_columns_tell_is_learned(folder):
    without = result(folder, "untold")["metrics"]["test"]["auc"]
    for name in ("head", "stays"):
        assert result(folder, name)["metrics"]["test"]["auc"] > max(0.85, without + 0.2)
    data = result(folder, "stays")["data"]
    assert data["user_fields"] == ["plan", "age"]
    assert data["users_without_history"] == 0
    assert result(folder, "untold")["data"]["users_without_history"] == NEW


def test_the_linear_part_reads_them(folder, host, tables, tmp_path):
    users, labels = tables
    asked = {"labels": labels, "column": "stays", "users": users, "user_fields": "plan,age"}
    found = linear("simulated/source", tmp_path / "linear", **asked)
    assert found["metrics"]["test"]["auc"] > 0.9
    model = Task.load(folder / "stays", host).model
    assert model.linear is not None and model.linear.user_values == 3 + 32


def test_the_host_is_not_touched(folder, host_folder):
    host = Host.load(host_folder)
    before = {path: np.array(w) for path, w in host.backbone.named_weights().items()}
    task = Task.load(folder / "stays", host)
    task.predict(["i1 ;plan=gold"])
    for path, weight in host.backbone.named_weights().items():
        np.testing.assert_array_equal(np.asarray(weight), before[path])
    assert json.loads((folder / "stays" / "task.json").read_text())["host"] == host.fingerprint()


def test_what_is_measured_is_what_is_served(folder, host, exported, tables):
    users, labels = tables
    again = evaluate(folder / "stays", users=users, labels=labels)["metrics"]["test"]
    assert again["auc"] == pytest.approx(
        result(folder, "stays")["metrics"]["test"]["auc"], abs=1e-6
    )
    assert exported.user_fields("stays").names == ["plan", "age"]
    texts = [
        "i1 i2;price=3 @1700000000;plan=gold;age=70",
        "i1 i2 ;plan=a%20b;age=20.5",
        ";age=61;plan=free",
        "i3 ;plan=unheard",
        "",
    ]
    task = Task.load(folder / "stays", host)
    served, here = exported.predict("stays", texts), task.predict(texts)
    for output in ("classes", "events", "known_events"):
        np.testing.assert_array_equal(served[output], here[output])
    np.testing.assert_allclose(served["scores"], here["scores"], atol=1e-5)
    assert served["events"].tolist() == [2, 2, 0, 1, 0]
    yes = [dict(zip(*row))["yes"] for row in zip(served["classes"], served["scores"])]
    assert yes[0] > 0.5 > yes[1]  # and of a user without history:
    assert yes[2] > 0.5
    assert yes[3] == pytest.approx(
        dict(zip(*(exported.predict("stays", ["i3"])[o][0] for o in ("classes", "scores"))))["yes"]
    )
    stepped = exported.step("stays", ["i1 ;plan=gold;age=70"])
    stepped = exported.step("stays", ["i2 ;plan=gold;age=70"], stepped["state_bytes"].tolist())
    np.testing.assert_allclose(stepped["scores"][0], served["scores"][0], atol=1e-5)
    rows = [(text, name) for text in texts for name in MIXED]
    mixed = exported.mixed([text for text, _ in rows], [name for _, name in rows])
    python = MixedTasks.load([folder / "mixed" / name for name in MIXED], host)
    scores = python.scores([text for text, _ in rows], [name for _, name in rows])
    for n, (text, name) in enumerate(rows):
        alone = Task.load(folder / "mixed" / name, host)
        np.testing.assert_allclose(scores[n], alone.scores([text])[0], atol=1e-4)
        answer = alone.predict([text])["scores"][0]
        np.testing.assert_allclose(mixed["scores"][n][: len(answer)], answer, atol=1e-4)


def test_what_is_not_told_adds_nothing(folder, host):
    task = Task.load(folder / "head", host)
    untold = task.scores(["i1 i2", ""])
    task.model.user_fields = None
    np.testing.assert_array_equal(untold, task.model(task_rows(task, ["i1 i2", ""])))


def task_rows(task, texts):

    return Histories(texts).ids(task.host.vocabulary, *task.host.how_tasks_read(task.model))[0]


def test_a_log_is_answered_with_a_table_of_users(folder, host, exported, tables, tmp_path, capsys):
    out, (users, _) = tmp_path / "answers.parquet", tables
    asked = {"task": ("stays",), "log": "simulated/source", "out": out}
    predict(folder / "peterrec", **asked, users=users)
    answers = pyarrow.parquet.read_table(out).to_pydict()
    place = answers["user_id"].index(users["user_id"][0])
    log = load_log("simulated/source")
    tell = "".join(f";{n}={users[n][0]}" for n in ("plan", "age") if users[n][0] is not None)
    text = f"{log.history_texts(0, 1)[0]} {tell.replace(' ', '%20')}"
    one = Task.load(folder / "stays", host).predict([text])
    np.testing.assert_allclose(answers["scores"][place], one["scores"][0], atol=1e-5)
    predict(folder / "peterrec", **asked)
    assert (
        "stays reads plan, age of users; without --users nothing is told" in capsys.readouterr().err
    )
    with pytest.raises(InputError, match="`users` should be left out for embed, which reads no"):
        predict(folder / "peterrec", **{**asked, "task": ("embed",)}, users=users)


@pytest.mark.skipif(find_spec("apache_beam") is None, reason="Apache Beam is not installed")
def test_workers_of_a_runner_are_told_of_users(folder, tables, tmp_path):
    asked = {"task": ("stays",), "log": "simulated/source", "users": tables[0]}
    rows = []
    for name, more in (("here", {}), ("there", {"runner": "DirectRunner"})):
        predict(folder / "peterrec", **asked, out=tmp_path / f"{name}.parquet", **more)
        (file,) = tmp_path.glob(f"{name}*.parquet")
        rows.append(pyarrow.parquet.read_table(file).sort_by("user_id").to_pydict())
    here, there = rows
    assert here["user_id"] == there["user_id"] and here["classes"] == there["classes"]
    np.testing.assert_allclose(here["scores"], there["scores"], atol=1e-5)


def test_bundles_go_round(folder, host, tmp_path):
    task = Task.load(folder / "stays", host)
    task.save(tmp_path / "again", host)
    again = Task.load(tmp_path / "again", host)
    texts = ["i1 ;plan=gold;age=30", ";age=70"]
    np.testing.assert_array_equal(task.scores(texts), again.scores(texts))
    mean = average_tasks([task, again])
    np.testing.assert_allclose(mean.scores(texts), task.scores(texts), atol=1e-5)
    with pytest.raises(InputError, match="same columns of users"):
        average_tasks([task, Task.load(folder / "mixed" / "plain", host)])


@pytest.mark.slow
def test_training_goes_on_from_a_task_with_the_same_columns(folder, host_folder, tables, tmp_path):
    users, labels = tables
    asked = {"labels": labels, "column": "stays", "method": "head", "start": folder / "head"}
    asked |= {"linear": False, **QUICK, "epochs": 1}
    found = transfer(
        host_folder,
        "simulated/source",
        tmp_path / "on",
        users=users,
        user_fields="plan,age",
        **asked,
    )
    assert found["metrics"]["test"]["auc"] > 0.85
    with pytest.raises(InputError, match="`user_fields` should be those of `start`"):
        transfer(host_folder, "simulated/source", tmp_path / "none", **asked)


def test_what_cannot_be_read_is_refused(host_folder, tables, tmp_path):
    users, labels = tables
    asked = {"labels": labels, "column": "stays"}
    refused = [
        ({"users": users}, "`users` and `user_fields` should be given together"),
        ({"users": users, "user_fields": "plans"}, "plans"),
        ({"users": labels, "user_fields": "stays"}, "columns that do not tell the labels"),
        ({"users": {"plan": ["a"]}, "user_fields": "plan"}, "user_id"),
        (
            {"users": {"user_id": ["x", "x"], "plan": ["a", "b"]}, "user_fields": "plan"},
            "`plan` should have one label for each user. Received: 'a' and 'b' for 'x'",
        ),
        (
            {"users": {"user_id": ["x", "y"], "plan": ["a", "b"]}, "user_fields": "plan"},
            "`users` should have users of the task",
        ),
    ]
    for given, message in refused:
        with pytest.raises(InputError, match=message) as error:
            transfer(host_folder, "simulated/source", tmp_path / "none", **asked, **given)
        assert "\n" not in str(error.value)
