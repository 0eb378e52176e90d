"""Settings of `report`."""

from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.settings.base import Settings, about, setting
from keras_peterrec.types import AnyPath


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
