"""What an interrupted training leaves in its folder: its state, and the weights that it names."""

import os
from pathlib import Path

import keras

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.keras_internals import stored_variables
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import random_states
from keras_peterrec.training.weight_average import WeightAverage
from keras_peterrec.types import AnyPath, Json, Model

STATE = "state.json"


class SavedState:
    """The state of a training on disk, after every epoch.

    Args:
        folder: path. Where it is; the folder is made when something is written.
        average: WeightAverage or `None`. Its variables are saved as well.
    """

    def __init__(self, folder: AnyPath, average: WeightAverage | None) -> None:
        self.folder, self._average = Path(folder), average

    def read(self, new: Json) -> Json:
        """The state as it was last written, or a new one where there is none.

        Args:
            new: dict, the state of a new training; what is read should have its keys.
        """
        file = self.folder / STATE
        if not file.exists():
            return new
        try:
            state = read_json(file, "out")
            if not isinstance(state, dict) or not state.keys() >= new.keys():
                raise InputError(f"{file} does not hold such a state")
        except InputError as error:
            return self._begin_anew(error, new)
        return state

    def has_weights(self, model: Model, state: Json) -> bool:
        """Whether the weights that a state names are there and those of this model."""
        best = state["best_epoch"]
        try:
            for epoch in {state["epoch"]} | ({best + 1} if best is not None else set()):
                self._read_weights(model, epoch)
        except InputError as error:
            return self._begin_anew(error, False)
        return True

    def _begin_anew(self, error, answer):
        progress.line(
            f"{self.folder}: what an interrupted training left cannot be read; "
            f"training begins anew ({error})"
        )
        return answer

    def _read_weights(self, model, epoch):
        file = self._weights(epoch)
        saved, variables = read_weights(file), self._variables(model)
        shapes = {number: tuple(variable.shape) for number, variable in variables.items()}
        if {number: array.shape for number, array in saved.items()} != shapes:
            raise InputError(f"`{file}` should hold the weights of this model. Received: others.")
        return saved

    def load(self, model: Model, epoch: int) -> None:
        """Loads the weights after so many epochs into a compiled model, on every worker."""
        devices = Devices.of(model)
        if devices.is_chief:
            saved = self._read_weights(model, epoch)
            for number, variable in self._variables(model).items():
                variable.assign(saved[number])
        devices.copy_from_chief(self._variables(model).values())

    def write(self, model: Model, state: Json) -> None:
        """Writes the state so that a process killed at any moment leaves a usable one.

        The weights get a new name for each epoch, `state.json` says which of them are
        valid and is replaced in one step, and only then are older weights removed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self._weights(state["epoch"])
        # Keras' `save_weights` takes as long as a short epoch.
        write_weights(last, self._variables(model))
        state["random_states"] = [
            keras.ops.convert_to_numpy(v).tolist() for v in random_states(model)
        ]
        write_json(self.folder / STATE, state)
        kept = {last.name}
        if state["best_epoch"] is not None:
            kept.add(self._weights(state["best_epoch"] + 1).name)
        for file in self.folder.glob("*.weights.npz"):
            if file.name not in kept:
                os.remove(file)

    def _weights(self, epoch):
        """The weights after so many epochs: the last ones, the best ones or both."""
        return self.folder / f"{epoch}.weights.npz"

    def _variables(self, model):
        """The weights of a model, its optimizer's variables and averages, `{number: variable}`.

        Not by path: Keras gives a model that is made again in the same process other names.
        """
        averages = [] if self._average is None else self._average.variables
        weights = stored_variables(model.weights)
        variables = [*weights, *model.optimizer.variables, *averages]
        return {str(number): variable for number, variable in enumerate(variables)}
