"""Ridge regression on the bag of source items: a task's linear baseline."""

import time

import numpy as np

from keras_peterrec.data.log import Log
from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.metrics import RidgeRanker, classification_metrics
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.settings import check_settings, name_of
from keras_peterrec.runs.task_data import check_answers, load_answers, make_data

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
LEAST_PROBABILITY = 1e-3


def ridge(
    log,
    out,
    target=None,
    labels=None,
    column=None,
    train_fraction=1.0,
    cut_history=True,
    penalties=PENALTIES,
    seed=0,
):
    """Solves a task by ridge regression, on the same split as `transfer`.

    From the bag of the source items of a history, all of it, to the target items or to
    the classes, one-hot; the penalty is the best one on the validation users. What it
    says of classes is clipped to `LEAST_PROBABILITY` and normalised, which makes
    probabilities of it.

    Args:
        log: str, path or Log. The source log, with the histories.
        out: path of the run folder.
        target, labels, column, train_fraction, cut_history, seed: see `transfer`.
        penalties: sequence of float. See `RidgeRanker`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the data cannot be used.
    """
    settings = dict(locals())
    del settings["out"]
    check_settings(settings)
    if not penalties:
        raise InputError("`penalties` should hold at least one number. Received: none.")
    check_answers(target, labels, column, cut_history)
    began = time.perf_counter()
    log = log if isinstance(log, Log) else load_log(log)
    answers = load_answers(target, labels, column)
    named = {key: name_of(settings[key]) for key in ("log", "target", "labels")}
    fingerprints = [log.fingerprint(), answers.fingerprint()]
    settings |= {**named, "penalties": list(penalties), "data": fingerprints}
    vocabulary = Vocabulary.from_counts(log.item_ids, np.bincount(log.items))
    source = Sequences(log, vocabulary)
    data = make_data(source, int(source.lengths.max()), answers, settings)
    with RunFolder(out, "ridge", settings) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        penalty, ranker, validation = _best(data, len(vocabulary), penalties)
        seconds = round(time.perf_counter() - began, 2)
        return folder.finish(
            {
                "command": "ridge",
                "settings": settings,
                "seed": seed,
                "penalty": penalty,
                "data": {"fingerprint": fingerprints, **data.summary()},
                "parameters": {
                    "host": 0,
                    "trainable": ranker.item_table.size,
                    "total": ranker.item_table.size,
                },
                "metrics": {
                    "validation": validation,
                    "test": measure(ranker, data, TEST, sampled=True),
                },
                "baseline": data.baseline(TEST),
                "seconds": {"fit": seconds, "total": seconds},
            }
        )


def fit_ranker(data, vocabulary_size, penalty):
    """The ridge regression of a task's training rows, a fitted RidgeRanker."""
    train = data.splits[TRAIN]
    answers = train.answers.reshape(len(train), -1)  # [E] of classes is [E, 1] of targets
    chosen = answers >= 0
    offsets = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))])
    size = len(data.targets) if data.kind == "recommend" else len(data.classes)
    bags = _bags(data.source, train)
    return RidgeRanker(l2=penalty).fit(*bags, vocabulary_size, offsets, answers[chosen], size)


def measure(ranker, data, part, sampled=False):
    """Metrics of a fitted RidgeRanker on a split of a task's data."""
    split = data.splits[part]
    queries = ranker.queries(*_bags(data.source, split))
    if data.kind == "recommend":
        return data.rank(queries, ranker.item_table, part, sampled)
    shares = np.clip(queries @ ranker.item_table.T, LEAST_PROBABILITY, None).astype("float64")
    shares /= shares.sum(axis=1, keepdims=True)
    return classification_metrics(shares, split.answers, len(data.classes))


def _best(data, vocabulary_size, penalties):
    """The penalty that is best on the validation split, with its ranker and metrics."""
    monitor = data.monitor.removeprefix("val_")
    sign = 1.0 if data.mode == "max" else -1.0
    best = None
    for penalty in penalties:
        ranker = fit_ranker(data, vocabulary_size, float(penalty))
        metrics = measure(ranker, data, VALIDATION)
        if best is None or sign * (metrics[monitor] - best[2][monitor]) > 0:
            best = float(penalty), ranker, metrics
    return best


def _bags(source, split):
    rows = [source.items[start:stop] for start, stop in zip(split.starts, split.stops)]
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows)
