"""An export answers in a process that has TensorFlow and nothing of ours."""

import json
import os
import subprocess
import sys

import numpy as np
from serving_samples import HISTORIES, assert_same, expected

CLI = ("-m", "tensorflow.python.tools.saved_model_cli")
# Neither the library nor Keras can be imported here.
SCRIPT = """
import json, sys
sys.modules["keras_peterrec"] = sys.modules["keras"] = None
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
histories = tf.constant(json.loads(sys.argv[2]))
answers = {}
for name, signature in model.signatures.items():
    answer = signature(history=histories)
    answers[name] = {
        key: [[v.decode() if isinstance(v, bytes) else float(v) for v in row] for row in t.numpy()]
        for key, t in answer.items()
    }
print(json.dumps(answers))
"""


def run(*arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorflow_alone_answers_as_python_does(exported, tmp_path):
    printed = run("-c", SCRIPT, exported.out, json.dumps(HISTORIES), cwd=tmp_path)
    answers = json.loads(printed)
    assert set(answers) == {"serving_default", "embed", *exported.tasks}
    for name, answer in answers.items():
        arrays = {
            key: np.array(rows, dtype=object if isinstance(rows[0][0], str) else "float32")
            for key, rows in answer.items()
        }
        assert_same(arrays, expected(exported, name, HISTORIES))


def test_saved_model_cli_shows_it(causal_export, tmp_path):
    shown = run(*CLI, "show", "--dir", causal_export.out, "--all", cwd=tmp_path)
    for name in ("serving_default", "embed", *causal_export.tasks):
        assert f"signature_def['{name}']" in shown
    assert "inputs['history'] tensor_info:\n        dtype: DT_STRING\n        shape: (-1)" in shown


def test_saved_model_cli_runs_it(causal_export, tmp_path):
    printed = run(
        *(*CLI, "run", "--dir", causal_export.out, "--tag_set", "serve"),
        *("--signature_def", "films", "--input_exprs", 'history=["s0 s5", ""]'),
        cwd=tmp_path,
    )
    reference = expected(causal_export, "films", ["s0 s5", ""])
    for item in reference["items"].flat:
        assert f"b'{item}'" in printed
