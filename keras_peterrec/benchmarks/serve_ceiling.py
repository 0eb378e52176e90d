"""What a model answers in its own process: a worker, see `keras_peterrec.benchmarks.worker`.

Its settings are `version`, path of a version directory, and `made_up`, null or the
arguments of `make_model`, which is exported there first. It answers

    at the start                names of the signatures that are measured, and histories
    to `call NAME 16 2 1.5`     histories a second in batches of 16, two at a time, for 1.5 s
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_peterrec.benchmarks.latencies import summarize_latencies
from keras_peterrec.benchmarks.made_up_model import make_model
from keras_peterrec.benchmarks.worker import serve
from keras_peterrec.serving.server.loaded_version import LoadedVersion
from keras_peterrec.serving.signature_names import CLASSIFY, EMBED

_HISTORIES = 256
_VOCABULARY = Path("assets") / "vocabulary.txt"


class ServeCeiling:
    """A loaded version that is called without a server.

    Args:
        version: path of a version directory.
        histories: list of str.
    """

    def __init__(self, version, histories):
        self.signatures = LoadedVersion(version, 1).signatures
        self.histories = np.array([each.encode() for each in histories], dtype=object)

    def names(self):
        """Signatures that read histories and answer items or classes, as the server's do."""
        return [
            name
            for name, each in self.signatures.items()
            if list(each.dtypes) == ["history"]
            and name != EMBED
            and not name.endswith(CLASSIFY)
            and name.split() == [name]
        ]

    def call(self, name, batch, callers, seconds):
        """One cell; its arguments are texts.

        Returns:
            dict of `batch`, `callers`, `histories_per_second` and `call_ms`.
        """
        run, batch, callers = self.signatures[name].run, int(batch), int(callers)
        repeated = np.resize(self.histories, -(-len(self.histories) // batch) * batch)
        inputs = [{"history": rows} for rows in repeated.reshape(-1, batch)]
        for rows in inputs[:2]:
            run(rows)
        end = time.perf_counter() + float(seconds)

        def work(start):
            times, n = [], start
            while (began := time.perf_counter()) < end or not times:
                run(inputs[n % len(inputs)])
                times.append(time.perf_counter() - began)
                n += callers
            return times

        began = time.perf_counter()
        with ThreadPoolExecutor(callers) as pool:
            times = [each for some in pool.map(work, range(callers)) for each in some]
        took = time.perf_counter() - began
        return {
            "batch": batch,
            "callers": callers,
            "histories_per_second": batch * len(times) / took,
            "call_ms": summarize_latencies(times),
        }


def made_histories(version, length, seed):
    """Histories of items of an export's vocabulary, or of unknown items where it has none."""
    random = np.random.default_rng(seed)
    try:
        lines = (Path(version) / _VOCABULARY).read_text(encoding="utf-8").split("\n")
        items = [line for line in lines if line.split() == [line]]
    except OSError:
        items = []
    items = items or [f"i{n}" for n in range(1000)]
    drawn = random.integers(0, len(items), [_HISTORIES, length])
    return [" ".join(items[n] for n in row) for row in drawn]


def main():
    settings = json.loads(sys.argv[1])
    version, ceilings = settings["version"], []

    def start():
        if settings["made_up"]:
            make_model(version, **settings["made_up"])
        histories = made_histories(version, settings["length"], settings["seed"])
        ceilings.append(ServeCeiling(version, histories))
        return {"name": "ceiling", "signatures": ceilings[0].names(), "histories": histories}

    serve({"call": lambda *words: ceilings[0].call(*words)}, start)


if __name__ == "__main__":
    main()
