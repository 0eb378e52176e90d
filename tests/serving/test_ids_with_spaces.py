"""Items with white space: a history holds them encoded, answers name them as they are."""

import numpy as np
import pytest
from serving_samples import without_warmup
from slow_cases import slow

from keras_peterrec.log.id_text import written
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.task import Task

NAMES = {"s1": "New York", "s2": "50%", "s3": "a\u00a0b", "t0": "Old York"}


def renamed(vocabulary):
    items = [NAMES.get(item, item) for item in vocabulary.items]
    return Vocabulary(items, vocabulary.special_ids)


def renamed_task(task):
    return Task(task.model, "patch", Recommendation(renamed(task.kind.targets)))


@pytest.fixture(scope="module")
def named_host(stepping_export):
    """The same host with these names."""
    plain = stepping_export.host
    return Host(plain.pretrainer, renamed(plain.vocabulary), plain.max_length)


def exported_as(host, tasks, folder, **more):
    with without_warmup():
        export(host, tasks, folder / "1", k=100, **more)
    return ExportedModel(folder / "1")


HISTORIES = [["s1", "s2", "s9"], ["s3"], ["t0", "s1", "s3"]]


@pytest.mark.parametrize("signature", ["films", *slow("serving_default")])
def test_answers_are_those_of_plain_ids_by_another_name(
    stepping_export, named_host, signature, tmp_path
):
    plain = stepping_export.model
    films = renamed_task(stepping_export.tasks["films"])
    named = exported_as(named_host, {"films": films}, tmp_path)
    expected = plain.predict(signature, [" ".join(items) for items in HISTORIES])
    asked = [" ".join(written(NAMES.get(item, item)) for item in items) for items in HISTORIES]
    found = named.predict(signature, asked)
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)
    names = [[NAMES.get(item, item) for item in row] for row in expected["items"]]
    assert found["items"].tolist() == names
    assert all(NAMES.get(i, i) not in row for row, items in zip(names, HISTORIES) for i in items)
    assert any(name in row for row in names for name in NAMES.values())


@pytest.mark.slow
def test_mixed_rows_and_single_events_read_them_as_well(stepping_export, named_host, tmp_path):
    plain = stepping_export.model
    films = renamed_task(stepping_export.tasks["films"])
    mixed = MixedTasks.of_tasks({"books": renamed_task(stepping_export.mixed["books"])})
    more = {"incremental": True, "mixed": mixed}
    named = exported_as(named_host, {"films": films}, tmp_path, **more)
    expected = plain.mixed(["t0 s1"], ["books"])
    found = named.mixed(["Old%20York New%20York"], ["books"])
    assert found["labels"].tolist() == [[NAMES.get(i, i) for i in expected["labels"][0]]]
    assert not {"Old York", "New York"} & set(found["labels"][0])
    expected = plain.step("films", ["s1"], seen=["t0"])
    found = named.step("films", ["New%20York"], seen=["Old%20York"])
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-5)
