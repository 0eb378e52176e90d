"""What training and its benchmark rely on in TensorFlow's private parts.

If this fails with a new release of TensorFlow, adapt `keras_peterrec/tensorflow_internals.py`
to it, or set an upper bound of `tensorflow` in setup.cfg.
"""

import pytest
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from keras_peterrec.tensorflow_internals import global_seed, traced_operations


def test_the_seed_is_the_one_that_operations_use():
    expected = []
    for _ in range(2):
        tf.random.set_seed(5)
        expected.append(float(tf.random.normal(())))
    tf.random.set_seed(6)
    with global_seed(5):
        found = float(tf.random.normal(()))
        assert tf.compat.v1.get_seed(1) == (5, 1)
    assert [found] * 2 == expected, (
        f"TensorFlow {tf.__version__} does not read its global seed from `context()._seed` and "
        "`context()._rng`, so training would not be reproducible."
    )


def test_a_seed_that_tensorflow_keeps_elsewhere_is_an_error(monkeypatch):
    monkeypatch.setattr(eager_context, "context", object)
    with pytest.raises(RuntimeError, match="does not have. Install TensorFlow 2.21"):
        with global_seed(5):
            pass


def test_a_trace_says_what_ran_inside_and_outside_of_xla():
    @tf.function(jit_compile=True)
    def compiled(x, steps):
        def body(step, x):
            with tf.name_scope("norm"):
                x = x - tf.reduce_mean(x, -1, keepdims=True)
            return step + 1, tf.matmul(x, x)

        return tf.while_loop(lambda step, _: step < steps, body, (0, x), maximum_iterations=9)[1]

    @tf.function
    def step(x):
        with tf.name_scope("tables"):
            rows = tf.gather(x, [3, 1])
        return rows, compiled(x, tf.constant(4))

    x = tf.ones([300, 300])
    step(x)
    operations = traced_operations(lambda: step(x))
    explanation = f"TensorFlow {tf.__version__} writes another trace: {operations}"
    assert any("tables" in o.path.split("/") and o.kind == "GatherV2" for o in operations), (
        explanation
    )
    assert sum(o.kind == "dot" for o in operations) == 4, explanation
    assert any("norm" in o.path.split("/") for o in operations), explanation
    assert not any(o.kind == "while" for o in operations), explanation
    times = [(o.began, o.ended) for o in operations]
    assert all(began <= ended < began + 60 for began, ended in times), explanation
    assert max(times)[0] - min(times)[0] < 60, explanation
