"""Early stopping with a falling learning rate, which can continue after an interruption."""

import itertools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_peterrec.errors import InputError
from keras_peterrec.files.finish_request import is_asked_to_finish
from keras_peterrec.training.callbacks import learning_rate
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.saved_state import SavedState
from keras_peterrec.training.seeds import random_states
from keras_peterrec.training.weight_average import WeightAverage
from keras_peterrec.types import AnyPath, Json, Model

# What early stopping remembers between epochs; `state.json` holds the same keys.
NEW_STATE: Json = {
    "epoch": 0,  # epochs done
    "best": None,
    "best_epoch": None,  # counted from 0; -1 is the start, see `count_start`
    "waited": 0,  # epochs since the last improvement or drop
    "drops": 0,
    # Epochs at each learning rate, the first one first: from the start to the weights as they are,
    # and to the best ones. Those that a return to the best weights undid are not among them.
    "path": [],
    "best_path": [],
    "first": None,  # what was measured first
    "bests": [],  # the best so far, after each epoch
    "stopped": None,  # or why: "gain", "patience", "start" or "finish"
    "seconds": 0.0,
    "best_seconds": None,
    "random_states": [],
}


class ResumableTraining(keras.callbacks.Callback):
    """Early stopping that lowers the learning rate first and survives interruptions.

    After `patience` epochs without improvement, or with so little that they do not pay, training
    returns to the best weights with a smaller learning rate. After `drops` such returns, the next
    time it stops. Epochs do not pay if

        best now - best `patience` epochs ago < least_gain · (best now - first measured)

    which does not depend on the metric's scale, and forgives the noise of single epochs. A smaller
    learning rate is judged after `patience` epochs of its own as well: after two, MovieLens-100K
    lost 2 % of its validation NDCG@10.

    The weights, the optimizer and the state of early stopping are written after every
    epoch. (Keras' `BackupAndRestore` does not save the best weights and their metric, so
    a resumed run would lose them.) Only the chief reads and writes the folder; it passes
    what it reads to the other workers.

    Args:
        folder: path. Where the state is written; `finish` removes it.
        monitor: str. Key of the logs that decides.
        mode: str. `"max"` or `"min"`.
        patience: int. Epochs without improvement, or with too little of it, before the learning
            rate drops.
        drops: int. How often the learning rate drops before training stops.
            Defaults to `2`.
        factor: float. What each drop multiplies the learning rate by. Defaults to `0.3`.
        average: WeightAverage or `None`. What is measured; its variables are saved too, and the
            best weights are then its own. Defaults to `None`.
        least_gain: float. The share of all that was gained that `patience` epochs should bring.
            Defaults to `0`: they only have to improve.
        gives_up: int or `None`. As long as the start is the best (`count_start`), every epoch
            lowers the learning rate, and after so many training ends. Defaults to `None`: the
            start is an epoch like others.
        asked_in: path or `None`. The folder in which somebody may ask for the end; see
            `files/finish_request.py`. Defaults to `None`, the one around `folder`.

    Attributes:
        told: str. Why the learning rate dropped or training ended in this epoch, or `""`.

    Example:

    >>> training = ResumableTraining("runs/host/state", "val_ndcg@10", "max", 4)
    >>> first = training.restore(model)
    >>> model.fit(batches, initial_epoch=first, epochs=30, callbacks=[..., training])
    >>> training.finish()
    """

    def __init__(
        self,
        folder: AnyPath,
        monitor: str | None,
        mode: str,
        patience: int,
        drops: int = 2,
        factor: float = 0.3,
        average: WeightAverage | None = None,
        least_gain: float = 0.0,
        gives_up: int | None = None,
        asked_in: AnyPath | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.patience = patience
        self.drops = drops
        self.factor = factor
        self.average = average
        self._saved = SavedState(folder, average)
        self.least_gain = least_gain
        self.gives_up = gives_up
        self.asked_in = self.folder.parent if asked_in is None else asked_in
        self.told = ""
        self.state: Json = dict(NEW_STATE)
        self._earlier_seconds = 0.0  # in the epochs of interrupted processes
        self._epoch_began = 0.0
        self._first_step: float | None = None  # when it ended
        self._looked = 0.0  # for a request to finish

    def restore(self, model: Model) -> int:
        """Loads the state of an interrupted run, if there is one, into a compiled model.

        A state that cannot be read, or is of another model, is left alone with a line: training
        begins anew.

        Args:
            model: keras.Model, compiled.

        Returns:
            int. The epoch to start with.
        """
        devices = Devices.of(model)
        state = devices.on_chief(lambda: self._saved.read(self.state))
        if state["epoch"]:
            # On every worker, since making variables is work of all of them.
            model.optimizer.build(model.trainable_variables)
            if not devices.on_chief(lambda: self._saved.has_weights(model, state)):
                state = self.state
        self.state = state
        self._earlier_seconds = self.state["seconds"]
        if self.state["epoch"]:
            self._saved.load(model, self.state["epoch"])
            # Assigned on every worker, since a worker does not save its own states.
            for variable, value in zip(random_states(model), self.state["random_states"]):
                variable.assign(value)
        return self.state["epoch"]

    def count_start(self, model: Model, value: float) -> None:
        """Counts the weights before the first epoch as the best so far.

        Args:
            model: keras.Model, compiled.
            value: float. The metric of these weights.
        """
        self.set_model(model)
        # Going back to the start must also reset the optimizer's moments, so they are saved.
        model.optimizer.build(model.trainable_variables)
        value = float(value)
        state = {**self.state, "best": value, "best_epoch": -1, "best_seconds": 0.0}
        state.update(first=value, bests=[value])
        self._keep(state)

    @property
    def stopped(self) -> bool:
        """Whether training has ended before its epochs were over."""
        return self.state["stopped"] is not None

    @property
    def still_rising(self) -> bool:
        """Whether no early stopping has ended the training, and validation rose lately."""
        if self.stopped or self.state["best_epoch"] is None:
            return False
        return self.state["epoch"] - 1 - self.state["best_epoch"] < self.patience

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        now = time.perf_counter()
        if self._first_step is None:
            self._first_step = now
        # Several workers end together, after an epoch.
        if now - self._looked >= 1.0 and Devices.of(self.model).workers == 1:
            self._looked = now
            # What was trained of this epoch is measured, and is the best or is not.
            self.model.stop_training = self.model.stop_training or self._is_asked_to_finish()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        state = dict(self.state)
        value = float(logs[self.monitor])
        improved = state["best"] is None or self.sign * (value - state["best"]) > 0
        logs["improved"] = float(improved)
        self._count_epoch(state, epoch)
        state["waited"] = 0 if improved else state["waited"] + 1
        if improved:
            state.update(best=value, best_epoch=epoch, best_seconds=state["seconds"])
            state["best_path"] = state["path"]
        if state["first"] is None:
            state["first"] = value
        state["bests"] = [*state["bests"], state["best"]]
        if Devices.of(self.model).on_chief(self._is_asked_to_finish):
            state["stopped"], self.told = "finish", "asked to finish: training ends"
        else:
            why, self.told = self._why_enough(state)
            if why is not None:
                self._drop_rate_or_stop(state, why)
        self._keep(state)
        # Another callback may have asked to stop; that must not be taken back.
        self.model.stop_training = self.model.stop_training or self.stopped

    def _count_epoch(self, state, epoch):
        state["epoch"] = epoch + 1
        state["seconds"] += time.perf_counter() - self._epoch_began
        path = _up_to(state["path"], state["drops"])
        state["path"] = [*path[:-1], path[-1] + 1]

    def _keep(self, state):
        """Goes on with a state, once it is on disk."""
        if Devices.of(self.model).is_chief:
            self._saved.write(self.model, state)
        self.state = state

    def finish_now(self) -> None:
        """Ends an interrupted training that was restored where it is.

        Raises:
            InputError: nothing was measured yet that could be kept.
        """
        if self.state["best_epoch"] is None:
            raise InputError(
                "`finish` should be asked of a run that has trained an epoch. "
                f"Received: {str(self.folder.parent)!r}, which has not."
            )
        if not self.stopped:
            self.state["stopped"] = "finish"

    def on_train_end(self, logs: dict | None = None) -> None:
        self.load_best()

    def load_best(self) -> None:
        """Loads the best weights into the model."""
        if self.state["best_epoch"] is not None:
            self._saved.load(self.model, self.state["best_epoch"] + 1)
            if self.average is not None:
                self.average.keep()

    def summary(self, total_seconds: float) -> Json:
        """The training's entries of `metrics.json`.

        Args:
            total_seconds: float. From the start of the command until now; the epochs of
                interrupted processes are added.

        Returns:
            dict of `epochs`, `best_epoch`, `best_path`, `stopped` and `seconds`. `best_path` is how
            many epochs at each learning rate lead to the best weights. `stopped` is `"patience"` or
            `"gain"` where epochs brought nothing or too little, `"start"` where none was better
            than the start, `"finish"` where somebody asked for the end, or `"epochs"` where these
            ran out first. `first_step` of `seconds` is from the
            start of the command to the end of its first step, `None` if it took none.
        """
        first_step = None
        if self._first_step is not None:
            first_step = round(total_seconds - (time.perf_counter() - self._first_step), 2)
        return {
            "epochs": self.state["epoch"],
            "best_epoch": self.state["best_epoch"] + 1,
            "best_path": self.state["best_path"],
            "stopped": self.state["stopped"] or "epochs",
            "seconds": {
                "first_step": first_step,
                "fit": round(self.state["seconds"], 2),
                "best": round(self.state["best_seconds"], 2),
                "total": round(self._earlier_seconds + total_seconds, 2),
            },
        }

    def finish(self) -> None:
        """Removes the saved state unless more epochs may be asked for later.

        Call it once the result is on disk.
        """
        if self.stopped:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _is_asked_to_finish(self):
        return is_asked_to_finish(self.asked_in)

    def _why_enough(self, state):
        """Why this learning rate was used long enough, in a word and in a text, or `(None, "")`."""
        if self.gives_up is not None and state["best_epoch"] == -1:
            return "start", "no epoch was better than the start"
        if state["waited"] >= self.patience:
            return "patience", f"no better epoch for {self.patience}"
        at_rate = _up_to(state["path"], state["drops"])[-1]
        if len(state["bests"]) <= self.patience or at_rate < self.patience:
            return None, ""
        gained = self.sign * (state["best"] - state["bests"][-1 - self.patience])
        total = self.sign * (state["best"] - state["first"])
        if not gained < self.least_gain * total:  # nor if one of them is no number
            return None, ""
        share = f"{gained / total:.1%}".replace("%", " %")
        several = f"the last {self.patience} epochs" if self.patience > 1 else "the last epoch"
        return "gain", f"{several} brought {share} of all that was gained"

    def _drop_rate_or_stop(self, state, why):
        drops = self.gives_up - 1 if why == "start" else self.drops
        if state["drops"] >= drops:
            state["stopped"] = why
            self.told += ": training ends"
            return
        # Read before loading: the saved optimizer holds the rate of its own epoch.
        rate = learning_rate(self.model) * self.factor
        if state["best_epoch"] + 1 != state["epoch"]:  # else the best weights are those at hand
            self._saved.load(self.model, state["best_epoch"] + 1)
        self.model.optimizer.learning_rate.assign(rate)
        state.update(waited=0, drops=state["drops"] + 1, path=state["best_path"])
        self.told += f": the learning rate drops to {rate:.3g}"


class RepeatedTraining(ResumableTraining):
    """Takes the way of an earlier training to its best weights again, on other rows, unmeasured.

    Args:
        folder: path. See `ResumableTraining`.
        path: sequence of int. Epochs at each learning rate: `best_path` of the earlier training.
        learning_rate: float. The first one.
        average: see `ResumableTraining`.

    Example:

    >>> training = RepeatedTraining("runs/host/final/state", [12, 3], 2e-3)
    """

    still_rising = False

    def __init__(
        self,
        folder: AnyPath,
        path: Sequence[int],
        learning_rate: float,
        average: WeightAverage | None = None,
    ) -> None:
        super().__init__(folder, None, "max", patience=0, average=average)
        self.ends = list(itertools.accumulate(path))
        self.learning_rate = learning_rate

    def finish(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        drops = sum(end <= epoch for end in self.ends)
        self.model.optimizer.learning_rate.assign(self.learning_rate * self.factor**drops)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        state = dict(self.state)
        self._count_epoch(state, epoch)
        state.update(best_epoch=epoch, best_seconds=state["seconds"])
        self._keep(state)


def _up_to(path, place):
    """A path that has an entry at a place, if need be with zeros before."""
    return [*path, *[0] * (place + 1 - len(path))]
