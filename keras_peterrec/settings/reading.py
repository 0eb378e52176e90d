"""Settings of the commands that read logs: where the data is, and what its columns are called."""

from dataclasses import dataclass
from typing import Any

from keras_peterrec.log.column_names import as_events, as_fields, as_renames
from keras_peterrec.settings.base import Settings, setting
from keras_peterrec.types import ColumnNames, EventNames


def event_names(name: str, value: Any) -> None:
    """Checks a setting that names kinds of event."""
    as_events(value)


def columns_setting(text: str, what: str = "columns of the log, such as price,channel") -> Any:
    """A setting that names columns, of which help says `text`; `what` it should be, a refusal."""
    check = lambda name, value: as_fields(value, name, what)
    return setting(None, text, metavar="NAME,...", check=check)


def weight_setting(what: str) -> Any:
    """The setting `weight_column`; its help says what is weighed."""
    return setting(
        None,
        f"column of numbers from 0 up: how much {what} counts in the network's loss; metrics and "
        "regressions count all alike",
        metavar="NAME",
    )


def runner_setting(what: str) -> Any:
    """The setting `runner`; its help says what a runner does."""
    return setting(
        None,
        f"runner of Apache Beam that {what}, such as DirectRunner, FlinkRunner, SparkRunner "
        "or DataflowRunner (default: this process, without Beam)",
        metavar="NAME",
        recorded=False,
    )


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How the columns of a command's files are read."""

    columns: ColumnNames | None = setting(
        None,
        "what the files call the columns user_id, item_id, timestamp and event_type, where they "
        "do not call them that: user_id=userId,timestamp=ts",
        metavar="NAME=THERE,...",
        check=lambda name, value: as_renames(value),
    )
    events: EventNames | None = setting(
        None,
        "of the log, keep the rows whose event_type is one of these, such as buy,cart (default: "
        "all rows)",
        metavar="KIND,...",
        check=event_names,
    )
    drop_bad_rows: bool = setting(
        False,
        "leave out rows without an id or a time, with a time far from all others, or with more or "
        "fewer values than columns, and say how many; otherwise they end the command or are named",
    )

    @property
    def reading(self) -> dict[str, Any]:
        """How the log is read: arguments of `load_log`."""
        names = ("columns", "events", "drop_bad_rows")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class RunnerSettings(ReadingSettings):
    """Where a command's work is done: in this process, or by a runner of Apache Beam."""

    runner: str | None = runner_setting("does the work")
    pipeline_options: str | None = setting(
        None,
        "options of the runner as one text, such as '--direct_num_workers=2'",
        metavar="OPTIONS",
        recorded=False,
    )

    def check(self):
        super().check()
        if self.runner is None:
            self.leave_out("without `runner`", "pipeline_options")
