"""Keras loads our files and classes, whatever was imported before, and in which order."""

import copy
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_peterrec as kp
from keras_peterrec.keras_registration import registered_classes
from keras_peterrec.network.residual_block import ResidualBlock
from keras_peterrec.transfer.strategies import build_task

PACKAGE = Path(kp.__file__).parent
CLASSES = registered_classes()
# Arguments of one of each; all others are made without any.
ARGUMENTS = {
    "FieldTable": {"rows": 5},
    "ConvolutionNetwork": {"vocabulary_size": 9, "hidden_dim": 4, "dilations": [1]},
    "AttentionNetwork": {"vocabulary_size": 9, "hidden_dim": 4, "blocks": 1, "window": 3},
    "AttentionBlock": {"heads": 2, "window": 3, "causal": False},
    "RecommenderHead": {"items": 3},
    "LinearHead": {"outputs": 2},
    "TargetLoss": {"kind": "bpr", "seed": 1},
    "RowSparseAdam": {"learning_rate": 0.25},
    "DilatedConvolution": {"filters": 3, "dilation_rate": 2},
    "ResidualBlock": {"dilation_rate": 2},
    "HashedDropout": {"rate": 0.5},
    "TaskToken": {"causal": False},
    "SampledSoftmax": {"items": 9, "negatives": 3, "counts": [3] * 9, "sampler": "in_batch"},
    "BottleneckPatch": {"width": 2, "parallel": False, "inner_skip": True},
    "CompacterPatch": {"width": 4, "factor": 2},
    "LoraPatch": {"rank": 2, "seen": 24},
    "ItemLoraPatch": {"rows": 6, "rank": 2},
    "AffinePatch": {"shift": False},
    "UserFieldVectors": {"values": 3, "channels": 4},
    "LinearTable": {"items": 5, "outputs": 2, "fade": 8.0, "power": 0.5, "events": 7, "entries": 3},
}


def backbone(causal=True):
    return kp.ConvolutionNetwork(9, 4, (1,), causal=causal)


MADE = {
    "CausalPretrainer": lambda: kp.CausalPretrainer(backbone(), tied=False, negatives=3, seed=1),
    "MaskedPretrainer": lambda: kp.MaskedPretrainer(
        backbone(causal=False), linear=kp.LinearTable(5, 5, entries=4)
    ),
    "TaskModel": lambda: kp.TaskModel(
        backbone(), kp.LinearHead(2), "lora:2+norm", linear=kp.LinearTable(5, 2, fade=2.0)
    ),
    "StackPatch": lambda: class_of("StackPatch")([kp.AffinePatch(), class_of("LoraPatch")(2, 24)]),
}


def class_of(name):
    return getattr(importlib.import_module(CLASSES[name]), name)


def test_no_registered_class_is_missed():
    text = "".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert len(CLASSES) == text.count("\n@keras.saving.register_keras_serializable(") > 20
    assert CLASSES["ResidualBlock"] == ResidualBlock.__module__


@pytest.mark.parametrize("name", CLASSES)
def test_every_registered_class_comes_back_from_its_config(name):
    one = MADE[name]() if name in MADE else class_of(name)(**ARGUMENTS.get(name, {}))
    config = keras.saving.serialize_keras_object(one)
    assert config["registered_name"] == f"keras_peterrec>{name}"
    twin = keras.saving.deserialize_keras_object(copy.deepcopy(config))  # Keras may change it
    assert type(twin) is type(one)
    assert without_ids(keras.saving.serialize_keras_object(twin)) == without_ids(config)


def without_ids(config):
    """A config without the ids by which models of one file share a backbone."""
    if isinstance(config, list):
        return [without_ids(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {key: without_ids(part) for key, part in config.items() if key != "shared_object_id"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of every kind of model, the pretrainer's by ModelCheckpoint."""
    folder = tmp_path_factory.mktemp("models")
    host = backbone()
    host.save(folder / "backbone.keras")
    for method in ("patch", "last1"):
        task = build_task(host, kp.LinearHead(2), method)
        task.linear = kp.LinearTable(5, 2)
        task.save(folder / f"{method}.keras")
    pretrainer = kp.CausalPretrainer(host, negatives=3, linear=kp.LinearTable(5, 5, entries=4))
    pretrainer.compile(kp.RowSparseAdam(), run_eagerly=True)
    checkpoint = keras.callbacks.ModelCheckpoint(str(folder / "pretrainer.keras"))
    ids = np.array([[4, 5, 6], [0, 7, 8]])
    pretrainer.fit(ids, ids, verbose=0, callbacks=[checkpoint])
    return folder


errors_first = "import keras_peterrec; from keras_peterrec.errors import InputError; import keras"
one_layer_first = "from keras_peterrec.layers.hashed_dropout import HashedDropout; import keras"
one_name_first = "import keras_peterrec as kp; kp.Bottleneck; import keras"


@pytest.mark.parametrize(
    "imports",
    [
        one_layer_first,
        *(
            pytest.param(imports, marks=pytest.mark.slow)
            for imports in (
                *("import keras, keras_peterrec", "import keras_peterrec, keras"),
                *(errors_first, one_name_first),
            )
        ),
    ],
)
def test_a_fresh_process_loads_every_file(files, imports):
    code = f"""
import sys
{imports}
for file in sys.argv[1:]:
    print(type(keras.models.load_model(file)).__name__)
"""
    paths = [str(files / f"{name}.keras") for name in ("patch", "backbone", "pretrainer", "last1")]
    command = [sys.executable, "-c", code, *paths]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == [
        "TaskModel",
        "ConvolutionNetwork",
        "CausalPretrainer",
        "TaskModel",
    ]
