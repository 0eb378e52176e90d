"""The versions of one model: which are there, which answer, which failed."""

import asyncio
from dataclasses import dataclass

from keras_peterrec.serving.server.errors import (
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    ServingError,
    as_serving_error,
    invalid,
)
from keras_peterrec.serving.server.loaded_version import LoadedVersion
from keras_peterrec.serving.server.version_folders import contents, version_folders

START, LOADING, AVAILABLE, UNLOADING, END = range(10, 60, 10)
STATE_NAMES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


@dataclass
class VersionState:
    """What became of a version; the numbers of `state` are those of TensorFlow Serving."""

    number: int
    state: int = START
    code: int = OK
    message: str = ""


class ModelVersions:
    """Loads, warms, swaps and unloads the versions of a model.

    A new version is loaded and warmed beside the old one, then it answers, and the old one
    is closed when its last request is answered. One that fails to load is left alone until
    its files change, as they do while it is copied, and whatever answered before goes on
    answering; so it does when nothing that is wanted is on disk. A label moves once its version
    answers; until then it keeps the version that it had.

    All but the loading itself happens in one event loop.

    Args:
        config: ModelConfig. It may be replaced; `refresh` then follows it.
        load: callable from (path, number, name) to LoadedVersion. Defaults to the class.
        report: callable from str, for a person. Defaults to `print`.
        observe: callable from (path, LoadedVersion), called when one was loaded.

    Example:

    >>> model = ModelVersions(ModelConfig("peterrec", "export/peterrec"))
    >>> await model.refresh(pool)
    >>> model.find().signatures
    """

    def __init__(self, config, load=LoadedVersion, report=print, observe=None):
        self.config = config
        self.states = {}
        self._labels = {}  # those of the config, as far as they could be followed
        self._load = load
        self._report = report
        self._observe = observe or (lambda *_: None)
        self._loaded = {}
        self._failed = {}  # number: contents of the folder that could not be loaded

    def find(self, number=None, label=None):
        """The version that answers a request, the newest by default.

        Raises:
            ServingError: there is none.
        """
        name = self.config.name
        if label is not None:
            number = self._labels.get(label)
            if number is None:
                raise invalid("Unrecognized servable version label: ", label)
        if number is None:
            if not self._loaded:
                raise ServingError(NOT_FOUND, f"Servable not found for request: Latest({name})")
            return self._loaded[max(self._loaded)]
        if number not in self._loaded:
            raise ServingError(
                NOT_FOUND, f"Servable not found for request: Specific({name}, {number})"
            )
        return self._loaded[number]

    def status(self, number=None):
        """States of all versions, the newest first, or of one.

        Returns:
            list of VersionState.

        Raises:
            ServingError: there are none.
        """
        states = [
            self.states[key] for key in sorted(self.states, reverse=True) if number in (None, key)
        ]
        if not states:
            name = self.config.name
            raise ServingError(
                NOT_FOUND,
                f"Could not find any versions of model {name}"
                if number is None
                else f"Could not find version {number} of model {name}",
            )
        return states

    @property
    def loaded(self):
        """The LoadedVersions that answer."""
        return list(self._loaded.values())

    @property
    def available(self):
        """Numbers of the versions that answer."""
        return sorted(self._loaded)

    @property
    def ready(self):
        """Whether there is a version that answers, and one for each label."""
        return bool(self._loaded) and set(self.config.labels.values()) <= set(self._loaded)

    async def refresh(self, pool):
        """Brings what answers in line with the config and what is on disk.

        Args:
            pool: executor that loads.
        """
        loop = asyncio.get_running_loop()
        folders = await loop.run_in_executor(pool, version_folders, self.config.base_path)
        wanted = self.config.wanted(folders)
        for number in wanted:
            if number not in self._loaded:
                await self._try(number, folders[number], pool)
        # From here on nothing is waited for: no request comes between.
        held = self._move_labels()
        # Nothing is dropped before something that is wanted answers.
        if any(number in self._loaded for number in wanted):
            for number in set(self._loaded) - set(wanted) - held:
                self._unload(number, pool)

    def _move_labels(self):
        """Gives each label its version; returns what those that must wait for it still name."""
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

    def unload_all(self, pool):
        """Ends every version, each after its last request."""
        for number in list(self._loaded):
            self._unload(number, pool)

    async def _try(self, number, folder, pool):
        loop = asyncio.get_running_loop()
        if number in self._failed:
            found = await loop.run_in_executor(pool, contents, folder)
            if found == self._failed[number]:
                return
        state = self.states[number] = VersionState(number, LOADING)
        found = await loop.run_in_executor(pool, contents, folder)
        try:
            loaded = await loop.run_in_executor(pool, self._load, folder, number, self.config.name)
            # What is still being copied may load, with half of its items.
            if await loop.run_in_executor(pool, contents, folder) != found:
                await loop.run_in_executor(pool, loaded.close)
                raise ServingError(UNAVAILABLE, "its files changed while it was loaded")
        except Exception as error:
            self._failed[number] = found
            told = as_serving_error(error)
            if not isinstance(getattr(error, "error_code", None), int):
                told.message = " ".join(str(error).split())[:1000]
            state.state, state.code, state.message = END, told.code, told.message
            self._report(f"{self.config.name} {number} cannot be loaded: {told.message}")
            return
        self._failed.pop(number, None)
        self._loaded[number] = loaded
        state.state = AVAILABLE
        self._report(f"{self.config.name} {number} answers")
        self._observe(folder, loaded)

    def _unload(self, number, pool):
        loaded, state = self._loaded.pop(number), self.states[number]
        state.state = UNLOADING

        def close():
            def closed(_):
                # A version of this number may have come back meanwhile.
                if self.states.get(number) is state:
                    state.state = END

            loop = asyncio.get_running_loop()
            loop.run_in_executor(pool, loaded.close).add_done_callback(closed)
            self._report(f"{self.config.name} {number} no longer answers")

        loaded.when_idle(close)
