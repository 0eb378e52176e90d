"""What this package relies on in Keras' private parts.

If one of these fails with a new release of Keras, adapt `keras_peterrec/keras_internals.py`
to it, or set an upper bound of `keras` in setup.cfg.
"""

import keras
import numpy as np
import pytest

from keras_peterrec.keras_internals import OpenAdam, Prebuilt, _require, limited_variables

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("Training on several devices is TensorFlow's", allow_module_level=True)


class RecordingAdam(OpenAdam):
    """Notes which hooks Keras calls during a step, and with what."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    def clip(self, grads):
        self.calls.append("clip")
        return super().clip(grads)

    def decay_weights(self, variables):
        self.calls.append("decay_weights")
        return super().decay_weights(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.calls.append("update_step")
        return super().update_step(gradient, variable, learning_rate)


def test_keras_calls_the_hooks_of_a_step_in_this_order():
    optimizer, variable = RecordingAdam(0.1), keras.Variable(np.ones(3, "float32"))
    optimizer.apply([tf.ones(3)], [variable])
    assert optimizer.calls == ["clip", "decay_weights", "update_step"], (
        f"Keras {keras.__version__} no longer calls `_clip_gradients` and `_apply_weight_decay` "
        "before `update_step`, so RowSparseAdam would not clip or decay as it says."
    )


def test_hooks_alone_leave_adam_as_it_is():
    found = []
    for kind in (OpenAdam, keras.optimizers.Adam):
        optimizer = kind(0.1, weight_decay=0.1, clipnorm=0.5, amsgrad=True)
        variable = keras.Variable(np.ones(3, "float32"))
        for _ in range(3):
            optimizer.apply([tf.constant([1.0, -2.0, 3.0])], [variable])
        found.append(variable.numpy())
    np.testing.assert_array_equal(*found)


def test_slots_are_the_optimizers_variables_of_each_weight():
    optimizer = OpenAdam(0.1, amsgrad=True)
    weights = [keras.Variable(np.ones(n, "float32")) for n in (2, 3)]
    optimizer.build(weights)
    for weight in weights:
        # `update_step` gets what TensorFlow keeps in a Keras variable.
        slots = optimizer.slots(weight.value)
        assert list(slots) == ["momentum", "velocity", "velocity_hat"], (
            f"Keras {keras.__version__} calls the moments of Adam differently: {list(slots)}."
        )
        assert all(slot.shape == weight.shape for slot in slots.values())
        assert all(any(slot is v for v in optimizer.variables) for slot in slots.values())


def test_variables_that_are_excluded_do_not_decay():
    optimizer = OpenAdam(0.1, weight_decay=0.1)
    weights = [keras.Variable(np.ones(2, "float32"), name=name) for name in ("one", "other")]
    optimizer.exclude_from_weight_decay(var_names=["other"])
    optimizer.build(weights)
    assert [optimizer.decays(weight.value) for weight in weights] == [True, False]
    assert not OpenAdam(0.1).decays(weights[0].value)


class PrebuiltModel(Prebuilt, keras.Model):
    pass


@pytest.mark.parametrize("kind", [PrebuiltModel, keras.Model])
def test_fit_under_a_strategy_iterates_over_the_data_once(kind):
    """Keras' own model does it twice; once it does not, `Prebuilt` has lost its reason."""
    seen = []

    class Noting(kind):
        def train_step(self, data):
            seen.append(data[0][:, 0].numpy().tolist())
            return super().train_step(data)

    def batches():
        rows = (
            tf.data.Dataset.range(8)
            .shuffle(8, seed=3)
            .map(lambda n: (tf.cast([n], "float32"),) * 2)
        )
        return rows.batch(2)

    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        inputs = keras.Input((1,))
        model = Noting(inputs, keras.layers.Dense(1)(inputs))
        model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    model.fit(batches(), verbose=0, shuffle=False)
    shuffled = batches()
    first, second = ([x[:, 0].numpy().tolist() for x, _ in shuffled] for _ in range(2))
    assert first != second
    assert seen == (first if kind is PrebuiltModel else second), (
        f"Keras {keras.__version__} builds a model under a strategy in another way than Keras "
        "3.15. See `Prebuilt`."
    )


def test_what_a_block_makes_is_limited_and_nothing_after_it():
    with pytest.raises(ValueError, match="more than twice"), limited_variables([(10, 10)]):
        keras.layers.Dense(400).build((None, 400))
    with limited_variables([(400, 400)]):
        keras.layers.Dense(400).build((None, 400))
    keras.layers.Dense(400).build((None, 400))
    assert keras.Variable._initialize_with_initializer.__name__ != "limited"


def test_a_hook_that_keras_lacks_is_named():
    with pytest.raises(ImportError, match="`Adam._no_such_hook`, which Keras .* does not have"):
        _require(keras.optimizers.Adam, "_no_such_hook")
