"""Metrics of a finished run, on its own data or on other data."""

import hashlib
from pathlib import Path

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_json
from keras_peterrec.runs.next_item import TEST as LAST_EVENT
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import load_answers, make_data
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task

# What each kind of run can be evaluated with, besides what it was trained with.
_TAKEN = {
    "a host": ("log",),
    "a recommendation task": ("host", "log", "target"),
    "a classification task": ("host", "log", "labels", "column"),
}


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
    saved = read_json(Path(run) / "run.json", "run")
    if saved.get("command") not in _OPENED:
        raise InputError(
            "`run` should be the folder of a pretrain or transfer run. "
            f"Received: {str(run)!r}, a run of `{saved.get('command')}`."
        )
    settings = {**saved["settings"]}
    _refuse_others(asked, "a host" if saved["command"] == "pretrain" else _kind_of(settings))
    settings.update({key: value for key, value in asked.items() if value is not None})
    data, measure = _OPENED[saved["command"]](Path(run), settings)
    # Other weights or other data under the same paths are another evaluation.
    asked["data"] = [_fingerprint(Path(run)), data["fingerprint"]]

    def result():
        return {
            "command": "evaluate",
            "settings": asked,
            "seed": settings["seed"],
            "data": data,
            "metrics": {"test": measure()},
        }

    if out is None:
        return result()
    with RunFolder(out, "evaluate", asked) as folder:
        earlier = folder.earlier_result()
        return folder.finish(result()) if earlier is None else earlier


def _kind_of(settings):
    return f"a {'classification' if settings['target'] is None else 'recommendation'} task"


def _refuse_others(asked, kind):
    """Refuses arguments that a kind of run does not read."""
    for name, value in asked.items():
        if value is not None and name not in ("run", *_TAKEN[kind]):
            raise InputError(
                f"`{name}` should be left out for {kind}. Received: `{name}` = {value!r}."
            )


def _fingerprint(folder):
    """A hash of the files of a host or a task, the fingerprint of a task's host included."""
    digest = hashlib.sha256()
    for name in ("host.json", "task.json", "targets.txt", "vocabulary.txt", "weights.npz"):
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name} {len(content)} ".encode() + content)
    return f"sha256:{digest.hexdigest()[:16]}"


def _open_host(folder, settings):
    """What `metrics.json` says of a host's data, and how its metrics are measured."""
    host = Host.load(folder, "run")
    log = load_log(settings["log"])
    evaluation = NextItemEvaluation(Sequences(log, host.vocabulary), host.max_length, LAST_EVENT)
    data = {"fingerprint": log.fingerprint(), "users": len(evaluation)}
    return data, lambda: evaluation.measure(host.pretrainer, new_items=True)


def _open_task(folder, settings):
    """The same of a task."""
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
    return summary, lambda: data.measure(task.model, TEST, sampled=True)


_OPENED = {"pretrain": _open_host, "transfer": _open_task}
