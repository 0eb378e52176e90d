"""The linear part as a layer."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_peterrec.linear.bag import Bag, faded
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.vocabulary import is_item, item_ids, number_of
from keras_peterrec.types import Json, Shape, Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class LinearTable(keras.layers.Layer):
    """Scores that each item of a history adds, by a table that was fitted in closed form.

        s = w · (x(history) · T + b)

    x counts the last `events` known items, late ones more than early ones; see `Bag`. Nothing
    here is trained. T is dense, or sparse, in compressed rows: of `entries` numbers and their
    `columns`, row i holds those from `starts[i]` to `starts[i + 1]`.

    Args:
        items: int. Items I of the source vocabulary, without special ids.
        outputs: int. Scores Y.
        user_values: int. Values M that columns of users have; their rows of T come before those of
            the items, and each that is told counts 1. Defaults to `0`.
        fade, power, events: of the `Bag`.
        entries: int. Numbers in a sparse T; `0` if T is dense. Defaults to `0`.
        weight: float. w, how much the scores count beside the network's. Defaults to `1.0`.
        features: sequence of Feature that it reads of events beside their items; their rows of T
            come before those of the items. Defaults to `()`, none.

    Call arguments:
        history: Integer tensor of shape `[B, L]`, ids, or `[B, L, 1 + F + V]`, rows of events,
            padded on the left.
        told: Integer tensor of shape `[B, G]`, what columns say of the users; see `UserFields`.
            Defaults to `None`, nothing.

    Returns:
        float32 tensor of shape `[B, Y]`.

    Example:

    >>> layer = LinearTable.of_part(linear_part)
    >>> layer(np.array([[0, 0, 17, 5]])).shape
    (1, 200)

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
        weight: float = 1.0,
        user_values: int = 0,
        features: Iterable[Any] = (),
        name: str = "linear",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, trainable=False, **{"dtype": "float32", **kwargs})
        self.items, self.outputs, self.entries = items, outputs, entries
        self.weight, self.user_values = float(weight), user_values
        self.bag, self.features = Bag(fade, power, events), EventFeatures(features)
        self.rows = user_values + self.features.rows + items  # of T
        # TensorFlow's way to a sparse T is not known to XLA.
        self.supports_jit = False
        self.build()

    def build(self, input_shape: Shape | None = None) -> None:
        def add(name, shape, dtype="float32"):
            return self.add_weight(shape, "zeros", dtype=dtype, name=name, trainable=False)

        self.table = add("table", (self.entries,) if self.entries else (self.rows, self.outputs))
        self.bias = add("bias", (self.outputs,))
        self.columns = self.starts = None
        if self.entries:
            self.columns = add("columns", (self.entries,), "int32")
            self.starts = add("starts", (self.rows + 1,), "int32")

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

    def call(self, history: Tensor, told: Tensor | None = None) -> Tensor:
        history = ops.cast(history, "int32")
        bag, ids = self.bag, item_ids(history)
        weights = bag_weights(ids, bag.rate, bag.power, bag.events)
        rows = ops.maximum(number_of(ids), 0) + (self.user_values + self.features.rows)
        if self.features and len(history.shape) == 3:
            rows, weights = self.features.spread(history, rows, weights, self.user_values)
        if self.user_values and told is not None:
            rows, weights = with_told(rows, weights, told)
        by = self.scores if self.entries else self._dense_scores
        return self.weight * (by(rows, weights) + self.bias)

    def _dense_scores(self, items, weights):
        """As `scores` and several times as quick, in memory for half of the table."""
        users, events = ops.shape(items)[:2]
        # A product with the whole table reads it once, however many users there are; a few events
        # are quicker by copies of their rows, at most half as many as the table has.
        few = 2 * users * events < self.rows
        ways = (lambda: self._by_copies(items, weights), lambda: self._by_bags(items, weights))
        if isinstance(few, bool):
            return ways[0]() if few else ways[1]()
        return ops.cond(few, *ways)

    def scores(self, items: Tensor, weights: Tensor) -> Tensor:
        """`x T` of rows of T, `[B, L]`, that count `weights` `[B, L]`.

        In memory for the events that count, however large the table; what does not count may be
        any number.
        """
        if keras.backend.backend() == "tensorflow":
            by = _by_entries if self.entries else _by_rows
            return by(self, items, weights)
        # A server runs TensorFlow.
        return self._by_bags(items, weights)

    def _by_copies(self, items, weights):
        return ops.einsum("bl,bly->by", weights, ops.take(self.table, items, axis=0))

    def _by_bags(self, items, weights):
        users = ops.shape(items)[0]
        places = items + self.rows * ops.expand_dims(ops.arange(users, dtype="int32"), 1)
        bags = ops.segment_sum(
            ops.reshape(weights, (-1,)), ops.reshape(places, (-1,)), users * self.rows
        )
        return ops.matmul(ops.reshape(bags, (users, self.rows)), self._dense_table())

    def _dense_table(self):
        if not self.entries:
            return self.table
        rows = ops.searchsorted(self.starts, ops.arange(self.entries), side="right") - 1
        places = ops.stack([ops.cast(rows, "int32"), ops.cast(self.columns, "int32")], axis=1)
        return ops.scatter(places, self.table, (self.rows, self.outputs))

    def named_weights(self) -> dict[str, Any]:
        """Its weights by path, `{"linear/table": variable}`."""
        return {f"linear/{weight.name}": weight for weight in self.weights}

    def compute_output_shape(self, history_shape: Shape, told_shape: Shape = ()) -> Shape:
        return history_shape[0], self.outputs

    def compute_output_spec(self, history: Tensor, told: Tensor | None = None) -> Tensor:
        return keras.KerasTensor((history.shape[0], self.outputs), dtype="float32")

    def get_config(self) -> Json:
        return {
            "items": self.items,
            "outputs": self.outputs,
            "fade": self.bag.fade,
            "power": self.bag.power,
            "events": self.bag.events,
            "entries": self.entries,
            "weight": self.weight,
            "user_values": self.user_values,
            "features": [list(feature) for feature in self.features],
            "name": self.name,
        }


def linear_config(layer: LinearTable | None) -> dict[str, Any] | None:
    """The arguments of a LinearTable like this one, JSON values; `None` if there is none."""
    if layer is None:
        return None
    return {name: value for name, value in layer.get_config().items() if name != "name"}


def with_told(rows: Tensor, weights: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a table, and how much each counts, with those of what is told of users.

    Args:
        rows, weights: tensors of shape `[B, L]`.
        told: Integer tensor of shape `[B, G]`: 1 for the first row, and 0 for none.

    Returns:
        Two tensors of shape `[B, L + G]`.
    """
    told = ops.cast(told, "int32")
    rows = ops.concatenate([rows, ops.maximum(told - 1, 0)], axis=1)
    return rows, ops.concatenate([weights, ops.cast(told > 0, weights.dtype)], axis=1)


def bag_weights(history: Tensor, rate: Tensor, power: Tensor, events: Tensor) -> Tensor:
    """How much each event of histories counts; see `Bag`.

    Args:
        history: Integer tensor of shape `[B, L]`, padded on the left.
        rate, power, events: of the Bag: numbers, or float tensors of shape `[B, 1]` for a bag of
            each row.

    Returns:
        float32 tensor of shape `[B, L]`, 0 for padding, unknown items and events too far back.
    """
    is_known = ops.cast(is_item(history), "float32")
    later = ops.flip(ops.cumsum(ops.flip(is_known, axis=1), axis=1), axis=1) - is_known
    weights = is_known * ops.cast(later < events, "float32") * faded(later, rate)
    if isinstance(power, float) and power == 0.0:
        return weights
    sums = ops.sum(weights, axis=1, keepdims=True)
    return weights * ops.power(ops.where(sums > 0, sums, 1.0), -power)


def _by_rows(layer, items, weights):
    """`x T` of a dense T: its rows are read where they lie, and not copied for each event."""
    import tensorflow as tf

    places, distinct_items, weights = _counted(items, weights)
    users = tf.shape(items, tf.int64)[0]
    cells = tf.stack([places, tf.cast(distinct_items, tf.int64)], axis=1)
    bags = tf.SparseTensor(cells, weights, tf.stack([users, layer.rows]))
    return tf.sparse.sparse_dense_matmul(bags, layer.table.value)


def _by_entries(layer, items, weights):
    """`x T` of a sparse T: it costs as much as the rows of the counted events have entries."""
    import tensorflow as tf

    places, distinct_items, weights = _counted(items, weights)
    users = tf.shape(items, tf.int64)[0]
    starts = layer.starts.value
    entries = tf.ragged.range(
        tf.gather(starts, distinct_items), tf.gather(starts, distinct_items + 1)
    )
    events = entries.value_rowids()
    values = tf.gather(layer.table.value, entries.values) * tf.gather(weights, events)
    columns = tf.cast(tf.gather(layer.columns.value, entries.values), tf.int64)
    cells = tf.gather(places, events) * layer.outputs + columns
    sums = tf.math.unsorted_segment_sum(values, cells, users * layer.outputs)
    return tf.reshape(sums, [-1, layer.outputs])


def _counted(items, weights):
    """Rows, items and weights of the events that count, `[E]` each."""
    import tensorflow as tf

    places = tf.where(weights != 0)
    return places[:, 0], tf.gather_nd(items, places), tf.gather_nd(weights, places)
