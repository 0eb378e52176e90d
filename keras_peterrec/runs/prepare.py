"""From a log of any size to a folder from which training streams."""

import dataclasses

from keras_peterrec.errors import InputError
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import check_out, drop_work, prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading
from keras_peterrec.log.sources import check_log, is_named, load_log
from keras_peterrec.log.splits import LAST
from keras_peterrec.log.table_files import is_table
from keras_peterrec.progress import line
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.predict import PredictSettings
from keras_peterrec.settings.prepare import PrepareSettings
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.types import Json

SHOWN = ("users", "items", "events", "rows", "items_only_held_out", "shards", "fingerprint")


@takes(PrepareSettings)
def prepare(settings: PrepareSettings) -> Json:
    """Sorts a log by user and time, without holding it in memory, and counts its items.

    The folder is read by every command that takes `log`, and by tensorflow-datasets. The same
    call on an interrupted folder goes on; on a finished one it returns what it holds.

    Returns:
        dict of `command`, `settings` and `data`: how many events, users and items there are.

    Raises:
        InputError: an argument or the log cannot be used.
    """
    log, reading = settings.log, _reading(settings)
    if is_named(log) or is_table(log):
        log, reading = load_log(log, **vars(reading)), Reading()
    plan = Plan.of(log, settings.min_count, settings.shards, reading)
    finished = check_out(settings.out, plan)
    if finished is not None:
        line(f"{settings.out} is already prepared; nothing is done again")
        drop_work(settings.out)
    elif settings.runner is not None:
        from keras_peterrec.log.prepared.beam import prepare_on_beam  # an optional extra

        finished = prepare_on_beam(
            log, plan, settings.out, settings.runner, settings.pipeline_options
        )
    else:
        finished = prepare_in_process(log, plan, settings.out)
    if settings.split != LAST:
        PreparedLog(settings.out).keep_split(settings.split)
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "out": str(settings.out),
        "data": {name: finished[name] for name in SHOWN},
    }


def _reading(settings):
    """The Reading that settings name; some have no weights and no fields."""
    names = (field.name for field in dataclasses.fields(Reading))
    return Reading(**{name: getattr(settings, name) for name in names if hasattr(settings, name)})


def check_prepare(settings: PrepareSettings) -> None:
    """Raises an InputError if the log or the folder cannot be used, without TensorFlow."""
    remote = "://" in str(settings.out)
    if settings.runner is None and remote:
        raise InputError(
            "`out` should be a folder of this machine where no `runner` is named. "
            f"Received: {settings.out}."
        )
    check_inputs(settings)
    if not remote and not is_named(settings.log):
        plan = Plan.of(settings.log, settings.min_count, settings.shards, _reading(settings))
        check_out(settings.out, plan)


def check_inputs(settings: PrepareSettings | PretrainSettings | PredictSettings) -> None:
    """Raises an InputError if a log that a runner may read cannot be used."""
    reading = _reading(settings)
    if is_named(settings.log):
        asked = reading.columns, reading.events, reading.weight_column, reading.fields
        check_log(settings.log, *asked)
    elif not is_table(settings.log):
        Plan.of(settings.log, reading=reading)


def show(result: dict) -> None:
    """Prints what was prepared."""
    print(result["out"])
    for name, value in result["data"].items():
        text = value if isinstance(value, str) else f"{value:,}"
        print(f"  {name.replace('_', ' '):<20}{text:>26}")
