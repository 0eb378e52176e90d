"""tf.data pipelines of batches for tasks, padded on the left; see also `packed_batches`."""

import tensorflow as tf

from keras_peterrec.data.hiding import hide_as_unknown
from keras_peterrec.data.preprocessing import gather_rows, left_pad


def task_batches(
    items, starts, stops, answers, max_length, batch_size, seed=None, unknown_rate=0.0, steps=None
):
    """Batches of histories and a task's answers.

    Args:
        items: int array `[N]` of ids, as `Sequences.items`.
        starts, stops: int arrays `[E]`. Histories are `items[start:stop]`.
        max_length: int. Last items of a history that are kept.
        batch_size: int.
        seed: int or `None`. Shuffles, differently each epoch and the same for the
            same seed; `None` keeps the order. Defaults to `None`.
        unknown_rate: float. Share of inputs that become the unknown item.
            Defaults to `0.0`.
        answers: int array `[E]` of classes, or `[E, T]` of target items, filled up
            with -1.
        steps: int or `None`. Batches of an epoch, for when one is to be a part of
            the shuffled rows only. Defaults to `None`, all rows.

    Returns:
        `tf.data.Dataset` of `(history [B, L], answers)`.
    """
    flat = tf.constant(items, tf.int32)

    def batch(rows, noise):
        start, stop, answer = rows
        history = left_pad(gather_rows(flat, start, stop), max_length, fixed=True)
        return hide_as_unknown(history, noise, unknown_rate), answer

    return _batches((starts, stops, answers), batch, batch_size, seed, steps)


def state_batches(states, answers, batch_size, seed=None, steps=None):
    """Batches of users' states, computed beforehand, and a task's answers.

    Args:
        states: float array `[E, C]`.
        answers, batch_size, seed, steps: see `task_batches`.

    Returns:
        `tf.data.Dataset` of `(states [B, C], answers)`.
    """
    states = tf.constant(states)

    def batch(rows, noise):
        row, answer = rows
        return tf.gather(states, row), answer

    # Row numbers are shuffled and not the states: those are held once.
    return _batches((range(len(answers)), answers), batch, batch_size, seed, steps)


def history_batches(items, starts, stops, max_length, batch_size):
    """Batches of histories alone, in order, each as wide as its longest row."""
    flat = tf.constant(items, tf.int32)
    return _batches(
        (starts, stops),
        lambda rows, noise: left_pad(gather_rows(flat, *rows), max_length),
        batch_size,
        None,
    )


def _batches(columns, make_batch, batch_size, seed, steps=None):
    rows = tf.data.Dataset.from_tensor_slices(tuple(columns))
    noise = tf.data.Dataset.random(seed or 0, rerandomize_each_iteration=True).batch(2)
    if seed is None:
        rows = rows.batch(batch_size)
    else:
        # The last batch is filled up with rows of the next shuffle: all batches have
        # one shape, so that a compiled training step is compiled once.
        count = len(columns[0])
        rows = rows.shuffle(count, seed=seed, reshuffle_each_iteration=True).repeat()
        rows = rows.batch(batch_size).take(steps or -(-count // batch_size))
    paired = tf.data.Dataset.zip(rows, noise)
    return paired.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
