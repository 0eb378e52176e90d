"""Asks a server all the time while its versions are swapped, and checks every answer.

    python tests/torture/soak.py --swaps 28

Two exports of different weights take turns as the newest version. Every answer must be, whole, that
of one of the two; none may be lost. At the end the process must not have grown.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

SIGNATURES = ("serving_default", "films", "age-group.v2", "spend")
CLIENTS = 3


def make_exports(folder: Path) -> list[Path]:
    """Two exports with the same signatures and other weights."""
    from serving_samples import make_host, make_tasks

    from keras_peterrec.serving.export import export

    made = []
    for seed in (0, 7):
        host = make_host(seed=seed)
        made.append(folder / f"made-{seed}" / "1")
        export(host, make_tasks(host), made[-1], 5)
    return made


def answers_of(port: int, histories: list[str]) -> dict:
    """What the server says now, by signature."""
    from running_server import predict

    found = {}
    for name in SIGNATURES:
        status, body = predict(port, "peterrec", {"signature_name": name, "instances": histories})
        assert status == 200, body
        found[name] = json.dumps(body, sort_keys=True)
    return found


def publish(source: Path, base: Path, version: int) -> None:
    """A copy of an export as a version, by one rename."""
    hidden = base.parent / f"hidden-{version}"
    shutil.copytree(source, hidden)
    os.rename(hidden, base / str(version))


def torture(swaps: int, pause: float, folder: Path) -> Counter:
    """Returns a Counter of `answers`, `wrong`, `lost`, `swaps` and MiB `grown`."""
    from running_server import ask, predict, running

    made, base, count = make_exports(folder), folder / "served", Counter()
    histories = ["s0 s5 s9", "", "s1 s2 unheard-of"]
    expected = []
    for path in made:
        with running(model_base_path=str(path.parent)) as state:
            expected.append(answers_of(state.port, histories))
    stop, lock = threading.Event(), threading.Lock()

    def client(name):
        while not stop.is_set():
            body = {"signature_name": name, "instances": histories}
            try:
                status, found = predict(state.port, "peterrec", body)
            except OSError:
                status, found = 0, {}
            told = json.dumps(found, sort_keys=True)
            with lock:
                count["answers"] += 1
                count["lost"] += status != 200
                count["wrong"] += status == 200 and told not in [e[name] for e in expected]

    def newest_serves(version):
        _, text, _ = ask(state.port, "GET", "/v1/models/peterrec")
        states = {s["version"]: s["state"] for s in json.loads(text)["model_version_status"]}
        return states.get(str(version)) == "AVAILABLE"

    base.mkdir()
    publish(made[0], base, 1)
    process = psutil.Process()
    with running(model_base_path=str(base)) as state, ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(client, SIGNATURES[n % len(SIGNATURES)]) for n in range(CLIENTS)]
        try:
            for version in range(2, swaps + 2):
                publish(made[(version - 1) % 2], base, version)
                end = time.monotonic() + 120
                while not newest_serves(version):
                    assert time.monotonic() < end, f"version {version} was not served"
                    time.sleep(0.1)
                time.sleep(pause)
                shutil.rmtree(base / str(version - 1))
                count["swaps"] += 1
                if version == min(4, swaps + 1):  # caches are filled by then
                    before = process.memory_info().rss
        finally:
            stop.set()
        for each in asked:
            each.result()
        count["grown"] = (process.memory_info().rss - before) >> 20
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=4)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between swaps")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = torture(asked.swaps, asked.pause, Path(folder))
    print(dict(count))
    raise SystemExit(bool(count["wrong"] or count["lost"]))


if __name__ == "__main__":
    main()
