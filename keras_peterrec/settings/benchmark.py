"""Settings of `benchmark serve`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.files.atomic_write import check_new_folder
from keras_peterrec.settings.base import Settings, must_be, seed_number, setting
from keras_peterrec.types import AnyPath

# The load is bounded: this measures a server, it does not attack one.
MOST_CONNECTIONS = 256
MOST_SECONDS = 60


def _connections(name, values):
    if not values or not all(0 < value <= MOST_CONNECTIONS for value in values):
        raise InputError(
            f"`{name}` should be from 1 to {MOST_CONNECTIONS}. "
            f"Received: `{name}` = {', '.join(map(str, values))}."
        )


@dataclass(frozen=True)
class ServeBenchmarkSettings(Settings):
    """Settings of `benchmark serve`: what is served, and the load."""

    command: ClassVar[str] = "benchmark serve"
    help_text: ClassVar[str] = "a server under load, beside the model without a server"

    out: AnyPath | None = setting(
        None,
        "new folder for the tables, metrics.json and the plot",
        check=check_new_folder,
        recorded=False,
    )
    model: AnyPath | None = setting(
        None,
        "an export, such as export/peterrec or export/peterrec/1 (default: a made-up one with "
        "random weights)",
        metavar="DIR",
    )
    url: Sequence[str] = setting(
        (),
        "model of another server on this machine, http://127.0.0.1:8501/v1/models/NAME, to "
        "measure in place of ours; --model is then what it serves; may be repeated",
    )
    server_option: Sequence[str] = setting(
        (),
        "word for our `serve`, such as --server-option=--workers=4; may be repeated",
        metavar="WORD",
    )
    connections: Sequence[int] = setting(
        (1, 16, 64),
        "connections at a time; may be repeated (default: 1, 16 and 64)",
        check=_connections,
        metavar="N",
        parse=int,
    )
    seconds: float = setting(
        5.0,
        "of a measurement, all its turns together",
        check=must_be(f"above 0 and at most {MOST_SECONDS}", lambda s: 0 < s <= MOST_SECONDS),
    )
    rounds: int = setting(3, "turns of each measurement", check=check_count)
    items: int = setting(50_000, "of the made-up model", check=check_count)
    targets: int = setting(5_000, "items that its task recommends", check=check_count)
    hidden_dim: int = setting(64, "its channels", check=check_count)
    blocks: int = setting(4, "its blocks", check=check_count)
    length: int = setting(50, "events of a history", check=check_count)
    seed: int = setting(0, "of weights and histories", check=seed_number)

    @property
    def needs_tensorflow(self) -> bool:
        return False
