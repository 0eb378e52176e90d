"""What every command's settings share: fields with help and checks, and how runs record them."""

import dataclasses
import functools
import inspect
import math
import numbers
import os
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.moments import check_split

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")


# What `about` is told of a setting that says where a log or labels are; see `log/table_files.py`.
DATA: dict[str, Any] = {"metavar": "FILE", "place": True}


def setting(default: Any, help: str, **more: Any) -> Any:
    """A field of a command's settings that has a default; see `about` for the rest.

    One that has to be given is `dataclasses.field(metadata=about(...))`: type checkers then know.
    """
    return dataclasses.field(default=default, metadata=about(help, **more))


def same_as(settings_class: "type[Settings]", name: str, **changes: Any) -> Any:
    """The setting of another command; `changes` are what `about` is told differently."""
    [field] = (field for field in dataclasses.fields(settings_class) if field.name == name)
    return setting(field.default, **{**field.metadata, **changes})


def about(
    help: str,
    *,
    no_help: str | None = None,
    choices: Collection[str] | Callable[[], Collection[str]] | None = None,
    check: Callable[[str, Any], None] | None = None,
    metavar: str | None = None,
    parse: Callable[[str], Any] | None = None,
    positional: bool = False,
    flag: str | None = None,
    recorded: bool = True,
    place: bool = False,
    alone: Any = None,
) -> dict[str, Any]:
    """All that is known of one argument of a command, as the metadata of its field.

    Args:
        help: One line, for `--help` and the docstring; the default is added to it.
        no_help: What `--help` says of `--no-NAME`, the option that a setting with the default
            `True` has.
        choices: A callable is for choices whose registry is expensive to import.
        check: Raises InputError.
        parse: From the command line's text to the value; `None` for the annotation's type.
        positional: Whether the command line takes it without `--name`.
        flag: What the command line calls it, where that is not its name.
        recorded: `False` for what does not change a result, such as `out`.
        place: Whether it says where data is: a path, several, or a table in memory. The command
            line then takes several values.
        alone: What `--name` without a value means; `None` if it needs one.
    """
    return dict(locals())


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of one command, checked when they are made.

    A subclass is a frozen dataclass whose fields are made by `setting`. It is the only place
    of their names, types, defaults, help and checks: `parser.py` makes the command line from
    it, `takes` the Python function, and `run.json` records it.

    Raises:
        InputError: a value is of another type, not among its choices, or out of range.
    """

    command: ClassVar[str] = ""
    help_text: ClassVar[str] = ""
    out_is_run: ClassVar[bool] = True  # whether `out` is the folder of a run
    # What is said of options that people know from elsewhere.
    hints: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = checked_value(type(self), field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)  # frozen, and not yet handed out
        self.check()

    def check(self):
        """Raises InputError if settings do not go together. A subclass may override it."""

    def leave_out(self, why: str, *names: str) -> None:
        """Raises InputError if one of these settings is given; `why` is such as "without `log`"."""
        for name in names:
            value, default = getattr(self, name), getattr(type(self), name)
            if default is None:  # a table in memory would be compared cell by cell
                is_given = value is not None
            else:
                is_given = value != default
            if is_given:
                refuse(name, f"left out {why}", value)

    def give_together(self, first: str, second: str) -> None:
        """Raises InputError if one of two settings is given without the other."""
        given = [name for name in (first, second) if getattr(self, name) is not None]
        if len(given) == 1:
            raise InputError(
                f"`{first}` and `{second}` should be given together. Received: `{given[0]}` alone."
            )

    @property
    def needs_tensorflow(self) -> bool:
        """Whether the command needs TensorFlow, which takes seconds to load, for these settings."""
        return True

    def recorded(self) -> dict[str, Any]:
        """The settings that determine a result, as `run.json` holds them: JSON values."""
        return {
            field.name: _plain(getattr(self, field.name), field.metadata["place"])
            for field in dataclasses.fields(self)
            if field.metadata["recorded"]
        }

    def replace(self, **changes):
        """A copy with some settings changed."""
        return dataclasses.replace(self, **changes)


def checked_value(settings_class: type, field: Any, value: Any) -> Any:
    """The value of one setting, in the setting's type.

    Raises:
        InputError: it is of another type, not among the choices, or out of range.
    """
    name, data = field.name, field.metadata
    if value is None and field.default is None:
        return value
    kind = type_of(settings_class, name)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    is_number = isinstance(value, _NUMBERS.get(kind, ())) and not isinstance(value, bool)
    if is_number and type(value) is not kind:
        value = kind(value)  # of NumPy, or a whole number as a float
    if kind in _TYPE_NAMES and (
        not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    ):
        refuse(name, _TYPE_NAMES[kind], value)
    choices = data["choices"]() if callable(data["choices"]) else data["choices"]
    if choices is not None and value not in choices:
        refuse(name, f"one of {', '.join(map(str, choices))}", value)
    if data["check"] is not None:
        data["check"](name, value)
    return value


_TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a string",
    tuple: "a list",
}


_NUMBERS = {int: numbers.Integral, float: numbers.Real}


@functools.cache
def _hints(settings_class):
    return typing.get_type_hints(settings_class)


def type_of(settings_class, name):
    """The type of a setting: int, float, bool, str, tuple or `object` for anything else."""
    hint = _hints(settings_class)[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    options = [option for option in options if option is not type(None)]
    kind = typing.get_origin(options[0]) or options[0]
    kind = tuple if kind is Sequence else kind
    return kind if len(options) == 1 and kind in _TYPE_NAMES else object


def takes(settings_class: Callable[P, S]) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Turns a function of settings into one that takes the settings as arguments.

    Editors and `help` show the settings with their defaults, which are written only once. The
    docstring gets an `Args:` section from the settings' help, and the function is called as its
    command.

    Example:

    >>> @takes(PretrainSettings)
    ... def pretrain(settings):
    ...     return settings.max_length
    >>> pretrain("clicks.csv", "runs/host")
    100
    """

    def decorate(run: Callable[[S], R]) -> Callable[P, R]:
        @functools.wraps(run)
        def function(*args: P.args, **kwargs: P.kwargs) -> R:
            return run(settings_class(*args, **kwargs))

        described: Any = function
        described.__signature__ = inspect.signature(settings_class).replace(
            return_annotation=inspect.signature(run).return_annotation
        )
        hints = {**settings_class.__init__.__annotations__, **run.__annotations__}
        function.__annotations__ = {n: hint for n, hint in hints.items() if n != "settings"}
        # From Python 3.13 on a docstring comes without its indentation.
        head, returns, rest = inspect.cleandoc(run.__doc__ or "").partition("Returns:")
        function.__doc__ = f"{head}{_argument_lines(settings_class)}\n\n{returns}{rest}"
        described.with_settings = run  # for callers that have settings already
        return function

    return decorate


def ordered_fields(settings_class) -> list:
    """The fields as a reader wants them: first those that have to be given."""
    fields = dataclasses.fields(settings_class)
    return sorted(fields, key=lambda field: field.default is not dataclasses.MISSING)


def _argument_lines(settings_class):
    lines = ["Args:"]
    for field in ordered_fields(settings_class):
        kind = type_of(settings_class, field.name)
        text = field.metadata["help"].strip().rstrip(".")
        parts = [] if kind is object else [kind.__name__]
        parts.append(text[:1].upper() + text[1:])
        if field.default is not dataclasses.MISSING:
            parts.append(f"Defaults to `{field.default!r}`")
        whole = f"{field.name}: {'. '.join(parts)}."
        indents = {"initial_indent": " " * 4, "subsequent_indent": " " * 8}
        lines += textwrap.wrap(whole, 100, break_long_words=False, **indents)
    return "\n".join(lines)


def flag_of(field) -> str:
    """What the command line calls a setting, without the dashes before it."""
    return field.metadata["flag"] or field.name.replace("_", "-")


def default_text(field):
    """What help says of a setting's default, or `""` where it has none or its help says it."""
    default, text = field.default, field.metadata["help"]
    if default is dataclasses.MISSING or "(default" in text or "default:" in text:
        return ""
    if isinstance(default, bool):
        return f" (default: {'yes' if default else 'no'})"
    if default is None or default == ():
        return " (default: none)"
    if isinstance(default, tuple):
        return f" (default: {' '.join(map(str, default))})"
    return f" (default: {default})"


def must_be(allowed: str, is_allowed: Callable[[Any], bool]) -> Callable[[str, Any], None]:
    """The `check` of a setting that refuses all other values."""

    def check(name: str, value: Any) -> None:
        if not is_allowed(value):
            refuse(name, allowed, value)

    return check


rate = must_be("a rate from 0 up to but not 1", lambda value: 0.0 <= value < 1.0)
fraction = must_be("above 0 and at most 1", lambda value: 0.0 < value <= 1.0)
positive_number = must_be("a positive number", lambda value: 0.0 < value < math.inf)
not_negative = must_be("at least 0", lambda value: 0.0 <= value < math.inf)
# What every generator in use can be seeded with.
seed_number = must_be(f"an integer from 0 to {2**32 - 1}", lambda value: 0 <= value < 2**32)
device_count = must_be(
    "a positive integer or 'all'",
    lambda value: value == "all" or (type(value) is int and value >= 1),
)


def split_setting(other, text):
    """The setting `split`: its default, of which help says `text`, or a moment."""
    return setting(
        other,
        f"{text}, or time:2026-09-01: what comes from then on is the test, and the last tenth "
        "before is for validation",
        check=check_split(other),
        metavar=f"{other}|time:MOMENT",
    )


def keep_seen_setting():
    """The setting `keep_seen` of the commands that train what recommends."""
    return setting(
        None,
        "recommend items of the history as well (default: where more of what validation asks for "
        "is found with them, by a simple rule)",
        no_help="recommend no item of the history",
    )


def _plain(value, is_place=False):
    """A setting as JSON can hold it."""
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__"):
        return type(value).__name__
    if is_place and isinstance(value, dict):
        return "dict"
    value = getattr(value, "setting_name", value)  # a log, labels or a patch given as an object
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value
