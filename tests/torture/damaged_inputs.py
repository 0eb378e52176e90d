"""Damages what the package reads, and looks how it says so.

    python tests/torture/damaged_inputs.py --inputs 25000

A worker process reads one damaged input after the other, with the functions that the commands use.
Each ends as one of

- `read`: accepted. What was damaged does not matter here, or cannot be told from data.
- `refused`: an InputError, one line.
- `traceback`: any other exception. A bug, as are the next two.
- `slow`: longer than `SLOW` seconds, or `MEMORY` more bytes.
- `died`: the process ended.

The seed of an input is printed with every bug: `--kinds host --first 1234 --inputs 1` reads that
one again.
"""

import argparse
import functools
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from small_job import make_export

SLOW, MEMORY = 10.0, 2 << 30
LONGEST_MESSAGE = 1_000
BUGS = ("traceback", "slow", "died")
WORDS = (b"99999999999999999999", b"-1", b"NaN", b"\xff\xfe", b"\x00", b'"', b"null", b"[" * 2000)


def damage(data: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, as disks, editors and half-finished copies do."""
    if not data:
        return draw.randbytes(8)
    place = draw.randrange(len(data) + 1)
    length = min(len(data) - place, int(draw.expovariate(1 / 40)) + 1)
    way = draw.randrange(7)
    if way == 0:  # some bits
        changed = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(changed)
    if way == 1:
        return data[:place]
    if way == 2:
        return data[:place] + data[place + length :]
    if way == 3:
        return data[:place] + data[place : place + length] * 2 + data[place + length :]
    if way == 4:
        return data[:place] + draw.randbytes(length) + data[place + length :]
    if way == 5:
        return data[:place] + draw.choice(WORDS) + data[place:]
    digits = [n for n, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
    if not digits:
        return b""
    place = draw.choice(digits)
    return data[:place] + draw.choice([b"-", b"9" * 9, b"0", b"."]) + data[place + 1 :]


def damage_folder(folder: Path, draw: random.Random) -> str:
    """Damages one file of a folder; returns which and how."""
    files = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    path = draw.choice(sorted(files))
    name = str(path.relative_to(folder))
    way = draw.randrange(12)
    if way == 0:
        path.unlink()
        return f"{name} removed"
    if way == 1:
        other = draw.choice(sorted(files))
        data = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{name} swapped with {other.relative_to(folder)}"
    path.write_bytes(damage(path.read_bytes(), draw))
    return f"{name} damaged"


def make_samples(folder: Path) -> None:
    """One good input of each kind, by a small job."""
    make_export(folder)
    copy_tables(folder)


def copy_tables(folder: Path) -> None:
    """One good input of each kind that is a single file, from the logs of `write_logs`."""
    table = pa.csv.read_csv(folder / "source.csv")
    for name in ("csv", "parquet", "jsonl", "labels", "json", "toml", "paper"):
        (folder / name).mkdir()
    shutil.copy(folder / "source.csv", folder / "csv")
    shutil.copy(folder / "users.csv", folder / "labels")
    pa.parquet.write_table(table, folder / "parquet" / "source.parquet")
    rows = "\n".join(json.dumps(row) for row in table.to_pylist())
    (folder / "jsonl" / "source.jsonl").write_text(rows)
    settings = {"log": "source.csv", "out": "host", "hidden_dim": 8, "epochs": 3}
    (folder / "json" / "config.json").write_text(json.dumps(settings))
    toml = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    (folder / "toml" / "config.toml").write_text(toml)
    paper = "".join(f"i{n},i{n + 1},i{n + 2},,t{n % 5},t{n % 3}\n" for n in range(60))
    (folder / "paper" / "log.csv").write_text(paper)


class Readers:
    """What reads an input of each kind, from the folder that holds it."""

    def __init__(self, samples: Path):
        self.samples = samples

    def csv(self, folder, name="source.csv"):
        from keras_peterrec.log.read_log import read_log

        read_log(str(folder / name))

    def parquet(self, folder):
        self.csv(folder, "source.parquet")

    def jsonl(self, folder):
        self.csv(folder, "source.jsonl")

    def labels(self, folder):
        from keras_peterrec.log.labels import read_labels

        read_labels(str(folder / "users.csv"), "group")

    def paper(self, folder):
        from keras_peterrec.log.paper_format import read_paper_finetune

        read_paper_finetune(folder / "log.csv")

    def json(self, folder, name="config.json"):
        from keras_peterrec.settings.parser import make_settings
        from keras_peterrec.settings.pretrain import PretrainSettings

        make_settings(PretrainSettings, {"config": str(folder / name)})

    def toml(self, folder):
        self.json(folder, "config.toml")

    def clicks(self, folder):
        from keras_peterrec.log.prepared.reading import PreparedLog

        PreparedLog(folder).log()

    def host(self, folder):
        from keras_peterrec.transfer.host import Host

        Host.load(folder)

    @functools.cached_property
    def whole_host(self):
        from keras_peterrec.transfer.host import Host

        return Host.load(self.samples / "host")

    def films(self, folder):
        from keras_peterrec.transfer.task import Task

        Task.load(folder, self.whole_host)

    group = films

    def report(self, folder):
        from keras_peterrec.runs.report import report

        report(str(folder))

    def export(self, folder):
        from keras_peterrec.serving.exported_model import ExportedModel

        ExportedModel(folder).predict("films", ["i1 i2", ""])


KINDS = {
    **{kind: kind for kind in ("csv", "parquet", "jsonl", "labels", "json", "toml", "paper")},
    **{kind: kind for kind in ("clicks", "host", "films", "group", "export")},
    "report": "films",
}


def read_one(readers: Readers, kind: str, seed: int, folder: Path) -> dict:
    """How reading one damaged input ended."""
    from keras_peterrec.errors import InputError

    draw = random.Random(f"{kind} {seed}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(readers.samples / KINDS[kind], folder)
    what = damage_folder(folder, draw)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        getattr(readers, kind)(folder)
        verdict, message = "read", ""
    except InputError as error:
        verdict, message = "refused", str(error)
        if "\n" in message or len(message) > LONGEST_MESSAGE:
            verdict = "traceback"
    except Exception as error:
        verdict, message = "traceback", f"{type(error).__name__}: {error}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if time.monotonic() - began > SLOW or grown > MEMORY:
        verdict = "slow"
    return {"kind": kind, "seed": seed, "what": what, "verdict": verdict, "message": message[:400]}


def work(samples: Path, kinds: list[str]) -> None:
    """The worker: a line `kind seed` in, a line of JSON out."""
    readers = Readers(samples)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            kind, seed = line.split()
            print(json.dumps(read_one(readers, kind, int(seed), Path(folder) / "x")), flush=True)


def torture(inputs: int, first: int, kinds: list[str], samples: Path) -> Counter:
    """Reads `inputs` damaged inputs, the kinds in turn; returns a Counter of verdicts."""
    count, worker = Counter(), None
    for n in range(inputs):
        kind, seed = kinds[n % len(kinds)], first + n // len(kinds)
        if worker is None:
            worker = subprocess.Popen(
                [sys.executable, __file__, "--work", str(samples)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        worker.stdin.write(f"{kind} {seed}\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        ended = json.loads(line) if line else {"kind": kind, "seed": seed, "verdict": "died"}
        if not line:
            worker = None
        count[ended["verdict"]] += 1
        if ended["verdict"] in BUGS:
            print(json.dumps(ended), flush=True)
    if worker is not None:
        worker.stdin.close()
        worker.wait()
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--samples", help="a folder of good inputs, made if it is empty")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        return work(Path(asked.work), asked.kinds)
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(asked.samples or folder)
        samples.mkdir(exist_ok=True)
        if not any(samples.iterdir()):
            make_samples(samples)
        count = torture(asked.inputs, asked.first, asked.kinds, samples)
    print(dict(count))
    raise SystemExit(any(count[verdict] for verdict in BUGS))


if __name__ == "__main__":
    main()
