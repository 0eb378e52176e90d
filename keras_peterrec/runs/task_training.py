"""Training of a task model, or of its head alone."""

import numpy as np

from keras_peterrec.data.batches import state_batches, task_batches
from keras_peterrec.data.splits import TRAIN, VALIDATION
from keras_peterrec.distribution.devices import Devices
from keras_peterrec.runs.recommendation import split_outputs
from keras_peterrec.runs.training import Recipe, fit
from keras_peterrec.transfer.head_model import head_model

# Counts up with what the same settings come to, so that a folder of runs that an earlier
# version began is not taken for one of today's.
RECIPE = 3
# An epoch ends, and validation runs, after at most so many rows, but not before so many
# steps: what a few steps change is less than the noise of a small validation split.
EPOCH_ROWS = 4_096
EPOCH_STEPS = 64
# Fewer rows than this are soon known by heart: 64 steps may read each of them ten times, and
# the best moment is past before it is looked for. Their epochs are one pass, if it has so many
# steps, and the learning rate drops more often.
FEW_ROWS = 1_024
FEW_STEPS = 8


def train_task(model, data, settings, folder):
    """Trains a task model to its best validation metric, and calibrates a classifier.

    Args:
        model: TaskModel, of `build_task`.
        data: RecommendationData or ClassificationData.
        settings: dict of `method`, `loss`, `epochs`, `batch_size`, `learning_rate` and
            `seed`; see `transfer`.
        folder: path of the run.

    Returns:
        ResumableTraining; see `fit`.
    """
    train = data.splits[TRAIN]
    default = min(128, max(16, len(train) // 256))
    batch_size = Devices.of(model).check_batch_size(settings["batch_size"], default)
    shuffling = {
        "batch_size": batch_size,
        "seed": settings["seed"],
        "steps": epoch_steps(len(train), batch_size),
    }
    trained, batches, measure = training_parts(model, data, settings["method"], shuffling)
    loss = data.loss(settings["loss"]) if data.kind == "recommend" else data.loss()
    # Small data: short epochs, so more of them before giving up.
    patience = min(3, max(2, EPOCH_ROWS // len(train)))
    recipe = Recipe(
        settings["learning_rate"],
        settings["epochs"],
        patience,
        data.monitor,
        data.mode,
        drops=3 if len(train) < FEW_ROWS else 1,
        counts_start=data.kind == "classify",
    )
    training = fit(model.name, trained, loss, batches, measure, model.user_states, recipe, folder)
    if data.kind == "classify":
        data.calibrate(model)
    return training


def epoch_steps(rows, batch_size):
    """Batches of an epoch, for so many training rows."""
    least = FEW_STEPS if rows < FEW_ROWS else EPOCH_STEPS
    return max(least, -(-min(rows, EPOCH_ROWS) // batch_size))


def training_parts(model, data, method, shuffling):
    """What is trained under a method, on which batches, and how it is validated.

    Args:
        model: TaskModel, of `build_task`.
        data: RecommendationData or ClassificationData.
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
    # One width, for one compiled step, but none wider than any history is.
    width = max(1, min(data.max_length, int((train.stops - train.starts).max())))
    batches = task_batches(
        data.source.items, train.starts, train.stops, train.answers, width, **shuffling
    )
    return model, batches, lambda: data.measure(model, VALIDATION)


def _cached(model, data, shuffling):
    # Nothing before the summary and the head is trained: the host runs once.
    features = split_outputs(data, model.features, TRAIN)
    batches = state_batches(features, data.splits[TRAIN].answers, **shuffling)
    validation = split_outputs(data, model.features, VALIDATION)

    def measure():
        users = np.asarray(model.user_of(validation))
        return data.measure_states(users, model.head, VALIDATION)

    with Devices.of(model).scope():
        return head_model(model), batches, measure
