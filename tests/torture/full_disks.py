"""Runs the commands of the main job on disks that are too small, or fail.

    python tests/torture/full_disks.py --disks 38    # as root: it mounts file systems in memory

A disk has a random part of the room that a command needs. The command must end in one line with
status 2; given more room, the same command must go on to its end, and write what it writes on a
large disk. Every fifth disk is read-only instead.
"""

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from killed_commands import contents, difference
from small_job import commands, run, write_logs

READ_ONLY = 5  # every so many disks


@contextlib.contextmanager
def disk(folder: Path, size: int):
    """A file system of `size` bytes in memory at `folder`."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Changes the options of a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def torture(disks: int, seed: int, folder: Path) -> Counter:
    """Returns a Counter of `one line`, `enough room`, `equal`, `different`, `worse`."""
    draw, count = random.Random(seed), Counter()
    logs, straight, small = folder / "logs", folder / "straight", folder / "small"
    for path in (logs, straight):
        path.mkdir()
    write_logs(logs)
    for words in commands(logs, straight).values():
        ended = run(words)
        assert ended.status == 0, ended.error
    names = list(commands(logs, straight))
    for n in range(disks):
        name = names[n % len(names)]
        words, needed = commands(logs, small)[name], size_of(straight / name)
        others = sum(size_of(straight / other) for other in names[: names.index(name)])
        room = int(others + needed * draw.uniform(0.0, 0.9)) + (64 << 10)
        with disk(small, room):
            for other in names[: names.index(name)]:
                shutil.copytree(straight / other, small / other)
            if n % READ_ONLY == READ_ONLY - 1:
                remount(small, "ro")
            ended = run(words)
            if ended.status == 0:
                count["enough room"] += 1
            elif ended.is_one_line:
                count["one line"] += 1
            else:
                count["worse"] += 1
                print(f"{name}, {room} bytes, status {ended.status}: {ended.error[-800:]}")
            remount(small, f"rw,size={room + 4 * needed + (64 << 20)}")
            if ended.status != 0:
                ended = run(words)
            odd = difference(contents(straight / name), contents(small / name))
            same = ended.status == 0 and odd is None
            count["equal" if same else "different"] += 1
            if not same:
                print(f"{name}, {room} bytes, then room: {odd} {ended.error[-800:]}")
        print(dict(count), flush=True)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("full_disks.py mounts file systems: run it as root")
    with tempfile.TemporaryDirectory() as folder:
        count = torture(asked.disks, asked.seed, Path(folder))
    raise SystemExit(bool(count["worse"] or count["different"]))


if __name__ == "__main__":
    main()
