"""The folder of a run: what was asked, what came of it."""

import contextlib
import sys
from pathlib import Path

from keras_peterrec.distribution.devices import Devices
from keras_peterrec.errors import InputError
from keras_peterrec.files.folder_lock import NAME as LOCK
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_json, write_json

FORMAT_VERSION = 1
# Where things are, as somebody typed it. What they hold, `data` tells by fingerprints.
PLACES = ("run", "host", "log", "target", "labels")


class RunFolder:
    """A folder that belongs to one command with one set of settings.

    `run.json` is written first and says what was asked; `metrics.json` is written
    last and says that the run is finished. An interrupted run goes on when the
    same is asked again; anything else that a folder holds is left alone. While the `with`
    block runs, no other process may work in an unfinished folder. Of several workers the chief
    alone looks at the folder and writes; its answer is everyone's.

    Args:
        path: path.
        command: str.
        settings: dict of plain values that determine the result. Those of `PLACES` may
            differ where `data` is the same.
        devices: Devices of the run. Defaults to `None`, this process alone.

    Raises:
        InputError: on entering, the folder holds something else, cannot be written, or another
            process works in it.

    Example:

    >>> with RunFolder("runs/films", "transfer", settings) as folder:
    ...     if (earlier := folder.earlier_result()) is not None:
    ...         return earlier
    ...     return folder.finish(train(folder.path))
    """

    def __init__(self, path, command, settings, devices=None):
        self.path = Path(path)
        self._devices = devices or Devices.open(1)
        self._asked = {"format_version": FORMAT_VERSION, "command": command, "settings": settings}
        self._lock = contextlib.ExitStack()

    def __enter__(self):
        self._devices.on_chief(lambda: self._open(self._asked))
        return self

    def __exit__(self, *error):
        self._lock.close()

    def _open(self, asked):
        try:
            self._claim(asked)
        except OSError as error:
            raise InputError(
                "`out` should be a folder that can be written. "
                f"Received: {str(self.path)!r} ({error.strerror})."
            ) from error

    def _claim(self, asked):
        if self._is_same(asked):
            if not self._finished:
                self._lock.enter_context(locked(self.path))
            return
        holds = self.path.is_dir() and {file.name for file in self.path.iterdir()} - {LOCK}
        if holds or (self.path.exists() and not self.path.is_dir()):
            raise InputError(
                "`out` should be a new folder or that of the same run. "
                f"Received: {str(self.path)!r}, which already holds something else."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.enter_context(locked(self.path))
        if not self._is_same(asked):  # another process may have been quicker
            write_json(self.path / "run.json", asked)

    @property
    def _finished(self):
        return (self.path / "metrics.json").is_file()

    def _is_same(self, asked):
        """Whether the folder holds this run; refuses another one."""
        if not (self.path / "run.json").is_file():
            return False
        self._check_same(read_json(self.path / "run.json", "out"), asked)
        return True

    def _check_same(self, held, asked):
        held = held if isinstance(held, dict) else {}
        if held.get("command") != asked["command"]:
            found = f"a run of `{held.get('command')}`"
        elif (before := _identity(held)) == (now := _identity(asked)):
            return
        else:
            before, now = before.get("settings", {}), now["settings"]
            name = next((n for n in {**now, **before} if now.get(n) != before.get(n)), "version")
            found = f"a run with `{name}` = {before.get(name)!r} rather than {now.get(name)!r}"
        raise InputError(
            "`out` should be a new folder or that of the same run. "
            f"Received: {str(self.path)!r}, which holds {found}."
        )

    def earlier_result(self):
        """What a finished run wrote, and says so; `None` if there is work to do."""
        return self._devices.on_chief(self._earlier_result)

    def _earlier_result(self):
        if not self._finished:
            return None
        print(f"{self.path} is already finished; nothing is trained again", file=sys.stderr)
        return read_json(self.path / "metrics.json", "out")

    def finish(self, result):
        """Writes `metrics.json`, with which the run is finished."""
        write_json(self.path / "metrics.json", result)
        return result


def _identity(saved):
    """What `run.json` holds but for `PLACES`, those of each of several tasks included."""
    settings = _without_places(saved.get("settings", {}))
    if "tasks" in settings:
        tasks = settings["tasks"].items()
        settings["tasks"] = {name: _without_places(task) for name, task in tasks}
    return {**saved, "settings": settings}


def _without_places(settings):
    return {name: value for name, value in settings.items() if name not in PLACES}
