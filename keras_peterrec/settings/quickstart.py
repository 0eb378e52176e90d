"""Settings of `quickstart`."""

from dataclasses import dataclass
from typing import ClassVar

from keras_peterrec.errors import check_count
from keras_peterrec.settings.base import Settings, seed_number, setting
from keras_peterrec.types import AnyPath


@dataclass(frozen=True)
class QuickstartSettings(Settings):
    """Settings of `quickstart`: the whole job on one dataset."""

    command: ClassVar[str] = "quickstart"
    help_text: ClassVar[str] = (
        "the whole job on MovieLens-100K: pretrain, six tasks, compare, export, ask"
    )

    out: AnyPath = setting("runs/quickstart", "folder for everything")
    data: str = setting(
        "movielens-100k",
        "what to run on",
        choices=("movielens-100k", "movielens-1m", "simulated"),
    )
    epochs: int = setting(200, "at most, of every stage", check=check_count)
    seed: int = setting(0, "of everything", check=seed_number)
