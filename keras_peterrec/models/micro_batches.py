"""The pretrainers' training step on TensorFlow: micro-batches, and tables by rows."""

import functools
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_peterrec.layers.full_softmax import target_weights
from keras_peterrec.log.vocabulary import id_of, is_item, item_ids, number_of, rows_of_items
from keras_peterrec.training.compiled_step import Weights, call_compiled, shared_form
from keras_peterrec.training.replicated_model import record_loss, sum_over_replicas
from keras_peterrec.types import Tensor

# How many values one activation of a micro-batch may have: what the intermediates of a layer
# may take of the second-level caches (512 KiB) of two cores. Found by measuring 400 to
# 6,400 tokens of 64 channels; with caches of 1 MiB twice as many were fastest.
CACHED_VALUES = 1_600 * 64
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # on Linux


def train_step(model, data) -> dict[str, Tensor]:
    """Takes one training step, equal to Keras' own up to float noise.

    It is faster for two reasons. A CPU spends more time moving the activations of a
    large batch than multiplying, so the batch is cut into micro-batches that fit the
    caches; they are computed one after the other and their gradients are summed. And
    tables are read by rows before that loop and updated by rows after it (their
    gradients are `tf.IndexedSlices`), so no part of a step grows with the number of
    items, except a full softmax.

    Args:
        model: Pretrainer, compiled.
        data: `(history, targets)`, int32 `[B, L]` each (a history with fields is `[B, L, 1 + F]`),
            or with the weights of samples as a third; see `Pretrainer`.

    Returns:
        dict of metrics, as `keras.Model.train_step` returns it.
    """
    history, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    history, targets = tf.cast(history, tf.int32), tf.cast(targets, tf.int32)
    if weights is not None:
        weights = target_weights(weights, targets)
    # The mean is over the targets of all replicas and micro-batches, which may have different
    # numbers of them. So the count comes first, and each part divides its own sum by it.
    counted = sum_over_replicas(tf.reduce_sum(tf.cast(is_item(targets), tf.float32)))
    # A batch without any target has a loss of 0, not 0 / 0.
    step = MicroBatchedStep(model, history, targets, tf.maximum(counted, 1.0), weights)
    loss, gradients = step.run()
    model.optimizer.apply(gradients, model.trainable_variables)
    # Each replica has its share of the mean loss, and the metric takes the mean over the
    # replicas, so the shares are scaled up to have the mean loss as their mean.
    loss *= model.distribute_strategy.num_replicas_in_sync
    record_loss(model, loss, tf.shape(history)[0])
    return model.get_metrics_result()


def micro_batch_count(rows: int | None, width: int | None, channels: int) -> int:
    """The number of equal groups of rows that a batch is cut into.

    Args:
        rows, width: int or `None`. B and L of the batch; `None` if they are unknown
            when the step is traced.
        channels: int. C.

    Returns:
        int. A divisor of `rows`, since all micro-batches share one compiled graph and so
        need one shape. 1 on a GPU, which gains nothing from small batches, and where the
        shape is unknown.
    """
    if rows is None or width is None or tf.config.list_logical_devices("GPU"):
        return 1
    wanted = rows * width * channels / cached_values()
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= max(1, wanted))


@functools.cache
def cached_values():
    """`CACHED_VALUES`, scaled to this machine's caches if the system tells their size."""
    try:
        kib = int(CACHE.read_text().strip().removesuffix("K"))
    except (OSError, ValueError):
        kib = 512
    return CACHED_VALUES * max(1, kib // 512)


class MicroBatchedStep:
    """The loss and the gradients of one step on one replica.

    Trainable variables are of two kinds here. *Tables* (the item embedding, and the
    output table unless it is the same) are differentiated by the rows that the step has
    read, before the loop, so that autodiff never makes a gradient as large as a table.
    All others are *dense*. XLA compiles the loop; it gets rows and the values of dense
    variables, and gives back their gradients.

    Args:
        history: int32 tensor `[B, L]` or `[B, L, 1 + F]`.
        targets: int32 tensor `[B, L]`.
        total: float. The sum of the losses is divided by it: the number of targets of
            all replicas.
        weights: float32 tensor `[B, L]`, of the losses, or `None`. Defaults to `None`.
    """

    def __init__(
        self, model, history: Tensor, targets: Tensor, total: float, weights: Tensor | None = None
    ) -> None:
        self.model = model
        self.loss_weights = weights
        self.input_table = model.backbone.item_embedding.embeddings
        self.output_table = self.input_table if model.tied else model.output_table.embeddings
        # The row of the output table of the first item: a tied table begins
        # with the special ids, an output table of its own has items only.
        self.first_row = id_of(0) if model.tied else 0
        # Tables go into the loop beside the weights; what a step does not read has no gradient.
        left_out = self.input_table, self.output_table, *model.unused_variables()
        self.weights = Weights(model, left_out)
        self.targets = tf.maximum(number_of(targets), -1)  # -1: a special id, without loss
        self.total = total
        self.history, self.ids = history, item_ids(history)
        self.sampled = model.sampled_softmax is not None
        if self.sampled:
            # Drawn once for the step, not for each micro-batch: the step must equal one on
            # the whole batch.
            self.negatives = model.sampled_softmax.draw(tf.reshape(self.targets, [-1]))
            # A position without a target needs some row to keep the shapes static. It takes
            # a negative's row, which is read anyway; its gradient there is zero.
            self.target_rows = self.first_row + tf.where(
                self.targets >= 0, self.targets, self.negatives[0]
            )
        rows, width = self.ids.shape
        self.count = micro_batch_count(rows, width, model.backbone.hidden_dim)

    def run(self) -> Any:
        """Computes the mean loss and the gradients, in the order of `trainable_variables`."""
        # `parts` are cut into micro-batches; `whole` is what each of them needs completely:
        # the rows of all negatives, or the output table of a full softmax. Rows are gathered
        # from `table.value`: `tf.gather` of a Keras variable would read the whole table.
        # `benchmark train` tells the parts of a step by the names "tables" and "loss".
        with tf.name_scope("tables"):
            parts = [self.history, self.targets, tf.gather(self.input_table.value, self.ids)]
            if self.sampled:
                parts.append(tf.gather(self.output_table.value, self.target_rows))
                negatives = tf.gather(self.output_table.value, self.first_row + self.negatives)
                whole = {"rows": negatives, "negatives": self.negatives}
            else:
                whole = {"rows": tf.convert_to_tensor(self.output_table.value)[self.first_row :]}
        cut = lambda part: tf.reshape(part, [self.count, -1, *part.shape[1:]])
        parts = [cut(part) for part in parts]
        # Otherwise small gradients underflow in float16. The optimizer divides by the same
        # scale; the loss itself is returned unscaled.
        scale = self.model.optimizer.scale_loss(tf.constant(1.0))
        given = {"parts": parts, "whole": whole, "total": self.total, "scale": scale}
        if self.loss_weights is not None:
            given["weights"] = cut(self.loss_weights)
        # Tensors alone go in and come out, so that models of one form share a compiled loop.
        key = shared_form(self.model, self.weights)
        loss, by_row, of_whole, dense, changed = call_compiled(
            self.model, key, self._all_parts, self.weights.values(), given
        )
        self.weights.assign(changed)  # the random seeds, which dropout has moved on
        with tf.name_scope("tables"):
            gradients = self._gradients(by_row, of_whole, self.weights.of_variables(dense))
        return loss, gradients

    def _all_parts(self, values, given):
        """Runs the micro-batches one after the other.

        Losses and gradients of `whole` and of the dense weights are summed, not averaged: each
        micro-batch has divided by the targets of the whole step, so the sum is the step's mean.
        A float sum depends on its order, so it always begins at the first micro-batch. Gradients
        of gathered rows belong to one micro-batch each and are stacked in its order.
        """
        # `tf.while_loop` keeps the compiled graph as small as one micro-batch; a Python loop
        # would compile them all, one after the other.
        parts, seeds = given["parts"], self.weights.seeds(values)
        arrays = [tf.TensorArray(tf.float32, self.count) for _ in parts[2:]]  # of gathered rows
        sums = [tf.zeros_like(v) for v in (given["whole"]["rows"], *self.weights.trained(values))]

        # Seeds go from one micro-batch to the next, or all would drop the same positions.
        def body(index, loss, seeds, arrays, sums):
            part = [part[index] for part in parts]
            weights = tf.reshape(given["weights"][index], [-1]) if "weights" in given else None
            one_loss, by_row, summed, seeds = self._micro_batch(part, weights, values, seeds, given)
            arrays = [array.write(index, value) for array, value in zip(arrays, by_row)]
            return index + 1, loss + one_loss, seeds, arrays, [a + b for a, b in zip(sums, summed)]

        start = tf.constant(0), tf.constant(0.0), seeds, arrays, sums
        if self.count == 1:
            _, loss, seeds, arrays, sums = body(*start)
        else:
            _, loss, seeds, arrays, sums = tf.while_loop(
                lambda index, *_: index < self.count, body, start, maximum_iterations=self.count
            )
        by_row = [array.stack() for array in arrays]
        return loss, by_row, sums[0], sums[1:], self.weights.with_new(seeds)

    def _micro_batch(self, part, weights, values, seeds, given):
        """Computes one micro-batch's share of the loss and its gradients.

        Returns:
            The loss; the gradients of its gathered rows; the gradients of `whole` followed by
            those of the dense weights; and the random seeds for the next micro-batch.
        """
        history, targets, *rows = part
        channels = self.model.backbone.hidden_dim
        whole = given["whole"]
        values = self.weights.with_seeds(values, seeds)
        with tf.GradientTape() as tape:
            tape.watch([*rows, whole["rows"]])
            # Cast where the tape sees it: gradients then come back in the tables' float32.
            dtype = self.model.backbone.item_embedding.compute_dtype
            embedded, *true_rows = [tf.cast(row, dtype) for row in rows]
            whole_rows = tf.cast(whole["rows"], dtype)
            with self.weights.taken(values, tape) as taken:
                if self.model.input_fields is not None:
                    embedded, whole_rows, true_rows = self._with_item_fields(
                        item_ids(history), targets, whole, embedded, whole_rows, true_rows
                    )
                states = self.model.backbone.states(history, embedded, training=True)
                seeds = taken.seeds()
            with tf.name_scope("loss"):
                loss = self._loss(
                    tf.reshape(states, [-1, channels]),
                    tf.reshape(targets, [-1]),
                    [tf.reshape(row, [-1, channels]) for row in true_rows],
                    whole_rows,
                    whole.get("negatives"),
                    weights,
                )
            loss /= given["total"]
            scaled = loss * given["scale"]
        dense = self.weights.trained(values)
        gradients = tape.gradient(scaled, [*rows, whole["rows"], *dense])
        return loss, gradients[: len(rows)], gradients[len(rows) :], seeds

    def _with_item_fields(self, ids, targets, whole, embedded, whole_rows, true_rows):
        """The rows of both tables with the vectors of the items' fields added.

        Within the tape, so that their tables get dense gradients, which are small.
        """
        inputs, outputs = self.model.input_fields, self.model.output_fields
        embedded = inputs.beside(embedded, ids, training=True)
        if not self.sampled:
            whole_rows = outputs.beside(whole_rows, rows_of_items(outputs.ids), training=True)
            return embedded, whole_rows, true_rows
        negatives = whole["negatives"]
        of_targets = id_of(tf.where(targets >= 0, targets, negatives[0]))  # as in `target_rows`
        true_rows = [outputs.beside(true_rows[0], of_targets, training=True)]
        whole_rows = outputs.beside(whole_rows, id_of(negatives), training=True)
        return embedded, whole_rows, true_rows

    def _loss(self, states, targets, true_rows, whole, negatives, weights):
        model = self.model
        if negatives is None:
            return model.full_softmax(states, targets, whole, weights)
        losses = model.sampled_softmax.row_losses(states, targets, true_rows[0], negatives, whole)
        return tf.reduce_sum(losses if weights is None else losses * weights)

    def _gradients(self, by_row, of_whole, dense):
        """Assembles one gradient per trainable variable from what the loop returned."""
        # By id: a Keras variable is no key, since `==` compares its values.
        by_variable = {id(v): g for v, g in zip(self.model.trainable_variables, dense)}
        inputs = self._slices(self.input_table, [self.ids], by_row[:1])
        if not self.sampled:
            outputs = of_whole
            if self.first_row:  # the special ids, which the softmax left out
                outputs = tf.pad(outputs, [[self.first_row, 0], [0, 0]])
        else:
            ids = [self.target_rows, self.first_row + self.negatives]
            outputs = self._slices(self.output_table, ids, [by_row[1], of_whole])
        if not self.model.tied:
            by_variable[id(self.output_table)] = outputs
        elif self.sampled:  # one table for both: a sum of sparse gradients is all their rows
            ids, values = (
                tf.concat(pair, 0)
                for pair in zip(*((s.indices, s.values) for s in (inputs, outputs)))
            )
            inputs = tf.IndexedSlices(values, ids, inputs.dense_shape)
        else:  # one table, whose output gradient is dense
            inputs = tf.tensor_scatter_nd_add(outputs, inputs.indices[:, None], inputs.values)
        by_variable[id(self.input_table)] = inputs
        return [by_variable[id(v)] for v in self.model.trainable_variables]

    @staticmethod
    def _slices(table, ids, values):
        """A gradient of single rows of a table; rows that come several times are not summed."""
        channels = table.shape[-1]
        return tf.IndexedSlices(
            tf.concat([tf.reshape(value, [-1, channels]) for value in values], 0),
            tf.concat([tf.reshape(some, [-1]) for some in ids], 0),
            tf.constant(list(table.shape), tf.int32),
        )
