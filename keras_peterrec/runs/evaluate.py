"""Metrics of a finished run, on its own data or on other data."""

from pathlib import Path

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST
from keras_peterrec.errors import InputError
from keras_peterrec.runs.next_item import TEST as LAST_EVENT
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import load_answers, make_data
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.json_file import read_json
from keras_peterrec.transfer.task import Task


def evaluate(run, host=None, log=None, target=None, labels=None, column=None, out=None):
    """Computes the test metrics of a host or a task anew.

    Data that is not named is that of the run itself.

    Args:
        run: path of a `pretrain` or `transfer` run.
        host: path of the host of a task run, where it was moved.
        log: str or path. The source log.
        target: str or path. The target log of a recommendation task.
        labels: str or path, with `column`. Of a classification task.
        column: str.
        out: path of a new run folder for `metrics.json`, or `None`.

    Returns:
        dict of `command`, `settings`, `data` and `metrics`.

    Raises:
        InputError: the run or the data cannot be used.
    """
    asked = {key: None if value is None else str(value) for key, value in locals().items()}
    del asked["out"]
    folder = Path(run)
    command = read_json(folder / "run.json", "run")["command"]
    settings = {**read_json(folder / "run.json", "run")["settings"]}
    settings.update({key: value for key, value in asked.items() if value is not None})
    result_folder = None if out is None else RunFolder(out, "evaluate", asked)
    if result_folder is not None and (earlier := result_folder.earlier_result()) is not None:
        return earlier
    if command == "pretrain":
        data, metrics = _evaluate_host(folder, settings)
    elif command == "transfer":
        data, metrics = _evaluate_task(folder, settings)
    else:
        raise InputError(
            "`run` should be the folder of a pretrain or transfer run. "
            f"Received: {str(run)!r}, a run of `{command}`."
        )
    result = {
        "command": "evaluate",
        "settings": asked,
        "seed": settings["seed"],
        "data": data,
        "metrics": {"test": metrics},
    }
    return result if result_folder is None else result_folder.finish(result)


def _evaluate_host(folder, settings):
    host = Host.load(folder, "run")
    log = load_log(settings["log"])
    evaluation = NextItemEvaluation(
        Sequences(log, host.vocabulary), host.max_length, LAST_EVENT
    )
    data = {"fingerprint": log.fingerprint(), "users": len(evaluation)}
    return data, evaluation.measure(host.pretrainer, new_items=True)


def _evaluate_task(folder, settings):
    host = Host.load(settings["host"])
    task = Task.load(folder, host, "run")
    log = load_log(settings["log"])
    target = settings["target"] if task.kind == "recommend" else None
    answers = load_answers(target, settings["labels"], settings["column"])
    source = Sequences(log, host.vocabulary)
    data = make_data(source, host.history_length(task.model), answers, settings)
    if data.kind == "recommend" and list(data.targets.items) != list(task.targets.items):
        raise InputError(
            "`target` should be the log that the task was trained on. "
            "Received: a log with other items or other counts."
        )
    if data.kind == "classify" and data.classes != task.classes:
        raise InputError(
            f"`labels` should have the classes {', '.join(task.classes)}. "
            f"Received: {', '.join(data.classes)}."
        )
    summary = {"fingerprint": [log.fingerprint(), answers.fingerprint()], **data.summary()}
    return summary, data.measure(task.model, TEST, sampled=True)
