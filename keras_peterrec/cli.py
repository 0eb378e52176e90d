"""The command line: arguments made from each command's settings, results printed.

TensorFlow is loaded only once a command has been understood.
"""

import argparse
import json
import os
import sys
import traceback

from keras_peterrec import __version__
from keras_peterrec.commands import COMMANDS
from keras_peterrec.errors import InputError, is_full_disk, refused_by_machine, shortened
from keras_peterrec.lazy_import import imported
from keras_peterrec.settings.parser import CommandParser, add_arguments, make_settings
from keras_peterrec.tensorflow_start import VERBOSE, load_tensorflow

# What comes before the names of several commands.
_GROUPS = {
    "benchmark": "measure a server",
    "tune": "choose settings of a command by validation, within a budget",
}


def main(arguments=None):
    """Runs one command; what the user or the machine does wrong is one line and exit status 2."""
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    if "shell" in options:
        import shtab

        print(shtab.complete(parser, options["shell"]))
        return
    command, as_json = options.pop("chosen"), options.pop("json", False)
    if options.pop("verbose", False):
        os.environ[VERBOSE] = "1"  # for the processes that the command starts as well
    settings = None
    try:
        settings = make_settings(command.settings, options)
        _check_places(settings)
        if settings.needs_tensorflow:
            load_tensorflow()
        result = imported(command.run).with_settings(settings)
        if as_json:
            print(json.dumps(result, indent=2, ensure_ascii=False))
        elif command.show is not None:
            imported(command.show)(result)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("keras-peterrec: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        _end(error, settings)
    if isinstance(result, dict) and result.get("problems"):
        sys.exit(2)


def _end(error, settings):
    """Ends in one line where the user or the machine is at fault; what is raised here is ours."""
    if isinstance(error, BrokenPipeError):  # who read stdout has enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, InputError):
        message = str(error)
    elif is_full_disk(error):
        place = getattr(error, "filename", None) or getattr(settings, "out", None)
        where = f" at {str(place)!r}" if place else ""
        message = (
            f"no space is left on the disk{where}. What was finished is whole; make room, and the "
            "same command goes on from there"
        )
    elif (refused := refused_by_machine(error)) is not None:
        if os.environ.get(VERBOSE):
            traceback.print_exception(error)
        message = f"{shortened(refused)} (--verbose says where in the program)"
    else:
        raise error
    print(f"keras-peterrec: error: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(2)


def _parser():
    parser = CommandParser(
        prog="keras-peterrec",
        description="One behaviour log, many small tasks: pretrain a host, patch it for "
        "each task, serve them all together.",
    )
    parser.add_argument("--version", action="version", version=f"keras-peterrec {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups = {}
    for command in COMMANDS:
        group, _, name = command.settings.command.rpartition(" ")
        if group and group not in groups:
            text = _GROUPS[group]
            of_group = commands.add_parser(group, help=text, description=text)
            groups[group] = of_group.add_subparsers(metavar="WHAT", required=True)
            of_group.commands = groups[group].choices
        _add_command(groups.get(group, commands), name, command)
    text = "print a script by which the shell completes commands and options"
    completion = commands.add_parser(
        "completion", help=text, description=f"{text}: source <(keras-peterrec completion bash)"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.commands = commands.choices
    return parser


def _add_command(commands, name, command):
    text = command.settings.help_text
    parser = commands.add_parser(
        name, help=text, description=text, argument_default=argparse.SUPPRESS
    )
    parser.set_defaults(chosen=command)
    parser.hints = command.settings.hints
    parser.add_argument("--json", action="store_true", help="print only JSON on stdout")
    parser.add_argument(
        "--verbose", action="store_true", help="show what TensorFlow writes on stderr as well"
    )
    add_arguments(parser, command.settings)


def _check_places(settings):
    # Imported only here: `--help` needs neither NumPy nor pyarrow.
    from keras_peterrec.runs.early_checks import check_places

    check_places(settings)
