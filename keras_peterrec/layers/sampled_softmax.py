"""Softmax cross-entropy over a sample of the items, and how the sample is drawn."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.types import Json, Shape, Tensor

SAMPLERS = ("log_uniform", "uniform", "in_batch", "counts")
STRATA = 4096
MOST_COUNTED = 2**30  # int32 numbers, which all processors draw, go up to twice as many

# In the path of the state that draws the negatives, by which training on several devices
# tells it from the states of dropout: negatives are the same everywhere, dropout is not.
SHARED_SEED = "shared_negatives"


@keras.saving.register_keras_serializable("keras_peterrec")
class SampledSoftmax(keras.layers.Layer):
    """Cross-entropy of the true item against negatives shared by the batch.

    The score of a negative i is corrected by `-log(S · q(i))`, where S is the number of
    negatives and q the distribution they are drawn from (with replacement; see
    `NegativeSampler`), so that their sum estimates the rest of the full softmax's
    normaliser. The true item's own score enters uncorrected. A negative that is the
    true item of a row does not count in that row.

    Args:
        items: int. Number of items V in the table, most frequent first for `"log_uniform"`.
        negatives: int. Number of negatives S of a batch. Defaults to `1000`.
        seed: int or `None`. Defaults to `None`.
        sampler: str. `"log_uniform"` or `"uniform"` over the items, `"in_batch"`:
            from the targets of the batch, or `"counts"`: as often as `counts` says. Defaults to
            `"log_uniform"`.
        counts: Array of shape `[V]` or `None`. How often each item is a target in
            training, for `"counts"` and as the distribution of `"in_batch"`. Defaults to `None`:
            the distribution of `"in_batch"` is assumed to be log-uniform.

    Call arguments:
        states: Tensor of shape `[N, C]`.
        targets: Integer tensor of shape `[N]`, rows of the table; -1 is not counted.
        table: Tensor of shape `[V, C]`. Only the rows that are needed are read.

    Returns:
        float32 tensor of shape `[N]`, the loss of each row, 0 where not counted.

    Raises:
        InputError: if an argument is out of range.

    Example:

    >>> layer = SampledSoftmax(items=1_000_000)
    >>> negatives = layer.draw(targets)  # the owner of the table gathers the rows
    >>> losses = layer.row_losses(
    ...     states, targets, rows_of(targets), negatives, rows_of(negatives)
    ... )

    Source: Bengio and Senécal, 2008; Jean et al., 2015, section 3; Yi et al., RecSys
    2019 (in-batch).
    """

    def __init__(
        self,
        items: int,
        negatives: int = 1000,
        seed: int | None = None,
        sampler: str = "log_uniform",
        counts: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # inputs keep their types
        self.negative_sampler = NegativeSampler(items, negatives, sampler, counts)
        self.items = items
        self.negatives = negatives
        self.seed = seed
        self.sampler = sampler
        self.counts = counts
        self.seed_generator = keras.random.SeedGenerator(seed, name=SHARED_SEED)

    def call(self, states: Tensor, targets: Tensor, table: Tensor) -> Tensor:
        table = ops.convert_to_tensor(table)
        targets = ops.cast(targets, "int32")
        negatives = self.draw(targets)
        true_rows = ops.take(table, ops.maximum(targets, 0), axis=0)
        return self.row_losses(
            states, targets, true_rows, negatives, ops.take(table, negatives, axis=0)
        )

    def draw(self, targets: Tensor) -> Tensor:
        """Draws the ids of a batch's negatives, `int32 [S]`."""
        return self.negative_sampler.draw(targets, self.seed_generator)

    def row_losses(
        self,
        states: Tensor,
        targets: Tensor,
        true_rows: Tensor,
        negatives: Tensor,
        negative_rows: Tensor,
    ) -> Tensor:
        """Computes the losses from rows of the table that the caller has gathered.

        Args:
            states: Tensor of shape `[N, C]`.
            targets: Integer tensor of shape `[N]`; -1 is not counted.
            true_rows: Tensor of shape `[N, C]`, the table's rows of the targets.
            negatives: Integer tensor of shape `[S]`, as from `draw`.
            negative_rows: Tensor of shape `[S, C]`, the table's rows of the negatives.

        Returns:
            float32 tensor of shape `[N]`.
        """
        states = ops.convert_to_tensor(states)
        targets = ops.cast(targets, "int32")
        negative_rows = ops.cast(negative_rows, states.dtype)
        true_rows = ops.cast(ops.cast(true_rows, states.dtype), "float32")
        true_scores = ops.sum(ops.cast(states, "float32") * true_rows, axis=-1)
        scores = ops.cast(ops.matmul(states, ops.transpose(negative_rows)), "float32")
        scores = scores - self.negative_sampler.log_expected(negatives)
        hit = ops.expand_dims(targets, -1) == negatives
        rest = ops.logsumexp(ops.where(hit, -1e9, scores), axis=-1)
        # logaddexp(rest, true) - true. Autodiff of this takes 1.2 times its products.
        losses = ops.softplus(rest - true_scores)
        return ops.where(targets >= 0, losses, 0.0)

    def compute_output_shape(
        self, states_shape: Shape, targets_shape: Shape, table_shape: Shape
    ) -> Shape:
        return targets_shape

    def get_config(self) -> Json:
        return {
            **super().get_config(),
            "items": self.items,
            "negatives": self.negatives,
            "seed": self.seed,
            "sampler": self.sampler,
            "counts": None if self.counts is None else [int(count) for count in self.counts],
        }


class NegativeSampler:
    """Draws shared negatives, with replacement, from a distribution q that it knows.

    `"log_uniform"` is the distribution of ranks in many catalogues,

        q(i) = log((i + 2) / (i + 1)) / log(V + 1),

    for items sorted by falling frequency. `"uniform"` is q(i) = 1 / V. `"in_batch"`
    draws from the counted targets of the batch, so q(i) is how often i is a target in
    training: `counts / Σ counts`, or without counts assumed to be log-uniform. `"counts"` draws
    from that distribution itself, for items in any order.

    Args:
        items: int. Number of items V.
        negatives: int. Number of negatives S of a draw.
        sampler: str. Which distribution. Defaults to `"log_uniform"`.
        counts: Array of shape `[V]` or `None`. For `"in_batch"` and `"counts"`; an item with a
            count below one counts once. Defaults to `None`.

    Raises:
        InputError: if an argument is out of range.

    Example:

    >>> sampler = NegativeSampler(items=1000, negatives=5)
    >>> sampler.draw(targets, keras.random.SeedGenerator(0)).shape
    (5,)
    """

    def __init__(
        self,
        items: int,
        negatives: int,
        sampler: str = "log_uniform",
        counts: np.ndarray | None = None,
    ) -> None:
        self.items = check_count("items", items)
        self.negatives = check_count("negatives", negatives)
        if sampler not in SAMPLERS:
            refuse("sampler", f"one of {', '.join(SAMPLERS)}", sampler)
        takes_counts = sampler in ("in_batch", "counts")
        if counts is not None and (not takes_counts or np.shape(counts) != (items,)):
            raise InputError(
                f"`counts` should have shape ({items},) and be used with the samplers in_batch and "
                f"counts only. Received: shape {np.shape(counts)} and `sampler` = {sampler!r}."
            )
        if counts is None and sampler == "counts":
            raise InputError(
                "`counts` should be given with the sampler counts. Received: `counts` = None."
            )
        self.sampler = sampler
        self.log_frequency = None
        if counts is not None:
            counts = np.maximum(np.asarray(counts, "float64"), 1.0)
            if sampler == "counts":
                counts = np.maximum(np.floor(counts * min(1.0, MOST_COUNTED / counts.sum())), 1.0)
                self.passed = np.cumsum(counts).astype("int32")
            self.log_frequency = np.log(counts / counts.sum()).astype("float32")
        # Bounds of equally likely parts of [1, V + 1), as a whole number and a fraction:
        # float32 alone is too coarse for them.
        bounds = np.exp(np.arange(STRATA) / STRATA * math.log(items + 1))
        self.whole_bounds = bounds.astype("int32")
        self.bounds_beyond = (bounds - self.whole_bounds).astype("float32")

    def draw(self, targets: Tensor, seed: Any) -> Tensor:
        """Draws ids `int32 [S]` for a batch of targets `[N]`, where -1 is not counted."""
        if self.sampler == "uniform":
            return keras.random.randint((self.negatives,), 0, self.items, "int32", seed)
        if self.sampler == "log_uniform":
            return self._log_uniform(keras.random.uniform((2, self.negatives), seed=seed))
        if self.sampler == "counts":
            # One of all counted events, and whose it is.
            event = keras.random.randint((self.negatives,), 0, int(self.passed[-1]), "int32", seed)
            return ops.cast(ops.searchsorted(self.passed, event, side="right"), "int32")
        targets = ops.cast(targets, "int32")
        # The k-th counted target, k uniform, is where the count first exceeds k.
        passed = ops.cumsum(ops.cast(targets >= 0, "int32"))
        uniform = keras.random.uniform((self.negatives,), seed=seed)
        wanted = ops.cast(uniform * ops.cast(passed[-1], "float32"), "int32")
        wanted = ops.minimum(wanted, passed[-1] - 1)
        places = ops.searchsorted(passed, wanted, side="right")
        # Without a counted target there is no loss, so any item will do.
        places = ops.clip(ops.cast(places, "int32"), 0, ops.shape(targets)[0] - 1)
        return ops.maximum(ops.take(targets, places), 0)

    def _log_uniform(self, uniform):
        """Returns the items at the points `uniform [2, S]`: a part, and a place within it.

        In float32 the plain inverse, exp(u · log(V + 1)) - 1, misses some items and
        doubles others from about 10^5 items on. A place within a part keeps its digits.
        """
        part = ops.cast(uniform[0] * STRATA, "int32")
        whole, beyond = ops.take(self.whole_bounds, part), ops.take(self.bounds_beyond, part)
        start = ops.cast(whole, "float32") + beyond
        place = beyond + start * ops.expm1(uniform[1] * (math.log(self.items + 1) / STRATA))
        return ops.clip(whole + ops.cast(place, "int32") - 1, 0, self.items - 1)

    def log_expected(self, negatives: Tensor) -> Tensor:
        """Returns the logarithm of the expected count `S · q(i)` of each negative, `[S]`."""
        if self.sampler == "uniform":
            return math.log(self.negatives / self.items)
        if self.log_frequency is not None:
            return math.log(self.negatives) + ops.take(self.log_frequency, negatives)
        # log1p: in float32, (i + 2) / (i + 1) is off by per cents at a million items.
        law = ops.log1p(1.0 / (ops.cast(negatives, "float32") + 1.0))
        return ops.log(law) + math.log(self.negatives / math.log(self.items + 1))
