"""Every model that is served."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from keras_peterrec.errors import InputError
from keras_peterrec.serving.server.errors import (
    FAILED_PRECONDITION,
    NOT_FOUND,
    ServingError,
)
from keras_peterrec.serving.server.model_versions import ModelVersions


class Models:
    """Models by name, kept in line with their folders.

    Args:
        configs: dict from name to ModelConfig.
        make: callable from ModelConfig to ModelVersions. Defaults to the class.

    Example:

    >>> models = Models(read_config_file("models.config"))
    >>> await models.start()
    >>> with models.find("peterrec").in_use() as version:
    ...     version.signatures
    """

    def __init__(self, configs, make=ModelVersions):
        self._make = make
        self._models = {name: make(config) for name, config in configs.items()}
        self._coming = {}  # what takes a model's place once it can answer
        # One thread: a second load at a time would only slow both and the answers.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._turn = asyncio.Lock()

    def __iter__(self):
        return iter(self._models.values())

    async def start(self):
        """Loads what is there.

        Raises:
            InputError: a model cannot answer.
        """
        await self.refresh()
        for model in self:
            problem = _problem(model)
            if problem:
                raise InputError(
                    f"`base_path` of {model.config.name!r} should hold versions that can be "
                    f"loaded. Received: {model.config.base_path!r}: {problem}"
                )
        try:
            self.check_labels()
        except ServingError as error:
            raise InputError(
                f"`version_labels` should name versions that answer. Received: {error.message}."
            ) from error

    async def refresh(self):
        """Looks once at the folders of all models."""
        async with self._turn:
            for model in list(self):
                await model.refresh(self._pool)
            for name in list(self._coming):
                await self._follow(name)

    async def replace(self, configs):
        """Serves other models, or these in another way.

        What answers goes on answering until what is asked for in its place can: a version
        until another is loaded, a label's until its new one is, a model of another folder
        until that one is ready.

        Args:
            configs: dict from name to ModelConfig. What it does not name is unloaded.

        Raises:
            ServingError: a model cannot answer, or a label names a version that does not.
        """
        async with self._turn:
            for name in [name for name in self._coming if name not in configs]:
                self._coming.pop(name).unload_all(self._pool)
            for name, config in configs.items():
                await self._follow(name, config)
            for name in set(self._models) - set(configs):
                self._models.pop(name).unload_all(self._pool)
        self.check_labels()
        for model in self._wanted():
            if not model.available:
                raise ServingError(
                    FAILED_PRECONDITION,
                    f"{model.config.name} did not become available",
                )

    def _wanted(self):
        """The models as they were asked for last."""
        return (self._models | self._coming).values()

    async def _follow(self, name, config=None):
        """Brings one model in line with its new config, or with the last one."""
        model, coming = self._models.get(name), self._coming.get(name)
        config = config or coming.config
        if coming and coming.config.base_path != config.base_path:
            self._coming.pop(name).unload_all(self._pool)
            coming = None
        if model and model.config.base_path == config.base_path:
            model.config = config
            await model.refresh(self._pool)
            return
        if coming:
            coming.config = config
        else:
            coming = self._coming[name] = self._make(config)
        await coming.refresh(self._pool)
        if coming.ready or not model:
            self._models[name] = self._coming.pop(name)
            if model:
                model.unload_all(self._pool)

    def check_labels(self):
        """Refuses labels of versions that do not answer.

        Raises:
            ServingError: there is one.
        """
        for model in self._wanted():
            for number in model.config.labels.values():
                if number not in model.available:
                    raise ServingError(
                        FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model "
                        f"{model.config.name}, which is not currently available for inference",
                    )

    def knows(self, name):
        """Whether there is a model of this name."""
        return name in self._models

    def find(self, name, number=None, label=None):
        """The version that answers a request; see `ModelVersions.find`."""
        if name not in self._models:
            which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise ServingError(NOT_FOUND, f"Servable not found for request: {which}")
        return self._models[name].find(number, label)

    def status(self, name, number=None):
        """States of a model's versions; see `ModelVersions.status`."""
        if name not in self._models:
            raise ServingError(
                NOT_FOUND,
                f"Could not find any versions of model {name}"
                if number is None
                else f"Could not find version {number} of model {name}",
            )
        return self._models[name].status(number)

    def close(self):
        """Ends all versions and the loading thread."""
        for model in [*self, *self._coming.values()]:
            model.unload_all(self._pool)
        self._pool.shutdown(wait=True)


def _problem(model):
    """Why a model cannot be served as it is configured; None if it can."""
    for state in model.states.values():
        if state.message:
            return f"{state.number}: {state.message}"
    for number in model.config.versions:
        if number not in model.available:
            return f"no version {number}"
    return None if model.available else "no version"
