"""One configuration of the training benchmark, and what a step of it must do."""

import dataclasses

import numpy as np

from keras_peterrec.data.special_ids import FIRST_ITEM
from keras_peterrec.errors import InputError

LOSSES = ("backbone", "sampled", "full")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
BATCHES = 8


@dataclasses.dataclass(frozen=True)
class TrainConfiguration:
    """A network, its loss and the shape of its batches.

    Args:
        items: int. Items V. Defaults to `50_000`.
        hidden_dim: int. Channels C. Defaults to `64`.
        blocks: int. Residual blocks. Defaults to `8`.
        length: int. Positions L of a row. Defaults to `50`.
        batch_size: int. Rows B. Defaults to `128`.
        negatives: int. Shared negatives S of the sampled loss. Defaults to `1_000`.
        loss: str. `"backbone"` (sum of squares of the states, no output table),
            `"sampled"` or `"full"` (softmax).
        precision: str. Keras' dtype policy. Defaults to `"float32"`.
        seed: int. Defaults to `0`.

    Raises:
        InputError: an argument is out of range.
    """

    items: int = 50_000
    hidden_dim: int = 64
    blocks: int = 8
    length: int = 50
    batch_size: int = 128
    negatives: int = 1_000
    loss: str = "sampled"
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for name in ("items", "hidden_dim", "blocks", "length", "batch_size", "negatives"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(
                    f"`{name}` should be a positive integer. Received: `{name}` = {value!r}."
                )
        for name, allowed in (("loss", LOSSES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(
                    f"`{name}` should be one of {', '.join(allowed)}. "
                    f"Received: `{name}` = {value!r}."
                )

    def replace(self, **changes):
        """A copy with other settings."""
        return dataclasses.replace(self, **changes)

    @property
    def tokens(self):
        """Positions N = B · L of a step."""
        return self.batch_size * self.length

    @property
    def scored(self):
        """Columns of the score matrix `[N, ·]` of the loss."""
        return {"backbone": 0, "sampled": self.negatives, "full": self.items}[self.loss]

    @property
    def operations(self):
        """Floating-point operations of the matrix products of a step.

            3 · 2 · N · 2·blocks · 3C²  +  3 · 2 · N · S · C

        2 for a multiplication and an addition; 3 for the product forwards and the two
        backwards; 2·blocks convolutions of 3C² weights; S scores a position (V in the
        full softmax, none in the backbone alone).
        """
        convolutions = 2 * self.blocks * 3 * self.hidden_dim**2
        return 3 * 2 * self.tokens * (convolutions + self.scored * self.hidden_dim)

    @property
    def bytes_moved(self):
        """An estimate of the bytes that a step moves to and from memory.

            w · N · C · 2·blocks · 6  +  4 · P · 10  +  4 · R · C · 9  +  4 · N · S · 4

        w is the width of an activation (4 or 2 bytes). A convolution with all that
        follows it reads its input and writes its output, and backwards reads the input,
        the output and the output's gradient and writes the input's gradient: 6. Each of
        the P weights of the blocks is read forwards and backwards, its gradient written,
        and Adam reads gradient, weight and two moments and writes three: 10. Of the
        tables only the R distinct rows of a step count, read once: 9. Scores and
        their gradient are each written and read: 4. Caches may spare some of it.
        """
        width = 4 if self.precision == "float32" else 2
        channels = self.hidden_dim
        activations = width * self.tokens * channels * 2 * self.blocks * 6
        weights = 2 * self.blocks * (3 * channels**2 + 3 * channels)
        rows = expected_rows(self.items, self.tokens)
        if self.loss == "sampled":
            rows += expected_rows(self.items, self.tokens + self.negatives)
        if self.loss == "full":
            rows += self.items
        scores = 4 * self.tokens * self.scored
        return int(activations + 4 * weights * 10 + 4 * rows * channels * 9 + scores * 4)

    def batches(self):
        """Ids `[8, B, L + 1]`, int64; a row is a history and, shifted by one, its targets.

        Items follow the log-uniform law, to which sampled softmax is fitted and much
        real use comes close, and no position is padding.
        """
        uniform = np.random.default_rng(self.seed).random(
            (BATCHES, self.batch_size, self.length + 1)
        )
        items = np.exp(uniform * np.log(self.items + 1)).astype("int64") - 1
        return np.clip(items, 0, self.items - 1) + FIRST_ITEM


def expected_rows(items, draws):
    """Distinct items expected among `draws` log-uniform ones."""
    item = np.arange(items, dtype="float64")
    return float(-np.expm1(draws * np.log1p(-np.log1p(1 / (item + 1)) / np.log(items + 1))).sum())
