"""Metrics of a finished run, on its own data or on other data."""

import hashlib
from pathlib import Path

from keras_peterrec import progress
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.json_file import read_format, read_json, refuse_misfits
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.prepared.format import is_prepared
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.progress import stage
from keras_peterrec.runs.host_linear import rule_baselines
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretraining_log import measured_sequences, trained_counts
from keras_peterrec.runs.run_folder import FORMAT_VERSION, RunFolder
from keras_peterrec.runs.task_data import known_histories, load_task, open_source
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.finished_runs import EvaluateSettings
from keras_peterrec.settings.pretrain import PretrainSettings, RefreshSettings
from keras_peterrec.settings.transfer import TransferSettings
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle
from keras_peterrec.types import Json


@takes(EvaluateSettings)
def evaluate(settings: EvaluateSettings) -> Json:
    """Computes the test metrics of a host or a task anew.

    Data that is not named is that of the run itself.

    Returns:
        dict of `command`, `settings`, `data`, `metrics` and `baselines` that need no fitting.

    Raises:
        InputError: the run or the data cannot be used.
    """
    run = Path(settings.run)
    saved = read_format(run / "run.json", FORMAT_VERSION, "run")
    if saved.get("command") not in _OPENED:
        raise InputError(
            "`run` should be the folder of a pretrain, refresh or transfer run. "
            f"Received: {str(run)!r}, a run of `{saved.get('command')}`."
        )
    settings_class, taken, measured = _OPENED[saved["command"]]
    given = lambda value: value is not None and value is not False
    asked = {name: value for name, value in vars(settings).items() if given(value)}
    asked = {name: value for name, value in asked.items() if name not in ("run", "out")}
    with refuse_misfits(run, "run"):
        _check_taken(asked, taken(saved["settings"]))
        # Together: what the run read may have been an object, which only its name is left of.
        of_run = settings_class(**{**_still_asked(saved["settings"], asked), **asked}, out=run)
    with stage(f"loading {run}", brief=True):
        data, measure = measured(run, of_run)
    if (run / "metrics.json").is_file() and "final" in read_json(run / "metrics.json", "run"):
        progress.line(
            f"{run} was trained on everything (--final): of data that it was trained on, metrics "
            "are better than of new data"
        )

    def result():
        with stage("measuring test users"):
            metrics, baselines = measure()
        return {
            "command": settings.command,
            "settings": settings.recorded(),
            "seed": of_run.seed,
            "data": data,
            "metrics": {"test": metrics},
            "baselines": baselines,
        }

    if settings.out is None:
        return result()
    # Other weights or other data under the same paths are another evaluation.
    with RunFolder(settings.out, settings, [_fingerprint(run), data["fingerprint"]]) as folder:
        earlier = folder.earlier_result()
        return folder.finish(result()) if earlier is None else earlier


def _check_taken(asked, taken):
    """Raises InputError if an argument was given that this run would not read."""
    allowed, what = taken
    for name, value in asked.items():
        if name not in allowed:
            refuse(name, f"left out for {what}", value)


def _still_asked(saved, asked):
    """The settings of the run but for how it read what is now given as Events, which are read."""
    read = {"log": ("events",), "target": ("target_events", "weight_column")}
    is_read = lambda log: isinstance(log, (Events, PreparedLog)) or is_prepared(log)
    gone = [n for place, names in read.items() if is_read(asked.get(place)) for n in names]
    return {name: value for name, value in saved.items() if name not in gone}


def _taken_by_host(saved):
    return ("log", "columns", "events", "drop_bad_rows"), "a host"


def _taken_by_task(saved):
    kind = get_kind(saved["kind"])
    answers = ("target", "target_events") if kind.reads == "target" else ("labels", "column")
    answers += ("users",) if saved.get("users") is not None else ()
    return ("host", "log", "columns", "events", "drop_bad_rows", *answers), f"a {kind.name} task"


def _fingerprint(folder):
    """A hash of the files of a host or a task, which names its host by fingerprint."""
    digest = hashlib.sha256()
    if (folder / "task.json").is_file():
        names = TaskBundle.read(folder, "run").files()
    else:
        names = ["host.json", "vocabulary.txt", "weights.npz"]
    for name in names:
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return f"sha256:{digest.hexdigest()[:16]}"


def _open_host(folder, settings):
    """What `metrics.json` says of a host's data, and a function that measures the host."""
    host = Host.load(folder, "run")
    log = open_source(settings.log, **settings.reading, fields=host.columns or None)
    log = log.asking(host.asked)
    sequences, most = measured_sequences(log, host.vocabulary, settings.split)
    asked = TEST, host.keep_seen, most
    evaluation = NextItemEvaluation(sequences, host.max_length, *asked, fields=host.fields)
    data = {"fingerprint": log.fingerprint(), "users": len(evaluation), "keep_seen": host.keep_seen}
    data["known_events"] = round(sequences.known_share, 4)

    def measure():
        metrics = evaluation.measure(host.pretrainer, both=True)
        counts = trained_counts(sequences, len(host.vocabulary.items))
        popularity = {"name": "popularity", "test": evaluation.popularity(counts)}
        rules = rule_baselines(sequences, counts, evaluation, is_moment(settings.split))
        return metrics, [popularity, *rules]

    return data, measure


def _open_task(folder, settings):
    """The same of a task."""
    host = Host.load(settings.host)
    task = Task.load(folder, host, "run")
    own = task.model.own_fields
    log, answers, users = load_task(settings, [*host.fields.columns, *own.columns] or None)
    source = known_histories(log, host)
    data = type(task.kind).make_data(source, answers, host.history_length(task.model), settings)
    data.answer_as(task.kind)
    if users is not None:
        data.tell(users, task.user_fields)
    if len(own):
        data.tell_fields(own.columns, host.fields, own)
    summary = {"fingerprint": [log.fingerprint(), answers.fingerprint()], **data.summary()}

    def measure():
        baselines = [data.baseline(TEST), *data.more_baselines(TEST)]
        return data.measure(task.model, TEST, sampled=True), baselines

    return summary, measure


# command -> settings of the run, what an evaluation may replace, how it is measured
_OPENED = {
    "pretrain": (PretrainSettings, _taken_by_host, _open_host),
    "refresh": (RefreshSettings, _taken_by_host, _open_host),
    "transfer": (TransferSettings, _taken_by_task, _open_task),
}
