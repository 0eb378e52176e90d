"""Other programs that load an export: what they answer, as arrays.

Each is a script of its own, so that it shares nothing with this process. It reads a
JSON list of requests, `{"signature", "inputs" ({name: a tensor's name}), "outputs"
(likewise), "batch" ({input name: strings in base64})}`, and prints a list of answers,
`{name: {"shape", "values"}}`, strings in base64 again.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_peterrec.serving.checks.export_folder import decoded

_TIMEOUT = 600


def has_c_loader():
    """Whether this TensorFlow brings its C library (on Linux it does)."""
    return (Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2").is_file()


def c_loader_answers(path, signature_defs, batches):
    """Answers through the loader that TensorFlow Serving uses.

    Args:
        path: path of a version directory.
        signature_defs: dict from name to `SignatureDef`.
        batches: dict from name to a batch for that signature, dict from input name to
            list of bytes.

    Returns:
        dict from name to dict of arrays.

    Raises:
        RuntimeError: it does not load or answer; the message says why, in one line.
    """
    return _answers("c_loader.py", path, signature_defs, batches, tf.sysconfig.get_lib())


def tensorflow_answers(path, signature_defs, batches):
    """Answers in a process that has TensorFlow alone; see `c_loader_answers`."""
    return _answers("tensorflow_loader.py", path, signature_defs, batches)


def _answers(script, path, signature_defs, batches, *arguments):
    requests = [_request(name, signature_defs[name], batch) for name, batch in batches.items()]
    # Without PYTHONPATH: this library should not be found there.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), str(path), *arguments],
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
        name: {key: _array(key, tensor) for key, tensor in answer.items()}
        for name, answer in zip(batches, json.loads(done.stdout), strict=True)
    }


def _request(name, signature, batch):
    return {
        "signature": name,
        "inputs": {key: signature.inputs[key].name for key in batch},
        "outputs": {key: output.name for key, output in signature.outputs.items()},
        "batch": {
            key: [base64.b64encode(text).decode() for text in rows] for key, rows in batch.items()
        },
    }


def _array(output, tensor):
    values = tensor["values"]
    if not values or not isinstance(values[0], str):
        return np.array(values, "float32").reshape(tensor["shape"])
    strings = np.empty(len(values), object)
    strings[:] = [base64.b64decode(value) for value in values]
    return decoded(output, strings.reshape(tensor["shape"]))
