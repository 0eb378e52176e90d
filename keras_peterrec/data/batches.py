"""tf.data pipelines of batches for pretraining and for tasks."""

import tensorflow as tf

from keras_peterrec.data.preprocessing import gather_rows, left_pad
from keras_peterrec.data.special_ids import FIRST_ITEM, MASK, PAD, UNK


def causal_batches(items, starts, stops, max_length, batch_size, seed=None, unknown_rate=0.0):
    """Batches for next-item training.

    Args:
        items: int array `[N]` of ids, as `Sequences.items`.
        starts, stops: int arrays `[W]`, as from `Sequences.training_windows`.
        max_length: int.
        batch_size: int.
        seed: int or `None`. Shuffles, differently each epoch and the same for the
            same seed; `None` keeps the order. Defaults to `None`.
        unknown_rate: float. Share of inputs that become the unknown item, so that
            what was never seen in training can be met later. Defaults to `0.0`.

    Returns:
        `tf.data.Dataset` of `(history, targets)`, int32 `[B, L]` each; targets
        are 0 where there is nothing to predict.
    """
    flat = tf.constant(items, tf.int32)

    def batch(rows, noise):
        start, stop = rows
        history = left_pad(gather_rows(flat, start, stop), max_length, fixed=True)
        targets = left_pad(gather_rows(flat, start + 1, stop + 1), max_length, fixed=True)
        return _hide(history, noise, unknown_rate), _only_items(targets)

    return _batches((starts, stops), batch, batch_size, seed)


def masked_batches(
    items, starts, stops, max_length, batch_size, vocabulary_size, seed=None, mask_rate=0.3
):
    """Batches for masked training: 30 % of the positions, 80/10/10.

    Of the chosen positions, 80 % become the mask, 10 % a random item and 10 % stay
    as they are; the target is the item that stood there.

    Args:
        items, starts, stops, max_length, batch_size, seed: see `causal_batches`.
        vocabulary_size: int.
        mask_rate: float. Defaults to `0.3`.

    Returns:
        `tf.data.Dataset` of `(history, targets)`, int32 `[B, L]` each.

    Source: Yuan et al., SIGIR 2020, section 3.2.
    """
    flat = tf.constant(items, tf.int32)

    def batch(rows, noise):
        # A causal window's last target is its last event: keep that one too.
        start, stop = rows[0], rows[1] + 1
        history = left_pad(gather_rows(flat, start, stop), max_length, fixed=True)
        chosen = (_uniform(history, noise, 0) < mask_rate) & (history != PAD)
        fate = _uniform(history, noise, 1)
        span = tf.cast(vocabulary_size - FIRST_ITEM, tf.float32)
        random_item = FIRST_ITEM + tf.cast(_uniform(history, noise, 2) * span, tf.int32)
        shown = tf.where(fate < 0.8, MASK, tf.where(fate < 0.9, random_item, history))
        targets = tf.where(chosen, history, PAD)
        return tf.where(chosen, shown, history), _only_items(targets)

    return _batches((starts, stops), batch, batch_size, seed)


def task_batches(
    items, starts, stops, answers, max_length, batch_size, seed=None, unknown_rate=0.0, steps=None
):
    """Batches of histories and a task's answers.

    Args:
        items, starts, stops, max_length, batch_size, seed, unknown_rate: see
            `causal_batches`.
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
        return _hide(history, noise, unknown_rate), answer

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


def _uniform(like, noise, stream):
    """Uniform numbers of the shape of `like`, given by the batch's own noise."""
    seed = tf.stack([noise[0] + stream, noise[1]])
    return tf.random.stateless_uniform(tf.shape(like), seed)


def _hide(history, noise, rate):
    """Makes a share of the items unknown."""
    if not rate:
        return history
    return tf.where((_uniform(history, noise, 0) < rate) & (history != PAD), UNK, history)


def _only_items(targets):
    """Targets with the special ids, which are no answers, as padding."""
    return tf.where(targets < FIRST_ITEM, PAD, targets)
