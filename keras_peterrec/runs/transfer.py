"""From a host and a small log or a table of labels to a task bundle."""

import functools
import time

from keras_peterrec.data.splits import TRAIN
from keras_peterrec.patches.registry import get_patch
from keras_peterrec.progress import stage
from keras_peterrec.report.tensorboard import write_projector, write_summaries
from keras_peterrec.runs.advice import advise, say_weak_host
from keras_peterrec.runs.pretrain import METRIC as HOST_METRIC
from keras_peterrec.runs.run_folder import RunFolder
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
from keras_peterrec.runs.task_training import RECIPE, train_task
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import PATCHED, TransferSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.parameters import parameter_report
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task


@takes(TransferSettings)
def transfer(settings: TransferSettings) -> dict:
    """Trains one task on a host and saves its bundle as a run folder.

    Users are split 70/10/20 by a hash of their id; no target event and no label of a validation or
    test user is trained on. The same call on an interrupted folder goes on; on a finished one it
    returns what was found.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument, the host or the data cannot be used.
    """
    # From before the host is built, because its dropout layers draw their seeds then.
    with seeded(settings.seed):
        return _transfer(settings.with_one_patch())


def _transfer(settings):
    began = command_began()
    patch = get_patch(settings.patch) if settings.method in PATCHED else None
    devices = Devices.open(settings.devices)
    with stage(f"loading {settings.host}"), devices.scope():
        host = Host.load(settings.host)
    patch = None if patch is None else patch.for_host(host.backbone)
    log, answers = load_task(settings)
    settings, kind = with_kind(settings.replace(patch=patch), answers)
    source = known_histories(log, host)
    reads = host.task_settings()
    data = kind.make_data(source, answers, reads["history_length"], settings)
    fingerprints = [log.fingerprint(), answers.fingerprint(), host.fingerprint()]
    with RunFolder(settings.out, settings, fingerprints, RECIPE, devices) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        if devices.is_chief:
            say_weak_host(settings.host, HOST_METRIC)
            say_what_is_little(data)
        with devices.scope():
            model = build_task(
                host.backbone,
                data.new_head(),
                settings.method,
                patch,
                settings.dropout,
                **reads,
            )
        examples = example_writer(settings, source, host.vocabulary)
        training = train_task(model, data, settings, folder.path, examples)

        def finish():
            linear = None
            if settings.linear or settings.baselines:
                linear = fit_linear(data, len(host.vocabulary.items))
            weight = data.join(model, linear if settings.linear else None)
            task = Task(model, settings.method, data.kind, settings.recorded())
            task.save(folder.path, host)
            seconds = training.summary(time.perf_counter() - began)
            measure = functools.partial(data.measure, model)
            result = task_result(settings, data, fingerprints, measure, linear)
            result |= {"parameters": parameter_report(model), **seconds}
            if settings.linear and linear is not None:
                result["linear"] = {"weight": weight, **linear.chosen}
            train = data.splits[TRAIN]
            advise(result, data.kind.metric, train.stops - train.starts, host)
            result["bundle_bytes"] = (folder.path / "weights.npz").stat().st_size
            rows = write_test(folder.path, result, data.kind.metric, examples)
            write_summaries(folder.path, result, rows)
            if "counts" in rows:
                vectors, _ = data.kind.score_rows(model.head)
                described = data.kind.labels, rows["counts"], examples.name
                write_projector(folder.path, vectors, *described, "target items")
            folder.finish(result)
            training.finish()
            return result

        return devices.on_chief(finish)
