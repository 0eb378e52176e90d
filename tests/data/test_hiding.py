"""What is hidden from a model: how much, of what, and what is asked in return."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.data.hiding import hide_as_unknown, hide_behind_mask

VOCABULARY_SIZE = 1004
IDS = tf.constant(np.arange(30_000).reshape(5000, 6) % 1000 + 4, tf.int32)
NOISE = tf.constant([5, 7], tf.int64)


def within(share, expected, count):
    return abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_masks_a_share_of_the_positions_80_10_10(rate):
    shown, asked = map(np.asarray, hide_behind_mask(IDS, NOISE, rate, VOCABULARY_SIZE))
    chosen = asked != 0
    assert within(chosen.mean(), rate, chosen.size)
    masked = shown[chosen] == 2
    kept = shown[chosen] == asked[chosen]
    others = shown[chosen][~masked & ~kept]
    count = chosen.sum()
    assert within(masked.mean(), 0.8, count)
    # A random item is the true one in one of a thousand.
    assert within(kept.mean(), 0.1 + 0.1 / 1000, count)
    assert others.min() >= 4 and others.max() <= 1003
    assert len(np.unique(others)) > 500 and abs(others.mean() - 503.5) < 30
    # Not one position is favoured, nor is fate bound to choice.
    assert all(within(column.mean(), rate, len(column)) for column in chosen.T)


def test_masked_positions_are_asked_for_what_stood_there():
    shown, asked = map(np.asarray, hide_behind_mask(IDS, NOISE, 0.3, VOCABULARY_SIZE))
    chosen = asked != 0
    np.testing.assert_array_equal(asked[chosen], np.asarray(IDS)[chosen])
    np.testing.assert_array_equal(shown[~chosen], np.asarray(IDS)[~chosen])


def test_a_share_of_the_items_becomes_unknown():
    hidden, ids = np.asarray(hide_as_unknown(IDS, NOISE, 0.2)), np.asarray(IDS)
    assert within((hidden == 1).mean(), 0.2, hidden.size)
    np.testing.assert_array_equal(hidden[hidden != 1], ids[hidden != 1])
    np.testing.assert_array_equal(hide_as_unknown(IDS, NOISE, 0.0), ids)


def test_padding_is_neither_masked_nor_hidden():
    ids = tf.where(tf.range(6) % 2 == 0, 0, IDS)
    shown, asked = hide_behind_mask(ids, NOISE, 1.0, VOCABULARY_SIZE)
    unknown = hide_as_unknown(ids, NOISE, 1.0)
    for hidden in (shown, asked, unknown):
        np.testing.assert_array_equal(hidden == 0, ids == 0)
    assert set(np.unique(unknown)) == {0, 1}


def test_noise_decides():
    def masks(noise):
        return np.asarray(hide_behind_mask(IDS, tf.constant(noise, tf.int64), 0.3, 1004)[1])

    np.testing.assert_array_equal(masks([1, 2]), masks([1, 2]))
    assert not np.array_equal(masks([1, 2]), masks([1, 3]))
