"""Settings of `experiment`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from keras_peterrec.experiments.plans import PLANS
from keras_peterrec.settings.base import Settings, positive_integer, setting
from keras_peterrec.settings.pretrain import PretrainSettings

DATASETS = ("movielens-100k", "movielens-1m", "amazon", "simulated", "peterrec")


@dataclass(frozen=True)
class ExperimentSettings(Settings):
    """Settings of `experiment`: a plan, a dataset and how many seeds."""

    command: ClassVar[str] = "experiment"
    help_text: ClassVar[str] = (
        "an experiment of the paper, or beside it: tables and plots over several seeds"
    )

    name: str = setting(
        help="; ".join(f"{plan.name}: {plan.title}" for plan in PLANS.values()),
        choices=lambda: tuple(PLANS),
        positional=True,
        metavar="NAME",
    )
    dataset: str = setting(
        "movielens-100k",
        "movielens-100k (default), movielens-1m, simulated, or with --path: amazon, peterrec (the "
        "paper's own files)",
        choices=DATASETS,
        metavar="DATASET",
    )
    path: Any = setting(None, "folder with the files of the dataset")
    tasks: tuple[str, ...] | None = setting(
        None, "some of the dataset's tasks (default: all)", metavar="TASK", recorded=False
    )
    rows: tuple[str, ...] | None = setting(
        None, "some of the experiment's rows (default: all)", metavar="ROW", recorded=False
    )
    cut_history: bool = setting(
        True,
        "whether histories end before their target event",
        no_help="read whole histories, also where the logs share a clock",
    )
    linear: bool = setting(
        True,
        "whether a regression on the items of the history is added to the networks' answers",
        no_help="as in the paper: the networks alone",
    )
    seeds: int = setting(
        3,
        "how many, each with its own split, host and training",
        metavar="N",
        check=positive_integer,
        recorded=False,
    )
    epochs: int | None = setting(None, "at most, of every stage", check=positive_integer)
    hidden_dim: int = setting(
        PretrainSettings.hidden_dim, "channels of the hosts", check=positive_integer
    )
    blocks: int = setting(
        PretrainSettings.blocks, "residual blocks of the hosts", check=positive_integer
    )
    max_length: int | None = setting(
        None, "events of a history (default: as suits the dataset)", check=positive_integer
    )
    shared: Any = setting(
        None,
        "folder of hosts and runs, which experiments on one dataset may share (default: OUT)",
        metavar="DIR",
        recorded=False,
    )
    out: Any = setting(None, "folder (default: runs/experiments/NAME)", recorded=False)
