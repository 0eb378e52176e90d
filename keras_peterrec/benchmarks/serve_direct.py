"""What a model answers without a server: a worker, see `keras_peterrec.benchmarks.worker`.

Its settings are those of `benchmark serve`, `version`, the path of a version directory, and
`bodies`, the path of the file that it writes for the client. If there is no such version, it
exports a made-up model there. It answers

    at the start                the names of the signatures that are measured
    to `call NAME 16 2 1.5`     histories a second in batches of 16, two at a time, for 1.5 s
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec.benchmarks.serve_load import percentiles
from keras_peterrec.benchmarks.worker import serve
from keras_peterrec.log.vocabulary import Vocabulary, id_of
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.registry import get_network
from keras_peterrec.server.loaded_version import LoadedVersion
from keras_peterrec.serving.export import export
from keras_peterrec.serving.signature_names import CLASSIFY, EMBED, KNOWN
from keras_peterrec.settings.training import NetworkSettings
from keras_peterrec.tasks.classification import Classification
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task
from keras_peterrec.types import AnyPath, Json

HISTORIES = 256
CLASSES = ["under 25", "25-34", "35-49", "over 49"]


def make_model(
    out: AnyPath,
    items: int,
    targets: int,
    hidden_dim: int,
    blocks: int,
    length: int,
    seed: int,
    incremental: bool = False,
) -> None:
    """Exports a causal host with random weights and two patched tasks, `films` and `age`.

    `items` are those of the source vocabulary, `targets` those that `films` recommends, `length` is
    in events of a history, and `incremental` tasks take single events too.
    """
    kinds = {
        "films": Recommendation(Vocabulary([f"t{n}" for n in range(targets)], special_ids=False)),
        "age": Classification(CLASSES),
    }
    with seeded(seed):
        backbone = get_network(NetworkSettings.network)(id_of(items), hidden_dim, blocks=blocks)
        host = Host(CausalPretrainer(backbone), Vocabulary([f"i{n}" for n in range(items)]), length)
        joined: Json = host.task_settings()  # as `transfer` makes tasks
        tasks = {
            name: Task(build_task(backbone, kind.new_head(), **joined), "patch", kind)
            for name, kind in kinds.items()
        }
        export(host, tasks, out, incremental=incremental)


def made_histories(version: Path, length: int, seed: int) -> list[str]:
    """Histories of items of an export's vocabulary, or of unknown items where it has none."""
    vocabulary = version / "assets" / "vocabulary.txt"
    lines = vocabulary.read_text("utf-8").split("\n") if vocabulary.exists() else []
    items = [line for line in lines if line.split() == [line]] or [f"i{n}" for n in range(1000)]
    drawn = np.random.default_rng(seed).integers(0, len(items), [HISTORIES, length])
    return [" ".join(items[n] for n in row) for row in drawn]


def call(run: Callable, histories: list[str], batch: int, callers: int, seconds: float) -> Json:
    """Calls a signature in a loop, in so many threads and histories a call, and measures it.

    The last three arguments may be texts of numbers, as a request has them.
    """
    batch, callers = int(batch), int(callers)
    rows = np.array([each.encode() for each in histories], dtype=object)
    rows = np.resize(rows, (-(-len(rows) // batch), batch))
    for each in rows[:2]:
        run({"history": each})
    began = time.perf_counter()
    end = began + float(seconds)

    def work(n):
        times = []
        while (asked := time.perf_counter()) < end or not times:
            run({"history": rows[n % len(rows)]})
            times.append(time.perf_counter() - asked)
            n += callers
        return times

    with ThreadPoolExecutor(callers) as pool:
        times = [each for some in pool.map(work, range(callers)) for each in some]
    rate = batch * len(times) / (time.perf_counter() - began)
    measured = {"batch": batch, "callers": callers, "histories_per_second": rate}
    return {**measured, **percentiles(times)}


def start() -> tuple[Json, dict[str, Any]]:
    settings = json.loads(sys.argv[1])
    version = Path(settings["version"])
    if not version.exists():
        names = ("items", "targets", "hidden_dim", "blocks", "length", "seed")
        make_model(version, **{name: settings[name] for name in names})
    histories = made_histories(version, settings["length"], settings["seed"])
    # Signatures that read histories and answer items or classes.
    signatures = {
        name: each
        for name, each in LoadedVersion(version, 1).signatures.items()
        if list(each.dtypes) == ["history"]
        and name not in (EMBED, KNOWN)
        and not name.endswith(CLASSIFY)
        and name.split() == [name]
    }
    bodies = {
        name: [json.dumps({"signature_name": name, "instances": [text]}) for text in histories]
        for name in signatures
    }
    Path(settings["bodies"]).write_text(json.dumps(bodies), encoding="utf-8")
    call_one = lambda name, *how: call(signatures[name].run, histories, *how)
    return {"name": "direct", "signatures": list(signatures)}, {"call": call_one}


if __name__ == "__main__":
    serve(start)
