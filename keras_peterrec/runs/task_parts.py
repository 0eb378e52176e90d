"""What a task is trained on: rows, passes over histories, or states that were computed once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec.log.batches import state_batches, task_batches
from keras_peterrec.log.event_split import TRAIN
from keras_peterrec.log.user_batches import UserBatches
from keras_peterrec.tasks.task_data import TaskData
from keras_peterrec.training.devices import Devices
from keras_peterrec.transfer.strategies import what_is_asked
from keras_peterrec.transfer.task_model import TaskModel, UserPasses, head_model

# An epoch of a head is one pass over the rows: they are states that were computed once, so it is
# cheap. Batches are large, but not so large that an epoch has fewer than EPOCH_STEPS steps.
HEAD_BATCH = 1_024
# Of more than a head an epoch ends, and validation runs, after at most EPOCH_ROWS rows, but not
# before EPOCH_STEPS steps: a few steps change less than the noise of a small validation split.
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


@dataclass(frozen=True)
class Parts:
    """What is trained, on which batches, and whose graph TensorBoard shows; see `fit`.

    An epoch reads about `epoch_rows` rows, whether these are a pass over all of them or not.
    """

    model: keras.Model
    batches: tf.data.Dataset
    forward: Callable
    epoch_rows: int


def choose_head_batch_size(model: TaskModel, rows: int, asked: int | None) -> int:
    """The batch size of a head alone: as it is asked for, or by the number of its rows."""
    default = min(HEAD_BATCH, max(16, rows // EPOCH_STEPS))
    return Devices.of(model).check_batch_size(asked, default)


def choose_batch_size(model: TaskModel, data: TaskData, settings: Any) -> int:
    """The batch size of a training: rows, or cuts of histories where these have several."""
    train = data.splits[TRAIN]
    default = min(128, max(16, len(train) // 256))
    if _passes(model, data, settings) and len(train) > len(np.unique(train.starts)):
        default = min(PASS_CUTS, max(16, len(train) // EPOCH_STEPS))
    return Devices.of(model).check_batch_size(settings.batch_size, default)


def _passes(model, data, settings):
    return data.reach(model, TRAIN) is not None


def choose_parts(model: TaskModel, data: TaskData, settings: Any, batch_size: int) -> Parts:
    """The Parts of a method that trains more than a head: in passes over histories, or by rows.

    Args:
        model: TaskModel, of `build_task`.
        batch_size: int, of `choose_batch_size`.
    """
    train = data.splits[TRAIN]
    if _passes(model, data, settings):
        return in_passes(model, data, batch_size, settings.seed, settings.hide_rate)
    steps = epoch_steps(len(train), batch_size)
    return by_rows(model, data, batch_size, settings.seed, steps, settings.hide_rate)


def epoch_steps(rows: int, batch_size: int) -> int:
    """The number of batches in an epoch, for a number of training rows."""
    least = FEW_STEPS if rows < FEW_ROWS else EPOCH_STEPS
    return max(least, -(-min(rows, EPOCH_ROWS) // batch_size))


def by_rows(
    model: TaskModel, data: TaskData, batch_size: int, seed: int, steps: int, hide_rate: float
) -> Parts:
    """Trains on every row for itself.

    Args:
        model: TaskModel, of `build_task`.
        batch_size, seed, steps, hide_rate: see `task_batches`.
    """
    train = data.splits[TRAIN]
    # All batches have one width, so that the step is compiled once; no wider than any history.
    width = max(1, min(data.max_length, int((train.stops - train.starts).max())))
    batches = task_batches(
        data.source.rows,
        train.starts,
        train.stops,
        train.answers,
        width,
        batch_size,
        seed,
        hide_rate,
        what_is_asked(model.host),
        steps,
        train.told,
    )
    return Parts(model, batches, model.user_states, steps * batch_size)


def in_passes(
    model: TaskModel, data: TaskData, batch_size: int, seed: int, hide_rate: float
) -> Parts:
    """Trains on all cuts of a user's history in one pass over it; see `UserPasses`.

    Args:
        model: TaskModel, of `build_task`.
        batch_size: int. Cuts of a batch, approximately.
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
    asked = seed, steps, hide_rate, what_is_asked(model.host)
    batches = plan.training(data.source.rows, train.answers, *asked, train.told)
    with devices.scope():
        passes = UserPasses(model, plan.at_ends)
    return Parts(passes, batches, forward, steps * batch_size)


def on_states(model: TaskModel, data: TaskData, batch_size: int, seed: int) -> Parts:
    """Trains the head alone, on the states of all training rows.

    Args:
        model: TaskModel, of `build_task`.
        batch_size, seed: see `state_batches`.
    """
    states, train = data.states(model, TRAIN), data.splits[TRAIN]
    batches = state_batches(states, train.answers, batch_size, seed, told=train.told)
    with Devices.of(model).scope():
        return Parts(head_model(model), batches, model.user_states, len(train))
