"""One network trained on a source log and several tasks at once: the baseline MTL."""

import functools
import math
import time

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import write_json
from keras_peterrec.log.event_split import TRAIN, VALIDATION
from keras_peterrec.log.packed_batches import NextItems, packed_batches
from keras_peterrec.log.sources import load_log
from keras_peterrec.report.kept_rows import write_test_users
from keras_peterrec.runs.host_life import new_pretrainer
from keras_peterrec.runs.pretraining_log import encode_log
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import (
    known_histories,
    load_answers,
    task_result,
    with_kind,
)
from keras_peterrec.runs.task_parts import by_rows
from keras_peterrec.runs.task_training import RECIPE
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import MultiTaskSettings, TaskSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.multi_task_model import NEXT_ITEM, MultiTaskModel
from keras_peterrec.transfer.task_model import TaskModel
from keras_peterrec.types import Json

BATCH_TOKENS = 1_000
FEWEST_ROWS, MOST_ROWS = 8, 32  # of a task's batch


@takes(MultiTaskSettings)
def multi_task(settings: MultiTaskSettings) -> Json:
    """Trains one new network on the next items of a log and on tasks, losses summed.

    The network is a host's; each step sees a batch of the source log and one of every task, and an
    epoch is a pass over the source log. There is one network, so there is one best epoch: that of
    the best geometric mean, over the tasks, of the metrics that decide of their kinds, on the
    validation users. Splits are those of `transfer`. `tasks/NAME/metrics.json` holds what
    `transfer` would write of a task.

    Returns:
        dict, the content of `metrics.json`, with a dict for each task under `tasks`.

    Raises:
        InputError: an argument or the data cannot be used.
    """
    with seeded(settings.seed):
        return _multi_task(settings)


def _multi_task(settings):
    began = command_began()
    of_tasks = {name: _task_settings(where, settings) for name, where in settings.tasks.items()}
    source = load_log(settings.log, **settings.reading)
    sequences, vocabulary, _ = encode_log(source)
    host = _new_host(settings, vocabulary, len(source))
    data, prints = {}, {}
    for name, task in of_tasks.items():
        log = settings.tasks[name]["log"]
        histories = load_log(log, **settings.reading)
        data[name], prints[name] = _task_data(host, histories, task)
    fingerprints = [source.fingerprint(), prints]
    with RunFolder(settings.out, settings, fingerprints, RECIPE) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        model = _new_model(host, data, settings.head_dropout)
        training = _train(model, sequences, data, settings, folder.path)
        for name in data:
            task = model.tasks[name]
            users = data[name].users(task, VALIDATION)
            data[name].join(task, None, data[name].part_weights(users, task.head))
        results = {n: _result(model, n, data[n], settings, prints[n]) for n in data}
        summary = training.summary(time.perf_counter() - began)
        results = {n: {**result, **summary} for n, result in results.items()}
        for name, result in results.items():
            (folder.path / "tasks" / name).mkdir(parents=True, exist_ok=True)
            write_test_users(folder.path / "tasks" / name, result, data[name].kind.metric)
            write_json(folder.path / "tasks" / name / "metrics.json", result)
        result = {
            "command": settings.command,
            "settings": settings.recorded(),
            "seed": settings.seed,
            "tasks": results,
            **summary,
        }
        folder.finish(result)
        training.finish()
        return result


def _task_settings(where, settings):
    """The settings of one task, with the split of all."""
    allowed = ("log", "target", "labels", "column", "kind", "cut_history", "keep_seen")
    unknown = next((name for name in where if name not in allowed), None)
    if unknown is not None or "log" not in where:
        raise InputError(
            f"`tasks` should hold dicts of `log` and some of {', '.join(allowed[1:])}. "
            f"Received: {'no `log`' if unknown is None else repr(unknown)}."
        )
    given = {name: value for name, value in where.items() if name != "log"}
    shared = {name: getattr(settings, name) for name in ("columns", "seed", "train_fraction")}
    return TaskSettings(**given, **shared)


def _new_host(settings, vocabulary, events):
    """A host as `pretrain` makes it, not trained."""
    pretrainer = new_pretrainer(settings.sized(events, len(vocabulary)), len(vocabulary))
    return Host(pretrainer, vocabulary, settings.max_length)


def _task_data(host, log, settings):
    """A task's data and the fingerprints of its history and its answers."""
    answers = load_answers(settings)
    settings, kind = with_kind(settings, answers)
    source = known_histories(log, host)
    data = kind.make_data(source, answers, host.task_settings()["history_length"], settings)
    return data, [log.fingerprint(), answers.fingerprint()]


def _new_model(host, data, dropout):
    tasks = {
        name: TaskModel(
            host.backbone,
            data[name].new_head(),
            dropout=dropout,
            name=f"{name}_task",
            **host.task_settings(),
        )
        for name in data
    }
    losses = {name: data[name].loss() for name in data}
    return MultiTaskModel(host.pretrainer, tasks, losses)


def _train(model, sequences, data, settings, folder):
    windows = sequences.training_windows(settings.max_length)
    tokens = max(4, BATCH_TOKENS // settings.max_length) * settings.max_length
    source = packed_batches(
        sequences.items,
        *windows,
        NextItems(settings.unknown_rate),
        tokens,
        rows=max(1, tokens // settings.max_length),
        seed=settings.seed,
    )
    parts = {name: _task_part(model, name, data[name], source, settings) for name in data}
    batches = {NEXT_ITEM: source, **{name: part.batches for name, part in parts.items()}}

    def sides(named):  # {name: (history, answers)} to ({name: history}, {name: answers})
        return {n: pair[0] for n, pair in named.items()}, {n: pair[1] for n, pair in named.items()}

    def measure():
        of_tasks = {name: data[name].measure(model.tasks[name], VALIDATION) for name in parts}
        deciding = {name: data[name].kind.metric for name in of_tasks}
        score = np.mean([m.log_quality(of_tasks[name][m.name]) for name, m in deciding.items()])
        named = {f"{n}/{key}": v for n, metrics in of_tasks.items() for key, v in metrics.items()}
        return {"score": float(score), **named}

    # Epochs are those of pretraining, and so is the patience.
    recipe = Recipe(settings.learning_rate, settings.epochs, 4, "val_score", "max", drops=1)
    zipped = tf.data.Dataset.zip(batches).map(sides)
    forward = model.pretrainer.user_states
    return fit("multi-task", model, None, zipped, measure, forward, recipe, folder)


def _task_part(model, name, data, source, settings):
    """The Parts of a task; as many batches as the source has.

    Of such a size that an epoch, a pass over the source log, is about one over the task's rows as
    well: with batches of 128 nearly all work went to the tasks, and to the same rows many times.
    """
    train, steps = data.splits[TRAIN], int(source.cardinality())
    batch_size = min(MOST_ROWS, max(FEWEST_ROWS, math.ceil(len(train) / steps)))
    return by_rows(model.tasks[name], data, batch_size, settings.seed, steps, hide_rate=0.0)


def _result(model, name, data, settings, fingerprints):
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    measure = functools.partial(data.measure, model.tasks[name])
    return {
        **task_result(settings, data, fingerprints, measure),
        "task": name,
        # One network for all tasks: its parameters are every task's.
        "parameters": {
            "host": model.pretrainer.backbone.count_params(),
            "trainable": parameters,
            "total": parameters,
        },
    }
