"""The linear part as a layer."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.data.vocabulary import FIRST_ITEM
from keras_peterrec.models.linear_part import Bag, LinearPart


@keras.saving.register_keras_serializable("keras_peterrec")
class LinearTable(keras.layers.Layer):
    """Scores that each item of a history adds, by a table that was fitted in closed form.

        s = x(history) · T + b

    x counts the known items of the last `events` events, late ones more than early ones; see
    `Bag`. Nothing here is trained. T is dense, or holds `entries` numbers of each row.

    Args:
        items: int. Items I of the source vocabulary, without special ids.
        outputs: int. Scores Y.
        fade, power, events: of the `Bag`.
        entries: int. Entries of a row of a sparse T; `0` if T is dense. Defaults to `0`.

    Call arguments:
        history: Integer tensor of shape `[B, L]`, padded on the left.

    Returns:
        float32 tensor of shape `[B, Y]`.

    Source: Wide & Deep, Cheng et al. 2016; the wide part here is the regression of
    `ItemRegression` or `LabelRegression`.
    """

    def __init__(
        self,
        items: int,
        outputs: int,
        fade: float | None = None,
        power: float = 0.0,
        events: int = Bag.events,
        entries: int = 0,
        name: str = "linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, trainable=False, **{"dtype": "float32", **kwargs})
        self.items, self.outputs, self.entries = items, outputs, entries
        self.bag = Bag(fade, power, events)
        # TensorFlow's product with a sparse matrix, which reads only the rows that it needs, is
        # not known to XLA.
        self.supports_jit = False
        self.build()

    def build(self, input_shape=None):
        width = self.entries or self.outputs
        self.table = self.add_weight((self.items, width), "zeros", name="table", trainable=False)
        self.bias = self.add_weight((self.outputs,), "zeros", name="bias", trainable=False)
        self.columns = None
        if self.entries:
            self.columns = self.add_weight(
                (self.items, width), "zeros", dtype="int32", name="columns", trainable=False
            )

    @classmethod
    def of_part(cls, part: LinearPart) -> "LinearTable":
        """The layer of what was fitted."""
        layer, arrays = cls(**part.config()), part.arrays()
        for weight in layer.weights:
            weight.assign(arrays[weight.name])
        return layer

    def part(self) -> LinearPart:
        """The same for NumPy, which scores many histories."""
        return LinearPart.of_layer(self)

    def call(self, history):
        history = ops.cast(history, "int32")[:, -self.bag.events :]
        weights = self.bag_weights(history)
        return self.scores(ops.maximum(history - FIRST_ITEM, 0), weights) + self.bias

    def bag_weights(self, history: Any) -> Any:
        """How much each event of histories `[B, L]` counts, float32 `[B, L]`; unknown ones 0."""
        known = ops.cast(history >= FIRST_ITEM, "float32")
        later = ops.flip(ops.cumsum(ops.flip(known, axis=1), axis=1), axis=1) - known
        weights = known if self.bag.fade is None else known / (1.0 + later / self.bag.fade)
        if self.bag.power:
            sums = ops.sum(weights, axis=1, keepdims=True)
            weights = weights * ops.power(ops.where(sums > 0, sums, 1.0), -self.bag.power)
        return weights

    def scores(self, items: Any, weights: Any) -> Any:
        """`x T` of items `[B, L]`, numbered from 0, that count `weights` `[B, L]`."""
        if self.entries:
            return self._by_entries(items, weights)
        if keras.backend.backend() == "tensorflow":
            return _rows_of_table(items, weights, self.table)
        chosen = ops.one_hot(items, self.items, dtype="float32") * weights[..., None]
        return ops.matmul(ops.sum(chosen, axis=1), self.table)

    def _by_entries(self, items, weights):
        rows = ops.shape(items)[0]
        values = ops.take(self.table, items, axis=0) * weights[..., None]
        places = ops.take(self.columns, items, axis=0)
        places = places + self.outputs * ops.reshape(ops.arange(rows, dtype="int32"), (-1, 1, 1))
        flat = ops.segment_sum(
            ops.reshape(values, (-1,)), ops.reshape(places, (-1,)), rows * self.outputs
        )
        return ops.reshape(flat, (rows, self.outputs))

    def named_weights(self) -> dict[str, Any]:
        """Its weights by path, `{"linear/table": variable}`."""
        return {f"linear/{weight.name}": weight for weight in self.weights}

    def compute_output_shape(self, history_shape):
        return history_shape[0], self.outputs

    def compute_output_spec(self, history):
        return keras.KerasTensor((history.shape[0], self.outputs), dtype="float32")

    def get_config(self):
        return {
            "items": self.items,
            "outputs": self.outputs,
            "fade": self.bag.fade,
            "power": self.bag.power,
            "events": self.bag.events,
            "entries": self.entries,
            "name": self.name,
        }


def linear_config(layer: LinearTable | None) -> dict[str, Any] | None:
    """The arguments of a LinearTable like this one, JSON values; `None` if there is none."""
    if layer is None:
        return None
    return {name: value for name, value in layer.get_config().items() if name != "name"}


def _rows_of_table(items, weights, table):
    """`Σ_l weights[b, l] · table[items[b, l]]`, without a copy of the rows for each event."""
    import tensorflow as tf

    places = tf.where(weights > 0)
    chosen = tf.cast(tf.gather_nd(items, places), tf.int64)
    shape = tf.stack([tf.shape(items, tf.int64)[0], tf.constant(table.shape[0], tf.int64)])
    bags = tf.SparseTensor(
        tf.stack([places[:, 0], chosen], axis=1), tf.gather_nd(weights, places), shape
    )
    return tf.sparse.sparse_dense_matmul(bags, table.value)
