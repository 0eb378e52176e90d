"""The folder of a run: what was asked, and what came of it."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.finish_request import ask_to_finish, forget_request
from keras_peterrec.files.folder_lock import NAME as LOCK
from keras_peterrec.files.folder_lock import is_held_elsewhere, locked
from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.files.leftovers import is_leftover
from keras_peterrec.types import AnyPath, Json

FORMAT_VERSION = 2
FINAL = "final"  # the folder in a run's folder for the state and logs of training on everything
# Settings that say where data is and how it is read; the data itself is compared by fingerprints.
PLACES = (
    *("run", "host", "log", "target", "labels", "start", "items"),
    *("columns", "events", "target_events", "weight_column", "drop_bad_rows"),
    "keep_missing_words",
)
MAY_DIFFER = (*PLACES, "epochs")
STATE = "state"  # the folder in a run's folder for the state of training


class RunFolder:
    """A folder that belongs to one command with one set of settings.

    `run.json` is written first and says what was asked; `metrics.json` is written last and says
    that the run is finished. An interrupted run goes on when the same is asked again; a folder
    that holds anything else is left alone. `epochs` may be others: a run that ended since they were
    over, and whose state is there, goes on where they are more. While the `with` block runs, no
    other process may work in an unfinished folder. Of several workers the chief alone looks at the
    folder and writes; its answer is everyone's.

    Args:
        settings: Settings of the run. Those of `MAY_DIFFER` may be others where `data` is the same.
        data: JSON value, the fingerprints of all that is read. Defaults to `None`.
        recipe: int or `None`. Version of the training code: a folder that another version has begun
            is refused. Defaults to `None`.
        devices: Devices of the run. Defaults to `None`, this process alone.
        final: bool. Whether the run is finished only once it was trained on everything. A measured
            run, of which `metrics.json` says so, then goes on. Defaults to `False`.

    Raises:
        InputError: on entering, if the folder holds something else, cannot be written, or another
            process works in it.

    Example:

    >>> with RunFolder("runs/films", settings, fingerprints) as folder:
    ...     if (earlier := folder.earlier_result()) is not None:
    ...         return earlier
    ...     return folder.finish(train(folder.path))
    """

    def __init__(
        self,
        path: AnyPath,
        settings: Any,
        data: Any = None,
        recipe: int | None = None,
        devices: Any = None,
        final: bool = False,
    ) -> None:
        self.path = Path(path)
        if devices is None:
            # Only here: `check_folder` is used before TensorFlow is imported.
            from keras_peterrec.training.devices import Devices

            devices = Devices.open(1)
        self._devices = devices
        self._asked = {
            "format_version": FORMAT_VERSION,
            "command": settings.command,
            "settings": settings.recorded(),
            "recipe": recipe,
            "data": data,
        }
        self._final = final
        self._held = False
        self._lock = contextlib.ExitStack()

    def __enter__(self):
        self._devices.on_chief(self._open)
        return self

    def __exit__(self, *error):
        if self._held:
            forget_request(self.path)  # that came too late to be seen
        self._held = False
        self._lock.close()

    def _open(self):
        try:
            self._claim()
        except OSError as error:
            raise InputError(
                "`out` should be a folder that can be written. "
                f"Received: {str(self.path)!r} ({error.strerror})."
            ) from error

    def _claim(self):
        if self._is_same() and self._finished and not self._goes_on():
            return
        check_folder(self.path, self._asked["command"])
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.enter_context(locked(self.path))
        self._held = True
        forget_request(self.path)
        if self._is_same() and self._goes_on():  # another process may have been quicker
            (self.path / "metrics.json").unlink()
        if self._held_epochs() != self._asked["settings"].get("epochs"):
            write_json(self.path / "run.json", self._asked)

    def _held_epochs(self):
        """The epochs that the folder was begun or continued with; -1 of a new folder."""
        if not (self.path / "run.json").is_file():
            return -1
        return read_json(self.path / "run.json", "out")["settings"].get("epochs")

    def _goes_on(self):
        """Whether more epochs are asked for than those that a finished run has ended with.

        Raises:
            InputError: they are, but its state is gone.
        """
        result, epochs = self._measured(), self._asked["settings"].get("epochs")
        if result is None or result.get("stopped") != "epochs" or epochs <= result["epochs"]:
            return False
        if not (self.path / STATE / "state.json").is_file():
            raise _refusal(
                self.path,
                f"was trained for {result['epochs']} epochs, and whose state, with which more "
                "could go on, is gone",
            )
        return True

    @property
    def _finished(self):
        result = self._measured()
        return result is not None and ("final" in result or not self._final)

    def _measured(self):
        file = self.path / "metrics.json"
        return read_json(file, "out") if file.is_file() else None

    def _is_same(self):
        """Whether the folder holds this run; raises InputError if it holds another one."""
        if not (self.path / "run.json").is_file():
            return False
        asked = self._asked
        held = check_folder(self.path, asked["command"])
        before, now = _identity(held), _identity(asked)
        different = [name for name in {**now, **before} if now.get(name) != before.get(name)]
        if different:
            name = different[0]
            raise _refusal(
                self.path,
                f"holds a run with `{name}` = {before.get(name)!r} rather than {now.get(name)!r}",
            )
        return True

    def earlier_result(self) -> Json | None:
        """What a finished run wrote, and says so; `None` if there is work to do."""
        return self._devices.on_chief(self._earlier_result)

    def _earlier_result(self):
        if not self._finished:
            return None
        progress.line(f"{self.path} is already finished; nothing is trained again")
        return self._measured()

    def measured_result(self) -> Json | None:
        """What a measured run wrote that is to be trained on everything; `None` before that."""
        return self._devices.on_chief(self._measured)

    def finish(self, result: Json) -> Json:
        """Writes `metrics.json`, with which the run is finished; returns its content."""
        write_json(self.path / "metrics.json", result)
        return result


def finish_elsewhere(settings: Any) -> Json | None:
    """Asks the process that trains in `out` to end now, and waits until it has measured and saved.

    Args:
        settings: Settings of a run, with `finish`.

    Returns:
        dict, the content of `metrics.json`; `None` where no other process works in `out`, or it
        died meanwhile.

    Raises:
        InputError: no run was begun there.
    """
    if not settings.finish or "TF_CONFIG" in os.environ:  # workers would wait for each other
        return None
    path = Path(settings.out)
    if check_folder(path, settings.command) is None:
        raise InputError(
            "`finish` should be asked of a run that has begun. "
            f"Received: {str(path)!r}, where none has."
        )
    if not is_held_elsewhere(path):
        return None
    ask_to_finish(path)
    progress.line(
        f"another process works in {path}: it was asked to end its training now, to measure and to "
        "save; this one waits for it, and may be stopped"
    )
    with progress.stage(f"waiting for the process in {path}"):
        while is_held_elsewhere(path):
            time.sleep(0.2)
    forget_request(path)  # of a process that died
    file = path / "metrics.json"
    return read_json(file, "out") if file.is_file() else None


def check_folder(path: AnyPath, command: str) -> Any:
    """Raises an InputError if a folder holds anything but a run of a command.

    Args:
        path: path of the folder, which need not exist.

    Returns:
        dict, the content of `run.json`, or `None` where the folder is empty or missing.
    """
    path = Path(path)
    if not (path / "run.json").is_file():
        names = {file.name for file in path.iterdir()} if path.is_dir() else set()
        holds = {name for name in names if name != LOCK and not is_leftover(name)}
        if holds or (path.exists() and not path.is_dir()):
            raise _refusal(path, "already holds something else")
        return None
    held = read_json(path / "run.json", "out")
    held = held if isinstance(held, dict) else {}
    for name, wanted in (("command", command), ("format_version", FORMAT_VERSION)):
        if held.get(name) != wanted:
            what = "a run of" if name == "command" else "a run of format version"
            raise _refusal(path, f"holds {what} {held.get(name)}, not {wanted}")
    return held


def _refusal(path, reason):
    return InputError(
        "`out` should be a new folder or that of the same run. "
        f"Received: {str(path)!r}, which {reason}."
    )


def _identity(run):
    """All by which a run is told from another: without the places of its files, and `epochs`."""
    settings = _without_places(run.get("settings", {}))
    if isinstance(settings.get("tasks"), dict):
        tasks = settings["tasks"].items()
        settings["tasks"] = {name: _without_places(task) for name, task in tasks}
    return {**settings, "recipe": run.get("recipe"), "data": run.get("data")}


def _without_places(settings):
    return {name: value for name, value in settings.items() if name not in MAY_DIFFER}
