"""Are answers those of a user alone, whoever else is in the batch and whoever loads?"""

import numpy as np

from keras_peterrec.serving.checks.loaders import (
    c_loader_answers,
    has_c_loader,
    tensorflow_answers,
)
from keras_peterrec.serving.signature_names import STATE
from keras_peterrec.serving.step_signature import state_array
from keras_peterrec.serving.warmup import BATCH_SIZES, MOST_RECORDS, replay_warmup

_CLOSE = {"rtol": 1e-4, "atol": 1e-5}
_PADDING = 3


def check_warmup(folder):
    """Warm-up requests that are missing, too many or not answered, a list of str."""
    problems = _missing_requests(folder)
    if len(folder.warmup) > MOST_RECORDS:
        problems.append(
            f"there should be at most {MOST_RECORDS} warm-up requests. Found: {len(folder.warmup)}"
        )
    found = replay_warmup(folder.signatures, folder.warmup)
    found = dict.fromkeys(f"{name}: its warm-up request {problem}" for name, problem in found)
    return problems + list(found)


def _missing_requests(folder):
    names = list(folder.signature_defs)
    # Of so many signatures that not all fit, the largest batches are left out.
    sizes = set(BATCH_SIZES[: MOST_RECORDS // max(1, len(names))])
    asked = {name: set() for name in names}
    for name, inputs in folder.warmup:
        asked.setdefault(name, set()).update(map(len, inputs.values()))
    problems = []
    for name in names:
        missing = sorted(sizes - asked[name])
        if not asked[name]:
            problems.append(f"{name}: has no warm-up request")
        elif missing:
            rows = ", ".join(map(str, missing))
            problems.append(f"{name}: has no warm-up request of a batch of {rows}")
    return problems


def check_batches(folder):
    """Signatures whose answer depends on the rest of the batch, a list of str."""
    problems = []
    for name in folder.askable:
        batch = folder.samples(name)
        count = len(next(iter(batch.values())))
        together = folder.answer(name, **batch)
        alone = [folder.answer(name, **_rows(batch, slice(n, n + 1))) for n in range(count)]
        joined = {key: np.concatenate([answer[key] for answer in alone]) for key in together}
        if not same_answers(together, joined):
            problems.append(f"{name}: answers otherwise in a batch than alone")
        turned = folder.answer(name, **_rows(batch, slice(None, None, -1)))
        if not same_answers(together, {key: values[::-1] for key, values in turned.items()}):
            problems.append(f"{name}: answers otherwise in another order")
        # A server fills a batch up to an allowed size with copies of its first row.
        filled = {key: rows + rows[:1] * _PADDING for key, rows in batch.items()}
        padded = folder.answer(name, **filled)
        if not same_answers(together, {k: v[:count] for k, v in padded.items()}):
            problems.append(f"{name}: answers otherwise in a batch that was filled up")
    return problems


def check_c_loader(folder):
    """What TensorFlow Serving's own loader says, a list of str."""
    return _compare(folder, c_loader_answers, "TensorFlow's C loader") if has_c_loader() else []


def check_tensorflow_alone(folder):
    """What a process with TensorFlow, without Keras and this library, says, a list of str."""
    return _compare(folder, tensorflow_answers, "TensorFlow alone")


def same_answers(one, other):
    """Whether two answers differ by no more than float noise.

    Names may differ only where scores beside each other are as good as equal.
    """
    if one.keys() != other.keys() or any(one[k].shape != other[k].shape for k in one):
        return False
    for key, values in one.items():
        if key == STATE:
            pairs = zip(map(state_array, values), map(state_array, other[key]))
            if not all(a.shape == b.shape and np.allclose(a, b, **_CLOSE) for a, b in pairs):
                return False
        elif values.dtype != object:
            if not np.allclose(values, other[key], **_CLOSE):
                return False
        elif ((values != other[key]) & ~_ties(one.get("scores"), values.shape)).any():
            return False
    return True


def _rows(batch, part):
    return {key: rows[part] for key, rows in batch.items()}


def _ties(scores, shape):
    ties = np.zeros(shape, bool)
    if scores is not None and scores.shape == shape:
        equal = np.isclose(scores[:, 1:], scores[:, :-1], **_CLOSE)
        ties[:, 1:] |= equal
        ties[:, :-1] |= equal
    return ties


def _compare(folder, answers, loader):
    batches = {name: folder.samples(name) for name in folder.askable}
    try:
        found = answers(folder.path.resolve(), folder.signature_defs, batches)
    except RuntimeError as error:
        return [f"{loader} says: {error}"]
    return [
        f"{name}: {loader} answers otherwise"
        for name, batch in batches.items()
        if not same_answers(folder.answer(name, **batch), found[name])
    ]
