"""From a log to a host."""

import time
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.data.packed_batches import causal_batches, masked_batches
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.vocabulary import FIRST_ITEM, Vocabulary
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
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import (
    FEW_TEST_USERS,
    example_writer,
    few_test_users,
    load_source,
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
    log = load_source(settings.log, settings.columns, settings.events, settings.weight_column)
    trained = training_counts(log)
    sequences, vocabulary, counts = encode_log(log, settings.min_count, trained)
    found = RunFolder(settings.out, settings, log.fingerprint(), devices=devices)
    with found as folder, seeded(settings.seed):
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        if devices.is_chief:
            _say_unknown_items(trained)
            users = int((sequences.lengths >= 3).sum())
            if users < FEW_TEST_USERS:
                progress.line(few_test_users(users))
        with devices.scope():
            pretrainer = new_pretrainer(settings, len(vocabulary))
        examples = example_writer(settings, sequences, vocabulary)
        training = _train(pretrainer, sequences, settings, folder.path, examples, counts)

        def finish():
            linear = None
            if settings.linear or settings.baselines:
                linear = fit_linear(sequences, len(vocabulary.items))
            weight = join(pretrainer, linear, sequences, settings) if settings.linear else 0.0
            host = Host(pretrainer, vocabulary, settings.max_length)
            host.save(folder.path)
            result = {
                **_describe(log, trained, pretrainer, settings),
                **_measure(pretrainer, sequences, settings, vocabulary, counts, linear),
                **training.summary(time.perf_counter() - began),
            }
            if settings.linear:
                result["linear"] = {"weight": weight, **linear.chosen}
            advise(result, METRIC, sequences.lengths, host)
            rows = write_test(folder.path, result, METRIC, examples)
            write_summaries(folder.path, result, rows)
            vectors = np.asarray(pretrainer.backbone.item_embedding.embeddings)[FIRST_ITEM:]
            described = vocabulary.items, counts, examples.name
            write_projector(folder.path, vectors, *described, "items of the source log")
            folder.finish(result)
            training.finish()
            return result

        return devices.on_chief(finish)


def _say_unknown_items(trained):
    unknown = int((trained == 0).sum())
    if unknown:
        progress.line(
            f"{unknown:,} of {len(trained):,} items are unknown to the host: only the last two "
            "events of users, which are kept for validation and test, have them"
        )


def _describe(log, trained, pretrainer, settings):
    linear = 0 if pretrainer.linear is None else pretrainer.linear.count_params()
    total = pretrainer.count_params()
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "seed": settings.seed,
        "decides": METRIC.described(),
        "data": {
            "fingerprint": log.fingerprint(),
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "items_only_held_out": int((trained == 0).sum()),
            "events": len(log),
        },
        "parameters": {
            "host": pretrainer.backbone.count_params(),
            "linear": linear,
            "trainable": total - linear,
            "total": total,
        },
    }


def training_counts(log: Any) -> np.ndarray:
    """How often each item of a log is in events that training may see: all but users' last two.

    Args:
        log: Log.

    Returns:
        int array `[I]`, in the order of `log.item_ids`.

    Raises:
        InputError: no user has the four events that training, validation and
            test need.
    """
    order = np.lexsort((log.timestamps, log.users))
    lengths = np.bincount(log.users)
    if lengths.max() < 4:  # one input and one target, validation, test
        raise InputError(
            "`log` should have a user with at least four events. "
            f"Received: {len(lengths)} users with at most {lengths.max()}."
        )
    from_last = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(log))
    held_out = (from_last <= 2) & (np.repeat(lengths, lengths) >= 3)
    return np.bincount(log.items[order][~held_out], minlength=len(log.item_ids))


def encode_log(log: Any, min_count: int = 1, counts: np.ndarray | None = None) -> tuple:
    """Sequences, vocabulary and training counts of a log.

    Args:
        log: Log.
        min_count: int. Items that training sees less often become unknown. Defaults to `1`.
        counts: int array or `None`. The log's `training_counts`, if they are known. Defaults to
            `None`.

    Returns:
        Sequences, Vocabulary and an int array `[V - 4]` of counts.

    Raises:
        InputError: see `training_counts`.
    """
    counts = training_counts(log) if counts is None else counts
    vocabulary = Vocabulary.from_counts(log.item_ids, counts, min_count=min_count)
    counts_by_item = dict(zip(log.item_ids, counts))
    return (
        Sequences(log, vocabulary),
        vocabulary,
        np.array([counts_by_item[item] for item in vocabulary.items]),
    )


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


def _measure(pretrainer, sequences, settings, vocabulary, counts, linear):
    """Final metrics of both held-out events, and of the baselines."""
    described = {"vocabulary": vocabulary, "counts": counts}
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
    pretrainer: Pretrainer, sequences: Sequences, settings: PretrainSettings
) -> Any:
    """One epoch of a log, every event once: a tf.data.Dataset of `(history, targets)`.

    Where the log has weights, they come as a third part; their mean over all targets is 1, so that
    losses compare.
    """
    causal, max_length = settings.objective == "causal", settings.max_length
    tokens = (settings.batch_size or max(4, 1_000 // max_length)) * max_length
    # Devices share the rows of a batch, and micro-batches are made of rows.
    replicas = Devices.of(pretrainer).replicas
    cached = tokens * settings.hidden_dim // (CACHED_VALUES * replicas)
    # A causal network sees no further than its receptive field, so whole histories are laid end to
    # end, and every epoch cuts them elsewhere. A bidirectional one is used on histories of
    # `max_length`; a window of n inputs spans n + 1 events, and all of them are shown.
    longest = int(sequences.lengths.max())
    windows = sequences.training_windows(longest if causal else max_length - 1)
    arguments = {
        "tokens": tokens,
        "rows": replicas * max(1, cached),
        "seed": settings.seed,
        "weights": None if sequences.weights is None else _with_mean_one(sequences, longest),
    }
    if causal:
        return causal_batches(
            sequences.items, *windows, unknown_rate=settings.unknown_rate, **arguments
        )
    vocabulary_size = pretrainer.backbone.vocabulary_size
    return masked_batches(sequences.items, *windows, vocabulary_size=vocabulary_size, **arguments)


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


def _train(pretrainer, sequences, settings, folder, examples, counts):
    batches = training_batches(pretrainer, sequences, settings)
    validation = NextItemEvaluation(
        sequences,
        settings.max_length,
        VALIDATION,
        VALIDATION_USERS,
        examples.vocabulary,
        counts,
    )
    recipe = Recipe(
        settings.learning_rate,
        settings.epochs,
        4,
        METRIC.monitor,
        METRIC.mode,
        drops=1,
        average=AVERAGE,
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
