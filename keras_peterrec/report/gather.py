"""Everything a report says of a run, read from its folder without TensorFlow."""

import shlex
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.history_file import read_history
from keras_peterrec.files.json_file import read_json, refuse_misfits
from keras_peterrec.report.kept_rows import read_examples, read_test_rows
from keras_peterrec.report.views import describe
from keras_peterrec.settings.parser import command_words
from keras_peterrec.settings.pretrain import PretrainSettings, RefreshSettings
from keras_peterrec.settings.transfer import TransferSettings
from keras_peterrec.types import AnyPath

SETTINGS = {"pretrain": PretrainSettings, "refresh": RefreshSettings, "transfer": TransferSettings}


def find_runs(path: AnyPath) -> list[Path]:
    """The folder of one finished run; or those below a folder, hosts first.

    Raises:
        InputError: there is no finished run of `pretrain`, `refresh` or `transfer`.
    """
    path = Path(path)
    folders = [path] if (path / "metrics.json").is_file() else []
    if not folders or _command(read_json(path / "metrics.json", "path")) is None:
        folders = [file.parent for file in sorted(path.rglob("metrics.json"))]
    commands = {folder: read_json(folder / "metrics.json", "path") for folder in folders}
    runs = [run for run in folders if _command(commands[run]) in SETTINGS]
    if not runs:
        raise InputError(
            "`path` should be the folder of a finished pretrain, refresh or transfer run, "
            f"or one that holds some. Received: {str(path)!r}, which holds none."
        )
    return sorted(runs, key=lambda run: [*SETTINGS].index(_command(commands[run])))


def gather(folder: AnyPath, name: str | None = None, titles: dict | None = None) -> dict:
    """All that is known of a finished run, as JSON values.

    Args:
        folder: path of the run.
        name: str or `None`. What the report calls it. Defaults to `None`, the folder's name.
        titles: dict or `None`. From item to title, for the examples. Defaults to `None`.

    Returns:
        dict of `name`, `folder`, `command`, `kind` (`None` for a host), `decides`, `settings`,
        `data`, `metrics`, `intervals` (of the test), `baselines`, `linear`, `advice`, `parameters`,
        `seconds`, `epochs`, `best_epoch`, `history` (by column), `views` (of `describe`),
        `examples` and `commands`.

    Raises:
        InputError: a file is missing, damaged or does not fit the others.
    """
    folder = Path(folder)
    result = read_json(folder / "metrics.json", "path")
    with refuse_misfits(folder, "path"):
        decides = result["decides"]
        run = {
            "name": name or folder.resolve().name,
            "folder": str(folder),
            "kind": result.get("kind"),
            "intervals": result.get("intervals", {}).get("test", {}),
            "history": read_history(folder),
            "views": describe(read_test_rows(folder), decides, result["seed"]),
            "examples": [_titled(example, titles or {}) for example in read_examples(folder)],
            "commands": _commands(folder, result),
        }
        same = ("command", "settings", "seed", "data", "decides", "metrics", "baselines")
        optional = ("linear", "advice", "parameters", "seconds", "epochs", "best_epoch", "stopped")
        run |= {name: result[name] for name in same}
        run |= {name: result.get(name) for name in optional}
    return run


def command_line(command: str, settings: dict, out: AnyPath) -> str:
    """The command that has these settings; those at their defaults are left out.

    Args:
        command: str, one of `SETTINGS`.
        settings: dict, as `run.json` has them.
        out: path of the run.
    """
    words = command_words(SETTINGS[command], {**settings, "out": str(out)})
    return shlex.join(["keras-peterrec", command, *words])


def _titled(example, titles):
    """An example with titles in place of item ids."""
    name = lambda item: titles.get(item, item)
    titled = {**example, "history": [name(item) for item in example["history"]]}
    if example.get("of_items"):
        titled["truth"] = [name(item) for item in example["truth"]]
        titled["answer"] = [[name(item), score] for item, score in example["answer"]]
    return titled


def _commands(folder, run, later=()):
    """The commands that make a run, those of its host first where the host's folder is there."""
    final = {"final": True} if "final" in run else {}
    own = command_line(run["command"], {**run["settings"], **final}, folder)
    host = run["settings"].get("host")
    later = (*later, Path(folder).resolve())
    if host is None or not (Path(host) / "run.json").is_file() or Path(host).resolve() in later:
        return [own]
    return [*_commands(host, read_json(Path(host) / "run.json", "path"), later), own]


def _command(result):
    """The command of a finished run; `None` where it is no such thing."""
    command = result.get("command") if isinstance(result, dict) and "metrics" in result else None
    return command if isinstance(command, str) else None
