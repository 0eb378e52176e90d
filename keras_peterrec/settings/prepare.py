"""Settings of `prepare`."""

from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.errors import check_count
from keras_peterrec.log.moments import check_split
from keras_peterrec.settings.base import DATA, about, not_negative, setting
from keras_peterrec.settings.reading import RunnerSettings, columns_setting, weight_setting
from keras_peterrec.types import AnyPath, EventNames, Source


@dataclass(frozen=True)
class PrepareSettings(RunnerSettings):
    """Settings of `prepare`: a log in, a folder out from which training streams."""

    command: ClassVar[str] = "prepare"
    help_text: ClassVar[str] = "sort a log that is larger than memory by user, for training"

    log: Source = field(
        metadata=about(
            "log: .csv, .tsv, .jsonl (also .gz) or .parquet, several of them, or a name such as "
            "movielens-100k/source",
            **DATA,
        )
    )
    out: AnyPath = field(metadata=about("new folder for the prepared log", recorded=False))
    min_count: int = setting(
        0,
        "items with fewer training events are left out (default: 0, none)",
        check=not_negative,
    )
    weight_column: str | None = weight_setting("each event")
    fields: EventNames | None = columns_setting(
        "more columns that the prepared log carries as they are: price,channel (default: none)"
    )
    split: str = setting(
        "last",
        "also count what a split by time (time:2026-09-01) trains on, so that `pretrain --split` "
        "begins at once; also asked of a finished folder (default: last, which is always counted)",
        check=check_split("last"),
        metavar="last|time:MOMENT",
        recorded=False,
    )
    shards: int | None = setting(
        None,
        "files that the users are spread over (default: one for each 8 MB of the log)",
        check=check_count,
    )
