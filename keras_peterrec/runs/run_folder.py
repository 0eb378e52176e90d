"""The folder of a run: what was asked, what came of it."""

import sys
from pathlib import Path

from keras_peterrec.distribution.devices import Devices
from keras_peterrec.errors import InputError
from keras_peterrec.transfer.json_file import read_json, write_json

FORMAT_VERSION = 1
# Where things are, as somebody typed it. What they hold, `data` tells by fingerprints.
PLACES = ("run", "host", "log", "target", "labels")


class RunFolder:
    """A folder that belongs to one command with one set of settings.

    `run.json` is written first and says what was asked; `metrics.json` is written
    last and says that the run is finished. An interrupted run goes on when the
    same is asked again; anything else that a folder holds is left alone. Of several
    workers the chief alone looks at the folder and writes; its answer is everyone's.

    Args:
        path: path.
        command: str.
        settings: dict of plain values that determine the result. Those of `PLACES` may
            differ where `data` is the same.
        devices: Devices of the run. Defaults to `None`, this process alone.

    Raises:
        InputError: the folder holds something else.
    """

    def __init__(self, path, command, settings, devices=None):
        self.path = Path(path)
        self._devices = devices or Devices.open(1)
        asked = {"format_version": FORMAT_VERSION, "command": command, "settings": settings}
        self._devices.on_chief(lambda: self._open(asked))

    def _open(self, asked):
        if (self.path / "run.json").is_file():
            self._check_same(read_json(self.path / "run.json", "out"), asked)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(
                "`out` should be a new folder or that of the same run. "
                f"Received: {str(self.path)!r}, which already holds something else."
            )
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / "run.json", asked)

    def _check_same(self, held, asked):
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
        file = self.path / "metrics.json"
        if not file.is_file():
            return None
        print(f"{self.path} is already finished; nothing is trained again", file=sys.stderr)
        return read_json(file, "out")

    def finish(self, result):
        """Writes `metrics.json`."""
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
