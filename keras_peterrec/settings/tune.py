"""Settings of `tune`: those of a command that trains, and what is tried of them."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.network.registry import usual_blocks
from keras_peterrec.network.sizes import BASE, CHANNELS, DROPOUT
from keras_peterrec.settings.base import Settings, checked_value, positive_number, setting, type_of
from keras_peterrec.settings.parser import meant
from keras_peterrec.settings.pretrain import PretrainSettings, RefreshSettings
from keras_peterrec.settings.training import TrainingSettings
from keras_peterrec.settings.transfer import DEFAULT_PATCH, PATCHED, TransferSettings

TRIALS = 20  # where neither minutes nor trials are given
# Settings of data, and those that would change what is measured: trials could not be compared.
NOT_TUNED = (
    *("host", "start", "columns", "events", "target_events", "drop_bad_rows", "weight_column"),
    *("column", "kind", "keep_missing_words", "predict", "min_count", "keep_seen", "split"),
    *("seed", "train_fraction", "cut_history", "baselines", "keep_host_items"),
)
# A range whose end is so many times its beginning is searched on a logarithmic scale.
LOG_FROM = 8
_BOOLS = {"yes": True, "no": False, "true": True, "false": False}


@dataclass(frozen=True)
class Searched:
    """What is tried of one setting: some values, or a range."""

    name: str
    values: tuple | None = None  # `None` for a range
    low: Any = None  # the ends of a range, which belong to it
    high: Any = None

    @property
    def is_log(self) -> bool:
        """Whether a range is searched on a logarithmic scale."""
        return self.values is None and self.low > 0 and self.high >= LOG_FROM * self.low

    def has(self, value: Any) -> bool:
        """Whether this value may be tried."""
        if self.values is not None:
            return value in self.values
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def rounded(self, value: Any) -> Any:
        """A value of a range with as many digits as a person would write."""
        if self.values is not None or isinstance(value, int):
            return value
        return min(max(float(f"{value:.3g}"), self.low), self.high)

    @classmethod
    def parse(cls, settings_class: type[Settings], text: str) -> "Searched":
        """What a text such as `hidden_dim=64,128` or `dropout=0.1..0.4` asks for.

        Raises:
            InputError: the command that is tuned has no such setting, or its values cannot be used.
        """
        name, _, asked = text.partition("=")
        name, asked = name.strip().replace("-", "_"), asked.strip()
        fields = {field.name: field for field in tunable(settings_class)}
        if name not in fields:
            raise InputError(
                f"`search` should name settings of {settings_class.command} that change how it "
                f"learns: {', '.join(fields)}. Received: {name!r}{meant(name, list(fields)) or '.'}"
            )
        field, kind = fields[name], type_of(settings_class, name)
        low, dots, high = asked.partition("..")
        if dots and kind in (int, float):
            ends = [_value(kind, part, text) for part in (low, high)]
            low, high = (checked_value(settings_class, field, end) for end in ends)
            if not low < high:
                _refuse(text, "ranges whose end is above their beginning")
            return cls(name, None, low, high)
        # A comma belongs to the name of a patch such as bottleneck:8,serial.
        parts = asked.split("|" if "|" in asked else ",") if asked else []
        values = [_value(kind, part, text) for part in parts]
        values = list(dict.fromkeys(checked_value(settings_class, field, v) for v in values))
        if len(values) < 2:
            _refuse(text, "ranges (dropout=0.1..0.4) or at least two values (hidden_dim=64,128)")
        return cls(name, tuple(values))


def _value(kind, text, whole):
    text = text.strip()
    try:
        if kind is bool:
            return _BOOLS[text.lower()]
        value = kind(text) if kind in (int, float) else text
    except (ValueError, KeyError):
        allowed = {int: "integers", float: "numbers", bool: "yes and no"}[kind]
        _refuse(whole, f"{allowed} for this setting")
    if text == "" or (kind is float and not math.isfinite(value)):
        _refuse(whole, "values that are not empty, and finite")
    return value


def _refuse(text, allowed):
    raise InputError(f"`search` should have {allowed}. Received: {text!r}.")


def tunable(settings_class: type[Settings]) -> list[dataclasses.Field]:
    """The fields of a command's settings that may be tuned."""
    return [
        field
        for field in dataclasses.fields(settings_class)
        if field.metadata["recorded"]
        and not field.metadata["place"]
        and field.name not in NOT_TUNED
        and type_of(settings_class, field.name) is not tuple
    ]


@dataclass(frozen=True, kw_only=True)
class TuningSettings(TrainingSettings):
    """What is tried, and for how long; a subclass adds the settings of the command.

    Those settings are the defaults of the search: the first trial has them, and the others have
    what is not searched of them.
    """

    tuned: ClassVar[type[Settings]]
    # What is searched unless `search` says something else.
    usual: ClassVar[tuple[str, ...]]
    # What settings stand for that are `None`, so that the search learns from the first trial.
    unsaid: ClassVar[dict[str, Any]] = {}

    search: Sequence[str] | None = setting(
        None,
        "what is tried: some values, hidden_dim=64,128 (with | between them where a value has a "
        "comma), or a range, dropout=0.1..0.4 (default: the settings that matter most and were not "
        "given)",
        metavar="NAME=VALUES",
    )
    minutes: float | None = setting(
        None,
        "how long in all, with all that was tried here before: no trial begins that would "
        "probably take longer (default: none)",
        check=positive_number,
        recorded=False,
    )
    trials: int | None = setting(
        None,
        f"how many at most, with all that were tried here before (default: {TRIALS} without "
        "minutes)",
        check=check_count,
        recorded=False,
    )

    def check(self):
        super().check()
        self.leave_out("with tune; interrupt it, and the same command goes on", "finish")
        names = [searched.name for searched in self.space()]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"`search` should name a setting once. Received: {name!r} twice.")

    def space(self) -> list[Searched]:
        """What is searched."""
        if self.search is not None:
            return [Searched.parse(self.tuned, text) for text in self.search]
        usual = [Searched.parse(self.tuned, text) for text in self.usual]
        default = {field.name: field.default for field in dataclasses.fields(self.tuned)}
        return [
            searched
            for searched in usual
            if self._matters(searched.name)
            and getattr(self, searched.name) == default[searched.name]
        ]

    def _matters(self, name):
        """Whether one of the `usual` settings can be used beside the others."""
        return True

    def given(self, name: str) -> Any:
        """A setting as the first trial has it, a JSON value."""
        value = self.recorded()[name]
        return self.unsaid.get(name) if value is None else value

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """The arguments of the command, without `out`, for one trial."""
        names = {field.name for field in dataclasses.fields(self.tuned)} - {"out"}
        return {**{name: getattr(self, name) for name in names}, "final": False, **changes}


@dataclass(frozen=True)
class TunePretrainSettings(TuningSettings, PretrainSettings):
    """Settings of `tune pretrain`."""

    command: ClassVar[str] = "tune pretrain"
    help_text: ClassVar[str] = "choose settings of pretrain on validation events"
    tuned: ClassVar[type[Settings]] = PretrainSettings
    usual: ClassVar[tuple[str, ...]] = (
        "hidden_dim=32,64,128",
        "blocks=4,8",
        "dropout=0.1..0.5",
        "learning_rate=0.0005..0.005",
        "unknown_rate=0..0.3",
    )

    # The search learns from what trials have, and what suits the log no trial says: so it begins
    # with this.
    unsaid: ClassVar[dict[str, Any]] = {"hidden_dim": CHANNELS[BASE], "dropout": DROPOUT}

    def given(self, name: str) -> Any:
        if name == "blocks" and self.blocks is None:
            return usual_blocks(self.network)
        return super().given(name)

    def arguments(self, **changes: Any) -> dict[str, Any]:
        arguments = super().arguments(**changes)
        for name in self.unsaid:
            if arguments[name] is None and any(searched.name == name for searched in self.space()):
                arguments[name] = self.given(name)
        return arguments

    def _matters(self, name):
        return name != "unknown_rate" or self.objective == "causal"


@dataclass(frozen=True)
class TuneTransferSettings(TuningSettings, TransferSettings):
    """Settings of `tune transfer`."""

    command: ClassVar[str] = "tune transfer"
    help_text: ClassVar[str] = "choose settings of transfer on validation users"
    tuned: ClassVar[type[Settings]] = TransferSettings
    usual: ClassVar[tuple[str, ...]] = (
        "patch=bottleneck+item_lora:8|bottleneck|bottleneck:8+item_lora:4|lora:8+item_lora:8",
        "learning_rate=0.0003..0.01",
        "dropout=0.1..0.7",
        "hide_rate=0..0.6",
    )
    unsaid: ClassVar[dict[str, Any]] = {"patch": DEFAULT_PATCH}

    def _matters(self, name):
        if name == "patch":  # what another run has trained goes on with its own patch
            return self.method in PATCHED and self.start is None
        return name != "hide_rate" or self.method != "head"


@dataclass(frozen=True)
class TuneRefreshSettings(TuningSettings, RefreshSettings):
    """Settings of `tune refresh`."""

    command: ClassVar[str] = "tune refresh"
    help_text: ClassVar[str] = "choose settings of refresh on validation events"
    tuned: ClassVar[type[Settings]] = RefreshSettings
    usual: ClassVar[tuple[str, ...]] = ("learning_rate=0.0001..0.003", "batch_size=5,10,20,40")
