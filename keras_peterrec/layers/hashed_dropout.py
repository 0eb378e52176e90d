"""Dropout whose random numbers cost next to nothing."""

import keras
from keras import ops

from keras_peterrec.types import Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class HashedDropout(keras.layers.Dropout):
    """Dropout that decides on each value by a hash of its position and the step's seed.

        keep x_n  if  hash(n, seed) >= rate,  and then x_n / (1 - rate)

    The frameworks' random generators (Philox, Threefry) are built for sampling. A mask
    from them takes longer to compute than a layer, and many times longer where a
    compiler computes it again in every loop that reads it. Two rounds of multiply and
    shift are random enough to choose which values to drop, and cost a few instructions.

    Args:
        rate: float. Share of the values that become zero.

    Call arguments:
        inputs: Tensor of any shape.
        training: bool. Nothing is dropped unless it is `True`.

    Returns:
        Tensor of the shape of `inputs`.

    Example:

    >>> HashedDropout(0.5)(np.ones((2, 3), "float32"), training=False).shape
    (2, 3)

    Source: the integer hash is "lowbias32" of Wellons' "hash-prospector", 2018.
    """

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        seed = ops.cast(self.seed_generator.next(), "uint32")
        start = _hash(_hash(seed[0]) + seed[1])
        shape = ops.shape(inputs)
        count = 1
        for size in shape:
            count = count * size
        places = ops.reshape(ops.cast(ops.arange(count, dtype="int32"), "uint32"), shape)
        drawn = _hash(places + start)
        # 24 bits are exact in float32, which every backend can compare.
        uniform = ops.cast(ops.cast(ops.right_shift(drawn, 8), "int32"), "float32") * 2.0**-24
        scale = ops.cast(1.0 / (1.0 - self.rate), inputs.dtype)
        return ops.where(uniform >= self.rate, inputs * scale, ops.zeros_like(inputs))


def _hash(numbers):
    """Mixes uint32 numbers so that neighbours get unrelated results."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        numbers = ops.bitwise_xor(numbers, ops.right_shift(numbers, shift))
        numbers = numbers * ops.cast(factor, "uint32")
    return ops.bitwise_xor(numbers, ops.right_shift(numbers, 16))
