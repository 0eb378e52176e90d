"""Trains on one CPU and mirrored on two logical ones; prints what differs, as JSON.

A process of its own: logical devices are set before TensorFlow starts.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from keras_peterrec import RowSparseAdam

ROWS = 20
random = np.random.default_rng(0)
IDS = random.integers(0, 12, (16, 6))  # rows 12 to 19 are never read
TARGETS = random.normal(size=(16, 1)).astype("float32")


def trained(**settings):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Embedding(ROWS, 4),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(RowSparseAdam(0.05, **settings), loss="mse", jit_compile=False)
    model.build((None, 6))
    start = model.get_weights()[0]
    model.fit(IDS, TARGETS, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return start, [v.numpy() for v in (*model.weights, *model.optimizer.variables)]


def compare(**settings):
    _, alone = trained(**settings)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        start, mirrored = trained(**settings)
    return {
        "replicas": strategy.num_replicas_in_sync,
        "difference": max(float(np.abs(a - b).max()) for a, b in zip(alone, mirrored)),
        "moved": np.flatnonzero((mirrored[0] != start).any(axis=-1)).tolist(),
    }


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    print(json.dumps([compare(), compare(weight_decay=0.1, amsgrad=True)]))
