"""Settings of `refresh`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from keras_peterrec.errors import check_count
from keras_peterrec.settings.base import (
    data_setting,
    devices_setting,
    epochs_setting,
    final_setting,
    finish_setting,
    least_gain_setting,
    linear_setting,
    positive_number,
    profile_setting,
    seed_number,
    setting,
    split_setting,
)
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.reading import ReadingSettings, weight_setting


@dataclass(frozen=True)
class RefreshSettings(ReadingSettings):
    """Settings of `refresh`: a host and a log of new events in, a host out."""

    command: ClassVar[str] = "refresh"
    help_text: ClassVar[str] = "train a host further on new events, with new items"

    host: Any = setting(help="folder of a pretrain or refresh run")
    log: Any = data_setting(help="log of the new events, or of all events until now")
    out: Any = setting(help="new folder for the host", recorded=False)
    items: Any = data_setting(
        None,
        "table with item_id and columns of words or categories: where new items start that few "
        "items were clicked beside",
    )
    keep_host_items: bool = setting(
        False, "train the vectors of new items alone: the host's tasks stay valid, bit for bit"
    )
    epochs: int = epochs_setting()
    least_gain: float = least_gain_setting()
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
    linear: bool = linear_setting()
    baselines: bool = setting(
        PretrainSettings.baselines,
        "whether regressions (SLIT and EASE) are measured as well",
        no_help="measure popularity and the host as it was alone",
    )
    split: str = split_setting("last", "last: each user's last two events are held out")
    final: bool = final_setting()
    finish: bool = finish_setting()
    seed: int = setting(0, "of dropout and the order of batches", check=seed_number)
    devices: Any = devices_setting()
    profile: bool = profile_setting()

    def for_host(self, host: Any) -> PretrainSettings:
        """How `pretrain` would train a host of these widths.

        Args:
            host: Host.
        """
        rate = self.learning_rate or (
            PretrainSettings.learning_rate if self.keep_host_items else GENTLE
        )
        names = ("log", "out", "epochs", "least_gain", "batch_size", "min_count", "linear")
        more = ("baselines", "split", "final", "finish", "seed", "profile")
        same = {name: getattr(self, name) for name in (*names, *more)}
        return PretrainSettings(
            objective=host.objective,
            hidden_dim=host.backbone.hidden_dim,
            blocks=len(host.backbone.blocks),
            max_length=host.max_length,
            learning_rate=rate,
            **same,
        )


GENTLE = 5e-4  # a learning rate that does not undo what the host knows
