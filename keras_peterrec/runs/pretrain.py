"""From a log to a host."""

import time
from typing import Any

import numpy as np

from keras_peterrec.data.packed_batches import causal_batches, masked_batches
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.micro_batches import CACHED_VALUES
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.progress import stage
from keras_peterrec.runs.next_item import TEST, VALIDATION, NextItemEvaluation
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import load_source
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.fit import Recipe, fit
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import OBJECTIVES, Host

VALIDATION_USERS = 5_000
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
    log = load_source(settings.log)
    sequences, vocabulary, counts = encode_log(log, settings.min_count)
    found = RunFolder(settings.out, settings, log.fingerprint(), devices=devices)
    with found as folder, seeded(settings.seed):
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        with devices.scope():
            pretrainer = new_pretrainer(settings, len(vocabulary))
        training = _train(pretrainer, sequences, settings, folder.path)

        def finish():
            Host(pretrainer, vocabulary, settings.max_length).save(folder.path)
            result = {
                **_describe(log, pretrainer, settings),
                **_measure(pretrainer, sequences, settings.max_length, counts),
                **training.summary(time.perf_counter() - began),
            }
            folder.finish(result)
            training.finish()
            return result

        return devices.on_chief(finish)


def _describe(log, pretrainer, settings):
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "seed": settings.seed,
        "data": {
            "fingerprint": log.fingerprint(),
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "events": len(log),
        },
        "parameters": {
            "host": pretrainer.backbone.count_params(),
            "trainable": pretrainer.count_params(),
            "total": pretrainer.count_params(),
        },
    }


def encode_log(log: Any, min_count: int = 1) -> tuple:
    """Sequences, vocabulary and training counts of a log.

    Counts are of the events that training may see: all but each user's last two.

    Returns:
        Sequences, Vocabulary and an int array `[V - 4]` of counts.

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
    counts = np.bincount(log.items[order][~held_out], minlength=len(log.item_ids))
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


def _measure(pretrainer, sequences, max_length, counts):
    """Final metrics of both held-out events, and of popularity."""
    validation, test = (
        NextItemEvaluation(sequences, max_length, held_out) for held_out in (VALIDATION, TEST)
    )
    with stage("measuring validation and test events"):
        baseline = {"name": "popularity", "test": test.popularity(counts)}
        metrics = {
            "validation": validation.measure(pretrainer, new_items=True),
            "test": test.measure(pretrainer, new_items=True),
        }
    return {
        "metrics": metrics,
        "baseline": baseline,
        "baselines": [baseline],
    }


def training_batches(
    pretrainer: Pretrainer, sequences: Sequences, settings: PretrainSettings
) -> Any:
    """One epoch of a log, every event once: a tf.data.Dataset of `(history, targets)`."""
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
    arguments = {"tokens": tokens, "rows": replicas * max(1, cached), "seed": settings.seed}
    if causal:
        return causal_batches(
            sequences.items, *windows, unknown_rate=settings.unknown_rate, **arguments
        )
    vocabulary_size = pretrainer.backbone.vocabulary_size
    return masked_batches(sequences.items, *windows, vocabulary_size=vocabulary_size, **arguments)


def _train(pretrainer, sequences, settings, folder):
    batches = training_batches(pretrainer, sequences, settings)
    validation = NextItemEvaluation(sequences, settings.max_length, VALIDATION, VALIDATION_USERS)
    recipe = Recipe(
        settings.learning_rate, settings.epochs, 4, "val_ndcg@10", "max", drops=1, average=AVERAGE
    )
    measure = lambda: validation.measure(pretrainer)
    forward = pretrainer.user_states
    return fit("pretrain", pretrainer, None, batches, measure, forward, recipe, folder)
