"""Prepares a log in this process, out of memory: at most a shard and the items are held.

Four stages, each with files of its own in a folder beside the result, so that whatever is whole is
not made again after an interruption:

1. every input is read once, and its events are parted by shard,
2. the events of each shard are sorted by user and time, and its items counted,
3. the counts are added up to the vocabulary,
4. the records of each shard are written.

The result takes its name in one step, once all of it is there.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import publish, replacing
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.log.clocks import Clock, Clocks
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.finishing import (
    Plan,
    finish,
    read_vocabulary,
    write_vocabulary,
)
from keras_peterrec.log.prepared.format import (
    VOCABULARY,
    is_prepared,
    read_manifest,
    shard_name,
)
from keras_peterrec.log.prepared.partition import parted_events
from keras_peterrec.log.prepared.records import write_records
from keras_peterrec.log.prepared.shards import (
    ItemIds,
    add_counts,
    has_whole_times,
    sorted_users,
)
from keras_peterrec.types import AnyPath

THREADS = 2  # each holds the events of a shard


def prepare_in_process(log: Any, plan: Plan, out: AnyPath) -> dict:
    """Prepares a log, see `find_inputs`, into a new folder; goes on where a call was interrupted.

    Returns the content of `prepared.json`.

    Raises:
        InputError: the log cannot be used.
    """
    with work_folder(out, plan) as work:
        stages = _Stages(log, plan, work)
        stages.part()
        stages.sort()
        stages.count()
        result = stages.write()
        publish(stages.folder, out)
    return result


@contextlib.contextmanager
def work_folder(out: AnyPath, plan: Plan) -> Iterator[Path]:
    """Yields the folder beside `out` with the work on a plan, which no other process may touch.

    What an earlier call on the same plan has left stays in it, what belongs to another plan does
    not. It is removed at the end, and stays where the block raises.

    Raises:
        InputError: another process works there, or the folder cannot be written.
    """
    work = _work_path(out)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "`out` should be in a folder that can be written. "
            f"Received: {str(out)!r} ({error.strerror})."
        ) from error
    with locked(work):
        _claim(work, plan)
        yield work
        shutil.rmtree(work)


def drop_work(out: AnyPath) -> None:
    """Removes the work folder that a process left which died once `out` had its name."""
    work = _work_path(out)
    if "://" not in str(out) and work.is_dir():
        with contextlib.suppress(InputError), locked(work):
            shutil.rmtree(work, ignore_errors=True)


def _work_path(out):
    return Path(f"{os.fspath(out)}.preparing")


def _claim(work, plan):
    """Empties the folder of another plan's work."""
    if (work / "plan.json").is_file():
        if read_json(work / "plan.json", "out") == json.loads(json.dumps(plan.content())):
            progress.line(f"going on in {work}")
            return
        progress.line(f"starting anew in {work}, which holds the work on something else")
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    write_json(work / "plan.json", plan.content())


class _Stages:
    def __init__(self, log, plan, work):
        self.log, self.plan = (log if isinstance(log, Events) else None), plan
        self.parts, self.sorted, self.written = (
            work / name for name in ("parts", "sorted", "written")
        )
        self.folder = work / "folder"
        for path in (self.parts, self.sorted, self.written, self.folder):
            path.mkdir(exist_ok=True)

    def _each(self, what, function, count):
        began = time.perf_counter()
        with progress.bar(what, count) as advance, ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(function, range(count)):
                advance()
        progress.line(f"{what} ... {time.perf_counter() - began:.1f} s")

    def part(self):
        """Stage 1; `parts/N.json` says that input N is done, and what it had."""
        if not (self.sorted / "clocks.json").is_file():
            self._each("reading the log", self._part, len(self.plan.inputs))
            parts = (self.parts / f"{n:05d}.json" for n in range(len(self.plan.inputs)))
            clocks = [read_json(part, "out")["clock"] for part in parts]
            write_json(self.sorted / "clocks.json", clocks)
        clocks = read_json(self.sorted / "clocks.json", "out")
        clocks = [None if clock is None else Clock(**clock) for clock in clocks]
        self.rows = sum(clock.rows for clock in clocks if clock is not None)
        self.clocks = Clocks.of(clocks, self.plan.names)

    def _part(self, number):
        done = self.parts / f"{number:05d}.json"
        if done.is_file():
            return
        pieces, clock = 0, None
        for batches, of_piece in parted_events(self.plan, number, self.log):
            with replacing(self._piece(number, pieces)) as beside:
                _write_batches(beside, batches)
            pieces += 1
            clock = of_piece if clock is None else clock + of_piece
        write_json(done, {"pieces": pieces, "clock": clock and clock.content()})

    def _piece(self, number, piece):
        return self.parts / f"{number:05d}-{piece:05d}.arrow"

    def sort(self):
        """Stage 2; a shard's `sorted/N.items.arrow` is written last."""
        if len(list(self.sorted.glob("*.items.arrow"))) < self.plan.shards:
            self._each("sorting by user and time", self._sort, self.plan.shards)
        shutil.rmtree(self.parts)
        self.parts.mkdir()

    def _sort(self, shard):
        if self._sorted(shard, "items").is_file():
            return
        batches = []
        for number in range(len(self.plan.inputs)):
            for piece in range(read_json(self.parts / f"{number:05d}.json", "out")["pieces"]):
                batches.append(_opened(self._piece(number, piece)).get_batch(shard))
        for name, table in zip(("users", "items"), sorted_users(batches, self.clocks)):
            with replacing(self._sorted(shard, name)) as beside:
                _write_batches(beside, table.combine_chunks().to_batches(), table.schema)

    def _sorted(self, shard, name):
        return self.sorted / f"{shard:05d}.{name}.arrow"

    def count(self):
        """Stage 3: the vocabulary and the counts of its items."""
        if (self.folder / VOCABULARY).is_file():
            return
        tables = (_opened(self._sorted(n, "items")).read_all() for n in range(self.plan.shards))
        with progress.stage("counting items"):
            write_vocabulary(self.folder, add_counts(tables), self.plan.min_count)

    def write(self):
        """Stage 4; `written/N.json` says that a shard's records are there, and what they are."""
        shards = range(self.plan.shards)
        whole = all(has_whole_times(_opened(self._sorted(n, "users")).schema) for n in shards)
        vocabulary = ItemIds(pa.array(read_vocabulary(self.folder).items, pa.string()))

        def write(shard):
            if (self.written / f"{shard:05d}.json").is_file():
                return
            tables = (_opened(self._sorted(shard, n)).read_all() for n in ("users", "items"))
            path = str(self.folder / shard_name(shard, self.plan.shards))
            about = write_records(path, *tables, vocabulary, whole)
            write_json(self.written / f"{shard:05d}.json", about)

        self._each("writing records", write, self.plan.shards)
        infos = [read_json(self.written / f"{n:05d}.json", "out") for n in shards]
        return finish(self.folder, self.plan, infos, whole, self.rows)


def _write_batches(path, batches, schema=None):
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as file:
        with pa.ipc.new_file(file, schema or batches[0].schema, options=options) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _opened(path):
    """A file of `_write_batches`, of which only what is asked for is read."""
    return pa.ipc.open_file(pa.memory_map(str(path)))


def check_out(out: AnyPath, plan: Plan) -> dict | None:
    """What `out` already holds of a plan, the content of `prepared.json`; `None` if nothing yet.

    Raises:
        InputError: `out` holds something else.
    """
    asked = json.loads(json.dumps(plan.content()))
    if is_prepared(out):
        held = read_manifest(out, "out")
        if all(held.get(name) == value for name, value in asked.items()):
            return held
        reason = "which holds another log or one prepared otherwise"
    elif "://" not in str(out) and os.path.exists(out):
        if os.path.isdir(out) and not os.listdir(out):
            os.rmdir(out)
            return None
        reason = "which already holds something else"
    else:
        return None
    raise InputError(
        f"`out` should be a new folder or that of the same log. Received: {str(out)!r}, {reason}."
    )
