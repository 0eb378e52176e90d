"""From a log to a host."""

import time

import keras
import numpy as np

from keras_peterrec.data.log import Log
from keras_peterrec.data.packed_batches import causal_batches, masked_batches
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.distribution.devices import Devices
from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.micro_batches import CACHED_VALUES
from keras_peterrec.runs.next_item import TEST, VALIDATION, NextItemEvaluation
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.settings import check_settings, name_of
from keras_peterrec.runs.training import Recipe, fit
from keras_peterrec.transfer.host import OBJECTIVES, Host

VALIDATION_USERS = 5_000
UNKNOWN_RATE = 0.2  # of a causal objective


def pretrain(
    log,
    out,
    objective="causal",
    hidden_dim=64,
    blocks=8,
    max_length=100,
    epochs=40,
    batch_size=None,
    learning_rate=1e-3,
    dropout=0.3,
    unknown_rate=UNKNOWN_RATE,
    min_count=1,
    seed=0,
    devices=None,
):
    """Pretrains a host on a log, without labels, and saves it as a run folder.

    The last event of every user is kept for the test and the last but one for
    validation, which also says when to stop. The same call on an interrupted
    folder goes on; on a finished one it returns what was found.

    Args:
        log: str, path or Log. The source log; see `load_log`.
        out: path of the run folder.
        objective: str. `"causal"` (next items) or `"masked"`.
        hidden_dim: int. Channels C.
        blocks: int. Residual blocks.
        max_length: int. Events of a training window and of a history.
        epochs: int. At most; early stopping ends most runs before.
        batch_size: int or `None`. Full windows in a batch, which is packed with
            shorter ones too. Defaults to `None`, about 1,000 events.
        learning_rate: float. Of Adam.
        dropout: float. On embeddings and branches.
        unknown_rate: float. Share of the inputs that are hidden as unknown items, of a
            causal objective.
        min_count: int. Items with fewer training events become unknown.
        seed: int.
        devices: int, `"all"` or `None`. See `Devices.open`; the result does not depend
            on it but for float noise and dropout.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the log cannot be used.
    """
    settings = dict(locals())
    for argument in ("log", "out", "devices"):
        del settings[argument]
    check_settings(settings)
    if objective not in OBJECTIVES:
        raise InputError(
            f"`objective` should be one of {', '.join(OBJECTIVES)}. "
            f"Received: `objective` = {objective!r}."
        )
    if objective == "masked" and max_length < 2:
        raise InputError(
            "`max_length` should be at least 2 where items are masked, since one must be shown. "
            f"Received: `max_length` = {max_length}."
        )
    if objective == "masked" and unknown_rate != UNKNOWN_RATE:
        raise InputError(
            "`unknown_rate` should be left out where items are masked. "
            f"Received: `unknown_rate` = {unknown_rate}."
        )
    began = time.perf_counter()
    devices = Devices.open(devices)
    name, log = name_of(log), log if isinstance(log, Log) else load_log(log)
    settings = {"log": name, **settings, "data": log.fingerprint()}
    sequences, vocabulary, counts = encode_log(log, min_count)
    with RunFolder(out, "pretrain", settings, devices) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        with devices.scope():
            pretrainer = _new_pretrainer(settings, len(vocabulary))
        training = _train(pretrainer, sequences, settings, folder.path)

        def finish():
            Host(pretrainer, vocabulary, max_length).save(folder.path)
            result = {
                **_describe(log, pretrainer, settings),
                **_measure(pretrainer, sequences, max_length, counts),
                **training.summary(time.perf_counter() - began),
            }
            folder.finish(result)
            training.finish()
            return result

        return devices.on_chief(finish)


def _describe(log, pretrainer, settings):
    return {
        "command": "pretrain",
        "settings": settings,
        "seed": settings["seed"],
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


def encode_log(log, min_count=1):
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


def _new_pretrainer(settings, vocabulary_size):
    keras.utils.set_random_seed(settings["seed"])
    dilations = [(1, 4)[n % 2] for n in range(settings["blocks"])]
    backbone = Backbone(
        vocabulary_size,
        settings["hidden_dim"],
        dilations,
        causal=settings["objective"] == "causal",
        dropout=settings["dropout"],
    )
    return OBJECTIVES[settings["objective"]](backbone, tied=False, seed=settings["seed"])


def _measure(pretrainer, sequences, max_length, counts):
    """Final metrics of both held-out events, and of popularity."""
    validation, test = (
        NextItemEvaluation(sequences, max_length, held_out) for held_out in (VALIDATION, TEST)
    )
    return {
        "metrics": {
            "validation": validation.measure(pretrainer, new_items=True),
            "test": test.measure(pretrainer, new_items=True),
        },
        "baseline": {"name": "popularity", "test": test.popularity(counts)},
    }


def _train(pretrainer, sequences, settings, folder):
    causal, max_length = settings["objective"] == "causal", settings["max_length"]
    tokens = (settings["batch_size"] or max(4, 1_000 // max_length)) * max_length
    # Rows are what devices share and micro-batches are made of.
    replicas = Devices.of(pretrainer).replicas
    cached = tokens * settings["hidden_dim"] // (CACHED_VALUES * replicas)
    # A window of n inputs spans n + 1 events, which a masked one must hold itself.
    windows = sequences.training_windows(max_length if causal else max_length - 1)
    arguments = {"tokens": tokens, "rows": replicas * max(1, cached), "seed": settings["seed"]}
    if causal:
        batches = causal_batches(
            sequences.items, *windows, unknown_rate=settings["unknown_rate"], **arguments
        )
    else:
        batches = masked_batches(
            sequences.items,
            *windows,
            vocabulary_size=pretrainer.backbone.vocabulary_size,
            **arguments,
        )
    validation = NextItemEvaluation(sequences, max_length, VALIDATION, VALIDATION_USERS)
    recipe = Recipe(settings["learning_rate"], settings["epochs"], 4, "val_ndcg@10", "max", drops=1)
    measure = lambda: validation.measure(pretrainer)
    forward = pretrainer.user_states
    return fit("pretrain", pretrainer, None, batches, measure, forward, recipe, folder)
