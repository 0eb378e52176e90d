"""Trains a task model, or only its head."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec.data.batches import state_batches, task_batches
from keras_peterrec.data.splits import TRAIN, VALIDATION
from keras_peterrec.data.user_batches import UserBatches
from keras_peterrec.runs.run_folder import FINAL
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.transfer.strategies import LEARNING_RATES
from keras_peterrec.transfer.task_model import head_model
from keras_peterrec.transfer.user_passes import UserPasses

# Goes up whenever the same settings give another result, so that a folder that an earlier version
# began is not continued by this one.
RECIPE = 6
# An epoch ends, and validation runs, after at most EPOCH_ROWS rows, but not before EPOCH_STEPS
# steps: a few steps change less than the noise of a small validation split.
EPOCH_ROWS = 4_096
EPOCH_STEPS = 64
# Fewer rows than FEW_ROWS are soon learned by heart: 64 steps may read each of them ten times, and
# the best moment passes between two validations. So an epoch is one pass over the rows (at least
# FEW_STEPS steps), and the learning rate drops more often.
FEW_ROWS = 1_024
FEW_STEPS = 8
# In passes over whole histories a cut is cheap: an epoch is one pass, or EPOCH_CUTS cuts of it. A
# batch holds PASS_CUTS at most, and fewer where a pass would have less than EPOCH_STEPS.
EPOCH_CUTS = 100_000
PASS_CUTS = 512


def train_task(model, data, settings, folder, examples=None, path=None):
    """Trains a task model to its best validation metric, without the linear part.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        settings: TransferSettings.
        folder: path of the run.
        examples: Examples or `None`. Shows validation users in TensorBoard after each epoch.
            Defaults to `None`.
        path: sequence of int or `None`. The `best_path` of a measured run, which is then repeated
            on the rows of all users, in the folder's `final`. Defaults to `None`.

    Returns:
        ResumableTraining; see `fit`.
    """
    train = data.splits[TRAIN]
    batch_size = choose_batch_size(model, data, settings)
    title = folder.name
    rows = data
    if path is not None:
        title, folder, rows = f"{title} on everything", folder / FINAL, data.everything()
    parts = choose_parts(model, rows, settings, batch_size)
    # Small data has short epochs, so more of them have to pass before it gives up.
    patience = min(3, max(2, EPOCH_ROWS // len(train)))
    recipe = Recipe(
        settings.learning_rate or LEARNING_RATES[settings.method],
        settings.epochs,
        patience,
        data.kind.metric.monitor,
        data.kind.metric.mode,
        drops=3 if len(train) < FEW_ROWS else 1,
        counts_start=data.starts_trained or settings.start is not None,
        least_gain=settings.least_gain,
        finish=settings.finish,
    )
    if path is not None:
        recipe = recipe.again(path)
    # The model itself is not named after its folder: XLA finds what it compiled for an equal model
    # only where the names agree.
    training = fit(
        title,
        parts.model,
        data.loss(settings.loss),
        parts.batches,
        parts.measure,
        parts.forward,
        recipe,
        folder,
        show=None if examples is None else examples.markdown,
        profile=settings.profile,
    )
    return training


@dataclass(frozen=True)
class Parts:
    """What a method trains, on which batches, and how it is validated; see `fit`."""

    model: keras.Model
    batches: tf.data.Dataset
    measure: Callable
    forward: Callable


def choose_batch_size(model, data, settings):
    """The batch size of a training: rows, or cuts of histories where these have several."""
    train = data.splits[TRAIN]
    default = min(128, max(16, len(train) // 256))
    if _passes(model, data, settings) and len(train) > len(np.unique(train.starts)):
        default = min(PASS_CUTS, max(16, len(train) // EPOCH_STEPS))
    return Devices.of(model).check_batch_size(settings.batch_size, default)


def _passes(model, data, settings):
    return settings.method != "head" and data.reach(model, TRAIN) is not None


def choose_parts(model, data, settings, batch_size):
    """The Parts of a method: on states computed once, in passes over histories, or by rows.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        settings: TransferSettings.
        batch_size: int, of `choose_batch_size`.
    """
    train = data.splits[TRAIN]
    if _passes(model, data, settings):
        return in_passes(model, data, batch_size, settings.seed)
    by = on_states if settings.method == "head" else by_rows
    return by(model, data, batch_size, settings.seed, epoch_steps(len(train), batch_size))


def epoch_steps(rows, batch_size):
    """The number of batches in an epoch, for a number of training rows."""
    least = FEW_STEPS if rows < FEW_ROWS else EPOCH_STEPS
    return max(least, -(-min(rows, EPOCH_ROWS) // batch_size))


def by_rows(model, data, batch_size, seed, steps):
    """Trains on every row for itself.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        batch_size, seed, steps: see `task_batches`.

    Returns:
        Parts.
    """
    train = data.splits[TRAIN]
    # All batches have one width, so that the step is compiled once; no wider than any history.
    width = max(1, min(data.max_length, int((train.stops - train.starts).max())))
    columns = train.starts, train.stops, train.answers
    batches = task_batches(data.source.items, *columns, width, batch_size, seed, steps=steps)
    return Parts(model, batches, lambda: data.measure(model, VALIDATION), model.user_states)


def in_passes(model, data, batch_size, seed):
    """Trains on all cuts of a user's history in one pass over it; see `UserPasses`.

    Args:
        model: TaskModel, of `build_task`.
        data: TaskData.
        batch_size: int. Cuts of a batch, approximately.
        seed: int.

    Returns:
        Parts.
    """
    train, devices = data.splits[TRAIN], Devices.of(model)
    reach = data.reach(model, TRAIN)
    # An even number of rows at least, so that one device and two train on the same batches.
    rows = math.lcm(2, devices.replicas)
    plan = UserBatches(train.starts, train.stops, reach, cuts=batch_size, rows=rows)
    if plan.at_ends:
        steps, forward = epoch_steps(len(train), batch_size), model.user_states_at_ends
    else:
        least = FEW_STEPS if len(train) < FEW_ROWS else EPOCH_STEPS
        steps = max(least, round(plan.steps * min(1.0, EPOCH_CUTS / len(train))))
        forward = model.user_states_at
    batches = plan.training(data.source.items, train.answers, seed, steps)
    with devices.scope():
        passes = UserPasses(model, plan.at_ends)
    return Parts(passes, batches, lambda: data.measure(model, VALIDATION), forward)


def on_states(model, data, batch_size, seed, steps):
    """Trains the head alone: the users' states do not change, so the host runs only once.

    Args:
        model: TaskModel, of `build_task` with the method `head`.
        data: TaskData.
        batch_size, seed, steps: see `task_batches`.

    Returns:
        Parts.
    """
    users, validation = data.users(model, TRAIN), data.users(model, VALIDATION)
    batches = state_batches(users, data.splits[TRAIN].answers, batch_size, seed, steps)
    measure = lambda: data.measure_users(validation, model.head, VALIDATION)
    with Devices.of(model).scope():
        return Parts(head_model(model), batches, measure, model.user_states)
