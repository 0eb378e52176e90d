"""Settings of `pretrain` and of `refresh`, which train hosts."""

from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.log.column_names import field_and_values
from keras_peterrec.settings.base import (
    DATA,
    about,
    keep_seen_setting,
    positive_number,
    rate,
    same_as,
    seed_number,
    setting,
    split_setting,
)
from keras_peterrec.settings.reading import (
    ReadingSettings,
    RunnerSettings,
    columns_setting,
    runner_setting,
    weight_setting,
)
from keras_peterrec.settings.training import NetworkSettings, TrainingSettings
from keras_peterrec.types import AnyPath, EventNames, Source


@dataclass(frozen=True)
class PretrainSettings(RunnerSettings, TrainingSettings, NetworkSettings):
    """Settings of `pretrain`: a log in, a host out."""

    command: ClassVar[str] = "pretrain"
    help_text: ClassVar[str] = "pretrain a host on a log, without labels"

    log: Source = field(
        metadata=about(
            "source log: .csv, .tsv, .jsonl (also .gz) or .parquet, several of them, a folder of "
            "`prepare`, or a name such as movielens-100k/source",
            **DATA,
        )
    )
    out: AnyPath = field(metadata=about("new folder for the host", recorded=False))
    objective: str = setting(
        "causal",
        "what is learned: the next item (causal) or hidden items (masked)",
        choices=("causal", "masked"),
    )
    steps_per_epoch: int | None = setting(
        None,
        "steps between two validations (default: all events once; of a log that streams at most "
        "10,000)",
        check=check_count,
    )
    batch_size: int | None = setting(
        None, "full windows in a batch (default: about 1,000 events)", check=check_count
    )
    learning_rate: float = setting(2e-3, "of Adam", check=positive_number)
    later_rate: float = setting(
        0.5,
        "how often, compared with the next item, the 2nd one is the target (r), the 3rd (r²) and "
        "the 4th (r³); 0: the next one alone, as in the paper; causal only",
        check=rate,
    )
    weight_column: str | None = weight_setting("each event")
    fields: EventNames | None = columns_setting(
        "columns of the log that the network reads of each event, such as event_type,price: "
        "categories, or numbers by quantiles"
    )
    predict: str | None = setting(
        None,
        "train and measure on the next event with this value alone, such as event_type=buy: "
        "histories have all events, and what comes next is one of these",
        metavar="FIELD=VALUE,...",
        check=lambda name, value: field_and_values(value),
    )
    times: bool = setting(
        True,
        "whether the network reads the time until the next event or the question",
        no_help="read items alone, and no times; so it is where timestamps only say an order",
    )
    items: Source | None = setting(
        None, "table with item_id and the columns that `item_fields` names", **DATA
    )
    item_fields: EventNames | None = columns_setting(
        "columns of `items`, such as genre,brand: an item's vector is its own plus those of its "
        "values, several of them as in Drama|War, or of a vector such as [0.1, 0.2]",
        "columns of `items`, such as genre,brand",
    )
    min_count: int = setting(
        1, "items with fewer training events become unknown", check=check_count
    )
    baselines: bool = setting(
        True,
        "whether regressions (SLIT and EASE) are measured as well",
        no_help="measure popularity alone",
    )
    split: str = split_setting("last", "last: each user's last two events are held out")
    keep_seen: bool | None = keep_seen_setting()
    seed: int = setting(0, "of weights, dropout and the order of batches", check=seed_number)
    _: KW_ONLY
    runner: str | None = runner_setting(
        "counts, in the shards of a large prepared log, what the linear part is fitted to"
    )

    def check(self):
        super().check()
        if self.runner is not None and not (self.linear or self.baselines):
            raise InputError(
                "`runner` should be left out where there is no linear part to count for, which "
                "`linear` and `baselines` ask for. "
                f"Received: `runner` = {self.runner!r} without either."
            )
        if self.predict is not None:
            self.leave_out("with `predict`, whose pairs this process counts", "runner")
        self.give_together("items", "item_fields")
        if self.objective != "masked":
            return
        if self.max_length < 2:
            refuse(
                "max_length",
                "at least 2 with `objective` = 'masked', since one item has to stay visible",
                self.max_length,
            )
        self.leave_out("with `objective` = 'masked'", "unknown_rate", "later_rate")


GENTLE = 5e-4  # a learning rate that does not undo what the host knows


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
    batch_size: int | None = same_as(PretrainSettings, "batch_size")
    learning_rate: float | None = setting(
        None,
        "of Adam (default: 5e-4; with --keep-host-items 2e-3, as in pretrain)",
        check=positive_number,
    )
    weight_column: str | None = same_as(PretrainSettings, "weight_column")
    min_count: int = setting(
        1, "new items with fewer training events stay unknown", check=check_count
    )
    baselines: bool = same_as(
        PretrainSettings, "baselines", no_help="measure popularity and the host as it was alone"
    )
    split: str = same_as(PretrainSettings, "split")
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
            objective=host.objective, max_length=host.max_length, learning_rate=rate, **same
        )
