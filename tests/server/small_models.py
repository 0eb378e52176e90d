"""Small SavedModels whose answers a person can compute."""

import os
import shutil
import uuid

import tensorflow as tf


class Half(tf.Module):
    """y = x / 2 + offset, with variables, so that it has something to restore."""

    def __init__(self, offset=2.0):
        super().__init__()
        self.factor = tf.Variable(0.5)
        self.offset = tf.Variable(offset)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def half(self, x):
        return {"y": x * self.factor + self.offset}


class Everything(Half):
    """What `half` lacks: several outputs, long runs, classes, values."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def words(self, text):
        found = tf.strings.split(text)
        return {
            "count": tf.cast(found.row_lengths(), tf.int64),
            "first_bytes": tf.strings.substr(text, 0, 1),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def slow(self, steps):
        size = tf.reduce_max(steps)
        state = tf.while_loop(
            lambda n, _: n < size, lambda n, s: (n + 1, tf.sin(s)), (0, tf.ones([200, 200]))
        )[1]
        return {"y": tf.cast(steps, tf.float32) + 0 * tf.reduce_sum(state)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="index")])
    def picky(self, index):
        return {"y": tf.gather(tf.constant([10.0, 20.0, 30.0]), index)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"classes": tf.tile([["a", "b"]], [tf.size(x), 1]), "scores": tf.stack([x, -x], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"outputs": x * self.factor}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def both(self, x):
        return {"value": x * self.factor}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def both_regress(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"outputs": (x * self.factor)[:, None]}

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.float32, name="a"),
            tf.TensorSpec([None], tf.float32, name="b"),
        ]
    )
    def two(self, a, b):
        return {"y": a * b, "z": a}


def save_half(base, version, offset=2.0):
    """Publishes a version of `half` by one rename."""
    model = Half(offset)
    return _publish(base, version, lambda out: tf.saved_model.save(model, out, model.half))


def save_everything(base, version):
    """Publishes `everything`."""
    model = Everything()
    names = ("words", "slow", "picky", "classify", "regress", "both", "both_regress", "two")
    signatures = {name: getattr(model, name).get_concrete_function() for name in names}
    signatures["serving_default"] = model.half
    return _publish(base, version, lambda out: tf.saved_model.save(model, out, signatures))


def copy_version(source, base, version):
    """Publishes a copy of a version."""
    return _publish(base, version, lambda out: shutil.copytree(source, out))


def _publish(base, version, write):
    base.mkdir(parents=True, exist_ok=True)
    hidden = base / f".{uuid.uuid4().hex}"
    write(str(hidden))
    os.rename(hidden, base / str(version))
    return base / str(version)
