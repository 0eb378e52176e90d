"""Chooses settings of a command that trains by validation, within a budget of minutes or trials.

Optuna proposes settings from all trials before; a proposal depends on them and on the seed alone,
so that a search that was interrupted goes on as it would have.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from keras_peterrec.errors import InputError, is_full_disk, shortened
from keras_peterrec.experiments.tuned import best_of, finished, named, report
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.progress import line
from keras_peterrec.report.kept_rows import write_validation_users
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.refresh import refresh
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.tune import (
    TRIALS,
    Searched,
    TunePretrainSettings,
    TuneRefreshSettings,
    TuneTransferSettings,
    TuningSettings,
)
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.types import AnyPath, Json

FILE, BEST = "trials.json", "best"
PROPOSALS = 50  # that may be known already before the search has nothing left to try


@takes(TunePretrainSettings)
def tune_pretrain(settings: TunePretrainSettings) -> Json:
    """Tries settings of `pretrain` and keeps the run that is best on validation events.

    The first trial has the settings as they are given, and no trial is chosen by its test. Each is
    a run in a folder of its own, the best of them is `out/best`; with `final` that one is then
    trained on everything. Called again it goes on, where `minutes` or `trials` allow more.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the data cannot be used, or Optuna is not installed.
    """
    return _tune(settings, pretrain)


@takes(TuneTransferSettings)
def tune_transfer(settings: TuneTransferSettings) -> Json:
    """Tries settings of `transfer` and keeps the run that is best on validation users.

    See `tune_pretrain`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: as in `tune_pretrain`.
    """
    return _tune(settings, transfer)


@takes(TuneRefreshSettings)
def tune_refresh(settings: TuneRefreshSettings) -> Json:
    """Tries settings of `refresh` and keeps the run that is best on validation events.

    See `tune_pretrain`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: as in `tune_pretrain`.
    """
    return _tune(settings, refresh)


def _tune(settings: Any, command: Callable[..., Json]) -> Json:
    optuna, space = _import_optuna(), settings.space()
    for patch in (p for s in space if s.name == "patch" for p in s.values or ()):
        get_patch(patch)  # whose mistakes should not cost a trial
    data = {"epochs": settings.epochs}  # which runs may change and go on, but not a search
    with RunFolder(settings.out, settings, data) as folder, locked(folder.path):
        trials = _held(folder.path)
        with WorkerProcess() as worker:
            if trials and trials[0]["state"] == "done":
                # Reads the log, and refuses one that is not that of the trials.
                _train(worker, command, settings, trials[0], folder.path)
            _search(settings, space, optuna, trials, folder.path, worker, command)
            best = best_of(trials)
            if best is None:
                raise InputError(
                    "`search` should hold settings that can be trained. Received: none, the last "
                    f"trial failed: {trials[-1]['reason']}"
                )
            if settings.final:
                _train(worker, command, settings, best, folder.path, final=True)
        _point(folder.path / BEST, folder.path / best["folder"])
        return folder.finish(report(settings, space, trials, folder.path))


def _import_optuna():
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "`tune` needs Optuna: pip install 'keras-peterrec[tune]'. "
            f"Received: a Python without it ({error})."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _held(folder):
    """The trials of a folder, also one that was interrupted."""
    return read_json(folder / FILE, "out") if (folder / FILE).is_file() else []


def _search(settings, space, optuna, trials, folder, worker, command):
    """Runs trials until the budget is used up, and keeps `trials` and their file up to date."""
    while True:
        if not trials or trials[-1]["state"] != "running":
            if is_over(settings, trials):
                return
            number = len(trials)
            values = {} if not number else propose(optuna, space, trials, settings.seed)
            if values is None:
                line("every combination of values was tried")
                return
            trials.append(
                {
                    "number": number,
                    "settings": {**{s.name: settings.given(s.name) for s in space}, **values},
                    "changed": values,
                    "state": "running",
                    "folder": f"trials/{number:03d}",
                }
            )
            write_json(folder / FILE, trials)
        trial = trials[-1]
        line(f"trial {trial['number']}: {named(trial)}")
        trial |= _outcome(worker, command, settings, trial, folder)
        write_json(folder / FILE, trials)
        if trial["state"] == "failed":
            line(f"trial {trial['number']} failed: {trial['reason']}")
        else:
            best = best_of(trials)
            line(
                f"trial {trial['number']}: validation {trial['decides']['name']} "
                f"{trial['value']:.4f}, {trial['seconds']:.0f} s; the best is trial "
                f"{best['number']} with {best['value']:.4f}"
            )


def is_over(settings: TuningSettings, trials: Sequence[Json]) -> bool:
    """Whether the budget has no room for one more trial that takes as long as the others."""
    if not trials:
        return False
    if settings.trials is not None or settings.minutes is None:
        if len(trials) >= (settings.trials or TRIALS):
            return True
    seconds = [trial["seconds"] for trial in trials]
    return settings.minutes is not None and sum(seconds) + median(seconds) > 60 * settings.minutes


def propose(
    optuna: Any, space: Sequence[Searched], trials: Sequence[Json], seed: int = 0
) -> Json | None:
    """The values that the next trial should try, by setting; `None` where all were tried.

    All `trials` are finished or failed.
    """
    distributions = {searched.name: _distribution(optuna, searched) for searched in space}
    done = finished(trials)
    higher = not done or done[0]["decides"]["higher_is_better"]
    known = [trial["settings"] for trial in trials]
    past = [_past_trial(optuna, space, distributions, trial) for trial in trials]
    for again in range(PROPOSALS):
        drawn = (seed * 1_000 + len(trials)) * PROPOSALS + again
        sampler = optuna.samplers.TPESampler(seed=drawn % 2**32, n_startup_trials=8)
        study = optuna.create_study(sampler=sampler, direction="maximize" if higher else "minimize")
        study.add_trials(past)
        asked = study.ask(distributions).params
        values = {s.name: s.rounded(asked[s.name]) for s in space}
        if values not in known:
            return values
    return None


def _past_trial(optuna, space, distributions, trial):
    """A trial as Optuna has it; values that may not be tried any more are left out."""
    values = {s.name: trial["settings"][s.name] for s in space if s.has(trial["settings"][s.name])}
    is_done, states = trial["state"] == "done", optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.COMPLETE if is_done else states.FAIL,
        params=values,
        distributions={name: distributions[name] for name in values},
        value=trial["value"] if is_done else None,
    )


def _distribution(optuna, searched):
    kinds = optuna.distributions
    if searched.values is not None:
        return kinds.CategoricalDistribution(searched.values)
    make = kinds.IntDistribution if isinstance(searched.low, int) else kinds.FloatDistribution
    return make(searched.low, searched.high, log=searched.is_log)


def _outcome(worker, command, settings, trial, folder):
    """What came of a trial; whatever fails in it is told, but for what would fail again."""
    began = time.perf_counter()
    try:
        result = _train(worker, command, settings, trial, folder)
        decides = result["decides"]
        value = result["metrics"]["validation"][decides["name"]]
        if not math.isfinite(value):
            raise FloatingPointError(f"its validation {decides['name']} is {value}")
    except Exception as error:
        # The settings as given can only fail for what the machine has not.
        if is_full_disk(error) or (not trial["changed"] and not _has_no_memory(error)):
            raise
        reason = shortened(" ".join(str(error).split())) or type(error).__name__
        seconds = round(time.perf_counter() - began, 2)
        return {"state": "failed", "reason": reason, "seconds": seconds}
    return {
        "state": "done",
        "value": value,
        "decides": decides,
        "seconds": result["seconds"]["total"],
    }


def _has_no_memory(error):
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _train(worker, command, settings, trial, folder, final=False):
    arguments = settings.arguments(**trial["changed"], final=final)
    out = folder / trial["folder"]
    return worker.call(run_trial, command=command, out=out, arguments=arguments)


def run_trial(command: Callable[..., Json], out: AnyPath, arguments: Json) -> Json:
    """Runs a command and keeps what each validation user adds to the metric that decides."""
    result = command(out=out, **arguments)
    write_validation_users(out, result, Metric(**result["decides"]))
    return result


def _point(link: Path, folder: Path) -> None:
    """Makes `link` lead to a folder beside it; where links cannot be made, a copy."""
    beside = link.with_name(f".{link.name}")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
        os.replace(beside, link)
    except OSError:
        shutil.rmtree(link, ignore_errors=True)
        shutil.copytree(folder, link)
