"""Trains a task model, or only its head."""

import numpy as np

from keras_peterrec.data.batches import state_batches, task_batches
from keras_peterrec.data.splits import TRAIN, VALIDATION
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.transfer.task_model import head_model

# Goes up whenever the same settings give another result, so that a folder that an earlier version
# began is not continued by this one.
RECIPE = 4
# An epoch ends, and validation runs, after at most EPOCH_ROWS rows, but not before EPOCH_STEPS
# steps: a few steps change less than the noise of a small validation split.
EPOCH_ROWS = 4_096
EPOCH_STEPS = 64
# Fewer rows than FEW_ROWS are soon learned by heart: 64 steps may read each of them ten times, and
# the best moment passes between two validations. So an epoch is one pass over the rows (at least
# FEW_STEPS steps), and the learning rate drops more often.
FEW_ROWS = 1_024
FEW_STEPS = 8


def train_task(model, data, settings, folder):
    """Trains a task model to its best validation metric, and calibrates its head.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        settings: TransferSettings.
        folder: path of the run.

    Returns:
        ResumableTraining; see `fit`.
    """
    train = data.splits[TRAIN]
    default = min(128, max(16, len(train) // 256))
    batch_size = Devices.of(model).check_batch_size(settings.batch_size, default)
    shuffling = {
        "batch_size": batch_size,
        "seed": settings.seed,
        "steps": epoch_steps(len(train), batch_size),
    }
    trained, batches, measure = training_parts(model, data, settings.method, shuffling)
    # Small data has short epochs, so more of them have to pass before it gives up.
    patience = min(3, max(2, EPOCH_ROWS // len(train)))
    recipe = Recipe(
        settings.learning_rate,
        settings.epochs,
        patience,
        data.kind.metric.monitor,
        data.kind.metric.mode,
        drops=3 if len(train) < FEW_ROWS else 1,
        counts_start=data.starts_trained,
    )
    loss = data.loss(settings.loss)
    # The model itself is not named after its folder: XLA finds what it compiled for an equal model
    # only where the names agree.
    title = folder.name
    training = fit(title, trained, loss, batches, measure, model.user_states, recipe, folder)
    data.calibrate(model)
    return training


def epoch_steps(rows, batch_size):
    """The number of batches in an epoch, for a number of training rows."""
    least = FEW_STEPS if rows < FEW_ROWS else EPOCH_STEPS
    return max(least, -(-min(rows, EPOCH_ROWS) // batch_size))


def training_parts(model, data, method, shuffling):
    """What a method trains, on which batches, and how it is validated.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        method: str.
        shuffling: dict of `batch_size`, `seed` and `steps`; see `task_batches`.

    Returns:
        `(model, batches, measure)`, as `fit` takes them.
    """
    if method == "head":
        return _cached(model, data, shuffling)
    return _whole(model, data, shuffling)


def _whole(model, data, shuffling):
    train = data.splits[TRAIN]
    # All batches have one width, so that the step is compiled once; no wider than any history.
    width = max(1, min(data.max_length, int((train.stops - train.starts).max())))
    batches = task_batches(
        data.source.items, train.starts, train.stops, train.answers, width, **shuffling
    )
    return model, batches, lambda: data.measure(model, VALIDATION)


def _cached(model, data, shuffling):
    # Nothing before the summary and the head is trained, so the host runs once for each user.
    features = data.outputs(model.features, TRAIN)
    batches = state_batches(features, data.splits[TRAIN].answers, **shuffling)
    validation = data.outputs(model.features, VALIDATION)

    def measure():
        users = np.asarray(model.user_of(validation))
        return data.measure_users(users, model.head, VALIDATION)

    with Devices.of(model).scope():
        return head_model(model), batches, measure
