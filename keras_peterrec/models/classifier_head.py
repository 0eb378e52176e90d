"""Scores of classes."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class ClassifierHead(keras.layers.Layer):
    """Logits of the classes of a profile: a linear map of the user's state.

    Args:
        classes: int. Number of classes.
        bias_initializer: keras.initializers.Initializer or its name. With the logarithms of
            the classes' shares a new task answers as the majority baseline does, almost.
            Defaults to `"zeros"`.

    Call arguments:
        user: Tensor of shape `[B, C]`.

    Returns:
        Tensor of shape `[B, classes]`; its softmax is the probabilities.

    Source: Yuan et al., SIGIR 2020, section 3.3.
    """

    def __init__(self, classes, bias_initializer="zeros", name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.classes),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.classes,), initializer=self.bias_initializer
        )

    def call(self, user):
        return ops.cast(ops.matmul(user, self.kernel) + self.bias, "float32")

    def compute_output_spec(self, user):
        return keras.KerasTensor((user.shape[0], self.classes), dtype="float32")

    def shrink(self, scale, towards):
        """Takes the logits a part of the way to constant ones: `towards + scale (z - towards)`.

        Args:
            scale: float from 0 to 1.
            towards: float array `[classes]`.
        """
        self.kernel.assign(scale * self.kernel)
        self.bias.assign(towards + scale * (self.bias - towards))

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
