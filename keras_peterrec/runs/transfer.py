"""From a host and a small log or a table of labels to a task bundle."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import refuse
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.moments import is_moment
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.progress import stage
from keras_peterrec.runs.advice import (
    LINEAR,
    NETWORK,
    can_be_compared,
    say_weak_host,
)
from keras_peterrec.runs.life import Life, live
from keras_peterrec.runs.next_item import METRIC as HOST_METRIC
from keras_peterrec.runs.run_folder import finish_elsewhere
from keras_peterrec.runs.task_data import (
    example_writer,
    fit_linear,
    known_histories,
    load_task,
    say_what_is_little,
    task_result,
    with_kind,
)
from keras_peterrec.runs.task_training import RECIPE, TaskRun, train_task
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import DEFAULT_PATCH, PATCHED, TransferSettings
from keras_peterrec.tasks.task_data import PartWeights, TaskData
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task, user_field_vectors
from keras_peterrec.transfer.task_bundle import TaskBundle
from keras_peterrec.types import Json


@takes(TransferSettings)
def transfer(settings: TransferSettings) -> Json:
    """Trains one task on a host and saves its bundle as a run folder.

    Users are split 70/10/20 by a hash of their id; no target event and no label of a validation or
    test user is trained on. `split` may name a moment instead. With `final`, a second model is then
    trained on all users, for as long as was best, and saved in place of the measured one, whose
    metrics are kept. The same call on an interrupted folder goes on; on a finished one it returns
    what was found.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument, the host or the data cannot be used.
    """
    if (finished := finish_elsewhere(settings)) is not None:
        return finished
    # From before the host is built, because its dropout layers draw their seeds then.
    with seeded(settings.seed):
        start = None if settings.start is None else _start(settings)
        return _transfer(settings, start)


def _start(settings):
    """The TaskBundle that training starts with."""
    bundle = TaskBundle.read(settings.start, "start")
    if settings.patch is not None and bundle.method != "head":
        refuse(
            "patch",
            "left out with `start` (--from), whose patch is trained further",
            settings.patch,
        )
    if bundle.method not in (settings.method, "head"):
        refuse(
            "method",
            f"that of `start` (--from), {bundle.method}, or start with a head",
            settings.method,
        )
    known, asked = bundle.user_fields().names, [*as_fields(settings.user_fields)]
    if known and known != asked:
        what = f"those of `start` (--from), {','.join(known)}"
        refuse("user_fields", what, settings.user_fields)
    known, asked = bundle.own_fields().columns, [*as_fields(settings.fields)]
    if known != asked and (known or bundle.method != "head"):
        what = f"those of `start` (--from), {','.join(known) or 'none'}"
        refuse("fields", what, settings.fields)
    if bundle.final:
        progress.line(
            f"{settings.start} was trained on everything (--final), test users as well: metrics of "
            "what starts with it are too good"
        )
    return bundle


def _transfer(settings, start):
    began = command_began()
    patch = None
    if settings.method in PATCHED:
        patch = None if start is None else start.patch()
        patch = patch or get_patch(settings.patch or DEFAULT_PATCH)
    devices = Devices.open(settings.devices)
    host = _load_host(settings, devices)
    patch = None if patch is None else patch.for_host(host.backbone)
    own = as_fields(settings.fields)
    log, answers, users = load_task(settings, [*host.fields.columns, *own] or None)
    settings, kind = with_kind(settings.replace(patch=patch), answers)
    with stage("making the rows of the task", brief=True):
        source = known_histories(log, host)
        data = kind.make_data(source, answers, host.task_settings()["history_length"], settings)
        if users is not None:
            known = None if start is None else start.user_fields()
            data.tell(users, known or None)
        known = None if start is None else EventFields(start.own_fields().of_columns)
        times = settings.times and host.fields.read_times
        data.tell_fields(own, host.fields, known or None, times)
    fingerprints = [log.fingerprint(), answers.fingerprint(), host.fingerprint()]
    if users is not None:
        fingerprints.append(users.fingerprint())
    if start is not None:
        fingerprints.append(start.fingerprint())
    return live(TaskLife(settings, devices, fingerprints, began, host, data, start))


class TaskLife(Life):
    """The life of a task: a head, and perhaps patches, on a host that does not change.

    Args:
        settings, devices, fingerprints, began: see `Life`.
        start: TaskBundle that training starts with, or `None`.

    Attributes:
        model: TaskModel, of `begin`.
        method: str. How it was trained; `"head"` where the head alone is as good.
    """

    recipe = RECIPE

    def __init__(
        self,
        settings: TransferSettings,
        devices: Devices,
        fingerprints: Any,
        began: float,
        host: Host,
        data: TaskData,
        start: TaskBundle | None,
    ) -> None:
        super().__init__(settings, devices, fingerprints, began)
        self.host, self.data, self.start = host, data, start
        self.metric = data.kind.metric
        self.examples = example_writer(settings, data.source, host.vocabulary)
        self.model: Any = None
        self.linear: LinearPart | None = None
        self.method = settings.method

    def say(self) -> None:
        say_weak_host(self.settings.host, HOST_METRIC)
        say_what_is_little(self.data)
        _say_what_the_host_saw(self.host, self.settings)

    def begin(self, everything: bool = False) -> None:
        data = self.data
        if everything:
            self.host, data = _load_host(self.settings, self.devices), data.everything()
        self.model = _new_model(self.host, data, self.settings, self.devices, self.start)

    def train(self, folder: Path, measured: Json | None = None) -> Any:
        settings, examples = self.settings, None
        if measured is None:
            examples = self.examples
            if settings.linear or settings.baselines:
                self.linear = fit_linear(self.data, len(self.host.vocabulary.items))
        started = None if self.start is None else self.start.method
        given = settings, folder, self._added, examples, measured, started
        self._run = TaskRun(self.model, self.data, *given)
        training = train_task(self._run)
        if training.head_is_all:
            self.model, self.method = self._head_alone(), "head"
        return training

    @property
    def _added(self):
        """The linear part, or `None` where the network answers alone."""
        return self.linear if self.settings.linear else None

    def _head_alone(self):
        head, dropout = self.model.head, self.settings.dropout
        with self.devices.scope():
            read = {"own_fields": self.data.own_fields, **self.host.task_settings()}
            model = build_task(self.host.backbone, head, "head", None, dropout, **read)
        model.user_fields = self.model.user_fields
        return model

    def add_linear(self) -> Json:
        data, head = self.data, self.model.head
        with stage("weighing the network and the linear part", brief=True):
            users = data.users(self.model, VALIDATION)
            weights = data.part_weights(users, head, self._run.linear_scores)
            alone = data.part_weights(users, head)
        data.join(self.model, self._added, weights)
        self._weights = weights
        # The head is scaled for the sum from now on.
        self._scale_alone = alone.network / weights.network
        entries: Json = {"network_weight": weights.network}
        if self._added is not None:
            entries["linear"] = {"weight": weights.linear, **self._added.chosen}
        return entries

    def refit_linear(self, measured: Json) -> None:
        everything, linear = self.data.everything(), None
        chosen = measured.get("linear", {"weight": 0.0})
        if chosen["weight"]:
            with stage("fitting the linear part to everything"):
                linear = everything.refit_linear(len(self.host.vocabulary.items), chosen)
        weights = PartWeights(measured["network_weight"], chosen["weight"])
        everything.join(self.model, linear, weights)

    def save(self, folder: Path, everything: bool = False) -> None:
        recorded = self.settings.recorded()
        how = recorded, everything, self.host, self.data.user_fields
        task = Task(self.model, self.method, self.data.kind, *how)
        task.save(folder, self.host)
        self._bundle_bytes = (folder / "weights.npz").stat().st_size

    def measure(self) -> tuple[Json, Json]:
        measure = functools.partial(self.data.measure, self.model)
        result = task_result(self.settings, self.data, self.fingerprints, measure, self.linear)
        result["parameters"] = parameter_report(self.model)
        result["bundle_bytes"] = self._bundle_bytes
        return result, self._parts(result) if self._weights.linear else {}

    def _parts(self, result):
        """The test metrics of both parts alone, where the kind's metrics can be compared."""
        data, head = self.data, self.model.head
        measured = {entry["name"]: entry["test"] for entry in result["baselines"]}
        scaled = {} if self._scale_alone == 1.0 else {"network": self._scale_alone}
        network = data.measure_users(data.users(self.model, TEST), head, TEST, **scaled)
        alone = measured.get(data.kind.linear_name) or data.measure_linear(self.linear, TEST)
        parts = {NETWORK: network, LINEAR: alone}
        return parts if can_be_compared(result["metrics"]["test"], *parts.values()) else {}

    def history_lengths(self) -> np.ndarray:
        train = self.data.splits[TRAIN]
        return train.stops - train.starts

    def vectors(self, rows: Mapping[str, np.ndarray]) -> tuple | None:
        if "counts" not in rows:
            return None
        vectors, _ = self.data.kind.score_rows(self.model.head)
        return vectors, self.data.kind.labels, rows["counts"], "target items"

    def trained_on(self, training: Any, measured: Json) -> Json:
        return {"rows": len(self._run.rows.splits[TRAIN]), "epochs": training.epochs}


def _load_host(settings, devices):
    with stage(f"loading {settings.host}"), devices.scope():
        return Host.load(settings.host)


def _say_what_the_host_saw(host, settings):
    """Says so if a split by time is not that of the host, which then knows what comes after it."""
    saw = host.origin
    if is_moment(settings.split) and (saw.get("final") or saw.get("split") != settings.split):
        progress.line(
            f"the host was trained on events after {settings.split}, which the test then does not "
            "tell apart from what it predicts; pretrain with the same --split, without --final"
        )


def _new_model(host, data, settings, devices, start):
    """The task model of the settings, new or as a TaskBundle has it; not trained on this host."""
    with devices.scope():
        model = build_task(
            host.backbone,
            data.new_head(),
            settings.method,
            settings.patch,
            settings.dropout,
            own_fields=data.own_fields,
            **host.task_settings(),
        )
        model.patched_host.leave_untold(host.fields.untold_to_task(data.own_fields))
        model.user_fields = user_field_vectors(data.user_fields, host.backbone)
    if start is not None:
        start.start(model, data.kind)
    return model
