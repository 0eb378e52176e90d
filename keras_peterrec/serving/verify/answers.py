"""Checks of answers: they should not depend on the batch or on the program that loads.

Each `check_` function takes an ExportFolder and returns the problems that it finds, a list of str.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.serving.signature_names import CLASSIFY, REGRESS, STATE
from keras_peterrec.serving.signatures import decoded
from keras_peterrec.serving.step_signature import state_array
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.warmup import MOST_RECORDS, replay_warmup

_CLOSE = {"rtol": 1e-4, "atol": 1e-5}
_FILLED_ROWS = 3
_TIMEOUT = 600  # seconds for another process


def check_warmup(folder: ExportFolder) -> list[str]:
    """Finds warm-up requests that are missing, too many or fail."""
    problems = []
    # With too many signatures, `export` leaves out the requests of the last ones.
    if len(folder.warmup) != MOST_RECORDS:
        asked = {name for name, _ in folder.warmup}
        missing = [name for name in folder.signature_defs if name not in asked]
        problems += [f"{name}: has no warm-up request" for name in missing]
    if len(folder.warmup) > MOST_RECORDS:
        problems.append(
            f"there should be at most {MOST_RECORDS} warm-up requests. Found: {len(folder.warmup)}"
        )
    failed = replay_warmup(folder.signatures, folder.warmup)
    lines = dict.fromkeys(f"{name}: its warm-up request {problem}" for name, problem in failed)
    return problems + list(lines)


def check_batches(folder: ExportFolder) -> list[str]:
    """Finds signatures whose answer to a row depends on the other rows of the batch."""
    problems = []
    for name in folder.askable:
        batch = folder.samples(name)
        count = len(next(iter(batch.values())))
        answer = folder.answer(name, **batch)
        rows = [folder.answer(name, **_rows(batch, slice(n, n + 1))) for n in range(count)]
        alone = {key: np.concatenate([row[key] for row in rows]) for key in answer}
        backwards = folder.answer(name, **_rows(batch, slice(None, None, -1)))
        # A server fills a batch up to an allowed size with copies of its first row.
        filled = {key: rows + rows[:1] * _FILLED_ROWS for key, rows in batch.items()}
        others = {
            "its answer in a batch is not its answer alone": alone,
            "its answer depends on the order of the rows": _rows(backwards, slice(None, None, -1)),
            "its answer changes when the batch is filled up": _rows(
                folder.answer(name, **filled), slice(count)
            ),
        }
        problems += [
            f"{name}: {problem}"
            for problem, other in others.items()
            if not same_answers(answer, other)
        ]
    return problems


def check_c_loader(folder: ExportFolder, thorough: bool = False) -> list[str]:
    """Compares with the answers of the loader that TensorFlow Serving uses.

    `thorough` optimizes graphs as a server does, and also asks the signatures that read
    `tf.Example` and run the same network again.
    """
    if not has_c_loader():
        return []
    names = folder.askable
    if not thorough:
        names = [name for name in names if not name.endswith((CLASSIFY, REGRESS))] or names
    return _compare(folder, "c" if thorough else "c-quick", "TensorFlow's C loader", names)


def check_tensorflow_alone(folder: ExportFolder) -> list[str]:
    """Compares with the answers of a process without Keras and this library."""
    return _compare(folder, "tensorflow", "TensorFlow alone", folder.askable)


def same_answers(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two answers, arrays `[B, ...]` by output, differ by no more than float noise.

    Strings may change places only where the numbers beside them are as good as equal.
    """
    if one.keys() != other.keys() or any(one[k].shape != other[k].shape for k in one):
        return False
    return all(_same(key, values, other[key], one) for key, values in one.items())


def _same(key, values, others, answer):
    if key == STATE:
        pairs = zip(map(state_array, values), map(state_array, others))
        return all(a.shape == b.shape and np.allclose(a, b, **_CLOSE) for a, b in pairs)
    if values.dtype != object:
        return _close(values, others)
    return not ((values != others) & ~_ties(values, answer)).any()


def _close(values, others):
    """Whether numbers differ by no more than noise, which grows with the largest of an output."""
    sizes = np.abs(values.astype("float64"))
    # The score of a place without an item is the lowest float32.
    largest = np.max(sizes, initial=1.0, where=sizes < np.finfo("float32").max)
    return np.allclose(values, others, _CLOSE["rtol"], _CLOSE["atol"] * largest)


def _ties(strings, answer):
    """Where the numbers beside the strings are about equal to those of the next place."""
    ties = np.zeros(strings.shape, bool)
    numbers = [n for n in answer.values() if n.dtype != object and n.shape == strings.shape]
    if numbers and strings.ndim > 1:
        equal = np.all([np.isclose(n[:, 1:], n[:, :-1], **_CLOSE) for n in numbers], axis=0)
        ties[:, 1:] |= equal
        ties[:, :-1] |= equal
    return ties


def _rows(batch, part):
    return {key: rows[part] for key, rows in batch.items()}


def _compare(folder, loader, title, names):
    batches = {name: folder.samples(name) for name in names}
    try:
        answers = loader_answers(loader, folder, batches)
    except RuntimeError as error:
        return [f"{title} says: {error}"]
    return [
        f"{name}: {title} gives another answer"
        for name, batch in batches.items()
        if not same_answers(folder.answer(name, **batch), answers[name])
    ]


def has_c_loader() -> bool:
    """Whether this TensorFlow brings its C library, as it does on Linux."""
    return (Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2").is_file()


def loader_answers(
    loader: str, folder: ExportFolder, batches: dict[str, Any]
) -> dict[str, dict[str, np.ndarray]]:
    """Asks an export in a process that shares nothing with this one; see `loader_process.py`.

    Args:
        loader: `"c"` for the loader that TensorFlow Serving uses, `"c-quick"` for the same without
            optimizing graphs, `"tensorflow"` for TensorFlow without Keras and this library.
        batches: for each signature a dict from input name to list of bytes or int.

    Raises:
        RuntimeError: the export cannot be loaded or asked. The message is one line.
    """
    script = Path(__file__).with_name("loader_process.py")
    requests = [_request(folder, name, batch) for name, batch in batches.items()]
    # Without PYTHONPATH, by which the process could find this library.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script), loader, str(folder.path.resolve()), tf.sysconfig.get_lib()],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
    return {
        name: {key: _array(key, **tensor) for key, tensor in answer.items()}
        for name, answer in zip(batches, json.loads(done.stdout), strict=True)
    }


def _request(folder, name, batch):
    signature = folder.signature_defs[name]
    return {
        "signature": name,
        "inputs": {key: signature.inputs[key].name for key in batch},
        "outputs": {key: output.name for key, output in signature.outputs.items()},
        # Latin-1 has a character for each byte, so that any bytes can travel as JSON.
        "batch": {
            key: [row if isinstance(row, int) else row.decode("latin-1") for row in rows]
            for key, rows in batch.items()
        },
    }


def _array(output, shape, values):
    if not values or not isinstance(values[0], str):
        return np.array(values, "float32").reshape(shape)
    strings = np.empty(len(values), object)
    strings[:] = [value.encode("latin-1") for value in values]
    return decoded(output, strings.reshape(shape))
