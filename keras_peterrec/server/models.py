"""All models of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from keras_peterrec.errors import InputError
from keras_peterrec.server.errors import FAILED_PRECONDITION, ServingError
from keras_peterrec.server.model_versions import ModelVersions, no_status, not_found

if TYPE_CHECKING:
    from keras_peterrec.server.model_config import ModelConfig


class Models:
    """Models by name, kept in line with their folders."""

    def __init__(
        self,
        configs: Mapping[str, ModelConfig],
        make: Callable[[ModelConfig], ModelVersions] = ModelVersions,
    ) -> None:
        self._make = make
        self._models = {name: make(config) for name, config in configs.items()}
        # Models of another folder, by the name of the model that they replace once they can answer.
        self._replacements = {}
        # One thread: two loads at a time would slow each other and the answers.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        # `refresh` and `replace` take turns, since both wait for loads halfway.
        self._turn = asyncio.Lock()

    def __iter__(self):
        return iter(self._models.values())

    async def start(self, wait: Callable[..., Any] | None = None) -> None:
        """Loads what is there.

        Args:
            wait: coroutine function, awaited with the names of models whose folder is empty, before
                these are looked at again; what it returns says whether to go on. With `None` an
                empty folder is an error.

        Raises:
            InputError: if a model cannot be served as it is configured.
        """
        await self.refresh()
        while wait and (empty := [model.config.name for model in self if model.empty]):
            if not await wait(empty):
                return
            await self.refresh()
        for model in self:
            problem = _problem(model)
            if problem:
                raise InputError(
                    f"`base_path` of {model.config.name!r} should hold versions that can be "
                    f"loaded. Received: {model.config.base_path!r}: {problem}"
                )
        try:
            self._check_labels()
        except ServingError as error:
            raise InputError(
                f"`version_labels` should name versions that answer. Received: {error.message}."
            ) from error

    async def refresh(self, again: bool = False) -> None:
        """Looks at the folders of all models once; with `again` also what has failed to load."""
        async with self._turn:
            if again:
                for model in [*self, *self._replacements.values()]:
                    model.try_again()
            for model in list(self):
                await model.refresh(self._pool)
            for name in list(self._replacements):
                await self._follow(name)

    async def replace(self, configs: Mapping[str, ModelConfig]) -> None:
        """Serves these models and no others, perhaps with other versions, labels or folders.

        What answers goes on answering until its replacement can: a version until another one is
        loaded, a label's version until the new one is, a model of another folder until that
        folder's versions are.

        Raises:
            ServingError: if a model cannot answer, or a label names a version that does not.
        """
        async with self._turn:
            for name in [name for name in self._replacements if name not in configs]:
                self._replacements.pop(name).unload_all(self._pool)
            for name, config in configs.items():
                await self._follow(name, config)
            for name in set(self._models) - set(configs):
                self._models.pop(name).unload_all(self._pool)
        self._check_labels()
        for model in self._wanted():
            if not model.available:
                raise ServingError(
                    FAILED_PRECONDITION, f"{model.config.name} did not become available"
                )

    def knows(self, name: str) -> bool:
        """Whether there is a model of this name."""
        return name in self._models

    def find(self, name: str, number: int | None = None, label: str | None = None) -> Any:
        """The version that answers a request; see `ModelVersions.find`."""
        if name not in self._models:
            raise not_found(name, number)
        return self._models[name].find(number, label)

    def status(self, name: str, number: int | None = None) -> Any:
        """The states of a model's versions; see `ModelVersions.status`."""
        if name not in self._models:
            raise no_status(name, number)
        return self._models[name].status(number)

    def close(self) -> None:
        """Ends all versions and the loading thread."""
        for model in [*self, *self._replacements.values()]:
            model.unload_all(self._pool)
        self._pool.shutdown(wait=True)

    def _wanted(self):
        """The models of the last configuration, whether they answer yet or not."""
        return (self._models | self._replacements).values()

    async def _follow(self, name, config=None):
        """Brings one model in line with a new config, or tries once more with the last one."""
        model, replacement = self._models.get(name), self._replacements.get(name)
        config = config or replacement.config
        if replacement and replacement.config.base_path != config.base_path:
            self._replacements.pop(name).unload_all(self._pool)
            replacement = None
        if model and model.config.base_path == config.base_path:
            model.config = config
            await model.refresh(self._pool)
            return
        # Versions of another folder have nothing to do with these, even under the same number.
        if replacement:
            replacement.config = config
        else:
            replacement = self._replacements[name] = self._make(config)
        await replacement.refresh(self._pool)
        if replacement.ready or not model:
            self._models[name] = self._replacements.pop(name)
            if model:
                model.unload_all(self._pool)

    def _check_labels(self):
        """Raises a ServingError if a label names a version that does not answer."""
        for model in self._wanted():
            for number in model.config.labels.values():
                if number not in model.available:
                    raise ServingError(
                        FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model "
                        f"{model.config.name}, which is not currently available for inference",
                    )


def _problem(model):
    """Why a model cannot be served as it is configured; None if it can.

    Of several versions, one that cannot be loaded may be missing, unless it is named.
    """
    wanted = model.config.versions
    if model.available and all(number in model.available for number in wanted):
        return None
    for state in model.states.values():
        if state.message and (not wanted or state.number in wanted):
            return f"{state.number}: {state.message}"
    missing = [number for number in wanted if number not in model.available]
    return f"no version {missing[0]}" if missing else "no version"
