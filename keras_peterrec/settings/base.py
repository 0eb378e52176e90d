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

from keras_peterrec.errors import refuse
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
        help: str. One line, for `--help` and the docstring; the default is added to it.
        no_help: str or `None`. What `--help` says of `--no-NAME`, the option that a setting with
            the default `True` has.
        choices: sequence of the values that are allowed, or a callable that returns it, for
            choices whose registry is expensive to import. Defaults to `None`, any value.
        check: Callable `(name, value)` that raises InputError. Defaults to `None`.
        metavar: str. What `--help` calls the value.
        parse: Callable from the command line's text to the value. Defaults to the type of
            the annotation.
        positional: bool. Whether the command line takes it without `--name`.
        flag: str or `None`. What the command line calls it, where that is not its name.
        recorded: bool. `False` for what does not change a result, such as `out`.
        place: bool. Whether it says where data is: a path, several, or a table in memory. The
            command line then takes several values. Defaults to `False`.
        alone: any value. What `--name` without a value means. Defaults to `None`: it needs one.
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
            self._check_field(field)
        self.check()

    def check(self):
        """Raises InputError if settings do not go together. A subclass may override it."""

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

    def _check_field(self, field):
        value = checked_value(type(self), field, getattr(self, field.name))
        object.__setattr__(self, field.name, value)  # frozen, and not yet handed out


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


def rate(name, value):
    """Checks that a number is at least 0 and below 1."""
    if not 0.0 <= value < 1.0:
        refuse(name, "a rate from 0 up to but not 1", value)


def fraction(name, value):
    """Checks that a number is above 0 and at most 1."""
    if not 0.0 < value <= 1.0:
        refuse(name, "above 0 and at most 1", value)


def positive_number(name, value):
    """Checks that a number is above 0 and finite."""
    if not 0.0 < value < math.inf:
        refuse(name, "a positive number", value)


def not_negative(name, value):
    """Checks that a number is 0 or more."""
    if not 0.0 <= value < math.inf:
        refuse(name, "at least 0", value)


def seed_number(name, value):
    """Checks that an integer can seed every generator in use."""
    if not 0 <= value < 2**32:
        refuse(name, f"an integer from 0 to {2**32 - 1}", value)


def split_setting(other, text):
    """The setting `split`: one word, or a moment.

    Args:
        other: str. The default, such as `"last"`.
        text: str. What `--help` says of the default.
    """
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


def device_count(name, value):
    if value != "all" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        refuse(name, "a positive integer or 'all'", value)


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
