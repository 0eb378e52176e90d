"""Scores of target items."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_peterrec")
class RecommenderHead(keras.layers.Layer):
    """Scores every target item by a dot product with the user's state.

        s(y) = h · w_y

    Args:
        items: int. Target items Y.

    Call arguments:
        user: Tensor of shape `[B, C]`.

    Returns:
        Tensor of shape `[B, Y]`.

    Source: Yuan et al., SIGIR 2020, section 3.3.
    """

    def __init__(self, items, name="head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.items = items

    def build(self, input_shape):
        self.item_table = self.add_weight(
            name="item_table",
            shape=(self.items, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, user):
        return ops.cast(ops.matmul(user, ops.transpose(self.item_table)), "float32")

    def compute_output_spec(self, user):
        return keras.KerasTensor((user.shape[0], self.items), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "items": self.items}
