"""Asks an export in processes that share nothing with this one; see `loader_process.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.serving.verify.export_folder import ExportFolder, decoded

_TIMEOUT = 600  # seconds


def has_c_loader() -> bool:
    """Tells whether this TensorFlow brings its C library, as it does on Linux."""
    return (Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2").is_file()


def loader_answers(loader: str, folder: ExportFolder, batches: dict[str, Any]):
    """Asks an export in a process of its own.

    Args:
        loader: str. `"c"` for the loader that TensorFlow Serving uses, `"c-quick"` for the same
            without optimizing graphs, `"tensorflow"` for TensorFlow without Keras and this library.
        batches: dict from signature to the batch that it is asked, a dict from input name to
            list of bytes or int.

    Returns:
        dict from signature to dict of arrays.

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
        "batch": {key: [_sent(row) for row in rows] for key, rows in batch.items()},
    }


def _sent(value):
    return value if isinstance(value, int) else value.decode("latin-1")


def _array(output, shape, values):
    if not values or not isinstance(values[0], str):
        return np.array(values, "float32").reshape(shape)
    strings = np.empty(len(values), object)
    strings[:] = [value.encode("latin-1") for value in values]
    return decoded(output, strings.reshape(shape))
