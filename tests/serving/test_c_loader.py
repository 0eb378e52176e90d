"""TensorFlow's C API loads an export and answers as Python does."""

import pytest
from serving_samples import ASKED, HISTORIES, assert_same, expected, inputs_for

from keras_peterrec.serving.checks.export_folder import ExportFolder
from keras_peterrec.serving.checks.loaders import c_loader_answers, has_c_loader


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_c_loader_answers_every_signature(exported):
    signatures = ExportFolder(exported.out).signature_defs
    batches = {name: inputs_for(name, HISTORIES) for name in ASKED}
    for name, answer in c_loader_answers(exported.out, signatures, batches).items():
        assert_same(answer, expected(exported, name, HISTORIES))


@pytest.mark.skipif(not has_c_loader(), reason="this TensorFlow brings no libtensorflow_cc.so.2")
def test_c_loader_says_why_not(tmp_path):
    with pytest.raises(RuntimeError, match="SavedModel"):
        c_loader_answers(tmp_path, {}, {})
