"""Ridge regression on the bag of source items: a task's linear baseline."""

import functools
import time

import numpy as np

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.splits import TRAIN, VALIDATION
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.metrics import RidgeRanker
from keras_peterrec.progress import stage
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import load_answers, load_source, task_result, with_kind
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
        with stage("solving") as found:
            penalty, ranker = _best(data, len(vocabulary), settings.penalties)
            found(f"penalty {penalty:g}")
        seconds = round(time.perf_counter() - began, 2)
        size = ranker.item_table.size
        return folder.finish(
            {
                **task_result(
                    settings, data, fingerprints, functools.partial(measure, ranker, data)
                ),
                "penalty": penalty,
                "parameters": {"host": 0, "trainable": size, "total": size},
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
    """The penalty that is best on the validation split, and its ranker."""
    metric, best = data.kind.metric, None
    for penalty in penalties:
        ranker = fit_ranker(data, vocabulary_size, float(penalty))
        value = measure(ranker, data, VALIDATION)[metric.name]
        if best is None or metric.is_better(value, best[0]):
            best = value, float(penalty), ranker
    return best[1:]


def _bags(source, split):
    rows = [source.items[start:stop] for start, stop in zip(split.starts, split.stops)]
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows)
