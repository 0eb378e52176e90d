"""One network trained on a source log and several tasks at once: the baseline MTL."""

import time

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec.data.log import Log
from keras_peterrec.data.packed_batches import causal_batches
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import write_json
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.runs.pretrain import encode_log
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.settings import check_settings, name_of
from keras_peterrec.runs.task_data import check_answers, load_answers, make_data
from keras_peterrec.runs.task_training import RECIPE, training_parts
from keras_peterrec.runs.training import Recipe, fit
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.multi_task_model import NEXT_ITEM, MultiTaskModel
from keras_peterrec.transfer.task_model import TaskModel

SCORE = {"recommend": "ndcg@10", "classify": "accuracy"}  # what is averaged over tasks
BATCH_TOKENS = 1_000


def multi_task(
    log,
    tasks,
    out,
    hidden_dim=64,
    blocks=8,
    max_length=100,
    epochs=40,
    learning_rate=1e-3,
    dropout=0.3,
    head_dropout=0.5,
    unknown_rate=0.2,
    train_fraction=1.0,
    seed=0,
):
    """Trains one new network on the next items of a log and on tasks, losses summed.

    The network is a host's; each step sees a batch of the source log and one of every
    task, and an epoch is a pass over the source log. The best epoch is that of the best
    mean, over the tasks, of NDCG@10 or accuracy on the validation users, one for all:
    there is one network. Splits are those of `transfer`.

    Args:
        log: str, path or Log. The source log.
        tasks: dict from a name to a dict of `log`, and `target` or `labels` and
            `column`, and `cut_history`; see `transfer`.
        out: path of the run folder. `tasks/NAME/metrics.json` holds what `transfer`
            would write of a task.
        hidden_dim, blocks, max_length, dropout, unknown_rate: see `pretrain`.
        epochs: int. At most; early stopping ends most runs before.
        learning_rate: float. Of Adam.
        head_dropout: float. On the user's state before a head.
        train_fraction: float. Share of the training users that is used.
        seed: int. Of the splits and of the training.

    Returns:
        dict, the content of `metrics.json`, with a dict for each task under `tasks`.

    Raises:
        InputError: an argument or the data cannot be used.
    """
    settings = dict(locals())
    del settings["out"]
    check_settings({**settings, "dropout": max(dropout, head_dropout)})
    if not tasks:
        raise InputError("`tasks` should hold at least one task. Received: none.")
    for where in tasks.values():
        _check_task(where)
    began = time.perf_counter()
    keras.utils.set_random_seed(seed)
    source = log if isinstance(log, Log) else load_log(log)
    sequences, vocabulary, _ = encode_log(source)
    host = _new_host(settings, vocabulary)
    data, prints = {}, {}
    for name, where in tasks.items():
        data[name], prints[name] = _task_data(host, where, settings)
    settings |= {"log": name_of(log), "tasks": {n: _named(w) for n, w in tasks.items()}}
    settings |= {"recipe": RECIPE, "data": [source.fingerprint(), prints]}
    with RunFolder(out, "multi_task", settings) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        model = _new_model(host, data, head_dropout)
        training = _train(model, sequences, data, settings, folder.path)
        for name in data:
            if data[name].kind == "classify":
                data[name].calibrate(model.tasks[name])
        found = {n: _result(model, n, data[n], settings, prints[n]) for n in data}
        summary = training.summary(time.perf_counter() - began)
        found = {n: {**result, **summary} for n, result in found.items()}
        for name, result in found.items():
            (folder.path / "tasks" / name).mkdir(parents=True, exist_ok=True)
            write_json(folder.path / "tasks" / name / "metrics.json", result)
        result = {"command": "multi_task", "settings": settings, "seed": seed, "tasks": found}
        folder.finish({**result, **summary})
        training.finish()
        return {**result, **summary}


def _new_host(settings, vocabulary):
    """A host as `pretrain` makes it, not trained."""
    dilations = [(1, 4)[n % 2] for n in range(settings["blocks"])]
    backbone = Backbone(
        len(vocabulary), settings["hidden_dim"], dilations, dropout=settings["dropout"]
    )
    pretrainer = CausalPretrainer(backbone, tied=False, seed=settings["seed"])
    return Host(pretrainer, vocabulary, settings["max_length"])


def _check_task(where):
    given = {name: where.get(name) for name in ("target", "labels", "column")}
    check_answers(**given, cut_history=where.get("cut_history", True))


def _task_data(host, where, settings):
    """A task's data and the fingerprints of its history and its answers."""
    log = where["log"] if isinstance(where["log"], Log) else load_log(where["log"])
    answers = load_answers(where.get("target"), where.get("labels"), where.get("column"))
    cut = {"cut_history": where.get("cut_history", True)}
    prints = [log.fingerprint(), answers.fingerprint()]
    source = Sequences(log, host.vocabulary)
    reads = host.summary_settings()["summary"]
    return make_data(source, reads, answers, {**settings, **cut}), prints


def _named(where):
    return {key: v if isinstance(v, bool) else name_of(v) for key, v in where.items()}


def _new_model(host, data, dropout):
    tasks = {
        name: TaskModel(
            host.backbone,
            data[name].head(),
            dropout=dropout,
            name=f"{name}_task",
            **host.summary_settings(),
        )
        for name in data
    }
    losses = {name: data[name].loss() for name in data}
    return MultiTaskModel(host.pretrainer, tasks, losses)


def _train(model, sequences, data, settings, folder):
    windows = sequences.training_windows(settings["max_length"])
    tokens = max(4, BATCH_TOKENS // settings["max_length"]) * settings["max_length"]
    source = causal_batches(
        sequences.items,
        *windows,
        tokens,
        rows=max(1, tokens // settings["max_length"]),
        seed=settings["seed"],
        unknown_rate=settings["unknown_rate"],
    )
    parts = {name: _task_part(model, name, data[name], source, settings) for name in data}
    batches = {NEXT_ITEM: source, **{name: part[1] for name, part in parts.items()}}

    def sides(named):  # {name: (history, answers)} to ({name: history}, {name: answers})
        return {n: pair[0] for n, pair in named.items()}, {n: pair[1] for n, pair in named.items()}

    def measure():
        found = {name: part[2]() for name, part in parts.items()}
        score = np.mean([metrics[SCORE[data[name].kind]] for name, metrics in found.items()])
        named = {f"{n}/{key}": v for n, metrics in found.items() for key, v in metrics.items()}
        return {"score": float(score), **named}

    # Epochs are those of pretraining, and so is the patience.
    recipe = Recipe(settings["learning_rate"], settings["epochs"], 4, "val_score", "max", drops=1)
    zipped = tf.data.Dataset.zip(batches).map(sides)
    forward = model.pretrainer.user_states
    return fit("multi-task", model, None, zipped, measure, forward, recipe, folder)


def _task_part(model, name, data, source, settings):
    """Model, batches and validation of a task; as many batches as the source has."""
    train = data.splits[TRAIN]
    shuffling = {
        "batch_size": min(128, max(16, len(train) // 32)),
        "seed": settings["seed"],
        "steps": int(source.cardinality()),
    }
    return training_parts(model.tasks[name], data, "all", shuffling)


def _result(model, name, data, settings, fingerprints):
    task = model.tasks[name]
    return {
        "command": "multi_task",
        "task": name,
        "settings": settings,
        "seed": settings["seed"],
        "data": {"fingerprint": fingerprints, **data.summary()},
        # One network for all tasks: its parameters are every task's.
        "parameters": {
            "host": model.pretrainer.backbone.count_params(),
            "trainable": model.count_params(),
            "total": model.count_params(),
        },
        "metrics": {
            "validation": data.measure(task, VALIDATION),
            "test": data.measure(task, TEST, sampled=True),
        },
        "baseline": data.baseline(TEST),
    }
