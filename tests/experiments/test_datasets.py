"""Datasets: which hosts and tasks they have, and what is refused."""

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.experiments.datasets import DATASETS, open_dataset


def names(dataset):
    return [task.name for task in dataset.tasks]


def test_movielens_6():
    dataset = open_dataset("movielens-1m")
    assert names(dataset) == ["action", "scifi", "children", "gender", "age", "occupation"]
    assert dataset.sources == {"source": "movielens-1m/source"}
    action, age = dataset.tasks[0], dataset.tasks[4]
    assert action.arguments == {
        "log": "movielens-1m/source",
        "target": "movielens-1m/action",
        "cut_history": True,
    }
    assert age.arguments == {
        "log": "movielens-1m/source",
        "labels": "movielens-1m/users",
        "column": "age",
    }


def test_a_task_says_its_kind_where_its_column_does_not_tell():
    simulated = {task.name: task for task in open_dataset("simulated").tasks}
    assert list(simulated) == ["shop", "gender", "age", "spend", "topics"]
    assert simulated["spend"].arguments["kind"] == "regression"
    assert simulated["topics"].arguments["kind"] == "multilabel"
    assert simulated["gender"].settings.kind is None and simulated["shop"].settings.labels is None
    years = open_dataset("movielens-100k").tasks[-1]
    assert (years.name, years.kind) == ("age_years", "regression")


def test_amazon_has_two_hosts_and_no_common_clock(tmp_path):
    for name in ("sports", "toys", "beauty"):
        (tmp_path / f"{name}.csv.gz").touch()
    dataset = open_dataset("amazon", tmp_path)
    assert names(dataset) == ["sports-beauty", "toys-beauty", "sports-toys"]
    assert list(dataset.sources) == ["sports", "toys"]
    assert not any(task.cut_history for task in dataset.tasks)
    assert list(dataset.only(["toys-beauty"]).sources) == ["toys"]


def test_whole_histories_are_said():
    dataset = open_dataset("simulated").with_whole_histories()
    assert dataset.tasks[0].arguments["cut_history"] is False
    assert "whole histories" in dataset.note
    assert names(dataset) == names(open_dataset("simulated"))


PRETRAIN = "original_desen_pretrain.csv"


@pytest.mark.parametrize(
    ("files", "tasks"),
    [
        ([PRETRAIN, "original_desen_gender.csv"], ["GenEst"]),
        ([PRETRAIN, "original_desen_finetune_click_nouserID.csv"], ["ColdRec-2"]),
        (
            ["coldrec1_pre.csv", "coldrec1_fine.csv", "coldrec2_pre.csv", "coldrec2_fine.csv"],
            ["ColdRec-1", "ColdRec-2"],
        ),
        (
            [
                PRETRAIN,
                "coldrec1_fine.csv",
                "coldrec2_fine.csv",
                "original_desen_gender.csv",
                "original_desen_age.csv",
                "original_desen_lifestatus.csv",
            ],
            ["ColdRec-1", "ColdRec-2", "GenEst", "AgeEst", "LifeEst"],
        ),
    ],
)
def test_files_of_the_paper(files, tasks, tmp_path, capsys):
    for name in files:
        (tmp_path / name).touch()
    dataset = open_dataset("peterrec", tmp_path)
    assert names(dataset) == tasks
    assert set(dataset.sources) == {task.source for task in dataset.tasks}
    said = capsys.readouterr().err
    assert said.count("\n") == (len(tasks) < 5)
    missing = {"ColdRec-1", "ColdRec-2", "GenEst", "AgeEst", "LifeEst"} - set(tasks)
    assert all(name in said for name in missing)


def test_a_name_that_tells_its_task_is_never_another_tasks(tmp_path):
    files = {
        "ColdRec-2": "coldrec2_fine.csv",
        "GenEst": "gender_finetune.csv",
        "AgeEst": "age_finetune.csv",
        "LifeEst": "life_finetune.csv",
    }
    for name in ("desen_pretrain.csv", "language_finetune.csv", *files.values()):
        (tmp_path / name).touch()
    dataset = open_dataset("peterrec", tmp_path)
    assert {task.name: task.log.rpartition("/")[2] for task in dataset.tasks} == files


def test_each_coldrec_has_its_own_host_where_there_are_two(tmp_path):
    for name in ("coldrec1_pre.csv", "coldrec1_fine.csv", "coldrec2_pre.csv", "coldrec2_fine.csv"):
        (tmp_path / name).touch()
    dataset = open_dataset("peterrec", tmp_path)
    for task, pretraining in zip(dataset.tasks, ("coldrec1_pre.csv", "coldrec2_pre.csv")):
        assert dataset.sources[task.source].endswith(pretraining)


def test_one_of_several_files_is_read_and_named(tmp_path, capsys):
    for name in (PRETRAIN, "finetune_click.csv", "finetune_like.csv"):
        (tmp_path / name).touch()
    dataset = open_dataset("peterrec", tmp_path)
    assert names(dataset) == ["ColdRec-2"] and "click" in dataset.tasks[0].log
    assert "ColdRec-2: finetune_click.csv is read, and not finetune_like.csv" in (
        capsys.readouterr().err
    )


def test_what_cannot_be_used_is_one_clear_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / PRETRAIN).touch()
    cases = [
        (("movielens",), "`dataset` should be one of " + ", ".join(DATASETS)),
        (("simulated", tmp_path), "`path` should be given for amazon and peterrec alone"),
        (("amazon",), "`path` should be the folder with the files of amazon. Received"),
        (("amazon", tmp_path / "none"), "`path` should be the folder with the files of amazon"),
        (("amazon", tmp_path / "empty"), "without sports.csv.gz"),
        (("peterrec", tmp_path / "empty"), "`pretrain` in its name"),
        (("peterrec", tmp_path / "half"), "at least one of ColdRec-1, ColdRec-2"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            open_dataset(*arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(
        InputError, match="`tasks` should be among shop, gender, age, spend, topics. Rec"
    ):
        open_dataset("simulated").only(["films"])
