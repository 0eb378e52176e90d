"""The linear part of a task alone, without a network."""

import functools
import time

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.event_fields import find_fields
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.task_data import (
    example_writer,
    fit_linear,
    load_task,
    task_result,
    with_kind,
    write_test,
)
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import LinearSettings
from keras_peterrec.types import Json


@takes(LinearSettings)
def linear(settings: LinearSettings) -> Json:
    """Solves a task by a regression on the bag of source items, on the same split as `transfer`.

    It is ridge regression to target items or to a number, and logistic regression to classes or
    labels. It knows every item of the log and, where `fields` are named, what these tell of each
    event, and needs no host.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the data cannot be used.
    """
    began = time.perf_counter()
    fields = as_fields(settings.fields)
    log, answers, users = load_task(settings, fields or None)
    settings, kind = with_kind(settings, answers)
    vocabulary = Vocabulary.from_counts(log.item_ids, np.bincount(log.items))
    source = log.encode(vocabulary)
    told = find_fields(source, fields, times=False)
    source.tell(told)
    data = kind.make_data(source, answers, int(source.lengths.max()), settings)
    fingerprints = [log.fingerprint(), answers.fingerprint()]
    data.tell_fields((), told, times=True)
    if users is not None:
        data.tell(users)
        fingerprints.append(users.fingerprint())
    with RunFolder(settings.out, settings, fingerprints) as folder:
        if (earlier := folder.earlier_result()) is not None:
            return earlier
        fitted = fit_linear(data, len(vocabulary.items))
        if fitted is None:
            raise InputError(f"`kind` should have a linear part. Received: {data.kind.name}.")
        seconds = round(time.perf_counter() - began, 2)
        measure = functools.partial(data.measure_linear, fitted)
        result = {
            **task_result(settings, data, fingerprints, measure),
            "linear": fitted.chosen,
            "parameters": {"host": 0, "trainable": fitted.values, "total": fitted.values},
            "seconds": {"fit": seconds, "total": seconds},
        }
        examples = example_writer(settings, source, vocabulary)
        write_test(folder.path, result, data.kind.metric, examples)
        return folder.finish(result)
