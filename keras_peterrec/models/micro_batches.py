"""The pretrainers' training step on TensorFlow: in micro-batches, rows by rows."""

import functools
from pathlib import Path

import keras
import tensorflow as tf

from keras_peterrec.data.special_ids import FIRST_ITEM
from keras_peterrec.distribution.replicated_model import compile_alone, sum_over_replicas

# Values of one activation in a micro-batch: what two cores' second caches of 512 KiB
# hold of a block's intermediates. Found by measuring 400 to 6,400 tokens of 64 channels;
# with 1 MiB twice as many were best.
CACHED_VALUES = 1_600 * 64
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # on Linux


def train_step(model, data):
    """One step on a batch, equal to a plain step on it up to float noise.

    Two things make it fast. A CPU spends more time moving a large batch's
    activations than multiplying, so the batch is taken in micro-batches small enough
    for the caches, one after the other, their gradients summed. And tables are read
    row by row before the loop and changed row by row after it (gradients are
    `tf.IndexedSlices`), so that no part of a step grows with the catalogue, unless
    the full softmax is asked for.

    Args:
        model: Pretrainer, compiled.
        data: `(history, targets)`, int32 `[B, L]` each.

    Returns:
        dict of metrics, as of `keras.Model.train_step`.
    """
    history, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
    history, targets = tf.cast(history, tf.int32), tf.cast(targets, tf.int32)
    counted = sum_over_replicas(tf.reduce_sum(tf.cast(targets >= FIRST_ITEM, tf.float32)))
    compute = compile_alone(model, lambda *given: MicroBatchedStep(model, *given).run())
    loss, gradients = compute(history, targets, tf.maximum(counted, 1.0))
    model.optimizer.apply(gradients, model.trainable_variables)
    # Each replica has its share of the mean, and the tracker takes the mean of replicas.
    loss *= model.distribute_strategy.num_replicas_in_sync
    model._loss_tracker.update_state(loss, sample_weight=tf.shape(history)[0])
    return model.get_metrics_result()


def micro_batch_count(rows, width, channels):
    """Into how many equal groups of rows a batch is cut: 1 where a GPU computes."""
    if rows is None or width is None or tf.config.list_logical_devices("GPU"):
        return 1
    wanted = rows * width * channels / cached_values()
    return max(n for n in range(1, rows + 1) if rows % n == 0 and n <= max(1, wanted))


@functools.cache
def cached_values():
    """`CACHED_VALUES` for this machine's caches, as far as the system tells their size."""
    try:
        kib = int(CACHE.read_text().strip().removesuffix("K"))
    except (OSError, ValueError):
        kib = 512
    return CACHED_VALUES * max(1, kib // 512)


class MicroBatchedStep:
    """What a step reads, computes and gives back.

    Args:
        model: Pretrainer.
        history, targets: int32 tensors `[B, L]`.
        total: float. What the sum of the losses is divided by.
    """

    def __init__(self, model, history, targets, total):
        self.model = model
        self.input_table = model.backbone.item_embedding.embeddings
        self.output_table = self.input_table if model.tied else model.output_table.embeddings
        # Row of the output table that is the item of id FIRST_ITEM.
        self.first_row = FIRST_ITEM if model.tied else 0
        tables = {id(self.input_table), id(self.output_table)}
        self.dense = [v for v in model.trainable_variables if id(v) not in tables]
        self.targets = tf.maximum(targets - FIRST_ITEM, -1)  # special ids are not counted
        self.total = total
        self.history = history
        self.sampled = model.sampled_softmax is not None
        if self.sampled:
            self.negatives = model.sampled_softmax.draw(tf.reshape(self.targets, [-1]))
            # What is not counted gets a row that is read anyway, and no gradient.
            self.target_rows = self.first_row + tf.where(
                self.targets >= 0, self.targets, self.negatives[0]
            )
        self.count = micro_batch_count(*history.shape, model.backbone.hidden_dim)

    def run(self):
        """The mean loss and the gradients, in the order of `trainable_variables`."""
        # Read here and not in the loop, where only rows of one micro-batch are needed.
        parts = [self.history, self.targets, tf.gather(self.input_table.value, self.history)]
        whole = []
        if self.sampled:
            parts.append(tf.gather(self.output_table.value, self.target_rows))
            negative_rows = self.first_row + self.negatives
            whole = [tf.gather(self.output_table.value, negative_rows)]
        else:
            whole = [tf.convert_to_tensor(self.output_table.value)[self.first_row :]]
        parts = [tf.reshape(part, [self.count, -1, *part.shape[1:]]) for part in parts]
        if self.count == 1:
            loss, by_row, summed = self._micro_batch([part[0] for part in parts], whole)
        else:
            loss, by_row, summed = self._loop(parts, whole)
        return loss, self._gradients(by_row, summed)

    def _loop(self, parts, whole):
        """Sums over micro-batches; what belongs to rows is laid end to end."""
        rows = [tf.TensorArray(tf.float32, self.count) for _ in parts[2:]]
        sums = [tf.zeros_like(value) for value in (*whole, *self.dense)]

        def body(index, loss, rows, sums):
            one_loss, by_row, summed = self._micro_batch([part[index] for part in parts], whole)
            rows = [array.write(index, value) for array, value in zip(rows, by_row)]
            return index + 1, loss + one_loss, rows, [a + b for a, b in zip(sums, summed)]

        _, loss, rows, sums = tf.while_loop(
            lambda index, *_: index < self.count,
            body,
            (tf.constant(0), tf.constant(0.0), rows, sums),
            maximum_iterations=self.count,
        )
        return loss, [array.stack() for array in rows], sums

    def _micro_batch(self, part, whole):
        """Its share of the loss and the gradients of rows, tables and dense weights."""
        history, targets, *rows = part
        channels = self.model.backbone.hidden_dim
        with tf.GradientTape() as tape:
            tape.watch(rows + whole)
            dtype = self.model.backbone.item_embedding.compute_dtype
            embedded, *true_rows = [tf.cast(row, dtype) for row in rows]
            states = self.model.backbone.states(history, embedded, training=True)
            loss = self._loss(
                tf.reshape(states, [-1, channels]),
                tf.reshape(targets, [-1]),
                [tf.reshape(row, [-1, channels]) for row in true_rows],
                [tf.cast(row, dtype) for row in whole],
            )
            scaled = self.model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [*rows, *whole, *self.dense])
        return loss, gradients[: len(rows)], gradients[len(rows) :]

    def _loss(self, states, targets, true_rows, whole):
        model = self.model
        if not self.sampled:
            return model.full_softmax(states, targets, whole[0]) / self.total
        losses = model.sampled_softmax.losses(
            states, targets, true_rows[0], self.negatives, whole[0]
        )
        return tf.reduce_sum(losses) / self.total

    def _gradients(self, by_row, summed):
        by_variable = {id(v): g for v, g in zip(self.dense, summed[1:])}
        inputs = self._slices(self.input_table, [self.history], by_row[:1])
        if not self.sampled:
            outputs = summed[0]
            if self.first_row:
                outputs = tf.pad(outputs, [[self.first_row, 0], [0, 0]])
        else:
            ids = [self.target_rows, self.first_row + self.negatives]
            outputs = self._slices(self.output_table, ids, [by_row[1], summed[0]])
        if not self.model.tied:
            by_variable[id(self.output_table)] = outputs
        elif self.sampled:
            ids, values = (
                tf.concat(pair, 0)
                for pair in zip(*((s.indices, s.values) for s in (inputs, outputs)))
            )
            inputs = tf.IndexedSlices(values, ids, inputs.dense_shape)
        else:
            inputs = tf.tensor_scatter_nd_add(outputs, inputs.indices[:, None], inputs.values)
        by_variable[id(self.input_table)] = inputs
        return [by_variable[id(v)] for v in self.model.trainable_variables]

    @staticmethod
    def _slices(table, ids, values):
        channels = table.shape[-1]
        return tf.IndexedSlices(
            tf.concat([tf.reshape(value, [-1, channels]) for value in values], 0),
            tf.concat([tf.reshape(some, [-1]) for some in ids], 0),
            tf.constant(list(table.shape), tf.int32),
        )
