"""The command line, made from settings; and `--config FILE`, which reads them from a file."""

import argparse
import dataclasses
import difflib
import json
import sys
import tomllib
from pathlib import Path

from keras_peterrec.errors import InputError, shortened
from keras_peterrec.settings.base import default_text, flag_of, ordered_fields, type_of


class CommandParser(argparse.ArgumentParser):
    """A parser of one command, or of the whole program.

    A name may be written as in Python, `--max_length`. An option or a command that does not exist
    ends the program with one line and status 2, which names the nearest one that does.
    """

    def __init__(self, *args, **kwargs):
        self.hints = {}  # what is said of an option that people know from elsewhere
        self.commands = None  # the words that may come first; `None` of a command of its own
        self._names = []
        super().__init__(*args, **kwargs)

    def add_argument(self, *names, **options):
        action = super().add_argument(*names, **options)
        self._names += action.option_strings
        return action

    def parse_known_args(self, args=None, namespace=None):
        """Parses words as argparse does, but ends the program where one is not known."""
        words = [self._as_known(word) for word in (sys.argv[1:] if args is None else args)]
        if self.commands is not None:
            word = next((word for word in words if not word.startswith("-")), None)
            if word is not None and word not in self.commands:
                names = ", ".join(self.commands)
                self.error(f"there is no command {word!r}{meant(word, self.commands)} ({names})")
        parsed, others = super().parse_known_args(words, namespace)
        if others:
            self.error(self._about(others))
        return parsed, []

    def error(self, message):
        """Ends the program with one line and status 2."""
        text = " ".join(shortened(message).split())
        self.exit(2, f"keras-peterrec: error: {text}; {self.prog} --help says more\n")

    def _as_known(self, word):
        """A word whose option has dashes where only so there is one."""
        name, sign, value = word.partition("=")
        dashed = name.replace("_", "-")
        takes_it = word.startswith("--") and name not in self._names and dashed in self._names
        return dashed + sign + value if takes_it else word

    def _about(self, words):
        option = next((word for word in words if word.startswith("-")), None)
        if option is None:
            return f"{words[0]!r} is too much"
        option = option.partition("=")[0]
        hint = self.hints.get(option.replace("_", "-"))
        advice = f": {hint}" if hint else meant(option.replace("_", "-"), self._names)
        return f"there is no option {option}{advice}"


def add_arguments(parser, settings_class):
    """Adds an argument for every setting that the command line takes, and `--config`.

    The parser leaves out of its result what is not given (`argument_default=argparse.SUPPRESS`).
    """
    for field in ordered_fields(settings_class):
        data = field.metadata
        kind = type_of(settings_class, field.name)
        flag = flag_of(field)
        described = {"help": (data["help"] + default_text(field)).replace("%", "%%")}
        if kind is bool and field.default is None:
            switch = {"dest": field.name, "action": "store_const"}
            parser.add_argument(f"--{flag}", const=True, **switch, **described)
            text = data["no_help"].replace("%", "%%")
            parser.add_argument(f"--no-{flag}", const=False, **switch, help=text)
            continue
        if kind is bool and field.default is True:  # the option switches it off
            text = data["no_help"] or f"switches off {data['help']}"
            text = f"{text} (default: {flag} is on)".replace("%", "%%")
            parser.add_argument(f"--no-{flag}", dest=field.name, action="store_false", help=text)
            continue
        if kind is bool:
            parser.add_argument(f"--{flag}", dest=field.name, action="store_true", **described)
            continue
        if data["metavar"]:
            described["metavar"] = data["metavar"]
        elif data["choices"] is not None and not callable(data["choices"]):
            described["metavar"] = "{" + ",".join(data["choices"]) + "}"
        if kind is tuple and data["parse"] is not None:
            described["type"] = data["parse"]
        elif data["parse"] is not None or kind in (int, float):
            described["type"] = _parser_of(data["parse"] or kind)
        if data["alone"] is not None:
            described |= {"nargs": "?", "const": data["alone"]}
        if takes_several(settings_class, field):
            described["action"] = "extend"
            described["nargs"] = "+"
        if data["positional"]:
            # Not required here, since a --config file may give it; `make_settings` asks for it.
            parser.add_argument(field.name, nargs="?", **described)
        else:
            parser.add_argument(f"--{flag}", dest=field.name, **described)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="read settings from a JSON or TOML file, or the run.json of an earlier run; what the "
        "command line says counts more",
    )


def command_words(settings_class, settings):
    """The words by which the command line gets these settings, after program and command.

    `settings` are JSON values by name, as in `run.json`; what is a default is left out.
    """
    first, words = [], []
    for field in ordered_fields(settings_class):
        value, flag = settings.get(field.name), f"--{flag_of(field)}"
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        value = list(value) if isinstance(value, tuple) else value
        if value is None or value == default:
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag_of(field)}")
        elif field.metadata["positional"]:
            first.append(str(value))
        elif isinstance(value, list) and takes_several(settings_class, field):
            options = [f"{flag}={part}" for part in value]
            apart = any(str(part).startswith("-") for part in value)
            words += options if apart else [flag, *map(str, value)]
        else:
            if isinstance(value, dict):
                value = [f"{name}={there}" for name, there in value.items()]
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return first + words


def takes_several(settings_class, field):
    """Whether the command line takes several words for a setting."""
    is_list = type_of(settings_class, field.name) is tuple and not field.metadata["positional"]
    return is_list or field.metadata["place"]


def _parser_of(parse):
    """`parse`, which leaves what it cannot read to the settings' own check and message."""

    def parse_if_possible(text):
        try:
            return parse(text)
        except ValueError:
            return text

    return parse_if_possible


def make_settings(settings_class, options):
    """The settings that the arguments that were given ask for, `config` among them.

    Raises:
        InputError: a setting is missing or cannot be used.
    """
    options = dict(options)
    for field in dataclasses.fields(settings_class):
        if field.metadata["place"] and len(options.get(field.name, ())) == 1:
            [options[field.name]] = options[field.name]
    config = options.pop("config", None)
    if config is not None:
        options = {**read_config(config, settings_class), **options}
    for field in dataclasses.fields(settings_class):
        if field.default is dataclasses.MISSING and field.name not in options:
            positional = field.metadata["positional"]
            flag = "an argument" if positional else f"--{flag_of(field)}"
            raise InputError(
                f"`{field.name}` should be given, as {flag} or in a --config file: "
                f"{field.metadata['help']}. Received: none."
            )
    return settings_class(**options)


def read_config(path, settings_class):
    """The settings in a JSON or TOML file.

    It has them by name, with dashes or underscores, or is the `run.json` or `metrics.json` of a
    run of the same command.

    Raises:
        InputError: the file cannot be read, or holds what is no setting of the command.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = tomllib.loads(text) if str(path).endswith(".toml") else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # nested too deeply
        raise InputError(
            "`config` should be a JSON or TOML file that can be read. "
            f"Received: {str(path)!r}: {error}."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        if content.get("command") != settings_class.command:
            raise InputError(
                f"`config` should hold settings of {settings_class.command}. "
                f"Received: {str(path)!r}, a run of {content.get('command')}."
            )
        content = {name: v for name, v in content["settings"].items() if v is not None}
    if not isinstance(content, dict):
        raise InputError(
            f"`config` should hold settings by name. Received: {str(path)!r}, "
            f"which holds {type(content).__name__}."
        )
    names = [field.name for field in dataclasses.fields(settings_class)]
    given = {str(name).replace("-", "_"): value for name, value in content.items()}
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        raise InputError(
            f"`config` should hold settings of {settings_class.command}: {', '.join(names)}. "
            f"Received: {unknown!r} in {str(path)!r}{meant(unknown, names) or '.'}"
        )
    return given


def meant(word, known):
    """What to say of a word that is not known: `", did you mean …?"`, or `""` if none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""
