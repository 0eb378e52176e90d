"""The commands: each a function of settings, which the command line and Python call alike.

`keras_peterrec.pretrain` and the others are these functions, imported when they are first used.
"""

from dataclasses import dataclass

from keras_peterrec.settings.base import Settings
from keras_peterrec.settings.benchmark import ServeBenchmarkSettings
from keras_peterrec.settings.experiment import ExperimentSettings, QuickstartSettings
from keras_peterrec.settings.export import ExportSettings
from keras_peterrec.settings.finished_runs import (
    EvaluateSettings,
    InspectSettings,
    ReportSettings,
)
from keras_peterrec.settings.predict import PredictSettings
from keras_peterrec.settings.prepare import PrepareSettings
from keras_peterrec.settings.pretrain import PretrainSettings, RefreshSettings
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.settings.transfer import TransferSettings
from keras_peterrec.settings.tune import (
    TunePretrainSettings,
    TuneRefreshSettings,
    TuneTransferSettings,
)


@dataclass(frozen=True)
class Command:
    """What a command runs and how its result is shown, each as `"module:function"`."""

    settings: type[Settings]  # which names the command and says its help
    run: str
    show: str | None


_METRICS, _TUNED = "printing:print_metrics", "experiments.tuned:show"
COMMANDS = (
    Command(QuickstartSettings, "experiments.quickstart:quickstart", "experiments.quickstart:show"),
    Command(PrepareSettings, "runs.prepare:prepare", "runs.prepare:show"),
    Command(PretrainSettings, "runs.pretrain:pretrain", _METRICS),
    Command(RefreshSettings, "runs.refresh:refresh", _METRICS),
    Command(TransferSettings, "runs.transfer:transfer", _METRICS),
    Command(EvaluateSettings, "runs.evaluate:evaluate", _METRICS),
    Command(ExportSettings, "runs.export:export", "printing:print_export"),
    Command(PredictSettings, "runs.predict:predict", "printing:print_answers"),
    Command(InspectSettings, "runs.inspect:inspect", "printing:print_description"),
    Command(ReportSettings, "runs.report:report", "runs.report:show"),
    Command(ExperimentSettings, "experiments.engine:experiment", "experiments.engine:show"),
    Command(TunePretrainSettings, "experiments.tune:tune_pretrain", _TUNED),
    Command(TuneTransferSettings, "experiments.tune:tune_transfer", _TUNED),
    Command(TuneRefreshSettings, "experiments.tune:tune_refresh", _TUNED),
    Command(ServeSettings, "server.serve:serve", None),
    Command(ServeBenchmarkSettings, "benchmarks.serve:benchmark_serve", "benchmarks.serve:show"),
)
