"""The main job on a log of some users, as commands: what the drivers of this folder break."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

USERS, ITEMS, EVENTS = 120, 60, 12
NETWORK = ("--hidden-dim", "8", "--blocks", "2", "--max-length", "12", "--epochs", "3")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status, negative for a signal, its last words and seconds."""

    status: int
    error: str
    seconds: float

    @property
    def is_one_line(self) -> bool:
        """Whether it refused in one line with status 2, without a traceback."""
        return self.status == 2 and "error: " in self.error and "Traceback" not in self.error


def write_logs(folder: Path, seed: int = 0) -> None:
    """Writes `source.csv`, `target.csv` and `users.csv`."""
    random = np.random.default_rng(seed)
    source, target, users = ["user_id,item_id,timestamp"], ["user_id,item_id,timestamp"], []
    for user in range(USERS):
        liked = random.integers(ITEMS // 2)
        for n in range(EVENTS):
            item = (liked + random.integers(ITEMS // 2)) % ITEMS
            source.append(f"u{user},i{item},{1_700_000_000 + 3600 * n + user}")
        target.append(f"u{user},t{liked % 10},{1_700_000_000 + 3600 * EVENTS}")
        users.append(f"u{user},{'ab'[liked * 4 // ITEMS]}")
    for name, rows in (("source", source), ("target", target)):
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    (folder / "users.csv").write_text("\n".join(["user_id,group", *users]) + "\n")


def commands(logs: Path, out: Path) -> dict[str, tuple[str, ...]]:
    """The commands of the job in their order, by name; each writes the folder `out / name`."""
    source, host = ("--log", f"{logs}/source.csv"), ("--host", f"{out}/host")
    quick = ("--epochs", "2", "--no-baselines")
    return {
        "clicks": ("prepare", *source, "--out", f"{out}/clicks", "--shards", "2"),
        "host": ("pretrain", *source, "--out", f"{out}/host", *NETWORK),
        "films": (
            *("transfer", *host, *source, "--target", f"{logs}/target.csv"),
            *("--out", f"{out}/films", *quick),
        ),
        "group": (
            *("transfer", *host, *source, "--labels", f"{logs}/users.csv"),
            *("--column", "group", "--out", f"{out}/group", *quick),
        ),
        "export": (
            *("export", *host, "--task", f"{out}/films", f"{out}/group"),
            *("--out", f"{out}/export/1"),
        ),
    }


def run(words: tuple[str, ...], kill_after: float | None = None, timeout: float = 300) -> Ended:
    """Runs a command as a process of its own; `kill_after` seconds it gets SIGKILL."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_peterrec", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "KERAS_PETERREC_PROGRESS": "lines"},
    )
    try:
        _, error = process.communicate(timeout=kill_after or timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        _, error = process.communicate()
    return Ended(process.returncode, error, time.monotonic() - began)


def make_export(folder: Path | str) -> Path:
    """Runs the whole job in a folder; returns the folder with the export's versions."""
    folder = Path(folder)
    write_logs(folder)
    for words in commands(folder, folder).values():
        ended = run(words)
        assert ended.status == 0, ended.error
    return folder / "export"
