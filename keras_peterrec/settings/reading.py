"""Settings of the commands that read logs: where the data is, and what its columns are called."""

from dataclasses import dataclass
from typing import Any

from keras_peterrec.data.column_names import as_events, as_renames
from keras_peterrec.settings.base import Settings, setting


def event_names(name: str, value: Any) -> None:
    """Checks a setting that names kinds of event."""
    as_events(value)


def weight_setting(what: str) -> Any:
    """The setting `weight_column`; its help says what is weighed."""
    return setting(
        None,
        f"column of numbers from 0 up: how much {what} counts in the network's loss; metrics and "
        "regressions count all alike",
        metavar="NAME",
    )


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How the columns of a command's files are read."""

    columns: Any = setting(
        None,
        "what the files call the columns user_id, item_id, timestamp and event_type, where they "
        "do not call them that: user_id=userId,timestamp=ts",
        metavar="NAME=THERE,...",
        check=lambda name, value: as_renames(value),
    )
    events: Any = setting(
        None,
        "of the log, keep the rows whose event_type is one of these, such as buy,cart (default: "
        "all rows)",
        metavar="KIND,...",
        check=event_names,
    )
