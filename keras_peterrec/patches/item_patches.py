"""Methods that patch the embedded items and fields: what they mean to one task.

What an item says about a user's age is not what it says about the next click, and a patch inside
the blocks reads only what the item table kept for the next click.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from keras_peterrec.errors import check_count
from keras_peterrec.network.network import TABLE, Network
from keras_peterrec.patches.bottleneck import BottleneckPatch
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.types import DType, Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class ItemLora(PatchMethod):
    """A low-rank change of the item table, and of those of fields. It can be merged into the host.

    In a short name: `item_lora`, `item_lora:16`, `item_lora:8,rows=5000`, and most often beside
    another method: `bottleneck+item_lora:8`.

    Args:
        rank: int. r. Defaults to `8`.
        rows: int. How many rows of the table are changed at most: special ids first, then the
            most frequent items. Others keep the host's rows. Defaults to `20_000`.
        blocks: sequence of int, int or `None`. Has no effect: the items come before all blocks.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> get_patch("item_lora:8,rows=5000") == ItemLora(rank=8, rows=5000)
    True

    Source: Hu et al., "LoRA", ICLR 2022, applied to the item table; see `ItemLoraPatch`.
    """

    rank: int = 8
    rows: int = 20_000

    number: ClassVar[str] = "rank"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rank", self.rank)
        check_count("rows", self.rows)

    def table_patch_of(self, rows: int, name: str, dtype: DType) -> PatchLayer | None:
        return ItemLoraPatch(min(self.rows, rows), self.rank, name=name, dtype=dtype)


@dataclass(frozen=True)
class ItemBottleneck(PatchMethod):
    """A bottleneck on every embedded item and field; see `BottleneckPatch`.

    Its size does not depend on the number of items. In a short name: `item_bottleneck`,
    `item_bottleneck:8`.

    Args:
        width: int or `None`. Width K. Defaults to `None`, an eighth of the host's channels.
        blocks: sequence of int, int or `None`. Has no effect: the items come before all blocks.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> get_patch("item_bottleneck:8") == ItemBottleneck(8)
    True

    Source: Yuan et al., SIGIR 2020, section 3.4, at a place that the paper does not patch.
    """

    width: int | None = None

    number: ClassVar[str] = "width"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width is not None:
            check_count("width", self.width)

    def for_host(self, host: Network) -> Self:
        super().for_host(host)
        return self if self.width else self.replace(width=max(1, host.hidden_dim // 8))

    def table_patch_of(self, rows: int, name: str, dtype: DType) -> PatchLayer | None:
        return BottleneckPatch(self.width, parallel=False, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("keras_peterrec")
class ItemLoraPatch(PatchLayer):
    """Adds a low-rank table to the item table.

        E[i] + A[i] · U    A: [R, r],  U: [r, C];   E[i] alone for i ≥ R

    `A` starts at zero, so a new patch does not change the outputs.

    Args:
        rows: int. R: the ids from 0 to R - 1 have a row in A.
        rank: int. r.

    Call arguments:
        inputs: Integer tensor of shape `[B, L]`, item ids.
        outputs: Tensor of shape `[B, L, C]`, the items' rows of the host's table.

    Returns:
        Tensor of shape `[B, L, C]`.

    Raises:
        InputError: `rows` or `rank` is not a positive integer.

    Source: Hu et al., "LoRA", ICLR 2022, section 4.1, without its factor α/r. There the other
    matrix starts at zero; here the rows of rare items should stay near those of the host.
    """

    fold_kinds = (TABLE,)
    item_tables = ("embeddings",)

    def __init__(self, rows: int, rank: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = check_count("rows", rows)
        self.rank = check_count("rank", rank)

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        # Adam moves A by steps of one size, so U says how fast the items move. The numbers of an
        # item vector are some hundredths, and so are those of U. With U ten times as large,
        # validation was worse (MovieLens-1M gender and age); a third as large, no better on both.
        self.add_weight(name="embeddings", shape=(self.rows, self.rank), initializer="zeros")
        self.add_weight(
            name="up_kernel",
            shape=(self.rank, outputs_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.1 * self.rank**-0.5),
        )

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        return outputs + ops.matmul(weights["embeddings"], weights["up_kernel"])

    def fold(self, weights: Variables, layer: Variables) -> Variables:
        table = np.array(layer["embeddings"])
        table[: self.rows] += weights["embeddings"] @ weights["up_kernel"]
        return {"embeddings": table}

    def get_config(self) -> Json:
        return {**super().get_config(), "rows": self.rows, "rank": self.rank}
