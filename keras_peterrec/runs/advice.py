"""What a run's result is beside its baselines, what its parts add, and what to try."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.files.json_file import read_json
from keras_peterrec.linear.last_item import NAME as COPYING
from keras_peterrec.metrics import UNIFORM
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.transfer.host import Host
from keras_peterrec.types import AnyPath

# Shares of the histories from which on a cause is worth naming.
MANY_EMPTY, MANY_LONG = 0.3, 0.2
FEW_USERS, MANY_ROWS = 200, 5_000
FEW_OF_A_CLASS = 10
AS_GOOD = 5e-4  # two metrics that differ by less
NETWORK, LINEAR = "network", "linear part"
# Standard errors of a mean difference: 95 of 100 differences by chance are smaller.
CLEAR = 1.645
NO_ERROR = 1e-4  # a result this close to the best possible one counts as perfect


def advise(result: dict, metric: Metric, lengths: np.ndarray, host: Host) -> None:
    """Says what a run's result is where that is not what a reader takes it for.

    That is: the best possible, what copying the last item gives, worse than knowing nothing, or no
    better than a baseline. What to try next is named where the run's own numbers show a cause. The
    line goes to the progress and into the result, under `advice`.

    Args:
        result: dict, as `metrics.json` will hold it; changed.
        metric: Metric that decides.
        lengths: int array. Events of each training history.
        host: Host, of the run.
    """
    own = result["metrics"]["test"][metric.name]
    values = {b["name"]: b["test"].get(metric.name) for b in result["baselines"]}
    values = {name: value for name, value in values.items() if value is not None}
    what = _what_it_is(own, values, metric)
    if what is None:
        return
    said, is_weak = what
    cause = _next_try(result, lengths, host) if is_weak else None
    line = f"{metric.name} {own:.4f} on test users is {said}"
    result["advice"] = line if cause is None else f"{line}: {cause}"
    progress.line(result["advice"])


def _what_it_is(own, baselines, metric):
    """What to say of a result, and whether something is to be tried; `None` where it is good."""
    best = None
    for name, value in baselines.items():
        if best is None or metric.is_better(value, baselines[best]):
            best = name
    if _is_best_possible(own, baselines, metric):
        alike = [name for name, value in baselines.items() if not metric.is_better(own, value)]
        beside = f", and so is that of {alike[0]}" if alike else ""
        return f"the best possible{beside}: look whether the histories hold the answers", False
    copying = baselines.get(COPYING)
    if copying is not None and abs(own - copying) < AS_GOOD:
        return f"that of copying ({COPYING}, {copying:.4f})", best != COPYING
    nothing = baselines.get(UNIFORM)
    if nothing is not None and metric.is_better(nothing, own):
        return f"worse than knowing nothing: the same for every class gives {nothing:.4f}", True
    if best is None or metric.is_better(own, baselines[best]):
        return None
    return f"no better than {best}'s {baselines[best]:.4f}", True


def _is_best_possible(own, baselines, metric):
    if metric.higher_is_better:
        return own >= 1.0 - NO_ERROR
    return own <= NO_ERROR * min(baselines.values(), default=1.0)


def say_weak_host(folder: AnyPath, metric: Metric) -> None:
    """Says on stderr if a host did no better at next items than popularity.

    Args:
        folder: path of a pretrain run.
        metric: Metric, that of pretraining.
    """
    path = Path(folder) / "metrics.json"
    if not path.is_file():
        return
    result = read_json(path, "host")
    own, popularity = (result[n]["test"][metric.name] for n in ("metrics", "baseline"))
    if not metric.is_better(own, popularity):
        progress.line(
            f"the host predicts next items no better than popularity ({metric.name} {own:.4f} and "
            f"{popularity:.4f}), so a task has little to build on"
        )


def _next_try(result, lengths, host):
    """The first cause that the run's numbers show, with the option that changes it, or `None`."""
    settings, data = result["settings"], result["data"]
    is_task = result["command"] == "transfer"
    rows = len(lengths)
    empty = float(np.mean(lengths == 0)) if rows else 0.0
    # A task reads all that a causal network sees, however long the host's own histories were.
    seen = host.window if is_task else min(host.window, host.max_length)
    long = float(np.mean(lengths > seen)) if rows else 0.0
    users = data.get("users_train_validation_test", [data["users"]])[0]
    if result.get("stopped") == "epochs":
        return f"validation still improved at the last epoch, so try more than {result['epochs']}"
    if is_task and empty > MANY_EMPTY and settings.get("cut_history"):
        return (
            f"{empty:.0%} of the training rows have no event before their target, so "
            "try --no-cut-history"
        )
    if users < FEW_USERS:
        return f"{users} training users are few, so more of them would help most"
    classes = len(data.get("classes", ())) or 1
    if classes > 1 and users < FEW_OF_A_CLASS * classes:
        return f"{users / classes:.1f} training users a class are few, so join classes"
    if long > MANY_LONG:
        option = f"--max-length {int(np.quantile(lengths, 0.9))}"
        if host.backbone.causal and seen == host.window:
            option = host.backbone.option_to_see_further or option
        option = f"a host of {option}" if is_task else option
        return f"{long:.0%} of the histories are longer than {seen} events, so try {option}"
    if is_task and settings.get("method") == "patch" and rows > MANY_ROWS:
        return f"{rows:,} training rows can carry more than a patch, so try --method all"
    return None


def say_what_parts_add(result: dict, parts: dict, metric: Metric, asked: str = "here") -> None:
    """Says in a line, and under `parts` of a result, what each part adds to the other alone.

    Where the sum is not clearly better than the linear part alone, a second line says whether the
    network made it worse or the difference is within noise.

    Args:
        result: dict, as `metrics.json` will hold it; changed.
        parts: dict from `NETWORK` and `LINEAR` to the test metrics of that part alone.
        metric: Metric that decides.
        asked: str. For what the network brought no gain, if it did not. Defaults to `"here"`.
    """
    both = result["metrics"]["test"]
    values = {name: found[metric.name] for name, found in parts.items()}
    result["parts"] = {f"{name} alone": {metric.name: value} for name, value in values.items()}
    lines = []
    for name, other in ((NETWORK, LINEAR), (LINEAR, NETWORK)):
        share = _gain(both[metric.name], values[other], metric)
        result["parts"][f"{name} adds"] = share
        lines.append(f"the {name} adds {'all of it' if share is None else f'{share:+.1%}'}")
    shown = ", ".join(f"{name} alone {value:.4f}" for name, value in values.items())
    progress.line(f"{metric.name} {both[metric.name]:.4f} on test: {'; '.join(lines)} ({shown})")
    gain, error = both.gain_over(parts[LINEAR], metric)
    if gain > CLEAR * error:
        return
    result["parts"]["network worth its time"] = False
    if gain < -CLEAR * error:
        beside, effect = "better than the sum", "made the result worse"
    else:
        beside, effect = "as good as the sum within noise", "brought no clear gain"
    seconds = result["seconds"]["fit"]
    progress.line(
        f"the linear part alone is {beside}: the network's {seconds:.0f} s of training {effect} "
        f"{asked}"
    )


def _gain(value, other, metric):
    """How much better a value is than another, as a share of it; `None` where that is 0."""
    if not other:
        return None
    share = (value - other) / abs(other)
    return round(share if metric.higher_is_better else -share, 4)


def can_be_compared(*measured: Any) -> bool:
    """Whether metrics know what each row adds to them; those of a kind of one's own may not."""
    return all(isinstance(found, Measured) for found in measured)
