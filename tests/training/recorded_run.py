"""Trains some runs in one process and records what each did: `recorded_run.py settings.json`.

The settings give the number of logical CPU devices and, for each run in turn, the arguments
of `train`.
"""

import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import numpy as np


def circle_log(users=37, items=10, events=9):
    """A log of users who walk around a circle of items; some histories are short."""
    from keras_peterrec.log.events import Events

    lengths = [events - (user % 4) for user in range(users)]
    who = [f"u{user}" for user in range(users) for _ in range(lengths[user])]
    what = [f"i{(user + n) % items}" for user in range(users) for n in range(lengths[user])]
    return Events.from_columns(who, what, list(range(len(who))))


def train(command, arguments, notes=None, die_after=None, chunk_events=4_000_000):
    """Runs a command and records the weights, logs and result of this process.

    With `die_after`, the process kills itself in the middle of the epoch after that one.
    """
    from keras_peterrec.log.events import Events
    from keras_peterrec.log.labels import Labels
    from keras_peterrec.log.prepared.reading import PreparedLog
    from keras_peterrec.runs import pretraining_log
    from keras_peterrec.runs.pretrain import pretrain
    from keras_peterrec.runs.transfer import transfer
    from keras_peterrec.training.resumable_training import ResumableTraining
    from keras_peterrec.training.seeds import random_states

    on_epoch_end, on_train_end = ResumableTraining.on_epoch_end, ResumableTraining.on_train_end
    on_batch_end = ResumableTraining.on_train_batch_end
    noted, read = {"logs": [], "shards": []}, PreparedLog.read

    def note_shards(self, shards, times=False, users=False, **more):
        if not users:  # for training
            noted["shards"].append(list(shards))
        return read(self, shards, times, users, **more)

    def note_epoch(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        noted["logs"].append({name: float(value) for name, value in logs.items()})

    def note_end(self, logs=None):
        noted["weights"] = [np.asarray(weight) for weight in self.model.weights]
        local = self.model.distribute_strategy.experimental_local_results
        noted["random_states"] = [
            [value.numpy().tolist() for value in local(state.value)]
            for state in random_states(self.model)
        ]
        on_train_end(self, logs)

    def note_batch(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        if die_after is not None and len(noted["logs"]) > die_after and batch >= 1:
            os.kill(os.getpid(), signal.SIGKILL)

    ResumableTraining.on_epoch_end, ResumableTraining.on_train_end = note_epoch, note_end
    ResumableTraining.on_train_batch_end, PreparedLog.read = note_batch, note_shards
    arguments = {"log": circle_log(), **arguments}
    if command == "transfer":
        arguments["target"] = Events.from_columns(
            [f"u{n}" for n in range(37)], [f"t{n % 5}" for n in range(37)], [99] * 37
        )
    if command == "classify":
        kinds = [f"k{n % 3 % 2}" for n in range(37)]
        arguments["labels"] = Labels.from_columns([f"u{n}" for n in range(37)], kinds, "kind")
    run = pretrain if command == "pretrain" else transfer
    try:
        # Two rows in a batch on one device too, so that windows are cut at the same places.
        two_rows = mock.patch("keras_peterrec.runs.host_life.CACHED_VALUES", 8 * 8 * 8 // 2)
        with two_rows, mock.patch.object(pretraining_log, "CHUNK_EVENTS", chunk_events):
            noted["result"] = run(**arguments)
    finally:
        ResumableTraining.on_epoch_end, ResumableTraining.on_train_end = on_epoch_end, on_train_end
        ResumableTraining.on_train_batch_end = on_batch_end
        PreparedLog.read = read
    if notes is not None:
        weights = noted.pop("weights", [])
        np.savez(f"{notes}.npz", *weights)
        Path(f"{notes}.json").write_text(json.dumps(noted))
    return noted


if __name__ == "__main__":
    settings = json.loads(Path(sys.argv[1]).read_text())
    if cpus := settings["cpus"]:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * cpus
        )
    for run in settings["runs"]:
        train(**run)
