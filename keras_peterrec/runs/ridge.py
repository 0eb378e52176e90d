"""Ridge regression on the bag of source items: a task's linear baseline."""

import time

import numpy as np

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.metrics import RidgeRanker
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import load_answers, load_source, with_kind
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import RidgeSettings


@takes(RidgeSettings)
def ridge(settings: RidgeSettings) -> dict:
    """Solves a task by ridge regression, on the same split as `transfer`.

    It goes from the bag of the source items of a history, all of it, to the answers: target items,
    classes or labels as zeros and ones, or a number. The penalty is the best one on the validation
    users.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the data cannot be used.
    """
    began = time.perf_counter()
    log, answers = load_source(settings.log), load_answers(settings)
    settings, kind = with_kind(settings, answers)
    vocabulary = Vocabulary.from_counts(log.item_ids, np.bincount(log.items))
    source = Sequences(log, vocabulary)
    data = kind.make_data(source, answers, int(source.lengths.max()), settings)
    fingerprints = [log.fingerprint(), answers.fingerprint()]
    with RunFolder(settings.out, settings, fingerprints) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        penalty, ranker, validation = _best(data, len(vocabulary), settings.penalties)
        seconds = round(time.perf_counter() - began, 2)
        baseline = data.baseline(TEST)
        return folder.finish(
            {
                "command": settings.command,
                "kind": kind.name,
                "settings": settings.recorded(),
                "seed": settings.seed,
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
                "baseline": baseline,
                "baselines": [baseline],
                "seconds": {"fit": seconds, "total": seconds},
            }
        )


def fit_ranker(data, vocabulary_size, penalty):
    """The ridge regression of a task's training rows, a fitted RidgeRanker."""
    ranker = RidgeRanker(l2=penalty)
    data.fit_linear(ranker, *_bags(data.source, data.splits[TRAIN]), vocabulary_size)
    return ranker


def measure(ranker, data, part, sampled=False):
    """Metrics of a fitted RidgeRanker on a split of a task's data."""
    queries = ranker.queries(*_bags(data.source, data.splits[part]))
    return data.measure_linear(queries, ranker.item_table, part, sampled)


def _best(data, vocabulary_size, penalties):
    """The penalty that is best on the validation split, with its ranker and metrics."""
    metric, best = data.kind.metric, None
    for penalty in penalties:
        ranker = fit_ranker(data, vocabulary_size, float(penalty))
        metrics = measure(ranker, data, VALIDATION)
        if best is None or metric.is_better(metrics[metric.name], best[2][metric.name]):
            best = float(penalty), ranker, metrics
    return best


def _bags(source, split):
    rows = [source.items[start:stop] for start, stop in zip(split.starts, split.stops)]
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows)
