"""From a host and a small log or a table of labels to a task bundle."""

import functools
import time

from keras_peterrec import progress
from keras_peterrec.errors import refuse
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.patches.registry import get_patch
from keras_peterrec.progress import stage
from keras_peterrec.report.tensorboard import write_projector, write_summaries
from keras_peterrec.runs.advice import advise, say_weak_host
from keras_peterrec.runs.next_item import METRIC as HOST_METRIC
from keras_peterrec.runs.part_gains import (
    LINEAR,
    NETWORK,
    can_be_compared,
    say_what_parts_add,
)
from keras_peterrec.runs.run_folder import RunFolder, finish_elsewhere
from keras_peterrec.runs.task_data import (
    example_writer,
    fit_linear,
    known_histories,
    load_task,
    say_what_is_little,
    task_result,
    with_kind,
    write_test,
)
from keras_peterrec.runs.task_training import RECIPE, TaskRun, train_task
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import DEFAULT_PATCH, PATCHED, TransferSettings
from keras_peterrec.tasks.task_data import PartWeights
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task
from keras_peterrec.transfer.task_bundle import TaskBundle


@takes(TransferSettings)
def transfer(settings: TransferSettings) -> dict:
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
    log, answers = load_task(settings)
    settings, kind = with_kind(settings.replace(patch=patch), answers)
    with stage("making the rows of the task", brief=True):
        source = known_histories(log, host)
        data = kind.make_data(source, answers, host.task_settings()["history_length"], settings)
    fingerprints = [log.fingerprint(), answers.fingerprint(), host.fingerprint()]
    if start is not None:
        fingerprints.append(start.fingerprint())
    found = RunFolder(settings.out, settings, fingerprints, RECIPE, devices, settings.final)
    with found as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        result = folder.measured_result()
        if result is None:
            if devices.is_chief:
                say_weak_host(settings.host, HOST_METRIC)
                say_what_is_little(data)
                _say_what_the_host_saw(host, settings)
            model = _new_model(host, data, settings, devices, start)
            started = None if start is None else start.method
            told = fingerprints, began, started
            result = _measured(model, host, data, settings, folder, *told)
        if settings.final:
            # All anew, the same after an interruption: dropout has drawn numbers in training.
            with seeded(settings.seed):
                host = _load_host(settings, devices)
                model = _new_model(host, data.everything(), settings, devices, start)
                result = _final(model, host, data, settings, folder, result)
        return result


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
            **host.task_settings(),
        )
    if start is not None:
        start.start(model, data.kind)
    return model


def _measured(model, host, data, settings, folder, fingerprints, began, started):
    """Trains a task model to its best validation metric, saves and measures it."""
    examples = example_writer(settings, data.source, host.vocabulary)
    linear = None
    if settings.linear or settings.baselines:
        linear = fit_linear(data, len(host.vocabulary.items))
    added = linear if settings.linear else None
    run = TaskRun(model, data, settings, folder.path, added, examples, started=started)
    training = train_task(run)
    model, method = _kept(model, training, host, settings)

    def finish():
        with stage("weighing the network and the linear part", brief=True):
            users = data.users(model, VALIDATION)
            weights = data.part_weights(users, model.head, run.linear_scores)
            alone = data.part_weights(users, model.head)
        data.join(model, added, weights)
        task = Task(model, method, data.kind, settings.recorded(), host=host)
        task.save(folder.path, host)
        seconds = training.summary(time.perf_counter() - began)
        measure = functools.partial(data.measure, model)
        result = task_result(settings, data, fingerprints, measure, linear)
        result |= {"parameters": parameter_report(model), **seconds}
        if added is not None:
            result["linear"] = {"weight": weights.linear, **linear.chosen}
        result["network_weight"] = weights.network
        if weights.linear:
            # The head is scaled for the sum by now.
            _say_parts(result, model, data, added, alone.network / weights.network)
        train = data.splits[TRAIN]
        advise(result, data.kind.metric, train.stops - train.starts, host)
        result["bundle_bytes"] = (folder.path / "weights.npz").stat().st_size
        with stage("writing what a report needs", brief=True):
            rows = write_test(folder.path, result, data.kind.metric, examples)
            write_summaries(folder.path, result, rows)
            if "counts" in rows:
                vectors, _ = data.kind.score_rows(model.head)
                named = data.kind.labels, rows["counts"], examples.name
                write_projector(folder.path, vectors, *named, "target items")
        folder.finish(result)
        training.finish()
        return result

    return Devices.of(model).on_chief(finish)


def _kept(model, training, host, settings):
    """The TaskModel to be saved and its method: that of a head, where the head alone is as good."""
    if not training.head_is_all:
        return model, settings.method
    with Devices.of(model).scope():
        kept = build_task(
            host.backbone, model.head, "head", None, settings.dropout, **host.task_settings()
        )
    return kept, "head"


def _say_parts(result, model, data, linear, scale):
    """Says what the network and the linear part add, where the kind's metrics can tell.

    `scale` is what makes the head's outputs those of the network alone.
    """
    measured = {found["name"]: found["test"] for found in result["baselines"]}
    scaled = {} if scale == 1.0 else {"network": scale}
    network = data.measure_users(data.users(model, TEST), model.head, TEST, **scaled)
    alone = measured.get(data.kind.linear_name) or data.measure_linear(linear, TEST)
    if can_be_compared(result["metrics"]["test"], network, alone):
        say_what_parts_add(result, {NETWORK: network, LINEAR: alone}, data.kind.metric)


def _final(model, host, data, settings, folder, result):
    """Trains a task model on all users, as long as the measured run found best, and saves it."""
    began = time.perf_counter()
    training = train_task(TaskRun(model, data, settings, folder.path, measured=result))
    model, method = _kept(model, training, host, settings)

    def finish():
        everything, linear = data.everything(), None
        chosen = result.get("linear", {"weight": 0.0})
        if chosen["weight"]:
            with stage("fitting the linear part to everything"):
                linear = everything.refit_linear(len(host.vocabulary.items), chosen)
        weights = PartWeights(result["network_weight"], chosen["weight"])
        everything.join(model, linear, weights)
        task = Task(model, method, data.kind, settings.recorded(), True, host)
        task.save(folder.path, host)
        final = {
            "rows": len(everything.splits[TRAIN]),
            "epochs": training.epochs,
            "seconds": round(time.perf_counter() - began, 2),
        }
        told = {**result, "final": final}
        folder.finish(told)
        training.finish()
        return told

    return Devices.of(model).on_chief(finish)
