"""The settings of a command that these tests made up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.settings import base
from keras_peterrec.settings.base import Settings, about, setting


@dataclass(frozen=True)
class BakeSettings(Settings):
    """Settings of `bake`."""

    command: ClassVar[str] = "bake"
    help_text: ClassVar[str] = "bake a cake"

    flour: Any = field(metadata=about("what it is made of"))
    eggs: int = setting(3, "how many", check=check_count)
    sugar: float = setting(0.5, "share of the flour", check=base.fraction)
    icing: str | None = setting(None, "on top", choices=("lemon", "cocoa"))
    oven: str = setting("gas", "which one", choices=lambda: ["gas", "electric"])
    layers: Sequence[str] = setting((), "between")
    sifted: bool = setting(True, "whether the flour is sifted", no_help="use flour as it is")
    out: Any = setting(None, "where it is put", recorded=False)

    def check(self):
        if self.icing == "lemon" and self.eggs < 2:
            raise InputError("`eggs` should be at least 2 with lemon. Received: fewer.")
