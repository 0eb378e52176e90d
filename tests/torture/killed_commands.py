"""Kills the commands of the main job at random moments and starts them again.

    python tests/torture/killed_commands.py --kills 80

Each command runs once undisturbed. Then it runs in another folder, is killed (SIGKILL) after a
random share of that time, several times, and is started again until it ends by itself. What it has
written must then be what the undisturbed command wrote, and nothing of the killed ones may be left.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from small_job import commands, run, write_logs

# What differs between two runs of one command: moments, TensorBoard's files, paths.
UNLIKE = {"run.json", "info.json", "saved_model.pb", "fingerprint.pb", "README.md"}
KILLS_OF_A_COMMAND = 3


def contents(folder: Path) -> dict:
    """What a finished command has written, by path: arrays, metrics, or bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in UNLIKE or "tfevents" in name:
            continue
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                found |= {f"{name}/{key}": arrays[key] for key in arrays.files}
        elif path.name == "metrics.json":
            found[name] = json.loads(path.read_text())["metrics"]
        elif path.suffix in {".txt", ".npy"} or "array_record" in name or "tfrecord" in name:
            found[name] = path.read_bytes()
    return found


def difference(straight: dict, killed: dict) -> str | None:
    """What two results differ in: the first thing found, or `None`. Floats may be rounded."""
    if straight.keys() != killed.keys():
        return f"files: {sorted(straight.keys() ^ killed.keys())[:5]}"
    for name, value in straight.items():
        other = killed[name]
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            if value.shape != other.shape or not np.allclose(value, other, 1e-3, 1e-4):
                return name
        elif isinstance(value, np.ndarray):
            if not np.array_equal(value, other):
                return name
        elif isinstance(value, dict):
            if not _close(value, other):
                return name
        elif value != other:
            return name
    return None


def _close(metrics, others):
    flat = lambda values: {(p, k): v for p, part in values.items() for k, v in part.items()}
    metrics, others = flat(metrics), flat(others)
    return metrics.keys() == others.keys() and all(
        abs(value - others[key]) < 2e-2 for key, value in metrics.items()
    )


def leftovers(folder: Path, names: set) -> list[str]:
    """Files and folders that no finished command has: hidden ones, and ones half written."""
    odd = [path for path in folder.iterdir() if path.name not in names]
    odd += [path for path in folder.rglob("*") if ".writing" in path.name]
    odd += [path for path in folder.glob("export/*") if not path.name.isdigit()]
    return sorted({str(path.relative_to(folder)) for path in odd})


def torture(kills: int, seed: int, only: list[str], folder: Path) -> Counter:
    """Kills until `kills` are counted.

    Returns:
        Counter of `kills`, `equal`, `different`, `left over` and `refused`.
    """
    draw, count = random.Random(seed), Counter()
    logs, straight = folder / "logs", folder / "straight"
    for path in (logs, straight):
        path.mkdir(parents=True)
    write_logs(logs)
    seconds, wanted = {}, {}
    for name, words in commands(logs, straight).items():
        if only and name not in only:
            continue
        ended = run(words)
        assert ended.status == 0, ended.error
        seconds[name], wanted[name] = ended.seconds, contents(straight / name)
    while count["kills"] < kills:
        out = folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, words in commands(logs, out).items():
            if name not in wanted:
                continue
            _kill_some(words, seconds[name], draw, count, kills)
            _start_again(name, words, wanted[name], out, count)
        names = {*wanted, *(f"{name}.lock" for name in wanted)}
        if odd := leftovers(out, names):
            count["left over"] += 1
            print("left over:", *odd, flush=True)
        print(dict(count), flush=True)
    return count


def _kill_some(words, seconds, draw, count, kills):
    for _ in range(draw.randint(1, KILLS_OF_A_COMMAND)):
        if count["kills"] >= kills:
            return
        if run(words, kill_after=seconds * draw.uniform(0.1, 1.0)).status == -9:
            count["kills"] += 1


def _start_again(name, words, wanted, out, count):
    ended = run(words)
    if ended.status != 0:
        # `export` had published its version before it was killed: it does not write over it.
        if name == "export" and (out / "export" / "1" / "saved_model.pb").is_file():
            count["published before"] += 1
        else:
            count["refused"] += 1
            print(f"{name}: {ended.error[-500:]}", flush=True)
            return
    odd = difference(wanted, contents(out / name))
    count["different" if odd else "equal"] += 1
    if odd:
        print(f"{name} differs in {odd}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[], help="names of commands")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count = torture(asked.kills, asked.seed, asked.only, Path(folder))
    raise SystemExit(bool(count["different"] or count["left over"] or count["refused"]))


if __name__ == "__main__":
    main()
