"""Several task tokens in place of one."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import check_count
from keras_peterrec.patches.patch_method import PatchMethod


@dataclass(frozen=True)
class SoftTokens(PatchMethod):
    """Several task tokens in place of one, and no patch inside the host.

    The mean of their states is the user; see `TaskToken` and `TokenPooling`. In a short name:
    `tokens`, `tokens:8`.

    Args:
        count: int. Number of tokens at an end of the history. Defaults to `4`.

    Raises:
        InputError: `count` is not a positive integer.

    Source: Lester et al., "The power of scale for parameter-efficient prompt tuning",
    EMNLP 2021, applied to the paper's [TCL].
    """

    count: int = 4

    number: ClassVar[str] = "count"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("count", self.count)

    @property
    def tokens(self) -> int:
        return self.count

    def patches_of(self, block, index, dtype):
        return {}
