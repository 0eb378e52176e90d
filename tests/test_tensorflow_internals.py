"""What training relies on in TensorFlow's private parts.

If this fails with a new release of TensorFlow, adapt `keras_peterrec/tensorflow_internals.py`
to it, or set an upper bound of `tensorflow` in setup.cfg.
"""

import pytest
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from keras_peterrec.tensorflow_internals import global_seed


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
