"""Writes keras_peterrec/commands.pyi anew, after settings were changed: run this file."""

import inspect
import textwrap
from pathlib import Path

import keras_peterrec
from keras_peterrec import commands, types

FILE = Path(keras_peterrec.__file__).with_name("commands.pyi")
HEAD = """\
# Made by tests/write_command_stub.py from the settings: do not edit.

from collections.abc import Sequence
from typing import Any

from keras_peterrec.types import %s

class Command:
    settings: Any
    run: str
    show: str | None
    needs_tensorflow: bool

def imported(name: str) -> Any: ...

COMMANDS: tuple[Command, ...]
"""


# How the types of settings that have a name are written out, the longest first.
ALIASES = {
    inspect.formatannotation(getattr(types, name)): name
    for name in ("Source", "ColumnNames", "EventNames", "AnyPath")
}


def stub_text() -> str:
    """The whole file: each command as a function whose arguments are its settings."""
    names = sorted([*ALIASES.values(), "Named"])
    return "".join([HEAD % ", ".join(names), *map(_function, commands.COMMANDS)])


def _function(command):
    function = commands.imported(command.run)
    lines, kind = [], None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and kind is not parameter.kind:
            lines.append("    *,")
        kind = parameter.kind
        lines.append(f"    {parameter.name}: {_type(parameter.annotation)}{_default(parameter)},")
    text = textwrap.indent(inspect.getdoc(function), "    ").strip()
    returns = _type(inspect.signature(function).return_annotation)
    arguments = "\n".join(lines)
    return f'\ndef {function.__name__}(\n{arguments}\n) -> {returns}:\n    """{text}\n    """\n'


def _type(annotation):
    if annotation is dict:
        return "dict[str, Any]"
    text = inspect.formatannotation(annotation)
    for written, name in ALIASES.items():
        text = text.replace(written, name)
    text = text.replace("typing.", "").replace("collections.abc.", "")
    text = text.replace("keras_peterrec.types.", "")
    return text.replace("tuple[", "Sequence[").replace(", ...]", "]")


def _default(parameter):
    if parameter.default is parameter.empty:
        return ""
    text = repr(parameter.default)
    return f" = {text}".replace("'", '"')


if __name__ == "__main__":
    FILE.write_text(stub_text(), encoding="utf-8")
