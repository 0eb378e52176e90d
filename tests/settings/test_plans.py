"""The plans: complete, and of settings that the runs take."""

import inspect

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.experiments.plots import PLOTS
from keras_peterrec.models.pretrainer import OBJECTIVES
from keras_peterrec.patches.bottleneck import INSERTIONS
from keras_peterrec.patches.registry import patch_methods
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.multi_task import multi_task
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.settings.plans import PLANS, RUNS
from keras_peterrec.settings.transfer import METHODS

TAKES = {
    name: inspect.signature(run).parameters
    for name, run in {"transfer": transfer, "linear": linear, "multi_task": multi_task}.items()
}


def test_all_experiments_are_there():
    assert list(PLANS) == [
        "pretraining",
        "strategies",
        "insertions",
        "few-labels",
        "causal-or-masked",
        "methods",
        "baselines",
    ]


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_rows_are_distinct_and_take_known_settings(plan):
    assert plan.plots and set(plan.plots) <= PLOTS.keys()
    assert len({row.label for row in plan.rows}) == len(plan.rows)
    assert len({row.folder for row in plan.rows}) == len(plan.rows)
    for row in plan.rows:
        assert row.run in RUNS and row.objective in OBJECTIVES
        assert row.settings.keys() <= TAKES[row.run].keys(), row
        assert row.settings.get("method", "patch") in METHODS


def test_plans_compare_what_they_say():
    # What rows do not say is what `transfer` does by itself.
    defaults = {
        key: parameter.default for key, parameter in inspect.signature(transfer).parameters.items()
    }

    def settings(name, key):
        return [row.settings.get(key, defaults.get(key)) for row in PLANS[name].rows]

    assert settings("pretraining", "method") == ["patch", "random_host", "all", "scratch"]
    assert settings("strategies", "method") == ["head", "last1", "last2", "all", "patch"]
    patches = map(get_patch, settings("insertions", "patch"))
    pairs = [(patch.insertion, patch.inner_skip) for patch in patches]
    assert sorted(pairs) == sorted((i, skip) for i in INSERTIONS for skip in (False, True))
    fractions = set(zip(settings("few-labels", "method"), settings("few-labels", "train_fraction")))
    shares = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
    assert fractions == {(method, share) for method in ("patch", "all") for share in shares}
    objectives = [row.objective for row in PLANS["causal-or-masked"].rows]
    assert objectives == ["causal", "masked"]
    assert [row.run for row in PLANS["baselines"].rows] == ["linear", "multi_task", "transfer"]


def test_short_names_of_patches_are_known():
    names = [row.settings["patch"] for row in PLANS["methods"].rows if "patch" in row.settings]
    assert all(get_patch(name) for name in names)
    # Every way to patch is there at some budget, and a stack.
    assert {name.partition(":")[0] for name in names if "+" not in name} == set(patch_methods())
    assert any("+" in name for name in names)


def test_some_rows_of_a_plan_in_its_own_order():
    some = PLANS["strategies"].only(["PeterRec", "FineCLS"])
    assert [row.label for row in some.rows] == ["FineCLS", "PeterRec"]
    assert PLANS["strategies"].only(None) is PLANS["strategies"]


def test_an_unknown_row_is_named():
    with pytest.raises(InputError, match=r"`rows` should be among .*FineAll.*`rows` = 'Fine'"):
        PLANS["strategies"].only(["Fine"])
