"""KerasTuner over `build_task`, as the guide shows it."""

import keras
import pytest
import tensorflow as tf

import keras_peterrec as kp

keras_tuner = pytest.importorskip("keras_tuner")


@pytest.mark.slow
def test_a_tuner_chooses_a_patch_on_one_shared_host(backbone, rows, tmp_path):
    def build(choose):
        patch = choose.Choice("patch", ["bottleneck:2", "lora:2"])
        rate = choose.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        task = kp.build_task(backbone, kp.LinearHead(3), "patch", patch)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        task.compile(keras.optimizers.Adam(rate), loss=loss, run_eagerly=True)
        return task

    tuner = keras_tuner.RandomSearch(
        build, "val_loss", max_trials=2, seed=0, directory=tmp_path, project_name="patches"
    )
    batch = tf.data.Dataset.from_tensors(rows)
    tuner.search(batch, validation_data=batch, epochs=1, verbose=0)
    (best,) = tuner.get_best_models(1)
    assert isinstance(best, kp.TaskModel) and best.host is backbone
    assert best.predict(rows[0], verbose=0).shape == (12, 3)
