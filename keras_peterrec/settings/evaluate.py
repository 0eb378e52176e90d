"""Settings of `evaluate`."""

from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.settings.base import DATA, about, setting
from keras_peterrec.settings.reading import ReadingSettings, event_names
from keras_peterrec.types import AnyPath, EventNames, Source


@dataclass(frozen=True)
class EvaluateSettings(ReadingSettings):
    """Settings of `evaluate`; data that is not named is that of the run itself."""

    command: ClassVar[str] = "evaluate"
    help_text: ClassVar[str] = "test metrics of a finished run, computed anew"

    run: AnyPath = field(metadata=about("folder of a pretrain, refresh or transfer run"))
    host: AnyPath | None = setting(None, "the task's host, where it was moved")
    log: Source | None = setting(None, "another source log", **DATA)
    target: Source | None = setting(None, "another copy of the target log", **DATA)
    labels: Source | None = setting(None, "other labels", **DATA)
    target_events: EventNames | None = setting(
        None,
        "of --target, keep the rows whose event_type is one of these",
        metavar="KIND,...",
        check=event_names,
    )
    column: str | None = setting(None, "column of --labels")
    users: Source | None = setting(
        None, "another table of users, for a task that reads one", **DATA
    )
    out: AnyPath | None = setting(None, "new folder for metrics.json", recorded=False)
