"""From a log to a host."""

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.linear.last_item import NAME as LAST_ITEM
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.log.prepared.beam import new_pipeline
from keras_peterrec.log.prepared.format import is_prepared
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.sequences import Sequences, mean_one_factor, target_weight
from keras_peterrec.log.splits import TEST, VALIDATION
from keras_peterrec.log.streamed_batches import StreamedBatches
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.models.micro_batches import CACHED_VALUES
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.network.registry import get_network
from keras_peterrec.report.tensorboard import write_projector, write_summaries
from keras_peterrec.runs.advice import advise
from keras_peterrec.runs.host_linear import (
    Bounds,
    fit_ease,
    fit_linear,
    join,
    last_item_baseline,
    refit_linear,
    say_if_nothing_is_counted,
    sparse_regression_of,
)
from keras_peterrec.runs.next_item import METRIC, NextItemEvaluation
from keras_peterrec.runs.part_gains import LINEAR, NETWORK, say_what_parts_add
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.run_folder import FINAL, RunFolder, finish_elsewhere
from keras_peterrec.runs.task_data import (
    FEW_TEST_USERS,
    example_writer,
    few_test_users,
    open_source,
    write_test,
)
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import OBJECTIVES, Host

# Epochs without improvement until the learning rate drops; fewer where a host was trained before.
PATIENCE = {False: 4, True: 2}
SLIT = "SLIT"  # what the linear part alone is called, as a baseline
AVERAGE = 0.998  # of the weights, over about 500 steps


@takes(PretrainSettings)
def pretrain(settings: PretrainSettings) -> dict:
    """Pretrains a host on a log, without labels, and saves it as a run folder.

    The last event of every user is kept for the test and the last but one for
    validation, which also says when to stop; `split` may name a moment instead. With
    `final`, a second host is then trained on all events, for as long as was best, and
    saved in place of the measured one, whose metrics are kept. The same call on an
    interrupted folder goes on; on a finished one it returns what was found.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the log cannot be used.
    """
    began = command_began()
    if (finished := finish_elsewhere(settings)) is not None:
        return finished
    devices = Devices.open(settings.devices)
    _check_runner(settings)
    source = open_source(
        settings.log,
        settings.columns,
        settings.events,
        settings.weight_column,
        settings.drop_bad_rows,
    )
    log = PretrainingLog.of(source, settings.min_count, settings.split)
    log = log.deciding(settings.keep_seen)
    fingerprint = log.summary["fingerprint"]
    found = RunFolder(settings.out, settings, fingerprint, devices=devices, final=settings.final)
    with found as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        result = folder.measured_result()
        if result is None:
            if devices.is_chief:
                log.say_what_is_left_out(settings.keep_seen)
                if settings.runner is not None:
                    say_if_nothing_is_counted(log, settings.runner)
            with seeded(settings.seed):
                host = _new_host(log, settings, devices, log.keep_seen)
                described = describe(log, settings)
                result = train_host(host, log, settings, folder, described, began)
        if settings.final:
            everything = PretrainingLog.of_all(source, settings.min_count)
            with seeded(settings.seed):
                host = _new_host(everything, settings, devices, log.keep_seen, final=True)
                result = train_final_host(host, everything, settings, folder, result)
        return result


def _new_host(log, settings, devices, keep_seen, final=False):
    with devices.scope():
        pretrainer = new_pretrainer(settings, len(log.vocabulary))
    told = settings.max_length, origin(settings, final), keep_seen
    return Host(pretrainer, log.vocabulary, *told)


def origin(settings: Any, final: bool = False, **more: Any) -> dict:
    """What `host.json` says of where a host comes from."""
    return {"split": settings.split, "final": final, **more}


def train_host(host, log, settings, folder, described, began, earlier=None, baselines=None):
    """Trains a host to its best validation metric, adds the linear part, saves and measures it.

    Args:
        host: Host, new.
        log: PretrainingLog.
        settings: PretrainSettings.
        folder: RunFolder.
        described: dict, what `metrics.json` says of the settings and the log.
        began: float. When the command began.
        earlier: LinearPart or `None`, see `best_item_regression`. Defaults to `None`.
        baselines: list of dict or `None`. Baselines of a host that was trained before, with which
            this one begins; its start may then turn out the best. Defaults to `None`.

    Returns:
        dict, the content of `metrics.json`.
    """
    pretrainer, sequences = host.pretrainer, log.sequences
    users = int((sequences.split.test >= 0).sum())
    if users < FEW_TEST_USERS and Devices.of(pretrainer).is_chief:
        progress.line(few_test_users(users))
    title, starts_trained = described["command"], baselines is not None
    examples = example_writer(settings, sequences, host.vocabulary)
    training = _train(title, pretrainer, log, settings, folder.path, starts_trained, examples)

    def finish():
        linear = None
        if settings.linear or settings.baselines:
            how = _counter(log, settings), Bounds.of(log, settings)
            linear = fit_linear(log, *how, earlier)
        weight = join(pretrainer, linear, log, settings) if settings.linear else 0.0
        with progress.stage(f"saving {folder.path}", brief=True):
            host.save(folder.path)
        measured, parts = _measure(pretrainer, log, settings, linear, baselines or [])
        result = {
            **described,
            "parameters": _parameters(pretrainer),
            **measured,
            **training.summary(time.perf_counter() - began),
        }
        if settings.linear:
            result["linear"] = {"weight": weight, **linear.chosen}
            asked = "for next items; tasks may still build on it"
            say_what_parts_add(result, parts, METRIC, asked)
        advise(result, METRIC, sequences.lengths, host)
        with progress.stage("writing what a report needs", brief=True):
            rows = write_test(folder.path, result, METRIC, examples)
            write_summaries(folder.path, result, rows)
            vectors = np.asarray(pretrainer.backbone.item_embedding.embeddings)[FIRST_ITEM:]
            named = host.vocabulary.items, log.counts, examples.name
            write_projector(folder.path, vectors, *named, "items of the source log")
        folder.finish(result)
        training.finish()
        return result

    return Devices.of(pretrainer).on_chief(finish)


def train_final_host(host, log, settings, folder, result, earlier=None):
    """Trains a host anew on all events for as long as the measured run found best, and saves it.

    Args:
        host: Host, new.
        log: PretrainingLog, all of whose events are trained on.
        settings: PretrainSettings.
        folder: RunFolder of the measured run.
        result: dict, the measured run's `metrics.json`.
        earlier: see `train_host`.

    Returns:
        dict, `result` with `final`: what was trained on, and the seconds.
    """
    pretrainer, began = host.pretrainer, time.perf_counter()
    title, path = f"{result['command']} on everything", result["best_path"]
    training = _train(title, pretrainer, log, settings, folder.path / FINAL, path=path)

    def finish():
        chosen = result.get("linear", {})
        if chosen.get("weight"):
            how = _counter(log, settings), Bounds.of(log, settings)
            part = refit_linear(log, *how, chosen, earlier)
            pretrainer.linear = LinearTable.of_part(part)
        host.save(folder.path)
        final = {
            "events": log.summary["events"],
            "items": len(host.vocabulary.items),
            "epochs": sum(path),
            "seconds": round(time.perf_counter() - began, 2),
        }
        told = {**result, "final": final}
        folder.finish(told)
        training.finish()
        return told

    return Devices.of(pretrainer).on_chief(finish)


def _check_runner(settings):
    """Raises InputError if a runner could not count; training would end before it is asked."""
    if settings.runner is None:
        return
    if not isinstance(settings.log, PreparedLog) and not is_prepared(settings.log):
        raise InputError(
            "`log` should be a folder of `prepare` where a `runner` counts, since its workers "
            f"read the shards. Received: `runner` = {settings.runner!r} with another log."
        )
    new_pipeline(settings.runner, settings.pipeline_options)


def _counter(log, settings) -> Callable:
    """What counts the pairs of items of a log: this process, or a runner of Beam."""
    if settings.runner is None or not log.most_measured:
        return sparse_regression_of
    from keras_peterrec.runs.linear_counts_beam import count_on_beam  # an optional extra

    asked = {"runner": settings.runner, "options": settings.pipeline_options}
    return functools.partial(count_on_beam, **asked)


def describe(log: PretrainingLog, settings: Any) -> dict:
    """What `metrics.json` says of a run's settings and log."""
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "seed": settings.seed,
        "decides": METRIC.described(),
        "data": log.summary,
    }


def _parameters(pretrainer):
    linear = 0 if pretrainer.linear is None else pretrainer.linear.count_params()
    total = pretrainer.count_params()
    return {
        "host": pretrainer.backbone.count_params(),
        "linear": linear,
        "trainable": total - linear,
        "total": total,
    }


def new_pretrainer(settings: Any, vocabulary_size: int, objective: str = "causal") -> Pretrainer:
    """The network of the settings with its output layer, not trained.

    Args:
        settings: PretrainSettings, or others with `network` and what it is made with.
        vocabulary_size: int.
        objective: str. Of settings that have none. Defaults to `"causal"`.
    """
    objective = getattr(settings, "objective", objective)
    network = get_network(settings.network)(
        vocabulary_size,
        hidden_dim=settings.hidden_dim,
        blocks=settings.blocks,
        causal=objective == "causal",
        dropout=settings.dropout,
    )
    return OBJECTIVES[objective](network, tied=False, seed=settings.seed)


def _measure(pretrainer, log, settings, linear, more_baselines):
    """Final metrics of both held-out events and of the baselines; and those of both parts alone."""
    sequences, counts = log.sequences, log.counts
    described = {"users": log.most_measured, "vocabulary": log.vocabulary, "counts": counts}
    described["keep_seen"] = log.keep_seen
    validation, test = (
        NextItemEvaluation(sequences, settings.max_length, part, **described)
        for part in (VALIDATION, TEST)
    )
    with progress.stage("measuring validation and test events"):
        progress.part("popularity")
        baseline = {"name": "popularity", "test": test.popularity(counts)}
        baselines = [baseline, *more_baselines]
        if settings.baselines:
            progress.part(LAST_ITEM)
            baselines.append(last_item_baseline(sequences, counts, test))
            progress.part("EASE, fitted and chosen")
            bounded = Bounds.of(log, settings).is_exact(len(counts))
            ease = fit_ease(sequences, validation, len(counts)) if bounded else None
            for name, part in ((SLIT, linear), ("EASE", ease)):
                if part is not None:
                    progress.part(f"{name}, test events")
                    alone = test.measure_linear(part, both=True)
                    baselines.append({"name": name, "test": alone, **part.chosen})
        progress.part("validation events")
        metrics, parts = {"validation": validation.measure(pretrainer, both=True)}, {}
        progress.part("test events")
        if settings.linear:
            metrics["test"], parts[NETWORK] = test.measure_parts(pretrainer)
            measured = {found["name"]: found["test"] for found in baselines}
            parts[LINEAR] = measured.get(SLIT) or test.measure_linear(linear)
        else:
            metrics["test"] = test.measure(pretrainer, both=True)
        progress.part("intervals")
        intervals = {"test": metrics["test"].intervals(settings.seed)}
    found = {
        "metrics": metrics,
        "baseline": baseline,
        "baselines": baselines,
        "intervals": intervals,
    }
    return found, parts


def training_batches(
    pretrainer: Pretrainer, log: PretrainingLog | Sequences, settings: PretrainSettings
) -> Any:
    """One epoch of a log, every event once.

    Where a log has weights, they come as a third part; their mean over all events that are asked
    for is 1, so that losses compare.

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
    shown = HiddenItems(vocabulary_size)
    if causal:
        shown = NextItems(settings.unknown_rate, settings.later_rate)
    # A causal network sees no further than its receptive field, so whole histories are laid end to
    # end, and every epoch cuts them elsewhere. A bidirectional one is used on histories of
    # `max_length`; a window of n inputs spans n + 1 events, and all of them are shown.
    window = None if causal else max_length - 1
    if isinstance(log, PretrainingLog) and log.prepared is not None:
        return StreamedBatches(
            log.prepared,
            log.ids,
            shown,
            tokens=tokens // devices.workers,
            rows=rows // devices.workers,
            seed=settings.seed,
            window=window,
            chunk_events=log.chunk_events,
            worker=devices.worker,
            workers=devices.workers,
            split=log.prepared_split,
        )
    sequences = log if isinstance(log, Sequences) else log.sequences
    longest = int(sequences.lengths.max())
    windows = sequences.training_windows(window or longest)
    weights = sequences.weights
    if weights is not None:
        trained = sequences.split.trained
        total = target_weight(weights, sequences.offsets, trained)
        weights = weights * mean_one_factor(int(np.maximum(trained - 1, 0).sum()), total)
    arguments = shown, tokens, rows, settings.seed
    return packed_batches(sequences.items, *windows, *arguments, weights=weights)


def _train(
    title, pretrainer, log, settings, folder, starts_trained=False, examples=None, path=None
):
    """Trains to the best validation metric or, given a `path`, that way again.

    The network alone is validated, since tasks build on it. (Where a linear part answers well by
    itself, their sum stops gaining long before the network has learned what tasks need.) The linear
    part copies items that are viewed again, so with it the network need not: it is then watched
    on new items.
    """
    with progress.stage("laying out the events of an epoch", brief=True):
        batches = training_batches(pretrainer, log, settings)
    validation = NextItemEvaluation(
        log.sequences,
        settings.max_length,
        VALIDATION,
        log.keep_seen and not settings.linear,
        log.most_validated,
        None if examples is None else examples.vocabulary,
        log.counts,
    )
    recipe = Recipe(
        settings.learning_rate,
        settings.epochs,
        PATIENCE[starts_trained],
        METRIC.monitor,
        METRIC.mode,
        drops=1,
        counts_start=starts_trained,
        average=AVERAGE,
        steps=log.steps_of_epoch(batches, settings.steps_per_epoch),
        least_gain=settings.least_gain,
        finish=settings.finish,
    )
    measure = lambda: validation.measure(pretrainer)
    if path is not None:
        measure, recipe = None, recipe.again(path)
    forward = pretrainer.user_states
    return fit(
        title,
        pretrainer,
        None,
        batches,
        measure,
        forward,
        recipe,
        folder,
        show=None if examples is None else examples.markdown,
        profile=settings.profile and path is None,
    )
