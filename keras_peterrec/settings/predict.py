"""Settings of `predict`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from keras_peterrec.settings.base import Settings, setting


@dataclass(frozen=True)
class PredictSettings(Settings):
    """Settings of `predict`: what to ask an exported model."""

    command: ClassVar[str] = "predict"
    help_text: ClassVar[str] = "ask an exported model"

    model: Any = setting(
        help="a version, such as export/peterrec/1, or the folder with versions, for the newest"
    )
    history: tuple[str, ...] = setting(
        help='item ids separated by spaces, "1193 661 914"; one string for each user'
    )
    task: tuple[str, ...] = setting(
        ("serving_default",), "names of tasks (default: serving_default, the next item)"
    )
