"""Settings of `benchmark train` and `benchmark serve`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.settings.base import (
    Settings,
    not_negative,
    seed_number,
    setting,
)

LOSSES = ("backbone", "sampled", "full")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# The load is bounded: this measures a server, it does not attack one.
MOST_CONNECTIONS = 256
MOST_SECONDS = 60


def _losses(name, values):
    for value in values:
        if value not in LOSSES:
            raise InputError(
                f"`{name}` should be one of {', '.join(LOSSES)}. Received: `{name}` = {value!r}."
            )


def _connections(name, values):
    if not values or not all(0 < value <= MOST_CONNECTIONS for value in values):
        raise InputError(
            f"`{name}` should be from 1 to {MOST_CONNECTIONS}. "
            f"Received: `{name}` = {', '.join(map(str, values))}."
        )


def _seconds(name, value):
    if not 0 < value <= MOST_SECONDS:
        raise InputError(
            f"`{name}` should be above 0 and at most {MOST_SECONDS}. "
            f"Received: `{name}` = {value!r}."
        )


def _script(name, value):
    if not Path(value).is_file():
        raise InputError(
            f"`{name}` should be a script that answers as a worker. "
            f"Received: `{name}` = {str(value)!r}."
        )


def _new_folder(name, value):
    if Path(value).exists() and (not Path(value).is_dir() or any(Path(value).iterdir())):
        raise InputError(f"`{name}` should be a new folder. Received: `{name}` = {str(value)!r}.")


@dataclass(frozen=True)
class TrainBenchmarkSettings(Settings):
    """Settings of `benchmark train`: what is trained and compared."""

    command: ClassVar[str] = "benchmark train"
    help_text: ClassVar[str] = "start, steps, epoch and memory of training, beside a reference"

    out: Any = setting(
        None,
        "new folder for the tables, metrics.json and the plot",
        check=_new_folder,
        recorded=False,
    )
    sweep: tuple[str, ...] = setting(
        (),
        "items, length, batch or channels, and the values to measure; may be repeated "
        "(default: no sweep, one configuration)",
        metavar="NAME[=A,B,C]",
    )
    loss: tuple[str, ...] = setting(
        LOSSES,
        "backbone (no output loss), sampled or full; may be repeated (default: all)",
        check=_losses,
        metavar="NAME",
    )
    reference: Any = setting(
        None,
        "script to compare with, such as tests/benchmarks/torch_reference.py",
        check=_script,
        metavar="PATH",
    )
    reference_variant: tuple[str, ...] = setting(
        (), "word that the script is given; each is measured as a side of its own", metavar="NAME"
    )
    reference_python: Any = setting(
        None, "Python that runs the script (default: this one)", metavar="PATH"
    )
    items: int = setting(50_000, "items V", check=check_count)
    hidden_dim: int = setting(64, "channels C of the network", check=check_count)
    blocks: int = setting(8, "residual blocks", check=check_count)
    length: int = setting(50, "positions L of a row", check=check_count)
    batch_size: int = setting(128, "rows B of a batch", check=check_count)
    negatives: int = setting(1_000, "negatives S of the sampled loss", check=check_count)
    precision: str = setting("float32", "Keras' dtype policy", choices=PRECISIONS)
    rounds: int = setting(5, "turns of each side", check=check_count)
    steps: int = setting(5, "timed steps of a turn", check=check_count)
    models: int = setting(
        5,
        "task models trained one after the other, to see what memory stays of each; below 2 or "
        "with a sweep: not measured",
        check=not_negative,
    )
    log: Any = setting(
        None,
        "log whose epoch in `pretrain` is measured, such as movielens-100k/source (default: none)",
    )
    max_length: int = setting(
        100, "with a log: events of a history, as in `pretrain`", check=check_count
    )
    seed: int = setting(0, "of weights and batches", check=seed_number)


@dataclass(frozen=True)
class ServeBenchmarkSettings(Settings):
    """Settings of `benchmark serve`: what is served, and the load."""

    command: ClassVar[str] = "benchmark serve"
    help_text: ClassVar[str] = "a server under load, beside the model without a server"

    out: Any = setting(
        None,
        "new folder for the tables, metrics.json and the plot",
        check=_new_folder,
        recorded=False,
    )
    model: Any = setting(
        None,
        "an export, such as export/peterrec or export/peterrec/1 (default: a made-up one with "
        "random weights)",
        metavar="DIR",
    )
    url: tuple[str, ...] = setting(
        (),
        "model of another server on this machine, http://127.0.0.1:8501/v1/models/NAME, to "
        "measure in place of ours; --model is then what it serves; may be repeated",
    )
    server_option: tuple[str, ...] = setting(
        (),
        "word for our `serve`, such as --server-option=--workers=4; may be repeated",
        metavar="WORD",
    )
    connections: tuple[int, ...] = setting(
        (1, 16, 64),
        "connections at a time; may be repeated (default: 1, 16 and 64)",
        check=_connections,
        metavar="N",
        parse=int,
    )
    seconds: float = setting(5.0, "of a measurement, all its turns together", check=_seconds)
    rounds: int = setting(3, "turns of each measurement", check=check_count)
    items: int = setting(50_000, "of the made-up model", check=check_count)
    targets: int = setting(5_000, "items that its task recommends", check=check_count)
    hidden_dim: int = setting(64, "its channels", check=check_count)
    blocks: int = setting(8, "its residual blocks", check=check_count)
    length: int = setting(50, "events of a history", check=check_count)
    seed: int = setting(0, "of weights and histories", check=seed_number)
