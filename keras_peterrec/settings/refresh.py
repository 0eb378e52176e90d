"""Settings of `refresh`."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from keras_peterrec.errors import check_count
from keras_peterrec.settings.base import (
    DATA,
    about,
    positive_number,
    seed_number,
    setting,
    split_setting,
)
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.reading import ReadingSettings, weight_setting
from keras_peterrec.settings.training import TrainingSettings
from keras_peterrec.types import AnyPath, Source


@dataclass(frozen=True)
class RefreshSettings(ReadingSettings, TrainingSettings):
    """Settings of `refresh`: a host and a log of new events in, a host out."""

    command: ClassVar[str] = "refresh"
    help_text: ClassVar[str] = "train a host further on new events, with new items"

    host: AnyPath = field(metadata=about("folder of a pretrain or refresh run, or hf://user/name"))
    log: Source = field(metadata=about("log of the new events, or of all events until now", **DATA))
    out: AnyPath = field(metadata=about("new folder for the host", recorded=False))
    items: Source | None = setting(
        None,
        "table with item_id and columns of words or categories: where new items start that few "
        "items were clicked beside",
        **DATA,
    )
    keep_host_items: bool = setting(
        False, "train the vectors of new items alone: the host's tasks stay valid, bit for bit"
    )
    batch_size: int | None = setting(
        None, "full windows in a batch (default: about 1,000 events)", check=check_count
    )
    learning_rate: float | None = setting(
        None,
        "of Adam (default: 5e-4; with --keep-host-items 2e-3, as in pretrain)",
        check=positive_number,
    )
    weight_column: str | None = weight_setting("each event")
    min_count: int = setting(
        1, "new items with fewer training events stay unknown", check=check_count
    )
    baselines: bool = setting(
        PretrainSettings.baselines,
        "whether regressions (SLIT and EASE) are measured as well",
        no_help="measure popularity and the host as it was alone",
    )
    split: str = split_setting("last", "last: each user's last two events are held out")
    seed: int = setting(0, "of dropout and the order of batches", check=seed_number)

    def for_host(self, host: Any) -> PretrainSettings:
        """How `pretrain` would train such a host."""
        rate = self.learning_rate or (
            PretrainSettings.learning_rate if self.keep_host_items else GENTLE
        )
        names = ["log", "out", "batch_size", "min_count", "baselines", "split", "seed"]
        names += [field.name for field in fields(TrainingSettings)]
        same = {name: getattr(self, name) for name in names}
        return PretrainSettings(
            objective=host.objective,
            max_length=host.max_length,
            learning_rate=rate,
            **same,
        )


GENTLE = 5e-4  # a learning rate that does not undo what the host knows
