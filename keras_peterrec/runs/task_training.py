"""Trains a task: its head first, then the rest of what its method trains."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.linear.linear_part import LinearScores
from keras_peterrec.log.event_split import TRAIN, VALIDATION
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.runs.run_folder import FINAL
from keras_peterrec.runs.task_parts import (
    FEW_ROWS,
    Parts,
    choose_batch_size,
    choose_head_batch_size,
    choose_parts,
    on_states,
)
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.training.resumable_training import ResumableTraining
from keras_peterrec.transfer.strategies import LEARNING_RATES, starts_as_head
from keras_peterrec.types import Json

# Version of the training code: raise it when the same settings give another result. Folders that
# another version began are refused.
RECIPE = 9
HEAD = "head"  # the method, and in a run's folder where its state, history and logs are
# An epoch of so many rows is enough to tell whether the next would be better.
SURE_ROWS = 16_384
# Epochs that may fail to beat the head alone before the rest of a method is given up, where they
# have SURE_ROWS. In shorter ones the first steps may cost more than they gain: the patience counts.
GIVES_UP = 2
# Epochs without a better one until the learning rate drops: of SURE_ROWS each, of fewer in a task
# that has so many, and of fewer in one that has not. On Ta Feng's age, where an epoch is 50 steps
# for 20,000 customers, patches of three splits began to beat the head after up to four epochs.
PATIENCE, PATIENCE_OF_MANY, PATIENCE_OF_FEW = 2, 5, 3
# Standard errors of the gain that the rest of a method must bring on validation users to be kept.
NOISE = 1.0


@dataclass
class TaskTraining:
    """What training a task came to.

    Args:
        head: ResumableTraining of the head alone, or `None` where it was trained with the rest.
        rest: ResumableTraining of all that the method trains, or `None` under `head`.
        head_is_all: bool. Whether the head alone is as good on validation users, and is kept.
        gain: tuple of float. What the rest brought on validation, and its standard error; `None`
            where nobody can tell. Defaults to `None`.
    """

    head: Any
    rest: Any
    head_is_all: bool
    gain: tuple | None = None

    def summary(self, total_seconds: float) -> Json:
        """The training's entries of `metrics.json`; see `ResumableTraining.summary`."""
        if self.head is None:
            return self.rest.summary(total_seconds)
        head = self.head.summary(total_seconds)
        if self.rest is None and not self.head_is_all:
            return head
        of_head = {name: head[name] for name in ("epochs", "best_epoch", "best_path", "stopped")}
        of_head["is_all"] = self.head_is_all
        if self.gain is not None:
            of_head["gain_over_it"], of_head["standard_error"] = self.gain
        if self.rest is None:
            return {**head, "head": of_head}
        rest = self.rest.summary(total_seconds)
        seconds = {**rest["seconds"], "head": head["seconds"]["fit"]}
        seconds["fit"] = round(seconds["fit"] + seconds["head"], 2)
        seconds["best"] = round(seconds["best"] + seconds["head"], 2)
        seconds["first_step"] = head["seconds"]["first_step"] or seconds["first_step"]
        return {**rest, "head": of_head, "seconds": seconds}

    @property
    def epochs(self) -> int:
        """How many were trained in all."""
        return sum(training.state["epoch"] for training in (self.head, self.rest) if training)

    def finish(self) -> None:
        """Removes the saved states; call it once the result is on disk."""
        for training in (self.head, self.rest):
            if training is not None:
                training.finish()


@dataclass(frozen=True)
class TaskRun:
    """What every stage of a task's training shares.

    Args:
        model: TaskModel, of `build_task`.
        folder: path of the run.
        linear: LinearPart that is served beside the network, or `None`. Training does not see it,
            but what is measured is the sum.
        examples: Examples or `None`. Shows validation users in TensorBoard after each epoch.
            Defaults to `None`.
        measured: dict or `None`. The result of a measured run, which is then repeated on the rows
            of all users, in the folder's `final`. Defaults to `None`.
        started: str or `None`. The method of the bundle whose weights the model starts with.
            Defaults to `None`, a new model.
    """

    model: Any
    data: Any
    settings: Any
    folder: Any
    linear: Any = None
    examples: Any = None
    measured: dict | None = None
    started: str | None = None

    @property
    def rows(self) -> TaskData:
        """TaskData whose rows are trained on."""
        return self.data if self.measured is None else self.data.everything()

    @property
    def place(self) -> Path:
        """The folder of training's state."""
        return self.folder if self.measured is None else self.folder / FINAL

    def title(self, stage: str = "") -> str:
        everything = "" if self.measured is None else " on everything"
        return f"{self.folder.name}{stage}{everything}"

    def measure(self) -> Any:
        """Metrics of the validation users as they are served, with the linear part."""
        users = self.data.users(self.model, VALIDATION)
        return self.data.measure_sum(users, self.model.head, self.linear_scores)

    @functools.cached_property
    def linear_scores(self) -> LinearScores | None:
        """The LinearScores of the validation users, or `None` without a linear part."""
        if self.linear is None:
            return None
        return self.data.linear_scores(self.linear, VALIDATION)

    def recipe(
        self,
        rate: float,
        patience: int,
        drops: int,
        counts_start: bool,
        path: Sequence[int] | None,
        gives_up: int | None = None,
    ) -> Recipe:
        """The Recipe of a stage; that of a measured one again where there is its `path`."""
        few = len(self.data.splits[TRAIN]) < FEW_ROWS
        metric = self.data.kind.metric
        recipe = Recipe(
            rate,
            self.settings.epochs,
            patience,
            metric.monitor,
            metric.mode,
            drops=3 if few else drops,
            counts_start=counts_start,
            gives_up=gives_up,
            least_gain=self.settings.least_gain,
            finish=self.settings.finish,
        )
        return recipe if path is None else recipe.again(path)

    def fit(
        self, stage: str, parts: Parts, measure: Callable[[], Any], recipe: Recipe, folder: Path
    ) -> ResumableTraining:
        # The model itself is not named after its folder: XLA finds what it compiled for an equal
        # model only where the names agree.
        return fit(
            self.title(stage),
            parts.model,
            self.rows.loss(self.settings.loss),
            parts.batches,
            measure,
            parts.forward,
            recipe,
            folder,
            show=None if self.examples is None else self.examples.markdown,
            profile=self.settings.profile,
            asked_in=self.folder,
        )


def train_task(run: TaskRun) -> TaskTraining:
    """Trains a task model to its best validation metric.

    The head comes first, on states that are computed once, and then all that the method trains
    begins with it: where both begin together, the first steps change the network to suit a head
    that knows nothing. What the rest brings is kept only if it is more than noise.

    Returns:
        TaskTraining. The model has its best weights; under `head_is_all` those of its head, and of
        what it reads of users, are the head's alone, and nothing else of it is to be used.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", ICLR 2022 (linear probing, then fine-tuning).
    """
    method, measured = run.settings.method, run.measured
    if method == "head":
        path = None if measured is None else measured["best_path"]
        return TaskTraining(train_head(run, run.place, path), None, head_is_all=False)
    head = None
    if measured is not None:
        head_first = "head" in measured
    else:
        head_first = run.started in (None, "head") and starts_as_head(run.model, method)
    if head_first:
        path = None if measured is None else measured["head"]["best_path"]
        head = train_head(run, run.place / HEAD, path, " head")
        if measured is not None and measured["head"]["is_all"]:
            return TaskTraining(head, None, head_is_all=True)
        if head.state["stopped"] == "finish":
            return TaskTraining(head, None, head_is_all=True)
    path = None if measured is None else measured["best_path"]
    if head is None or measured is not None:
        return TaskTraining(head, train_rest(run, head, path), head_is_all=False)
    devices = Devices.of(run.model)
    before: list[Any] = []  # on the chief, which compares: JSON would not keep the single users
    devices.on_chief(lambda: before.append(run.measure()))
    of_head = run.model.readout_weights()
    weights = {path: np.array(weight) for path, weight in of_head.items()}
    rest = train_rest(run, head, path)
    gain = devices.on_chief(lambda: _gain(run.measure(), before[0], run.data.kind.metric))
    why = why_head_is_all(rest, gain)
    if why is not None:
        for path, weight in of_head.items():
            weight.assign(weights[path])
        empty = "its patch is empty" if method == "patch" else f"nothing else of {method} is kept"
        progress.line(f"{run.title()}  the head says it all here; {empty} ({why})")
    return TaskTraining(head, rest, why is not None, gain)


def _gain(after, before, metric):
    """The gain and its standard error; `None` where the kind's metrics cannot tell."""
    if not isinstance(after, Measured):
        return None
    return after.gain_over(before, metric)


def why_head_is_all(rest: ResumableTraining, gain: tuple | None) -> str | None:
    """Why the head alone is as good on validation users as all that a method trains, or `None`.

    Args:
        rest: ResumableTraining of all that the method trains, which has begun with the head.
        gain: tuple of what it brought and the standard error of that, or `None`.
    """
    if rest.state["best_epoch"] == -1:
        return "no epoch was better"
    if gain is None or gain[0] > NOISE * gain[1]:
        return None
    return f"more brought {gain[0]:.2g} on validation, with a standard error of {gain[1]:.2g}"


def train_head(
    run: TaskRun, folder: Path, path: Sequence[int] | None, stage: str = ""
) -> ResumableTraining:
    """Trains the head alone: the users' states do not change, so the host runs only once.

    The network is validated alone, so that the head is trained well also where the linear part
    knows more: the sum would then hardly change, and a head that knows nothing be the best by
    chance.

    Args:
        run: TaskRun, whose model is as it starts.
        folder: path, for the state, the history and the logs.
        path: sequence of int or `None`. See `TaskRun.measured`.
        stage: str. What the progress calls it. Defaults to `""`.
    """
    count = len(run.data.splits[TRAIN])
    alone = run.settings.method == "head"  # what the user asks is otherwise meant for the rest
    asked = run.settings.batch_size if alone else None
    batch_size = choose_head_batch_size(run.model, count, asked)
    with progress.stage("computing the users' states", brief=True):
        parts = on_states(run.model, run.rows, batch_size, run.settings.seed)
        states = None if path is not None else run.data.states(run.model, VALIDATION)
    rate = (run.settings.learning_rate if alone else None) or LEARNING_RATES[HEAD]
    starts = run.data.starts_trained or run.settings.start is not None
    is_sure = parts.epoch_rows >= SURE_ROWS
    recipe = run.recipe(rate, 1 if is_sure else 3, 2, starts, path)
    users = lambda: run.data.with_told(run.model, states, VALIDATION)
    measure = lambda: run.data.measure_sum(users(), run.model.head)
    return run.fit(stage, parts, measure, recipe, folder)


def train_rest(
    run: TaskRun, head: ResumableTraining | None, path: Sequence[int] | None
) -> ResumableTraining:
    """Trains all that the method trains, the head included.

    Args:
        head: ResumableTraining of the head, or `None` where it was not trained before.
        path: see `train_head`.
    """
    data, settings = run.data, run.settings
    count = len(data.splits[TRAIN])
    batch_size = choose_batch_size(run.model, data, settings)
    parts = choose_parts(run.model, run.rows, settings, batch_size)
    is_sure = parts.epoch_rows >= SURE_ROWS
    short = PATIENCE_OF_MANY if count >= SURE_ROWS else PATIENCE_OF_FEW
    patience = PATIENCE if is_sure else short
    starts = head is not None or data.starts_trained or settings.start is not None
    gives_up = GIVES_UP if head is not None and is_sure else None
    rate = settings.learning_rate or LEARNING_RATES[settings.method]
    recipe = run.recipe(rate, patience, 1, starts, path, gives_up)
    return run.fit("", parts, run.measure, recipe, run.place)
