"""A task reads fields of events that its host does not; the host stays as it is."""

import json

import numpy as np
import pytest
from serving_samples import without_warmup
from test_fields_run import SMALL, columns_of, log_of

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.transfer.combined_tasks import average_tasks, merge_task
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.patched_host import PatchedHost
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_model import TaskModel

QUICK = {"linear": False, "baselines": False}


@pytest.fixture(scope="module")
def labels():
    users = sorted(set(columns_of()["user_id"]))
    return {"user_id": users, "rich": ["yes" if int(u[1:]) % 2 else "no" for u in users]}


@pytest.fixture(scope="module")
def folder(labels, tmp_path_factory):
    """A host that reads times, a task of it that reads prices, and an export of the two."""
    out, log = tmp_path_factory.mktemp("own"), log_of(columns_of())
    pretrain(log, out / "host", epochs=1, steps_per_epoch=2, **SMALL)
    asked = {"labels": labels, "column": "rich", "patch": "bias", "fields": "price"}
    asked |= {"epochs": 20, "learning_rate": 0.02, **QUICK}
    transfer(out / "host", log, out / "rich", **asked)
    with without_warmup():
        export_runs(out / "host", (out / "rich",), out / "peterrec" / "1", incremental=True)
    return out


def test_what_the_host_does_not_read_is_learned_and_served(folder, labels):
    measured = json.loads((folder / "rich" / "metrics.json").read_text())["metrics"]["test"]
    assert measured["auc"] > 0.9  # items alone say nothing of it
    again = evaluate(folder / "rich", log=log_of(columns_of()), labels=labels)["metrics"]["test"]
    assert again["auc"] == pytest.approx(measured["auc"], abs=1e-6)
    host, exported = Host.load(folder / "host"), ExportedModel(folder / "peterrec")
    task = Task.load(folder / "rich", host)
    assert host.fields.names == ["time"] and exported.fields("rich").names == ["time", "price"]
    texts = ["i3;price=19.5 i4;price=18", "i3;price=1 i4@1700000000;price=2", "i3 i4", ""]
    served, here = exported.predict("rich", texts), task.predict(texts)
    np.testing.assert_allclose(served["scores"], here["scores"], atol=1e-5)
    rich, poor = (
        dict(zip(*row))["yes"] for row in zip(served["classes"][:2], served["scores"][:2])
    )
    assert rich > 0.5 > poor
    state = exported.step("rich", ["i3;price=19.5"])["state_bytes"].tolist()
    stepped = exported.step("rich", ["i4;price=18"], state)
    np.testing.assert_allclose(stepped["scores"][0], served["scores"][0], atol=1e-5)


def test_fields_of_a_task_stand_behind_those_of_the_host():
    host = ConvolutionNetwork(20, 8, blocks=1, fields={"time": 5, "price": 7})
    patched = PatchedHost(host, own_fields={"channel": 3})
    patched.build((None, None))
    (table,) = patched.patches["item_embedding"].values()
    table.named_weights()["embeddings"].assign(np.arange(24.0).reshape(3, 8))
    events = np.array([[[4, 1, 2, 0], [5, 0, 6, 2]]])
    added = np.asarray(patched.embed(events)) - np.asarray(host.embed(events))
    np.testing.assert_allclose(added[0], [np.zeros(8), np.arange(16.0, 24.0)], atol=1e-5)


def test_what_a_task_with_fields_of_its_own_is_not(folder, labels, tmp_path):
    host = Host.load(folder / "host")
    task = Task.load(folder / "rich", host)
    same = TaskModel.from_config(task.model.get_config())
    assert same.own_fields.to_config() == task.model.own_fields.to_config()
    texts = ["i3;price=19.5"]
    np.testing.assert_allclose(average_tasks([task] * 2).scores(texts), task.scores(texts), 1e-5)
    said = "should read of events what the host reads.*a task that reads price as well"
    for refused in (
        lambda: merge_task(task),
        lambda: MixedTasks.of_tasks({"rich": task}),
        lambda: MixedTasks.load([folder / "rich"], host),
    ):
        with pytest.raises(InputError, match=said):
            refused()
    asked = {"labels": labels, "column": "rich", **QUICK}
    log = log_of(columns_of())
    with pytest.raises(InputError, match="`fields` should be those of `start` .--from., price"):
        transfer(folder / "host", log, tmp_path / "1", start=folder / "rich", **asked)
    with pytest.raises(InputError, match="`log` should have the column 'colour'"):
        transfer(folder / "host", log, tmp_path / "1", fields="colour", **asked)
