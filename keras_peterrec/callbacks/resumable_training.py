"""Annealing and early stopping that survive an interruption."""

import os
import shutil
import time
from pathlib import Path

import keras

from keras_peterrec.callbacks.learning_rate import learning_rate
from keras_peterrec.distribution.devices import Devices
from keras_peterrec.distribution.replicated_model import random_states
from keras_peterrec.files.json_file import read_json, write_json


class ResumableTraining(keras.callbacks.Callback):
    """Keeps the best weights, anneals, stops, and can go on after an interruption.

    After `patience` epochs without improvement training goes back to the best
    weights with a smaller learning rate; when that has happened `drops` times and
    does not help any more, it stops. After every epoch the weights, the optimizer and
    what early stopping remembers are on disk. (`BackupAndRestore` forgets the latter,
    so that a resumed run would lose the best weights found before.) The chief alone
    reads and writes the folder; other workers are given what it read.

    Args:
        folder: path. For the state; removed by `finish`.
        monitor: str. Key of the logs.
        mode: str. `"max"` or `"min"`.
        patience: int. Epochs without improvement before the learning rate drops.
        drops: int. How often it drops before training stops. Defaults to `2`.
        factor: float. What it is multiplied by. Defaults to `0.3`.

    Example:

    >>> training = ResumableTraining("runs/host/state", "val_ndcg@10", "max", 4)
    >>> first = training.restore(model)
    >>> model.fit(batches, initial_epoch=first, epochs=30, callbacks=[..., training])
    >>> training.finish()
    """

    def __init__(self, folder, monitor, mode, patience, drops=2, factor=0.3):
        super().__init__()
        self.folder = Path(folder)
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.patience = patience
        self.drops = drops
        self.factor = factor
        self.state = {
            "epoch": 0,
            "best": None,
            "best_epoch": None,
            "waited": 0,
            "drops": 0,
            "stopped": False,
            "seconds": 0.0,
            "best_seconds": None,
            "random_states": [],
        }

    def restore(self, model):
        """Puts an interrupted run's state into a compiled model.

        Returns:
            int, the epoch to start with.
        """
        self.state = Devices.of(model).on_chief(self._read_state)
        self._earlier_seconds = self.state["seconds"]
        if self.state["epoch"]:
            model.optimizer.build(model.trainable_variables)
            self._load(model, "last", self.state["epoch"])
            for variable, value in zip(random_states(model), self.state["random_states"]):
                variable.assign(value)
        return self.state["epoch"]

    def _read_state(self):
        file = self.folder / "state.json"
        return {**self.state, **read_json(file, "out")} if file.exists() else self.state

    def _load(self, model, which, epoch):
        devices = Devices.of(model)
        if devices.is_chief:
            model.load_weights(self._weights(which, epoch))
        devices.copy_from_chief(model.weights + model.optimizer.variables)

    def count_start(self, model, value):
        """Lets the weights before the first epoch be the best so far, as epoch 0's.

        Args:
            model: keras.Model, compiled.
            value: float. Their metric.
        """
        self.set_model(model)
        model.optimizer.build(model.trainable_variables)  # going back resets its moments, too
        # Epochs count from 0: what the first one starts with is that of the one before.
        state = {**self.state, "best": float(value), "best_epoch": -1, "best_seconds": 0.0}
        if Devices.of(model).is_chief:
            self._save(state, improved=True)
        self.state = state

    @property
    def stopped(self):
        """Whether early stopping has ended the training."""
        return self.state["stopped"]

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        state = dict(self.state)
        value = float(logs[self.monitor])
        improved = state["best"] is None or self.sign * (value - state["best"]) > 0
        logs["improved"] = float(improved)
        state["epoch"] = epoch + 1
        state["seconds"] += time.perf_counter() - self._began
        state["waited"] = 0 if improved else state["waited"] + 1
        if improved:
            state.update(best=value, best_epoch=epoch, best_seconds=state["seconds"])
        elif state["waited"] >= self.patience and state["best_epoch"] is not None:
            self._anneal(state)
        if Devices.of(self.model).is_chief:
            self._save(state, improved)
        self.state = state
        self.model.stop_training = self.model.stop_training or state["stopped"]

    def _anneal(self, state):
        """Goes back to the best weights with a smaller learning rate, or stops."""
        state["stopped"] = state["drops"] >= self.drops
        if state["stopped"]:
            return
        rate = learning_rate(self.model) * self.factor
        self._load(self.model, "best", state["best_epoch"] + 1)
        self.model.optimizer.learning_rate.assign(rate)
        state.update(waited=0, drops=state["drops"] + 1)

    def _save(self, state, improved):
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self._weights("last", state["epoch"])
        self.model.save_weights(last, overwrite=True)
        if improved:
            shutil.copy(last, self._weights("best", state["epoch"]))
        state["random_states"] = [
            keras.ops.convert_to_numpy(v).tolist() for v in random_states(self.model)
        ]
        # state.json names the weights that belong to it; it is replaced last.
        write_json(self.folder / "state.json", state)
        kept = {last.name}
        if state["best_epoch"] is not None:
            kept.add(self._weights("best", state["best_epoch"] + 1).name)
        for file in self.folder.glob("*.weights.h5"):
            if file.name not in kept:
                os.remove(file)

    def on_train_end(self, logs=None):
        self.load_best()

    def load_best(self):
        """Puts the best weights into the model."""
        if self.state["best_epoch"] is not None:
            self._load(self.model, "best", self.state["best_epoch"] + 1)

    def summary(self, total_seconds):
        """What `metrics.json` says of the training.

        Args:
            total_seconds: float. Of the command, up to now; the epochs of earlier,
                interrupted ones are added.
        """
        return {
            "epochs": self.state["epoch"],
            "best_epoch": self.state["best_epoch"] + 1,
            "seconds": {
                "fit": round(self.state["seconds"], 2),
                "best": round(self.state["best_seconds"], 2),
                "total": round(self._earlier_seconds + total_seconds, 2),
            },
        }

    def finish(self):
        """Removes the state; call it once the result is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _weights(self, which, epoch):
        return self.folder / f"{which}-{epoch}.weights.h5"
