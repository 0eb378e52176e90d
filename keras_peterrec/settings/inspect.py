"""Settings of `inspect`."""

from dataclasses import dataclass, field
from typing import ClassVar

from keras_peterrec.settings.base import Settings, about, setting
from keras_peterrec.types import AnyPath


@dataclass(frozen=True)
class InspectSettings(Settings):
    """Settings of `inspect`: what to describe."""

    command: ClassVar[str] = "inspect"
    help_text: ClassVar[str] = "what a host, a task, an export or a prepared log holds"

    path: AnyPath = field(metadata=about("its folder", positional=True))
    patches: bool = setting(False, "what every way to patch a host costs")

    @property
    def needs_tensorflow(self) -> bool:
        return self.patches
