"""The life of a run that trains: open, train, add the linear part, save, measure, make final."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec.progress import stage
from keras_peterrec.report.tensorboard import write_projector, write_summaries
from keras_peterrec.runs.advice import advise, say_what_parts_add
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import write_test
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.types import Json


class Life:
    """What a command that trains does in its own way; `live` is what all of them share.

    Args:
        settings: Settings of the run, with `out`, `seed`, `final` and `finish`.
        fingerprints: JSON value, the fingerprints of all that is read.
        began: float. When the command began, as `time.perf_counter` tells it.

    Attributes:
        metric: Metric that decides.
        host: Host that is trained, or that the task is built on.
        examples: Examples of the run, for its report.
        recipe: int or `None`. Version of the training code; see `RunFolder`.
        asked: str. For what a network brought no gain that adds nothing to the linear part.
    """

    recipe: int | None = None
    asked = "here"

    def __init__(self, settings: Any, devices: Devices, fingerprints: Any, began: float) -> None:
        self.settings, self.devices = settings, devices
        self.fingerprints, self.began = fingerprints, began

    def say(self) -> None:
        """Says what looks wrong in the data, before anything is trained."""

    def begin(self, everything: bool = False) -> None:
        """Makes what is trained, new; with `everything`, to be trained on all rows."""
        raise NotImplementedError

    def train(self, folder: Path, measured: Json | None = None) -> Any:
        """Trains to the best validation metric; or as long as a `measured` run found best.

        Args:
            folder: path of the run.
            measured: dict, the result of the measured run, or `None`.

        Returns:
            an object with `summary` and `finish`, as ResumableTraining.
        """
        raise NotImplementedError

    def add_linear(self) -> Json:
        """Weighs the linear part and adds it to what was trained.

        Returns:
            dict, what `metrics.json` says of it.
        """
        raise NotImplementedError

    def refit_linear(self, measured: Json) -> None:
        """Adds the linear part of everything, where the result of the measured run has weight for
        one."""
        raise NotImplementedError

    def save(self, folder: Path, everything: bool = False) -> None:
        """Writes the host or the task bundle into the folder of the run."""
        raise NotImplementedError

    def measure(self) -> tuple[Json, Json]:
        """Measures what is served, on validation and test, and the baselines.

        Returns:
            dict, the run's `metrics.json` but for its training; and a dict from `NETWORK` and
            `LINEAR` to the test metrics of that part alone, empty where there are no two parts.
        """
        raise NotImplementedError

    def history_lengths(self) -> np.ndarray:
        """The number of events of each training history, int array."""
        raise NotImplementedError

    def vectors(self, rows: Mapping[str, np.ndarray]) -> tuple | None:
        """What TensorBoard's projector shows.

        Args:
            rows: dict of arrays, of `write_test`.

        Returns:
            vectors `[n, C]`, their labels, their counts, and what they are of; or `None`.
        """
        return None

    def trained_on(self, training: Any, measured: Json) -> Json:
        """What `metrics.json` says of training on everything: a dict of sizes and epochs.

        Args:
            training: of `train`.
            measured: dict, the result of the measured run.
        """
        raise NotImplementedError


def live(life: Life) -> Json:
    """Runs a Life in its folder: from where an interrupted one stopped, to its result.

    Random numbers should be `seeded` from before any network is built, since dropout layers draw
    their seeds then.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: the folder holds another run, or the data cannot be used.
    """
    settings, devices = life.settings, life.devices
    asked = settings.out, settings, life.fingerprints, life.recipe, devices, settings.final
    with RunFolder(*asked) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        result = folder.measured_result()
        if result is None:
            if devices.is_chief:
                life.say()
            life.begin()
            training = life.train(folder.path)
            result = devices.on_chief(lambda: _measured(life, training, folder))
        if settings.final:
            # All anew, the same after an interruption: dropout has drawn numbers in training.
            with seeded(settings.seed):
                began = time.perf_counter()
                life.begin(everything=True)
                training = life.train(folder.path, result)
                result = devices.on_chief(lambda: _final(life, training, folder, result, began))
        return result


def _measured(life, training, folder):
    linear = life.add_linear()
    with stage(f"saving {folder.path}", brief=True):
        life.save(folder.path)
    measured, parts = life.measure()
    seconds = training.summary(time.perf_counter() - life.began)
    result = {**measured, **seconds, **linear}
    if parts:
        say_what_parts_add(result, parts, life.metric, life.asked)
    advise(result, life.metric, life.history_lengths(), life.host)
    with stage("writing what a report needs", brief=True):
        rows = write_test(folder.path, result, life.metric, life.examples)
        write_summaries(folder.path, result, rows)
        shown = life.vectors(rows)
        if shown is not None:
            vectors, labels, counts, title = shown
            write_projector(folder.path, vectors, labels, counts, life.examples.name, title)
    folder.finish(result)
    training.finish()
    return result


def _final(life, training, folder, result, began):
    life.refit_linear(result)
    life.save(folder.path, everything=True)
    seconds = round(time.perf_counter() - began, 2)
    result_of_both = {**result, "final": {**life.trained_on(training, result), "seconds": seconds}}
    folder.finish(result_of_both)
    training.finish()
    return result_of_both
