"""Settings of what looks at finished work: `evaluate`, `inspect` and `report`."""

from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.settings.base import DATA, Settings, about, same_as, setting
from keras_peterrec.settings.reading import ReadingSettings
from keras_peterrec.settings.transfer import TaskSettings
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
    target_events: EventNames | None = same_as(TaskSettings, "target_events")
    column: str | None = same_as(TaskSettings, "column")
    users: Source | None = setting(
        None, "another table of users, for a task that reads one", **DATA
    )
    out: AnyPath | None = setting(None, "new folder for metrics.json", recorded=False)


@dataclass(frozen=True)
class InspectSettings(Settings):
    """Settings of `inspect`: what to describe."""

    command: ClassVar[str] = "inspect"
    help_text: ClassVar[str] = "what a host, a task, an export or a prepared log holds"

    path: AnyPath = field(metadata=about("its folder", positional=True))
    patches: bool = setting(False, "what every way to patch a host costs")

    @property
    def needs_tensorflow(self) -> bool:
        return self.patches


@dataclass(frozen=True)
class ReportSettings(Settings):
    """Settings of `report`: finished runs in, one page out."""

    command: ClassVar[str] = "report"
    help_text: ClassVar[str] = "a page about a finished run, or about all runs of a folder"

    path: AnyPath = field(
        metadata=about(
            "folder of a pretrain, refresh or transfer run, or a folder of them", positional=True
        )
    )
    out: AnyPath | None = setting(
        None, "the page (default: report.html in the folder)", metavar="FILE", recorded=False
    )
    titles: AnyPath | None = setting(
        None, "CSV file with item_id and title, for the examples", metavar="FILE", recorded=False
    )

    @property
    def needs_tensorflow(self) -> bool:
        return False
