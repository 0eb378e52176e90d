"""RowSparseAdam inside `fit`: compiled, saved, in mixed precision, on two devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from slow_cases import slow

from keras_peterrec import RowSparseAdam

ROWS, READ = 20, 12
random = np.random.default_rng(0)
IDS = random.integers(0, READ, (16, 6))
TARGETS = random.normal(size=(16, 1)).astype("float32")
BATCHES = tf.data.Dataset.from_tensor_slices((IDS, TARGETS)).batch(8)


def model_of(optimizer, jit=False, policy="float32"):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [
                keras.layers.Embedding(ROWS, 4),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(1),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(optimizer, loss="mse", jit_compile=jit)
    model.build((None, 6))
    return model


def fit(model, epochs=3):
    return model.fit(BATCHES, epochs=epochs, verbose=0)


def state_of(model):
    return [v.numpy() for v in (*model.weights, *model.optimizer.variables)]


def assert_same(ours, theirs, **tolerance):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, **tolerance)


def test_fit_is_the_same_compiled():
    states = []
    for jit in (False, True):
        model = model_of(RowSparseAdam(0.05, weight_decay=0.1, global_clipnorm=0.5), jit)
        start = model.get_weights()[0]
        fit(model)
        states.append(state_of(model))
        moved = (model.get_weights()[0] != start).any(axis=-1)
        assert moved.tolist() == [row in IDS for row in range(ROWS)]
    assert_same(*states, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit, loss_scale", [(False, True), *slow((True, False))])
def test_a_saved_model_goes_on_as_if_never_stopped(tmp_path, jit, loss_scale):
    def optimizer():
        ours = RowSparseAdam(0.05)
        return keras.optimizers.LossScaleOptimizer(ours) if loss_scale else ours

    model = model_of(optimizer(), jit)
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(model.optimizer)
    assert_same(state_of(again), state_of(model), rtol=0)
    for one in (model, again):
        fit(one, epochs=2)
    assert_same(state_of(again), state_of(model), rtol=0)


@pytest.fixture(scope="module")
def float32_losses():
    return fit(model_of(RowSparseAdam(0.05)), epochs=5).history["loss"]


@pytest.mark.parametrize(
    "policy, jit",
    [
        ("mixed_float16", False),  # `compile` wraps it in Keras' loss scaling
        *slow(("mixed_bfloat16", True), ("mixed_float16", True)),
    ],
)
def test_mixed_precision_learns_what_float32_learns(float32_losses, policy, jit):
    mixed = model_of(RowSparseAdam(0.05), jit, policy)
    start = mixed.get_weights()[0]
    np.testing.assert_allclose(fit(mixed, epochs=5).history["loss"], float32_losses, rtol=0.05)
    table = mixed.get_weights()[0]
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[READ:], start[READ:])


@pytest.mark.slow
def test_two_devices_train_as_one():
    script = Path(__file__).with_name("mirrored_training.py")
    # A script's folder stands in its path, the repository does not.
    paths = [str(script.parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    for result in json.loads(done.stdout.splitlines()[-1]):
        assert result["replicas"] == 2
        assert result["difference"] < 1e-6
        assert max(result["moved"]) < READ and len(result["moved"]) > READ // 2
