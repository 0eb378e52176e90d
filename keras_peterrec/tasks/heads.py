"""The output layers of tasks."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.types import Initializer, Json, Layer, Shape, Tensor, Variables


def head_weights(head: Layer) -> Variables:
    """The weights of a head and of the layers inside it, `{"head/kernel": variable}` by path."""
    start = f"{head.path}/"
    return {f"head/{weight.path.removeprefix(start)}": weight for weight in head.weights}


def start_outputs(
    head: Layer, labels: Sequence[str], arrays: dict, earlier_labels: Sequence[str]
) -> None:
    """Gives a new head what an earlier one knew of the same labels; others stay as they are.

    A head says by `output_axes` which axis of each of its weights is that of the labels. Without
    it, a head of other labels stays as it is.

    Args:
        labels: list of str, of the new head.
        arrays: the earlier head's weights by path, as `head_weights` names them.
        earlier_labels: list of str.
    """
    axes = getattr(head, "output_axes", None)
    place = {label: n for n, label in enumerate(earlier_labels)}
    pairs = [(n, place[label]) for n, label in enumerate(labels) if label in place]
    new, old = np.array(pairs, "int64").reshape(-1, 2).T
    for path, variable in head_weights(head).items():
        value, array = np.array(variable), arrays.get(path)
        if axes is None and labels == earlier_labels and np.shape(array) == value.shape:
            variable.assign(array)
        elif axes is not None and array is not None:
            # The labels first, in both.
            axis = axes[path.removeprefix("head/")]
            np.moveaxis(value, axis, 0)[new] = np.moveaxis(array, axis, 0)[old]
            variable.assign(value)


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

    Example:

    >>> RecommenderHead(200)(np.ones((2, 8))).shape
    (2, 200)

    Source: Yuan et al., SIGIR 2020, section 3.3.
    """

    output_axes = {"item_table": 0}

    def __init__(self, items: int, name: str = "head", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.items = items

    def build(self, input_shape: Shape) -> None:
        self.item_table = self.add_weight(
            name="item_table",
            shape=(self.items, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, user: Tensor) -> Tensor:
        return ops.cast(ops.matmul(user, ops.transpose(self.item_table)), "float32")

    def compute_output_spec(self, user: Tensor) -> Tensor:
        return keras.KerasTensor((user.shape[0], self.items), dtype="float32")

    def get_config(self) -> Json:
        return {**super().get_config(), "items": self.items}


@keras.saving.register_keras_serializable("keras_peterrec")
class LinearHead(keras.layers.Layer):
    """A linear map of the user's state: logits of classes or labels, or a number.

        z = h W + b

    Args:
        outputs: int. Number of outputs n: classes, labels, or 1 for a number.
        bias_initializer: keras.initializers.Initializer or its name. With the constant answer of
            a baseline (the log shares of the classes, for example) a new task starts close to it.
            Defaults to `"zeros"`.

    Call arguments:
        user: Tensor of shape `[B, C]`.

    Returns:
        Tensor of shape `[B, n]`.

    Example:

    >>> LinearHead(3)(np.ones((2, 8))).shape
    (2, 3)

    Source: Yuan et al., SIGIR 2020, section 3.3, for classes.
    """

    output_axes = {"kernel": 1, "bias": 0}

    def __init__(
        self,
        outputs: int,
        bias_initializer: Initializer = "zeros",
        name: str = "head",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.outputs = outputs
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.outputs),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.outputs,), initializer=self.bias_initializer
        )

    def call(self, user: Tensor) -> Tensor:
        return ops.cast(ops.matmul(user, self.kernel) + self.bias, "float32")

    def compute_output_spec(self, user: Tensor) -> Tensor:
        return keras.KerasTensor((user.shape[0], self.outputs), dtype="float32")

    def shrink(self, scale: float, towards: np.ndarray) -> None:
        """Moves the outputs towards constant ones: `towards + scale · (z - towards)`.

        Args:
            scale: float from 0 to 1.
            towards: float array `[n]`.
        """
        self.kernel.assign(scale * self.kernel)
        self.bias.assign(towards + scale * (self.bias - towards))

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "outputs": self.outputs,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
