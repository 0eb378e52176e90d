"""The laws that negatives are drawn by."""

import math

import keras
import numpy as np
from keras import ops

SAMPLERS = ("log_uniform", "uniform", "in_batch")
STRATA = 4096


class NegativeSampler:
    """Draws shared negatives, with replacement, and knows their law.

    `"log_uniform"` is the law of ranks in many catalogues,

        q(i) = log((i + 2) / (i + 1)) / log(V + 1),

    items sorted by falling frequency; `"uniform"` is q(i) = 1 / V; `"in_batch"` draws
    from the counted targets of the batch, so q(i) is how often i is a target in
    training: `counts / Σ counts`, or else taken to be log-uniform.

    Args:
        items: int. Items V.
        negatives: int. Negatives S of a draw.
        sampler: str. The law. Defaults to `"log_uniform"`.
        counts: Array of shape `[V]` or `None`. Of `"in_batch"`; an item of less than
            one counts once. Defaults to `None`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, items, negatives, sampler="log_uniform", counts=None):
        for argument, value in (("items", items), ("negatives", negatives)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{argument}` should be a positive integer. "
                    f"Received: `{argument}` = {value!r}."
                )
        if sampler not in SAMPLERS:
            raise ValueError(
                f"`sampler` should be one of {', '.join(SAMPLERS)}. "
                f"Received: `sampler` = {sampler!r}."
            )
        if counts is not None and (sampler != "in_batch" or np.shape(counts) != (items,)):
            raise ValueError(
                f"`counts` should have the shape ({items},) and go with the sampler in_batch. "
                f"Received: the shape {np.shape(counts)} and `sampler` = {sampler!r}."
            )
        self.items = items
        self.negatives = negatives
        self.sampler = sampler
        self.log_frequency = None
        if counts is not None:
            counts = np.maximum(np.asarray(counts, "float64"), 1.0)
            self.log_frequency = np.log(counts / counts.sum()).astype("float32")
        # Bounds of equally likely parts of [1, V + 1): float32 cannot hold them whole.
        bounds = np.exp(np.arange(STRATA) / STRATA * math.log(items + 1))
        self.whole_bounds = bounds.astype("int32")
        self.bounds_beyond = (bounds - self.whole_bounds).astype("float32")

    def draw(self, targets, seed):
        """Ids `int32 [S]` for a batch of targets `[N]`, -1 not counted."""
        if self.sampler == "uniform":
            return keras.random.randint((self.negatives,), 0, self.items, "int32", seed)
        if self.sampler == "log_uniform":
            return self._log_uniform(keras.random.uniform((2, self.negatives), seed=seed))
        targets = ops.cast(targets, "int32")
        # The k-th counted target, k uniform, is where the count first passes k.
        passed = ops.cumsum(ops.cast(targets >= 0, "int32"))
        uniform = keras.random.uniform((self.negatives,), seed=seed)
        wanted = ops.cast(uniform * ops.cast(passed[-1], "float32"), "int32")
        wanted = ops.minimum(wanted, passed[-1] - 1)
        places = ops.searchsorted(passed, wanted, side="right")
        # Where none is counted, no loss is either; any item will do.
        places = ops.clip(ops.cast(places, "int32"), 0, ops.shape(targets)[0] - 1)
        return ops.maximum(ops.take(targets, places), 0)

    def _log_uniform(self, uniform):
        """Items at the points `uniform [2, S]`: a part, and a place within it.

        In float32 the plain inverse, exp(u · log(V + 1)) - 1, misses some items and
        doubles others from about 10^5 on. A place within a part keeps its digits.
        """
        part = ops.cast(uniform[0] * STRATA, "int32")
        whole, beyond = ops.take(self.whole_bounds, part), ops.take(self.bounds_beyond, part)
        start = ops.cast(whole, "float32") + beyond
        place = beyond + start * ops.expm1(uniform[1] * (math.log(self.items + 1) / STRATA))
        return ops.clip(whole + ops.cast(place, "int32") - 1, 0, self.items - 1)

    def log_expected(self, negatives):
        """Logarithm of the expected count `S · q(i)` of each negative, `[S]`."""
        if self.sampler == "uniform":
            return math.log(self.negatives / self.items)
        if self.log_frequency is not None:
            return math.log(self.negatives) + ops.take(self.log_frequency, negatives)
        # log1p: in float32, (i + 2) / (i + 1) is off by per cents at a million items.
        law = ops.log1p(1.0 / (ops.cast(negatives, "float32") + 1.0))
        return ops.log(law) + math.log(self.negatives / math.log(self.items + 1))
