"""`fit`, `evaluate` and `predict` as Keras users write them: callbacks, weights, losses, heads."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from slow_cases import slow

import keras_peterrec as kp
from keras_peterrec.patches.registry import patch_methods


def predicted(model, histories):
    return model.predict(histories, verbose=0)


def test_a_summary_says_what_is_trained_and_what_is_not(new_task, backbone):
    task, lines = new_task(), []
    task.summary(print_fn=lambda text, **_: lines.append(text), expand_nested=True)
    frozen = backbone.count_params()
    assert f"Non-trainable params: {frozen:,}" in "".join(lines)
    assert f"Trainable params: {task.count_params() - frozen:,}" in "".join(lines)


def test_a_task_and_a_pretrainer_can_be_plotted(new_task, backbone, tmp_path):
    pytest.importorskip("pydot")
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    for model in (new_task(), kp.CausalPretrainer(backbone), backbone):
        keras.utils.plot_model(model, tmp_path / "model.png", show_shapes=True)
        assert (tmp_path / "model.png").stat().st_size > 1000


class CountBatches(keras.callbacks.Callback):
    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


def test_callbacks_of_ones_own_and_of_keras_work(new_task, fitted, rows, tmp_path):
    own = CountBatches()
    callbacks = [
        own,
        keras.callbacks.EarlyStopping("val_loss", patience=0, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        keras.callbacks.TerminateOnNaN(),
    ]
    fed = {"epochs": 2, "batch_size": 5, "validation_data": rows, "callbacks": callbacks}
    task = fitted(new_task(), metrics=["accuracy"], compiled=True, **fed)
    assert own.batches == 3 * len(task.history.history["loss"])  # 5, 5 and 2 rows
    assert (tmp_path / "log.csv").read_text().startswith("epoch,accuracy,")


FRESH = """
import sys
import keras, numpy as np
import keras_peterrec

model = keras.models.load_model(sys.argv[1])
histories, classes = (np.load(path) for path in sys.argv[2:4])
np.save(sys.argv[4], model.predict(histories, verbose=0))
trained = len(model.trainable_variables)
model.fit(histories, classes, verbose=0)  # it comes compiled
print(type(model).__name__, trained)
"""


@pytest.mark.slow  # as test_keras_registration.py sees of every file
def test_a_checkpoint_loads_in_a_process_that_imports_only_this_package(
    new_task, fitted, rows, tmp_path
):
    file = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(file, monitor="loss", save_best_only=True)
    task = fitted(new_task(), callbacks=[best])
    paths = [tmp_path / name for name in ("histories.npy", "classes.npy", "answers.npy")]
    for path, array in zip(paths, rows):
        np.save(path, array)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, file, *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["TaskModel", str(len(task.trainable_variables))]
    np.testing.assert_allclose(np.load(paths[2]), predicted(task, rows[0]), atol=1e-5)


def test_a_checkpoint_of_weights_is_loaded(new_task, fitted, rows, tmp_path):
    weights = keras.callbacks.ModelCheckpoint(tmp_path / "b.weights.h5", save_weights_only=True)
    task, twin = fitted(new_task(), callbacks=[weights]), new_task()
    twin.load_weights(tmp_path / "b.weights.h5")
    np.testing.assert_array_equal(predicted(twin, rows[0]), predicted(task, rows[0]))


@pytest.mark.parametrize("pretrainer", [kp.CausalPretrainer, kp.MaskedPretrainer])
def test_a_cloned_pretrainer_is_a_pretrainer(pretrainer, rows):
    causal = pretrainer is kp.CausalPretrainer
    model = pretrainer(kp.ConvolutionNetwork(16, 8, (1,), causal=causal), tied=False, negatives=3)
    model.compile("adam")
    twin = keras.models.clone_model(model)
    assert type(twin) is pretrainer and twin.get_config()["negatives"] == 3
    assert not {*map(id, twin.weights)} & {*map(id, model.weights)}
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(predicted(twin, rows[0]), predicted(model, rows[0]))


def test_evaluate_and_predict_agree(new_task, fitted, rows):
    task = fitted(new_task(), metrics=["accuracy"])
    logits = predicted(task, rows[0]).astype("float64")
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    measured = task.evaluate(*rows, verbose=0, return_dict=True)
    expected = -np.log(shares[np.arange(12), rows[1]]).mean()
    assert measured["loss"] == pytest.approx(expected, rel=1e-4)
    assert measured["accuracy"] == pytest.approx((logits.argmax(axis=1) == rows[1]).mean())
    heavy = np.where(rows[1] == 0, 5.0, 1.0)
    weighed = task.evaluate(*rows, sample_weight=heavy, verbose=0, return_dict=True)["loss"]
    losses = -np.log(shares[np.arange(12), rows[1]])
    assert weighed == pytest.approx((losses * heavy).sum() / 12, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_weights_of_classes_and_of_rows_weigh_the_loss(new_task, rows, jit_compile):
    def loss_of(**weights):
        task = new_task()
        task.set_weights(start)
        task.compile(
            keras.optimizers.SGD(0.0),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit_compile,
        )
        return task.fit(*rows, verbose=0, **weights).history["loss"][0]

    start = new_task().get_weights()
    alone = [loss_of(class_weight={n: float(n == of) for n in range(3)}) for of in range(3)]
    assert sum(alone) == pytest.approx(loss_of(), rel=1e-4)
    by_row = loss_of(sample_weight=np.where(rows[1] == 2, 3.0, 0.0))
    assert by_row == pytest.approx(3 * alone[2], rel=1e-4)


def test_a_row_without_weight_teaches_nothing(new_task, rows):
    histories, classes = rows
    task = new_task()
    task.compile(
        keras.optimizers.Adam(0.1), loss="sparse_categorical_crossentropy", run_eagerly=True
    )
    before = task.get_weights()
    task.fit(histories, classes, sample_weight=np.zeros(len(classes)), verbose=0)
    for old, new in zip(before, task.get_weights()):
        np.testing.assert_allclose(new, old, atol=1e-6)


@pytest.mark.parametrize("negatives", [3, *slow(0)])
def test_weights_of_rows_weigh_the_loss_of_a_pretrainer(rows, negatives):
    ids, targets = rows[0][:, :-1], rows[0][:, 1:]
    model = kp.CausalPretrainer(kp.ConvolutionNetwork(16, 8, (1,)), negatives=negatives, seed=1)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    before = model.get_weights()
    model.fit(ids, targets, sample_weight=np.zeros(len(ids)), verbose=0)
    assert model.history.history["loss"] == [0.0]
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(new, old)
    with pytest.raises(kp.InputError, match="`class_weight` should be left out"):
        model.fit(ids, targets, class_weight={4: 2.0}, verbose=0)


class FarFromOne(keras.losses.Loss):
    """A loss that Keras does not have."""

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred - 1.0), axis=-1)


@pytest.mark.parametrize("loss", [FarFromOne(), *slow(lambda y, z: FarFromOne()(y, z))])
def test_a_loss_of_ones_own_is_what_training_lowers(new_task, fitted, rows, loss):
    task = new_task()
    before = np.square(predicted(task, rows[0]) - 1).mean()
    fitted(task, loss=loss, rate=0.2, epochs=8)
    assert np.square(predicted(task, rows[0]) - 1).mean() < 0.5 * before


def test_a_head_of_ones_own_is_trained_and_saved(new_task, fitted, rows, tmp_path):
    head = keras.Sequential(
        [keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(3, name="classes")],
        name="head",
    )
    task = new_task(head=head)
    before = [weight.numpy() for weight in head.weights]
    fitted(task)
    assert (head.weights[-1].numpy() != before[-1]).any()
    task.save(tmp_path / "task.keras")
    loaded = keras.models.load_model(tmp_path / "task.keras")
    np.testing.assert_array_equal(predicted(loaded, rows[0]), predicted(task, rows[0]))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_goes_through_host_patches_and_head(policy, rows, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        backbone = kp.ConvolutionNetwork(16, 8, (1, 4))
        pretrainer = kp.CausalPretrainer(backbone)
        pretrainer.compile("adam")
        pretrainer.fit(rows[0][:, :-1], rows[0][:, 1:], verbose=0)
        task = kp.build_task(backbone, kp.LinearHead(3), "patch", "bottleneck:2+item_lora:2")
        task.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        loss = task.fit(*rows, verbose=0).history["loss"][0]
        task.save(tmp_path / "task.keras")
        every = [
            kp.build_task(backbone, kp.LinearHead(3), "patch", name) for name in patch_methods()
        ]
    finally:
        keras.config.set_dtype_policy("float32")
    half = policy.removeprefix("mixed_")
    assert np.isfinite(loss)
    assert {layer.compute_dtype for layer in (backbone, *task.layers)} == {half}
    assert {weight.dtype for weight in task.weights} == {"float32"}
    answers = predicted(task, rows[0])
    assert answers.dtype == "float32"
    np.testing.assert_array_equal(
        predicted(keras.models.load_model(tmp_path / "task.keras"), rows[0]), answers
    )
    for model in every:
        assert np.isfinite(model(rows[0])).all(), model.patch
