"""What a user writes, as a type checker reads it (`mypy` in `make test`); it is never run.

`assert_type` fails where a public name has lost its type, and an unneeded `type: ignore` where a
mistake is no longer found.
"""

from typing import Any, assert_type

import numpy as np

import keras_peterrec as kp
from keras_peterrec.network.network import Network
from keras_peterrec.tasks.task_kind import TaskKind

run = kp.pretrain("clicks.csv", "runs/host", hidden_dim=64, network="convolution")
assert_type(run, dict[str, Any])
kp.pretrain({"user_id": ["a"], "item_id": ["b"], "timestamp": [1]}, "runs/host", devices="all")
kp.tune_pretrain("clicks.csv", "runs/tuned", minutes=30, search=["dropout=0.1..0.4"])
kp.transfer("runs/host", "clicks.csv", "runs/films", target="films.csv", patch=kp.Bottleneck(8))
kp.pretrain("clicks.csv", "runs/host", hiden_dim=64)  # type: ignore[call-arg]
kp.pretrain("clicks.csv", "runs/host", hidden_dim="64")  # type: ignore[arg-type]
kp.pretrain(7, "runs/host")  # type: ignore[arg-type]

host = kp.Host.load("runs/host")
assert_type(host, kp.Host)
assert_type(host.backbone, Network)
host.lode()  # type: ignore[attr-defined]

films = kp.Task.load("runs/films", host)
assert_type(films.kind, TaskKind)
assert_type(films.recommend(["i1 i2 i3"], k=5), tuple[np.ndarray, np.ndarray])
films.recommend([["i1", "i2"], []], deny=[["i3"], "i4"], keep_seen=True)
films.recommend({"user_id": ["a"], "item_id": ["i1"], "timestamp": [1]})
films.recommend(np.array([[0, 17, 5]]))
films.recommend(["i1"], k="5")  # type: ignore[arg-type]
films.recommend(["i1"], exclude=["i2"])  # type: ignore[call-arg]
assert_type(films.predict("i1 i2"), dict[str, np.ndarray])

served = kp.ExportedModel("export/peterrec")
assert_type(served.recommend(["i1"], task="films", allow="i2"), tuple[np.ndarray, np.ndarray])
mixed = kp.MixedTasks.load(["runs/films"], host)
assert_type(mixed.recommend(["i1"], task="films"), tuple[np.ndarray, np.ndarray])


def measured(data: kp.TaskData, model: kp.TaskModel) -> float:
    """Parts of a split have names."""
    data.measure(model, 2)  # type: ignore[arg-type]
    return data.measure(model, "test")["ndcg@10"]
