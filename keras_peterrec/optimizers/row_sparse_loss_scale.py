"""Loss scaling around `RowSparseAdam`. Needs TensorFlow."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_peterrec")
class RowSparseLossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' loss scaling for mixed float16, at the price of the rows of a step.

    Keras asks whether a gradient is finite of a dense tensor as large as the table;
    this asks the gradient's rows. Everything else is Keras'. `model.compile` wraps an
    optimizer under `mixed_float16` in Keras' own class, so wrap it before:

        optimizer = RowSparseLossScaleOptimizer(RowSparseAdam(0.001))

    Args:
        inner_optimizer: RowSparseAdam.
        **kwargs: As of `keras.optimizers.LossScaleOptimizer`.

    Source: Micikevicius et al., Mixed precision training, ICLR 2018, section 3.2.
    """

    def check_finite(self, grads):
        return super().check_finite(
            [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        )
