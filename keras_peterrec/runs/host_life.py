"""The life of a host: how it is trained, weighed, measured and saved."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_split import TEST, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.log.splits import mean_one_factor, target_weight
from keras_peterrec.log.streamed_batches import StreamedBatches
from keras_peterrec.log.vocabulary import rows_of_items
from keras_peterrec.models.micro_batches import CACHED_VALUES
from keras_peterrec.models.pretrainer import OBJECTIVES, Pretrainer
from keras_peterrec.network.network import ITEM_TABLE
from keras_peterrec.network.registry import read_network
from keras_peterrec.runs.advice import LINEAR, NETWORK
from keras_peterrec.runs.host_linear import (
    Bounds,
    fit_ease,
    fit_linear,
    join,
    refit_linear,
    rule_baselines,
    sparse_regression_of,
)
from keras_peterrec.runs.life import Life
from keras_peterrec.runs.next_item import METRIC, NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.run_folder import FINAL
from keras_peterrec.runs.task_data import FEW_TEST_USERS, example_writer, few_test_users
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.transfer.host import OUTPUT_TABLE
from keras_peterrec.transfer.learned_fields import LearnedFields
from keras_peterrec.types import Json

# Epochs without improvement until the learning rate drops; fewer where a host was trained before.
PATIENCE = {False: 4, True: 2}
SLIT = "SLIT"  # what the linear part alone is called, as a baseline
# Epochs of a new host, by which its time is estimated: over twenty trainings on six logs of 100,000
# to a million events had as many, with 32 to 128 channels of both networks.
HOST_EPOCHS = 15, 35
AVERAGE = 0.998  # of the weights, over about 500 steps
UNTOLD = 0.2  # share of the windows of whose events nothing is told but the items


class HostLife(Life):
    """The life of a host: trained on the next or the hidden items of a log.

    Args:
        settings, devices, fingerprints, began: see `Life`.

    Attributes:
        host: Host that is trained, of `begin`.
        log: PretrainingLog in the host's ids, of `begin`.
        more_described: dict, what `metrics.json` says beside the settings and the log.
        more_baselines: list of dict, baselines of the host that this one begins with.
        earlier: LinearPart that the linear part may be held to, or `None`; see
            `best_item_regression`.
        item_fields: ItemFields that it is trained with, or `None`.
        goes_on: bool. Whether the host was trained before, so that its start may be the best.
    """

    metric = METRIC
    asked = "for next items; tasks may still build on it"
    host: Any = None
    log: Any = None
    item_fields: Any = None
    linear = earlier = None
    goes_on = False

    def __init__(
        self,
        settings: Any,
        devices: Devices,
        fingerprints: Any,
        began: float,
        how: PretrainSettings,
    ) -> None:
        super().__init__(settings, devices, fingerprints, began)
        self.how, self.more_described, self.more_baselines = how, {}, []

    def train(self, folder: Path, measured: Json | None = None) -> Any:
        command, path = self.settings.command, None
        if measured is None:
            users = int((self.log.sequences.split.test >= 0).sum())
            if users < FEW_TEST_USERS and self.devices.is_chief:
                progress.line(few_test_users(users))
            sequences = self.log.sequences
            self.examples = example_writer(self.settings, sequences, self.host.vocabulary)
        else:
            command, path = f"{command} on everything", measured["best_path"]
            folder, self.examples = folder / FINAL, None
        trained = self.host.pretrainer, self.log, self.how
        found = _train(command, *trained, folder, self.goes_on, self.examples, path)
        if learned := self.host.pretrainer.fold_item_fields():
            paths = dict(zip((ITEM_TABLE, OUTPUT_TABLE), learned))
            self.host.item_fields = LearnedFields(self.item_fields.fields, paths)
        return found

    def add_linear(self) -> Json:
        settings = self.how
        if settings.linear or settings.baselines:
            counted = _counter(self.log, settings), self.bounds
            self.linear = fit_linear(self.log, *counted, self.earlier)
        if not settings.linear:
            return {}
        weight = join(self.host.pretrainer, self.linear, self.log, settings)
        return {"linear": {"weight": weight, **self.linear.chosen}}

    def refit_linear(self, measured: Json) -> None:
        if not measured.get("linear", {}).get("weight"):
            return
        counted = _counter(self.log, self.how), self.bounds
        part = refit_linear(self.log, *counted, measured["linear"], self.earlier)
        self.host.pretrainer.linear = LinearTable.of_part(part)

    @property
    def bounds(self) -> Bounds:
        """How much the linear part may cost."""
        return Bounds.of(self.log, self.how.epochs, self.host.backbone)

    def save(self, folder: Path, everything: bool = False) -> None:
        self.host.save(folder)

    def measure(self) -> tuple[Json, Json]:
        pretrainer = self.host.pretrainer
        given = pretrainer, self.log, self.how, self.bounds, self.linear, self.more_baselines
        measured, parts = _measure(*given)
        described = {
            "command": self.settings.command,
            "settings": self.settings.recorded(),
            "seed": self.settings.seed,
            "decides": METRIC.described(),
            "data": self.log.summary,
            **self.more_described,
            "parameters": _parameters(pretrainer),
        }
        return {**described, **measured}, parts

    def history_lengths(self) -> np.ndarray:
        return self.log.sequences.lengths

    def vectors(self, rows: Mapping[str, np.ndarray]) -> tuple | None:
        vectors = rows_of_items(np.asarray(self.host.backbone.item_embedding.embeddings))
        return vectors, self.host.vocabulary.items, self.log.counts, "items of the source log"

    def trained_on(self, training: Any, measured: Json) -> Json:
        return {
            "events": self.log.summary["events"],
            "items": len(self.host.vocabulary.items),
            "epochs": sum(measured["best_path"]),
        }


def origin(settings: Any, final: bool = False, **more: Any) -> dict:
    """What `host.json` says of where a host comes from."""
    return {"split": settings.split, "final": final, **more}


def _counter(log, settings) -> Callable:
    """What counts the pairs of items of a log: this process, or a runner of Beam."""
    if settings.runner is None or not log.most_measured:
        return sparse_regression_of
    from keras_peterrec.runs.linear_counts_beam import count_on_beam  # an optional extra

    asked = {"runner": settings.runner, "options": settings.pipeline_options}
    return functools.partial(count_on_beam, **asked)


def _parameters(pretrainer):
    linear = 0 if pretrainer.linear is None else pretrainer.linear.count_params()
    total = pretrainer.count_params()
    return {
        "host": pretrainer.backbone.count_params(),
        "linear": linear,
        "trainable": total - linear,
        "total": total,
    }


def new_pretrainer(
    settings: Any,
    vocabulary_size: int,
    fields: Mapping[str, int] | None = None,
) -> Pretrainer:
    """The network of the settings with its output layer, not trained.

    Args:
        settings: PretrainSettings, or others with `network` and what it is made with;
            where they have no `objective`, it is `"causal"`.
        fields: dict. What it reads beside items; see `Network`. Defaults to `None`, nothing.
    """
    objective = getattr(settings, "objective", "causal")
    reads: Json = {"fields": fields} if fields else {}
    network_class, options = read_network(settings.network)
    if settings.blocks is not None:
        options["blocks"] = settings.blocks
    network = network_class(
        vocabulary_size,
        hidden_dim=settings.hidden_dim,
        causal=objective == "causal",
        dropout=settings.dropout,
        **options,
        **reads,
    )
    return OBJECTIVES[objective](network, tied=False, seed=settings.seed)


def _measure(pretrainer, log, settings, bounds, linear, more_baselines):
    """Final metrics of both held-out events and of the baselines; and those of both parts alone."""
    sequences, counts = log.sequences, log.counts
    described = {"users": log.most_measured, "vocabulary": log.vocabulary, "counts": counts}
    described |= {"keep_seen": log.keep_seen, "fields": log.fields}
    validation, test = (
        NextItemEvaluation(sequences, settings.max_length, part, **described)
        for part in (VALIDATION, TEST)
    )
    with progress.stage("measuring validation and test events"):
        progress.part("popularity")
        baseline = {"name": "popularity", "test": test.popularity(log.target_counts)}
        baselines = [baseline, *more_baselines]
        if settings.baselines:
            progress.part("rules by counts")
            by_time = is_moment(settings.split)
            baselines.extend(rule_baselines(sequences, log.target_counts, test, by_time))
            progress.part("EASE, fitted and chosen")
            bounded = bounds.is_exact(len(counts))
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
    entries = {
        "metrics": metrics,
        "baseline": baseline,
        "baselines": baselines,
        "intervals": intervals,
    }
    return entries, parts


def training_batches(
    pretrainer: Pretrainer, log: PretrainingLog | Events, settings: PretrainSettings
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
    cached = tokens * pretrainer.backbone.hidden_dim // (CACHED_VALUES * devices.replicas)
    rows = devices.replicas * max(1, cached)
    vocabulary_size = pretrainer.backbone.vocabulary_size
    read_log = log if isinstance(log, PretrainingLog) else None
    fields = EventFields() if read_log is None else read_log.fields
    shown: NextItems | HiddenItems = HiddenItems(vocabulary_size, untold_rate=UNTOLD)
    if causal:
        shown = NextItems(settings.unknown_rate, settings.later_rate, UNTOLD)
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
            split=log.counted,
            fields=fields,
        )
    sequences = log if isinstance(log, Events) else log.sequences
    longest = int(sequences.lengths.max())
    starts, stops = sequences.training_windows(window or longest)
    weights = sequences.target_weights
    if weights is not None:
        trained = sequences.split.trained
        total = target_weight(weights, sequences.offsets, trained)
        weights = weights * mean_one_factor(int(np.maximum(trained - 1, 0).sum()), total)
    items = fields.rows(sequences)
    return packed_batches(items, starts, stops, shown, tokens, rows, settings.seed, weights=weights)


def _train(
    title, pretrainer, log, settings, folder, starts_trained=False, examples=None, path=None
):
    """Trains to the best validation metric or, given a `path`, that way again.

    The network alone is validated, since tasks build on it. (Where a linear part answers well by
    itself, their sum stops gaining long before the network has learned what tasks need.)
    """
    with progress.stage("laying out the events of an epoch", brief=True):
        batches = training_batches(pretrainer, log, settings)
    validation = NextItemEvaluation(
        log.sequences,
        settings.max_length,
        VALIDATION,
        log.keep_seen,
        log.most_validated,
        None if examples is None else examples.vocabulary,
        log.counts,
        log.fields,
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
        usual=None if starts_trained else HOST_EPOCHS,
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
