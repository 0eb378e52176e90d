"""The experiments as data: what each compares; `engine` runs them."""

import re
from dataclasses import dataclass, field, replace

from keras_peterrec.errors import refuse

RUNS = ("transfer", "linear", "multi_task")


@dataclass(frozen=True)
class Row:
    """One row of an experiment's table: what is run for every task and seed."""

    label: str
    settings: dict = field(default_factory=dict)  # of the run, without data, host, seed and `out`
    run: str = "transfer"  # one of `RUNS`
    objective: str = "causal"  # of the host's pretraining

    @property
    def folder(self):
        """The name of the run's folder and model; the same run has the same name in all plans."""
        settings = {"method": None, **self.settings}
        method = settings.pop("method")
        parts = [self.run if method is None else method]
        parts += [] if self.objective == "causal" else [self.objective]
        parts += [f"{name} {value}" for name, value in sorted(settings.items())]
        return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")


@dataclass(frozen=True)
class Plan:
    """What an experiment compares, and which pictures show it."""

    name: str
    title: str  # one line, for the table and the help
    rows: tuple[Row, ...]
    plots: tuple[str, ...]  # names of `PLOTS` in `experiments.plots`
    source: str  # which part of the paper it repeats

    def only(self, labels):
        """This plan with some of its rows, in its own order; `None` for all of them.

        Raises:
            InputError: there is no such row.
        """
        if labels is None:
            return self
        names = [row.label for row in self.rows]
        for label in labels:
            if label not in names:
                refuse("rows", f"among {', '.join(names)}", label)
        return replace(self, rows=tuple(row for row in self.rows if row.label in labels))


_FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
# Each method at several sizes; a stack costs as much as its parts together.
_PATCHES = (
    "bottleneck:2",
    "bottleneck:4",
    "bottleneck:8",
    "bottleneck:16",
    "bottleneck:8+item_lora:4",
    "bottleneck:8+item_lora:8",
    "bottleneck:8+item_lora:16",
    "item_lora:8",
    "item_bottleneck:8",
    "compacter:8",
    "compacter:16",
    "lora:1",
    "lora:4",
    "lora:8",
    "ia3",
    "scale_shift",
    "bias",
    "norm",
    "lora:4+norm",
)


# Defaults of `transfer` are left out, so that rows that run the same have equal settings.
_DEFAULTS = {"train_fraction": 1.0}


def _method(label, method, **settings):
    said = {name: value for name, value in settings.items() if _DEFAULTS.get(name) != value}
    return Row(label, {"method": method, **said})


_PLANS = (
    Plan(
        "pretraining",
        "Does pretraining help?",
        (
            _method("PeterRec", "patch"),
            _method("PeterZero", "random_host"),
            _method("FineAll", "all"),
            _method("FineZero", "scratch"),
        ),
        ("curves", "comparison"),
        "the paper's comparison of the same networks with and without pretraining",
    ),
    Plan(
        "strategies",
        "Patches beside other ways to fine-tune",
        (
            _method("FineCLS", "head"),
            _method("FineLast1", "last1"),
            _method("FineLast2", "last2"),
            _method("FineAll", "all"),
            _method("PeterRec", "patch"),
        ),
        ("curves", "losses", "comparison"),
        "the paper's comparison of fine-tuning methods; the training loss shows what overfits",
    ),
    Plan(
        "insertions",
        "Where the patches act, with and without a skip of their own",
        tuple(
            _method(
                f"{name}{', inner skip' if skip else ''}",
                "patch",
                patch=f"bottleneck:{name}{',inner_skip' if skip else ''}",
            )
            for name in ("serial", "serial_single", "parallel", "parallel_after_activation")
            for skip in (False, True)
        ),
        ("comparison", "curves"),
        "the paper's insertions, Fig. 3 (b) to (e)",
    ),
    Plan(
        "few-labels",
        "Patches and full fine-tuning where training users are few",
        tuple(
            _method(f"{label} {fraction:.0%}", method, train_fraction=fraction)
            for label, method in (("PeterRec", "patch"), ("FineAll", "all"))
            for fraction in _FRACTIONS
        ),
        ("fractions",),
        "the paper's comparison on limited training data; validation users are as few",
    ),
    Plan(
        "causal-or-masked",
        "Hosts pretrained on the next item or on masked items",
        tuple(
            Row(f"PeterRec, {objective}", {"method": "patch"}, objective=objective)
            for objective in ("causal", "masked")
        ),
        ("comparison", "curves"),
        "the paper's causal and non-causal networks, section 3.2",
    ),
    Plan(
        "methods",
        "Ways to patch: quality against trained parameters",
        (
            *(_method(patch, "patch", patch=patch) for patch in _PATCHES),
            _method("head alone", "head"),
            _method("FineAll", "all"),
        ),
        ("budgets", "comparison"),
        "not in the paper, whose patch is the bottleneck",
    ),
    Plan(
        "baselines",
        "Patches beside the linear part alone and a network trained on all tasks at once",
        (
            Row("linear", run="linear"),
            Row("MTL", run="multi_task"),
            _method("PeterRec", "patch"),
        ),
        ("comparison",),
        "the paper's MTL; the linear part is not in the paper",
    ),
)
PLANS = {plan.name: plan for plan in _PLANS}
