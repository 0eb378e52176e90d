"""The versions of one model: which are on disk, which answer, which failed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_peterrec.server.errors import (
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    ServingError,
    as_serving_error,
    invalid,
)
from keras_peterrec.server.loaded_version import LoadedVersion

if TYPE_CHECKING:
    from keras_peterrec.server.model_config import ModelConfig

# TensorFlow Serving's numbers.
START, LOADING, AVAILABLE, UNLOADING, END = range(10, 60, 10)
_NUMBER = re.compile(r"[0-9]{1,18}")
_MAX_MESSAGE = 1000  # characters of what a version that cannot be loaded is blamed for
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0  # seconds until a version is tried again


@dataclass
class VersionState:
    """What became of a version; `state` is one of the numbers above."""

    number: int
    state: int = START
    code: int = OK
    message: str = ""


@dataclass(frozen=True)
class _Failure:
    """A version that could not be loaded: what its folder held, why, and when to try again."""

    contents: tuple
    message: str
    pause: float
    again: float  # in the seconds of `time.monotonic`

    @classmethod
    def after(cls, before: Any, contents: Any, message: str):
        """The next failure; the pause doubles while the folder stays as it is."""
        same = before is not None and before.contents == contents
        pause = min(2 * before.pause, _LONGEST_PAUSE) if same else _FIRST_PAUSE
        return cls(contents, message, pause, time.monotonic() + pause)


class ModelVersions:
    """Loads, warms up, swaps and unloads the versions of a model.

    A new version is loaded and warmed up beside the old one. Then it answers new requests, and
    the old one is closed after its last request, so that no request is lost. A version that
    fails to load is tried again when its files change, as they do while it is copied, and after
    pauses that grow: a disk may come back, and so may memory. Meanwhile the newest version that
    loads answers, and what answered before goes on if none does. A label moves when its new
    version answers; until then it keeps the old one.

    Only loading, closing and looking at files happen in a thread; all state belongs to one event
    loop.

    Args:
        config: may be replaced; `refresh` then follows it.
        load: callable (path, number, name) that returns a LoadedVersion.
        report: takes a text for a person.
        observe: callable (path, LoadedVersion), called when a version was loaded.
    """

    def __init__(
        self,
        config: ModelConfig,
        load: Callable[..., LoadedVersion] = LoadedVersion,
        report: Callable[[str], None] = print,
        observe: Callable[..., None] | None = None,
    ) -> None:
        self.config = config
        self.states = {}
        self._labels = {}  # the config's, as far as their versions answer
        self._load = load
        self._report = report
        self._observe = observe or (lambda *_: None)
        self._loaded = {}
        self._failed = {}  # number: _Failure

    def find(self, number: int | None = None, label: str | None = None) -> Any:
        """The version that answers a request, by default the newest.

        Raises:
            ServingError: if there is none.
        """
        name = self.config.name
        if label is not None:
            number = self._labels.get(label)
            if number is None:
                raise invalid("Unrecognized servable version label: ", label)
        if number is None:
            if not self._loaded:
                raise not_found(name)
            return self._loaded[max(self._loaded)]
        if number not in self._loaded:
            raise not_found(name, number)
        return self._loaded[number]

    def status(self, number: int | None = None) -> Any:
        """The VersionStates of all versions, the newest first, or of one.

        Raises:
            ServingError: if there are none.
        """
        states = [
            self.states[key] for key in sorted(self.states, reverse=True) if number in (None, key)
        ]
        if not states:
            raise no_status(self.config.name, number)
        return states

    @property
    def available(self) -> Any:
        """Numbers of the versions that answer."""
        return sorted(self._loaded)

    @property
    def ready(self) -> bool:
        """Whether there is a version that answers, and one for each label."""
        return bool(self._loaded) and set(self.config.labels.values()) <= set(self._loaded)

    async def refresh(self, pool: ThreadPoolExecutor) -> None:
        """Brings what answers in line with the config and the disk; `pool` is what loads."""
        loop = asyncio.get_running_loop()
        folders = await loop.run_in_executor(pool, _version_folders, self.config.base_path)
        self._failed = {n: failure for n, failure in self._failed.items() if n in folders}
        wanted = []
        for number in self.config.candidates(folders):
            if len(wanted) == self.config.most:
                break
            if number not in self._loaded:
                await self._try_to_load(number, folders[number], pool)
            if number in self._loaded:
                wanted.append(number)
        # Nothing is awaited from here on, so no request comes between: each one finds either
        # the old versions and labels or the new ones.
        held = self._move_labels()
        # The old versions stay until one that is wanted answers.
        if wanted:
            for number in set(self._loaded) - set(wanted) - held:
                self._unload(number, pool)

    def try_again(self) -> None:
        """Makes the next `refresh` try what has failed, without a pause."""
        self._failed.clear()

    @property
    def empty(self) -> bool:
        """Whether no version was found yet, in a folder that is there."""
        return not self.states and Path(self.config.base_path).is_dir()

    def unload_all(self, pool: ThreadPoolExecutor) -> None:
        """Ends every version, each after its last request."""
        for number in list(self._loaded):
            self._unload(number, pool)

    def _move_labels(self):
        """Moves labels to their versions; returns the versions of labels that have to wait."""
        before, wanted = self._labels, self.config.labels
        waiting = {
            label: before[label]
            for label, number in wanted.items()
            if number not in self._loaded and before.get(label) in self._loaded
        }
        self._labels = waiting | {
            label: number
            for label, number in wanted.items()
            if number in self._loaded or before.get(label) == number
        }
        return set(waiting.values())

    async def _try_to_load(self, number, folder, pool):
        loop = asyncio.get_running_loop()
        contents = await loop.run_in_executor(pool, _contents, folder)
        before = self._failed.get(number)
        if before and before.contents == contents and time.monotonic() < before.again:
            return
        state = self.states[number] = VersionState(number, LOADING)
        try:
            loaded = await loop.run_in_executor(pool, self._load, folder, number, self.config.name)
            # A version that is still being copied may load, with half of its items.
            if await loop.run_in_executor(pool, _contents, folder) != contents:
                await loop.run_in_executor(pool, loaded.close)
                raise ServingError(UNAVAILABLE, "its files changed while it was loaded")
        except Exception as error:
            told = as_serving_error(error)
            if not isinstance(getattr(error, "error_code", None), int):
                told.message = " ".join(str(error).split())[:_MAX_MESSAGE]
            state.state, state.code, state.message = END, told.code, told.message
            failure = self._failed[number] = _Failure.after(before, contents, told.message)
            if before is None or before.message != failure.message:
                self._report(
                    f"{self.config.name} {number} cannot be loaded and is tried again later: "
                    f"{told.message}"
                )
            return
        self._failed.pop(number, None)
        self._loaded[number] = loaded
        state.state = AVAILABLE
        self._report(f"{self.config.name} {number} answers")
        self._observe(folder, loaded)

    def _unload(self, number, pool):
        # Taken out first, so that no new request finds it; it closes when the last one is done.
        loaded, state = self._loaded.pop(number), self.states[number]
        state.state = UNLOADING

        def close():
            def closed(_):
                # By now a version of this number may have come back, with another state.
                if self.states.get(number) is state:
                    state.state = END

            loop = asyncio.get_running_loop()
            loop.run_in_executor(pool, loaded.close).add_done_callback(closed)
            self._report(f"{self.config.name} {number} no longer answers")

        loaded.when_idle(close)


def not_found(name: str, number: int | None = None) -> ServingError:
    """The error of a request for a version that does not answer."""
    which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return ServingError(NOT_FOUND, f"Servable not found for request: {which}")


def no_status(name: str, number: int | None = None) -> ServingError:
    """The error of a status request for a version that never was there."""
    which = "any versions" if number is None else f"version {number}"
    return ServingError(NOT_FOUND, f"Could not find {which} of model {name}")


def _version_folders(base_path):
    """The versions in a folder: dict from number to path; other names are ignored."""
    try:
        return {
            int(entry.name): entry
            for entry in sorted(Path(base_path).iterdir())
            if _NUMBER.fullmatch(entry.name) and entry.is_dir()
        }
    except OSError:
        return {}


def _contents(folder):
    """Names, sizes and times of a version's files, which tell whether it has changed."""
    contents = []
    try:
        for path in sorted(Path(folder).rglob("*")):
            status = path.stat()
            contents.append((str(path), status.st_size, status.st_mtime_ns))
    except OSError:
        pass  # a file that vanishes meanwhile is a change as well
    return tuple(contents)
