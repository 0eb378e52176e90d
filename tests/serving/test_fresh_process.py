"""An export answers in a process without Keras and this library."""

import os
import subprocess
import sys

import pytest
from serving_samples import ASKED, HISTORIES, OF_REQUESTS, assert_same, expected, inputs_for

from keras_peterrec.serving.verify.answers import has_c_loader, loader_answers
from keras_peterrec.serving.verify.export_folder import ExportFolder

needs_c_loader = pytest.mark.skipif(
    not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2"
)
CLI = ("-m", "tensorflow.python.tools.saved_model_cli")


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


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        # As test_verify.py asks it and test_export.py asks Python.
        pytest.param("causal_export", "c", marks=[needs_c_loader, pytest.mark.slow]),
        pytest.param("masked_export", "tensorflow", marks=pytest.mark.slow),
        pytest.param("masked_export", "c", marks=[needs_c_loader, pytest.mark.slow]),
        pytest.param("causal_export", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_other_loaders_answer_as_python_does(request, name, loader):
    exported = request.getfixturevalue(name)
    folder = ExportFolder(exported.out)
    assert set(folder.signature_defs) == set(ASKED)
    # `test_select` asks the signatures with more inputs.
    batches = {name: inputs_for(name, HISTORIES) for name in ASKED if name not in OF_REQUESTS}
    for name, answer in loader_answers(loader, folder, batches).items():
        assert_same(answer, expected(exported, name, HISTORIES))


@pytest.mark.parametrize(
    "loader",
    [
        pytest.param("c", marks=needs_c_loader),
        pytest.param("tensorflow", marks=pytest.mark.slow),
    ],
)
def test_other_loaders_say_why_they_cannot_load(tmp_path, loader):
    with pytest.raises(RuntimeError, match="SavedModel"):
        loader_answers(loader, ExportFolder(tmp_path), {})


@pytest.mark.slow
def test_saved_model_cli_shows_it(causal_export, tmp_path):
    shown = run(*CLI, "show", "--dir", causal_export.out, "--all", cwd=tmp_path)
    for name in ("serving_default", "embed", *causal_export.tasks):
        assert f"signature_def['{name}']" in shown
    assert "inputs['history'] tensor_info:\n        dtype: DT_STRING\n        shape: (-1)" in shown


@pytest.mark.slow
def test_saved_model_cli_runs_it(causal_export, tmp_path):
    printed = run(
        *(*CLI, "run", "--dir", causal_export.out, "--tag_set", "serve"),
        *("--signature_def", "films", "--input_exprs", 'history=["s0 s5", ""]'),
        cwd=tmp_path,
    )
    reference = expected(causal_export, "films", ["s0 s5", ""])
    for item in reference["items"].flat:
        assert f"b'{item}'" in printed
