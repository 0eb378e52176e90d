"""Settings of `evaluate`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from keras_peterrec.settings.base import Settings, setting


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Settings of `evaluate`; data that is not named is that of the run itself."""

    command: ClassVar[str] = "evaluate"
    help_text: ClassVar[str] = "test metrics of a finished run, computed anew"

    run: Any = setting(help="folder of a pretrain, refresh or transfer run")
    host: Any = setting(None, "the task's host, where it was moved")
    log: Any = setting(None, "another source log")
    target: Any = setting(None, "another copy of the target log")
    labels: Any = setting(None, "other labels")
    column: str | None = setting(None, "column of --labels")
    out: Any = setting(None, "new folder for metrics.json", recorded=False)
