"""Adam whose step costs the rows that it reads, not the whole table. Needs TensorFlow."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_peterrec.optimizers.flat_adam import FlatAdam
from keras_peterrec.types import Json, Tensor, Variable


@keras.saving.register_keras_serializable("keras_peterrec")
class RowSparseAdam(FlatAdam):
    """Adam that reads and writes only the rows of an embedding table that a step used.

    A table `p` `[V, C]` that is read by `tf.gather` has a `tf.IndexedSlices` gradient.
    The rows named in it are *touched*. Let `g_i` be the sum of all gradient rows of a
    touched row `i`, and `t` the number of the step, counted for the whole model:

        p_i ← (1 - lr · weight_decay) p_i
        m_i ← m_i + (1 - beta_1) (g_i - m_i)
        v_i ← v_i + (1 - beta_2) (g_i² - v_i)
        p_i ← p_i - lr · sqrt(1 - beta_2^t) / (1 - beta_1^t) · m_i / (sqrt(v_i) + epsilon)

    Rows that are not touched keep `p`, `m` and `v` to the bit. This is the difference
    from Adam, where the moments of every row decay at every step and a row keeps moving
    by its momentum after its last gradient. The two agree if every step touches every
    row. A step costs O(N · C) for N rows read, whatever V is; Keras' Adam makes the
    gradient dense and costs O(V · C).

    Dense gradients take Keras' own Adam step, those of small variables together; see
    `FlatAdam`. Clipping sees the summed gradient of a row.

    Some things still cost O(V · C), because they concern every row: `use_ema`, and the
    constraint of a variable that has one. The gradient of a table is dense if it is the
    sum of a sparse and a dense part (a slice of the table, a full softmax over it).
    Without XLA, `keras.layers.Embedding` and `keras.ops.take` copy the whole table before
    they gather, once rows of it are written in place: compile the step, or read with
    `tf.gather(table.value, ids)`.

    On repeated ids Keras' Adam differs for another reason: its second moment sums the
    squares of their gradient rows instead of squaring their sum.

    Args:
        learning_rate: float, schedule or callable. Defaults to `0.001`.
        beta_1: float. Defaults to `0.9`.
        beta_2: float. Defaults to `0.999`.
        epsilon: float. Defaults to `1e-7`.
        flat_values: int. See `FlatAdam`; a table of so few numbers is not updated by rows.
            Defaults to `0`.
        compilable: bool. Whether XLA can compile a step, which needs to sort the rows: half the
            speed. Defaults to `True`.
        **kwargs: As in `keras.optimizers.Adam`: `amsgrad`, `weight_decay`,
            `clipnorm`, `global_clipnorm`, `clipvalue`, `loss_scale_factor`, ...
            Not `gradient_accumulation_steps`, whose accumulators are dense.

    Raises:
        ValueError: `gradient_accumulation_steps` is given.

    Example:

        table = tf.Variable(tf.ones((1_000_000, 64)))
        optimizer = RowSparseAdam(0.001)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, [7, 3, 7]) ** 2)
        optimizer.apply([tape.gradient(loss, table)], [table])  # rows 3 and 7 moved

    Example:

    >>> pretrainer.compile(RowSparseAdam(2e-3))

    Source: Kingma and Ba, ICLR 2015, Algorithm 1 with the "epsilon hat" of section 2;
    for rows as in torch.optim.SparseAdam and TensorFlow Addons' LazyAdam.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        flat_values: int = 0,
        compilable: bool = True,
        **kwargs: Any,
    ) -> None:
        steps = kwargs.get("gradient_accumulation_steps")
        if steps is not None:
            raise ValueError(
                "`gradient_accumulation_steps` should be None, because accumulators are dense. "
                f"Received: `gradient_accumulation_steps` = {steps!r}."
            )
        super().__init__(learning_rate, beta_1, beta_2, epsilon, flat_values=flat_values, **kwargs)
        self.compilable = compilable

    def get_config(self) -> Json:
        return {**super().get_config(), "compilable": self.compilable}

    loss_scale_factor: Any

    def apply(
        self, grads: list[Tensor], trainable_variables: list[Variable] | None = None
    ) -> Tensor:
        # Keras divides by the scale with an operator that `tf.IndexedSlices` do not have.
        scale = self.loss_scale_factor
        if scale is not None:
            grads = [None if g is None else ops.divide(g, scale) for g in grads]
        self.loss_scale_factor = None
        try:
            super().apply(grads, trainable_variables)
        finally:
            self.loss_scale_factor = scale

    def clip(self, grads: list[Tensor]) -> list[Tensor]:
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return grads
        # A norm is of a row's total, and clipping changes the values of rows, not their numbers.
        grads = [single_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in grads]
        values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        return [
            tf.IndexedSlices(clipped, g.indices, g.dense_shape)
            if isinstance(g, tf.IndexedSlices)
            else clipped
            for g, clipped in zip(grads, super().clip(values))
        ]

    def decay_weights(self, variables: list[Variable]) -> None:
        """Does nothing: which rows decay is only known in `update_step`."""

    def alone(self, gradient: Tensor) -> bool | Tensor:
        """The gradient as it is: of rows, `update_step` updates single rows."""
        return gradient

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Any) -> None:
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, variable, learning_rate)
            return
        if self.decays(variable):
            lr = ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, variable * ops.cast(self.weight_decay, variable.dtype) * lr)
        super().update_step(gradient, variable, learning_rate)

    def _update_rows(self, gradient, variable, learning_rate):
        # Rows of `total_rows` may repeat; all repeats of a row write the same values, so their
        # order is free.
        dtype = variable.dtype
        sum_rows = total_rows if self.compilable else distinct_rows
        rows, total = sum_rows(tf.cast(gradient, dtype))
        slots = self.slots(variable)
        lr = ops.cast(learning_rate, dtype)

        m = _read(slots["momentum"], rows)
        m = m + (total - m) * (1 - self.beta_1)
        self.assign(slots["momentum"], tf.IndexedSlices(m, rows))
        v = _read(slots["velocity"], rows)
        v = v + (tf.square(total) - v) * (1 - self.beta_2)
        self.assign(slots["velocity"], tf.IndexedSlices(v, rows))
        if self.amsgrad:
            v = tf.maximum(v, _read(slots["velocity_hat"], rows))
            self.assign(slots["velocity_hat"], tf.IndexedSlices(v, rows))

        p = _read(variable, rows)
        if self.decays(variable):
            p = p - p * ops.cast(self.weight_decay, dtype) * lr
        p = p - m * self.step_size(lr) / (tf.sqrt(v) + self.epsilon)
        self.assign(variable, tf.IndexedSlices(p, rows))


def _read(variable, rows):
    """Reads rows of a variable. `tf.gather` of a `keras.Variable` would copy all of it."""
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    return tf.gather(variable, rows)


# The gradient of a table that is read at N ids has N rows, one for each id. `total_rows` and
# `single_rows` have static shapes, so that XLA can compile them: the number of different rows is
# not known then, and N rows go in and come out.


def distinct_rows(gradient: Tensor):
    """Sums the gradient rows of each table row. XLA cannot compile this.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        The different row numbers `[U]` and their totals `[U, ...]`.
    """
    rows, places = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))


def total_rows(gradient: Tensor):
    """Sums the gradient rows of each table row and gives every one of them the sum.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        Row numbers `[N]`, sorted, and totals `[N, ...]`. A table row that occurs k times
        appears k times with the same total. So whatever is computed from such a pair may be
        written to the table in any order, without knowing which of the k comes last.
    """
    rows, runs, sums = _sorted_sums(gradient)
    return rows, tf.gather(sums, runs)


def single_rows(gradient: Tensor):
    """Sums the gradient rows of each table row into the first; the others become zero.

    Args:
        gradient: tf.IndexedSlices of N rows.

    Returns:
        tf.IndexedSlices of N rows, equal to `gradient` as a dense tensor. Its values have
        the same norm and extremes as that dense tensor, which is what clipping needs.
    """
    rows, runs, sums = _sorted_sums(gradient)
    first = tf.concat([[True], runs[1:] != runs[:-1]], axis=0)[: tf.size(runs)]
    first = tf.reshape(first, [-1] + [1] * (sums.shape.rank - 1))
    # `where` rather than a product: 0 · NaN would be NaN in rows that should be zero.
    values = tf.where(first, tf.gather(sums, runs), tf.zeros((), sums.dtype))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _sorted_sums(gradient):
    """Sorts the rows of a gradient and sums each run of equal ones.

    Returns:
        Row numbers `[N]`, sorted; for each of them the number of its run `[N]`; the sums of
        the runs `[N, ...]`, zero beyond the last run.
    """
    # One int64 key of row and position sorts faster than an argsort. The run numbers, put back
    # into the order of the gradient, then sum its values without a permuted copy of them.
    count = tf.size(gradient.indices, out_type=tf.int64)
    keys = tf.sort(tf.cast(gradient.indices, "int64") * count + tf.range(count))
    rows, positions = keys // count, keys % count
    steps = tf.cumsum(tf.cast(rows[1:] != rows[:-1], "int32"))
    runs = tf.concat([[0], steps], axis=0)[:count]
    numbers = tf.scatter_nd(positions[:, None], runs, [count])
    sums = tf.math.unsorted_segment_sum(gradient.values, numbers, count)
    return tf.cast(rows, gradient.indices.dtype), runs, sums
