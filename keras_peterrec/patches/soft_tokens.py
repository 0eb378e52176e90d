"""Settings of soft task tokens."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.patches.patch_method import PatchMethod, check_positive


@dataclass(frozen=True)
class SoftTokens(PatchMethod):
    """Several task tokens in place of one, and no patch inside the host.

    The user is the mean of their states; see `TaskToken` and `TokenPooling`.

    Args:
        count: int. Tokens at an end of the history. Defaults to `4`.

    Source: Lester et al., "The power of scale for parameter-efficient prompt tuning",
    EMNLP 2021, for the paper's [TCL].
    """

    count: int = 4

    number: ClassVar[str] = "count"

    def __post_init__(self):
        super().__post_init__()
        check_positive("count", self.count)

    @property
    def tokens(self):
        return self.count

    def patches_of(self, block, index, dtype):
        return {}
