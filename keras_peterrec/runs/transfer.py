"""From a host and a small log or a table of labels to a task bundle."""

import time

import keras

from keras_peterrec.data.log import Log
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST, VALIDATION
from keras_peterrec.distribution.devices import Devices
from keras_peterrec.errors import InputError
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.insertion import get_insertion
from keras_peterrec.patches.registry import get_patch, short_name
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.settings import check_settings, name_of
from keras_peterrec.runs.task_data import check_answers, load_answers, make_data
from keras_peterrec.runs.task_training import RECIPE, train_task
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.parameter_report import parameter_report
from keras_peterrec.transfer.strategies import build_task, check_method
from keras_peterrec.transfer.task import Task

PATCHED = ("patch", "random_host")  # the methods with patches
_PATCH = {"patch": "bottleneck", "bottleneck": None, "insertion": "parallel", "inner_skip": False}


def transfer(
    host,
    log,
    out,
    target=None,
    labels=None,
    column=None,
    method="patch",
    patch="bottleneck",
    insertion="parallel",
    bottleneck=None,
    inner_skip=False,
    loss=None,
    train_fraction=1.0,
    cut_history=True,
    epochs=40,
    batch_size=None,
    learning_rate=1e-3,
    dropout=0.5,
    summary=True,
    seed=0,
    devices=None,
):
    """Trains one task on a host and saves its bundle as a run folder.

    Users are split 70/10/20 by a hash of their id; no target event and no label of
    a validation or test user is trained on. The same call on an interrupted folder
    goes on; on a finished one it returns what was found.

    Args:
        host: path of a `pretrain` run.
        log: str, path or Log. The source log, with the histories.
        out: path of the run folder.
        target: str, path or Log. The target log, to recommend in it; or
        labels: str, path or Labels, with `column`, to classify.
        column: str. Column of `labels`.
        method: str. One of `METHODS`; see `build_task`.
        patch: str or PatchMethod. How to patch, such as `"lora:4"`; see `get_patch`. This
            and the next three are for the methods `PATCHED` alone.
        insertion: str. One of `INSERTIONS`; this and the next two are for the patch
            `"bottleneck"` alone.
        bottleneck: int or `None`. Width K of the patches; an eighth of the host's
            channels by default.
        inner_skip: bool. See `BottleneckPatch`.
        loss: str or `None`. Of a recommendation task; see `RecommendationData.loss`.
        train_fraction: float. Share of the training users that is used.
        cut_history: bool. Of a recommendation task; see `recommendation_examples`.
        epochs: int. At most; early stopping ends most runs before.
        batch_size: int or `None`. Defaults to `None`, one in 256 of the training rows,
            from 16 to 128.
        learning_rate: float. Of Adam.
        dropout: float. On the user's state.
        summary: bool. Whether the head reads a `HistorySummary` (of the last 200 events or
            more) beside the task token's state, which is all that the paper's reads.
        seed: int. Of the split and of the training.
        devices: int, `"all"` or `None`. See `Devices.open`; the result does not depend
            on it but for float noise and dropout.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument, the host or the data cannot be used.
    """
    settings = dict(locals())
    del settings["devices"]
    check_settings(settings)
    check_method(method)
    check_answers(target, labels, column, cut_history, loss)
    if method not in PATCHED:
        _refuse_patch(method, patch, bottleneck, insertion, inner_skip)
    patch = _patch_method(patch, bottleneck, insertion, inner_skip)
    settings["patch"] = short_name(patch)
    began = time.perf_counter()
    devices = Devices.open(devices)
    # Before the host is built: its dropout layers draw their seeds then.
    keras.utils.set_random_seed(seed)
    with devices.scope():
        host = Host.load(host)
    patch = patch.for_host(host.backbone)
    log = log if isinstance(log, Log) else load_log(log)
    answers = load_answers(target, labels, column)
    settings = _recorded(settings, log, answers, host)
    source = Sequences(log, host.vocabulary)
    joined = host.summary_settings() if summary else {}
    data = make_data(source, joined.get("summary", host.max_length), answers, settings)
    with RunFolder(out, "transfer", settings, devices) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        with devices.scope():
            model = build_task(
                host.backbone, data.head(), method, patch, dropout, folder.path.name, **joined
            )
        training = train_task(model, data, settings, folder.path)

        task = Task(model, method, data.targets, data.classes, settings)
        return devices.on_chief(lambda: _finish(task, host, data, training, folder, began))


def _finish(task, host, data, training, folder, began):
    """Writes the bundle and `metrics.json`; returns the latter's content."""
    model, settings = task.model, task.settings
    task.save(folder.path, host)
    result = {
        "command": "transfer",
        "settings": settings,
        "seed": settings["seed"],
        "data": {"fingerprint": settings["data"], **data.summary()},
        "parameters": parameter_report(model),
        "bundle_bytes": (folder.path / "weights.npz").stat().st_size,
        "metrics": {
            "validation": data.measure(model, VALIDATION),
            "test": data.measure(model, TEST, sampled=True),
        },
        "baseline": data.baseline(TEST),
        **training.summary(time.perf_counter() - began),
    }
    folder.finish(result)
    training.finish()
    return result


def _refuse_patch(method, *given):
    """Refuses settings of a patch, of a method without one."""
    for (name, default), value in zip(_PATCH.items(), given):
        if value != default:
            raise InputError(
                f"`{name}` should be left out unless `method` is {' or '.join(PATCHED)}. "
                f"Received: `{name}` = {value!r} with `method` = {method!r}."
            )


def _patch_method(patch, bottleneck, insertion, inner_skip):
    """The PatchMethod that the settings ask for."""
    method = get_patch(patch)
    if patch == "bottleneck":
        return Bottleneck(bottleneck, insertion, inner_skip)
    get_insertion(insertion)
    if (bottleneck, insertion, inner_skip) != (None, "parallel", False):
        raise InputError(
            "`bottleneck`, `insertion` and `inner_skip` should be left out unless `patch` is "
            f"bottleneck. Received: `patch` = {patch!r}."
        )
    return method


def _recorded(settings, log, answers, host):
    """The settings as `run.json` keeps them: names instead of objects."""
    named = {key: name_of(settings[key]) for key in ("host", "log", "target", "labels")}
    data = [log.fingerprint(), answers.fingerprint(), host.fingerprint()]
    asked = {name: value for name, value in settings.items() if name != "out"}
    return {**asked, **named, "recipe": RECIPE, "data": data}
