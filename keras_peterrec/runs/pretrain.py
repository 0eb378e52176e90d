"""From a log to a host."""

import time
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.data.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.streamed_batches import StreamedBatches
from keras_peterrec.data.vocabulary import FIRST_ITEM
from keras_peterrec.errors import InputError
from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.linear_fitting import ItemRegression, best_ease, best_item_regression
from keras_peterrec.models.linear_part import EVENTS, LinearPart
from keras_peterrec.models.micro_batches import CACHED_VALUES
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.report.tensorboard import write_projector, write_summaries
from keras_peterrec.runs.advice import advise
from keras_peterrec.runs.next_item import TEST, VALIDATION, NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import (
    FEW_TEST_USERS,
    example_writer,
    few_test_users,
    open_source,
    write_test,
)
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import OBJECTIVES, Host

VALIDATION_USERS = 5_000
METRIC = Metric("ndcg@10", higher_is_better=True)
AVERAGE = 0.998  # of the weights, over about 500 steps


@takes(PretrainSettings)
def pretrain(settings: PretrainSettings) -> dict:
    """Pretrains a host on a log, without labels, and saves it as a run folder.

    The last event of every user is kept for the test and the last but one for
    validation, which also says when to stop. The same call on an interrupted
    folder goes on; on a finished one it returns what was found.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the log cannot be used.
    """
    began = command_began()
    devices = Devices.open(settings.devices)
    source = open_source(settings.log, settings.columns, settings.events, settings.weight_column)
    log = PretrainingLog.of(source, settings.min_count)
    found = RunFolder(settings.out, settings, log.summary["fingerprint"], devices=devices)
    with found as folder, seeded(settings.seed):
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        if devices.is_chief:
            log.say_what_is_left_out()
            users = int((log.sequences.lengths >= 3).sum())
            if users < FEW_TEST_USERS:
                progress.line(few_test_users(users))
        with devices.scope():
            pretrainer = new_pretrainer(settings, len(log.vocabulary))
        sequences, vocabulary = log.sequences, log.vocabulary
        examples = example_writer(settings, sequences, vocabulary)
        training = _train(pretrainer, log, settings, folder.path, examples)

        def finish():
            linear = None
            if settings.linear or settings.baselines:
                linear = fit_linear(sequences, len(vocabulary.items))
            weight = join(pretrainer, linear, sequences, settings) if settings.linear else 0.0
            host = Host(pretrainer, vocabulary, settings.max_length)
            host.save(folder.path)
            result = {
                **_describe(log, pretrainer, settings),
                **_measure(pretrainer, log, settings, linear),
                **training.summary(time.perf_counter() - began),
            }
            if settings.linear:
                result["linear"] = {"weight": weight, **linear.chosen}
            advise(result, METRIC, sequences.lengths, host)
            rows = write_test(folder.path, result, METRIC, examples)
            write_summaries(folder.path, result, rows)
            vectors = np.asarray(pretrainer.backbone.item_embedding.embeddings)[FIRST_ITEM:]
            described = vocabulary.items, log.counts, examples.name
            write_projector(folder.path, vectors, *described, "items of the source log")
            folder.finish(result)
            training.finish()
            return result

        return devices.on_chief(finish)


def _describe(log, pretrainer, settings):
    linear = 0 if pretrainer.linear is None else pretrainer.linear.count_params()
    total = pretrainer.count_params()
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "seed": settings.seed,
        "decides": METRIC.described(),
        "data": log.summary,
        "parameters": {
            "host": pretrainer.backbone.count_params(),
            "linear": linear,
            "trainable": total - linear,
            "total": total,
        },
    }


def new_pretrainer(settings: PretrainSettings, vocabulary_size: int) -> Pretrainer:
    """The network of the settings with its output layer, not trained."""
    dilations = [(1, 4)[n % 2] for n in range(settings.blocks)]
    backbone = Backbone(
        vocabulary_size,
        settings.hidden_dim,
        dilations,
        causal=settings.objective == "causal",
        dropout=settings.dropout,
    )
    return OBJECTIVES[settings.objective](backbone, tied=False, seed=settings.seed)


def fit_linear(sequences: Sequences, items: int) -> LinearPart:
    """The regression from a history to its next item that is best for the validation events.

    Args:
        sequences: Sequences. Each user's last two events are not fitted to.
        items: int. Items of the vocabulary, without special ids.
    """
    rows = next_item_rows(sequences)
    validation = NextItemEvaluation(sequences, EVENTS, VALIDATION, VALIDATION_USERS)
    with progress.stage("fitting the linear part") as found:
        linear = best_item_regression(
            lambda bag: ItemRegression(bag, sequences.items, *rows, items, items, next_items=True),
            lambda part: validation.measure_linear(part)[METRIC.name],
        )
        found(", ".join(f"{name} {value:g}" for name, value in linear.chosen.items() if value))
    return linear


def next_item_rows(sequences: Sequences) -> tuple:
    """A row for each event that training predicts: histories, and targets as `ItemRegression`."""
    starts, stops = sequences.training_windows(len(sequences.items))
    counts = stops - starts
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts, stops = np.repeat(starts, counts), np.repeat(starts, counts) + place + 1
    targets = sequences.items[stops]
    known = targets >= FIRST_ITEM
    targets = targets[known] - FIRST_ITEM
    return starts[known], stops[known], np.arange(len(targets) + 1), targets


def join(
    pretrainer: Pretrainer, linear: LinearPart, sequences: Sequences, settings: PretrainSettings
) -> float:
    """Adds the linear part to a trained network with the weight that validation asks."""
    validation = NextItemEvaluation(sequences, settings.max_length, VALIDATION, VALIDATION_USERS)
    weight = validation.best_weight(pretrainer, linear)
    if weight:
        pretrainer.linear = LinearTable.of_part(linear.moved(weight))
    return weight


def _measure(pretrainer, log, settings, linear):
    """Final metrics of both held-out events, and of the baselines."""
    sequences, counts = log.sequences, log.counts
    described = {"users": log.most_measured, "vocabulary": log.vocabulary, "counts": counts}
    validation, test = (
        NextItemEvaluation(sequences, settings.max_length, held_out, **described)
        for held_out in (VALIDATION, TEST)
    )
    with progress.stage("measuring validation and test events"):
        baseline = {"name": "popularity", "test": test.popularity(counts)}
        baselines = [baseline]
        if settings.baselines:
            ease = _ease(sequences, validation, len(counts))
            for name, part in (("SLIT", linear), ("EASE", ease)):
                if part is not None:
                    alone = test.measure_linear(part, new_items=True)
                    baselines.append({"name": name, "test": alone, **part.chosen})
        metrics = {
            "validation": validation.measure(pretrainer, new_items=True),
            "test": test.measure(pretrainer, new_items=True),
        }
    return {
        "metrics": metrics,
        "baseline": baseline,
        "baselines": baselines,
        "intervals": {"test": metrics["test"].intervals(settings.seed)},
    }


def _ease(sequences, validation, items):
    """EASE of the training events, or `None` where there are too many items for it."""
    starts, stops = sequences.training_windows(len(sequences.items))
    return best_ease(
        sequences.items,
        starts,
        stops + 1,
        items,
        lambda part: validation.measure_linear(part, new_items=True)["new_ndcg@10"],
    )


def training_batches(
    pretrainer: Pretrainer, log: PretrainingLog | Sequences, settings: PretrainSettings
) -> Any:
    """One epoch of a log, every event once.

    Where a log in memory has weights, they come as a third part; their mean over all targets is 1,
    so that losses compare.

    Returns:
        tf.data.Dataset of `(history, targets)`, or StreamedBatches of a log that was prepared.
    """
    causal, max_length = settings.objective == "causal", settings.max_length
    tokens = (settings.batch_size or max(4, 1_000 // max_length)) * max_length
    # Devices share the rows of a batch, and micro-batches are made of rows.
    devices = Devices.of(pretrainer)
    cached = tokens * settings.hidden_dim // (CACHED_VALUES * devices.replicas)
    rows = devices.replicas * max(1, cached)
    vocabulary_size = pretrainer.backbone.vocabulary_size
    shown = NextItems(settings.unknown_rate) if causal else HiddenItems(vocabulary_size)
    # A causal network sees no further than its receptive field, so whole histories are laid end to
    # end, and every epoch cuts them elsewhere. A bidirectional one is used on histories of
    # `max_length`; a window of n inputs spans n + 1 events, and all of them are shown.
    window = None if causal else max_length - 1
    if isinstance(log, PretrainingLog) and log.prepared is not None:
        return StreamedBatches(
            log.prepared,
            vocabulary_size,
            shown,
            tokens=tokens // devices.workers,
            rows=rows // devices.workers,
            seed=settings.seed,
            window=window,
            chunk_events=log.chunk_events,
            worker=devices.worker,
            workers=devices.workers,
        )
    sequences = log if isinstance(log, Sequences) else log.sequences
    longest = int(sequences.lengths.max())
    windows = sequences.training_windows(window or longest)
    weights = None if sequences.weights is None else _with_mean_one(sequences, longest)
    arguments = shown, tokens, rows, settings.seed
    return packed_batches(sequences.items, *windows, *arguments, weights=weights)


def _with_mean_one(sequences, longest):
    starts, stops = sequences.training_windows(longest)
    # Of each user one window, whose targets are the events after its first.
    passed = np.concatenate([[0.0], np.cumsum(sequences.weights, dtype="float64")])
    total = np.sum(passed[stops + 1] - passed[starts + 1])
    if total <= 0:
        raise InputError(
            "`weight_column` should be above 0 in events that train. Received: 0 in all but those "
            "kept for validation and test."
        )
    return sequences.weights * (np.sum(stops - starts) / total)


def _train(pretrainer, log, settings, folder, examples):
    batches = training_batches(pretrainer, log, settings)
    validation = NextItemEvaluation(
        log.sequences,
        settings.max_length,
        VALIDATION,
        VALIDATION_USERS,
        log.vocabulary,
        log.counts,
    )
    recipe = Recipe(
        settings.learning_rate,
        settings.epochs,
        4,
        METRIC.monitor,
        METRIC.mode,
        drops=1,
        average=AVERAGE,
        steps=log.steps_of_epoch(batches, settings.steps_per_epoch),
    )
    measure = lambda: validation.measure(pretrainer)
    forward = pretrainer.user_states
    return fit(
        "pretrain",
        pretrainer,
        None,
        batches,
        measure,
        forward,
        recipe,
        folder,
        show=examples.markdown,
        profile=settings.profile,
    )
