"""TensorFlow's C API loads an export and answers as Python does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from serving_samples import HISTORIES, assert_same, expected
from tensorflow.core.protobuf import saved_model_pb2

LOADER = Path(__file__).with_name("serving_c_loader.py")
NAMES = ["embed", "serving_default", "films", "age-group.v2", "tuned"]


def requests(out, names):
    saved = saved_model_pb2.SavedModel.FromString((out / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    return [
        {
            "histories": HISTORIES,
            "input": signatures[name].inputs["history"].name,
            "outputs": {key: info.name for key, info in signatures[name].outputs.items()},
        }
        for name in names
    ]


def test_c_loader_answers_every_signature(exported):
    libraries = Path(tf.sysconfig.get_lib())
    if not (libraries / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow brings no libtensorflow_cc.so.2")
    done = subprocess.run(
        [sys.executable, LOADER, libraries, exported.out],
        input=json.dumps(requests(exported.out, NAMES)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name, answer in zip(NAMES, json.loads(done.stdout), strict=True):
        arrays = {
            key: np.array(rows, dtype=object if isinstance(rows[0][0], str) else "float32")
            for key, rows in answer.items()
        }
        assert_same(arrays, expected(exported, name, HISTORIES))
