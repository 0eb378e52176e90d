"""What to try where a run does not beat its baselines."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.files.json_file import read_json

# Shares of what was measured from which on a cause is worth naming.
MANY_EMPTY, MANY_LONG = 0.3, 0.2
FEW_USERS, MANY_ROWS = 200, 5_000


def advise(result: dict, metric: Any, lengths: Any, host: Any) -> None:
    """Says so where a run's best baseline equals or beats it, and names what to try next.

    The line goes to the progress and into the result, under `advice`: by which baseline the run is
    beaten, and the first cause that its own numbers show, with the option that changes it.

    Args:
        result: dict, as `metrics.json` will hold it; changed.
        metric: Metric that decides.
        lengths: int array. Events of each training history.
        host: Host, of the run.
    """
    own = result["metrics"]["test"][metric.name]
    best = None
    for baseline in result["baselines"]:
        value = baseline["test"].get(metric.name)
        if value is not None and (best is None or metric.is_better(value, best[1])):
            best = baseline["name"], value
    if best is None or metric.is_better(own, best[1]):
        return
    found = f"{metric.name} {own:.4f} on test users is no better than {best[0]}'s {best[1]:.4f}"
    result["advice"] = f"{found}: {_next_try(result, lengths, host)}"
    progress.line(result["advice"])


def say_weak_host(folder: Any, metric: Any) -> None:
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
    if long > MANY_LONG:
        option = f"--max-length {int(np.quantile(lengths, 0.9))}"
        if host.backbone.causal and seen == host.window:
            option = f"--blocks {2 * len(host.backbone.blocks)}"  # which see further back
        option = f"a host of {option}" if is_task else option
        return f"{long:.0%} of the histories are longer than {seen} events, so try {option}"
    if is_task and settings.get("method") == "patch" and rows > MANY_ROWS:
        return f"{rows:,} training rows can carry more than a patch, so try --method all"
    if is_task:
        return "what this host learned does not help here; try one pretrained on more events"
    return "the order of events may tell little here; a wider network is --hidden-dim 128"
