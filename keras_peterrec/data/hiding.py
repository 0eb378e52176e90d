"""Hiding items from a model: as unknown, or behind a mask."""

import tensorflow as tf

from keras_peterrec.data.special_ids import FIRST_ITEM, MASK, PAD, UNK


def hide_as_unknown(ids, noise, rate):
    """Makes a share of the items unknown.

    Args:
        ids: int32 tensor, such as `[B, L]`.
        noise: int64 tensor `[2]`. What this batch's random numbers come from.
        rate: float. The share.

    Returns:
        int32 tensor of the shape of `ids`.
    """
    if not rate:
        return ids
    return tf.where((_uniform(ids, noise, 0) < rate) & (ids != PAD), UNK, ids)


def hide_behind_mask(ids, noise, rate, vocabulary_size):
    """Masks a share of the positions, 80/10/10.

    Of the chosen positions, 80 % become the mask, 10 % a random item and 10 % stay
    as they are.

    Args:
        ids, noise, rate: see `hide_as_unknown`.
        vocabulary_size: int.

    Returns:
        Two int32 tensors of the shape of `ids`: what is shown, and what stood at
        the chosen positions, PAD elsewhere.

    Source: Yuan et al., SIGIR 2020, section 3.2.
    """
    chosen = (_uniform(ids, noise, 0) < rate) & (ids != PAD)
    fate = _uniform(ids, noise, 1)
    span = tf.cast(vocabulary_size - FIRST_ITEM, tf.float32)
    random_item = FIRST_ITEM + tf.cast(_uniform(ids, noise, 2) * span, tf.int32)
    shown = tf.where(fate < 0.8, MASK, tf.where(fate < 0.9, random_item, ids))
    return tf.where(chosen, shown, ids), tf.where(chosen, ids, PAD)


def _uniform(like, noise, stream):
    """Uniform numbers of the shape of `like`, given by the batch's own noise."""
    seed = tf.stack([noise[0] + stream, noise[1]])
    return tf.random.stateless_uniform(tf.shape(like), seed)
