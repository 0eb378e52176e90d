"""Counts the pairs of items of a prepared log on Apache Beam, for its linear part.

A worker reads shards and sums their pairs, as this process would, for as many shards as the runner
gives it at once. The sums of all workers are added up by blocks of rows, each block by one of them,
so that none holds everything; and this process reads the blocks back.
"""

import functools
import io
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from keras_peterrec import progress
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.sparse_regression import Pairs, SparseRegression
from keras_peterrec.log.prepared.beam import bytes_table, pipeline_on, table_bytes
from keras_peterrec.log.prepared.format import read_bytes, work_beside, write_bytes
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.splits import Periods
from keras_peterrec.runs.host_linear import next_item_rows
from keras_peterrec.runs.pretraining_log import PretrainingLog

BLOCKS = 64  # row n of a matrix is in block n modulo BLOCKS: frequent items are in all of them
PARTS = 256  # that shards are grouped into, so that no runner moves the sums of each shard
ITEMS = "items.npz"  # what every worker has to know of the items


def count_on_beam(
    log: PretrainingLog, bag: Bag, runner: str, options: str | None, most: int | None = None
) -> SparseRegression:
    """The sparse regression of all users of a prepared log, counted by a runner of Beam.

    It is that of `sparse_regression_of`, but for rounding, as long as there are no more than
    `MOST_PAIRS` pairs of items. Beyond that the smallest sums are left out: by every worker, of
    what it has read; where the workers' sums are added up; and here. Each time, a pair loses at
    most the smallest sum that is kept. So what is frequent is exact or nearly so, and a pair that
    is rare in what each worker reads can be missing. (This process alone leaves out as often as it
    reads on, with the same effect.)

    Args:
        log: PretrainingLog of a prepared log. Every worker has to read its folder, and to write
            into a folder beside it, which is removed at the end.
        runner: str. Such as `"DirectRunner"`.
        options: str or `None`. Options of the pipeline, as on a command line.
        most: see `SparseRegression`. Defaults to `None`.

    Raises:
        InputError: nothing can be written beside the log, a shard is damaged, or see
            `new_pipeline`.
    """
    path = log.prepared.path
    path = path.rstrip("/") if "://" in path else os.path.abspath(path)
    shards = log.prepared.shards
    periods, regression = log.counted.periods, _new_regression(bag, log.counts, most)
    shape = regression.half_gram.matrix().shape
    with (
        progress.stage(f"counting pairs of items in {shards:,} shards on {runner}"),
        work_beside(path, "log") as work,
    ):
        _write_items(work, log)
        with pipeline_on(runner, options) as pipeline:
            (
                pipeline
                | "parts" >> beam.Create(range(min(PARTS, shards)))
                | "spread" >> beam.Reshuffle()
                | "count" >> beam.ParDo(CountPairs(path, work, periods, bag, most))
                | "by block" >> beam.GroupByKey()
                | "add up" >> beam.Map(_add_up, work, shape)
            )
        _read_blocks(work, regression)
    return regression


class CountPairs(beam.DoFn):
    """Sums the pairs of the shards of a bundle.

    Parts of the shards in, numbers; pairs of a block's name and its sums out.

    Args:
        path: path of the prepared log.
        work: path of the folder with `ITEMS`.
        periods: Periods, which split the shards.
        most: see `SparseRegression`.
    """

    def __init__(self, path: str, work: str, periods: Periods, bag: Bag, most: int | None) -> None:
        self._path, self._work, self._periods = path, work, periods
        self._bag, self._most = bag, most

    def start_bundle(self) -> None:
        self._regression: Any = None

    def process(self, part: int) -> None:
        ids, counts = _read_items(self._work)
        if self._regression is None:
            self._regression = _new_regression(self._bag, counts, self._most)
        prepared = PreparedLog(self._path)
        for shard in range(part, prepared.shards, PARTS):  # one in memory at a time
            if prepared.events_of(shard):
                found = self._periods.read(prepared, [shard], ids)
                self._regression.add(next_item_rows(found))

    def finish_bundle(self) -> Iterator[Any]:
        if self._regression is None:
            return
        for name, pairs in _matrices(self._regression).items():
            matrix = pairs.matrix()
            for block in range(BLOCKS):
                rows = matrix[block::BLOCKS].tocoo()
                rows.row = rows.row * BLOCKS + block
                yield GlobalWindows.windowed_value((_block_name(name, block), _content(rows)))


def _add_up(grouped, work, shape):
    """Writes the sums of a block."""
    name, parts = grouped
    total = Pairs(*shape)
    for part in parts:
        total.add(*_entries(part))
    write_bytes(work, name, _content(total.matrix().tocoo()))


def _read_blocks(work, regression):
    for name, pairs in _matrices(regression).items():
        for block in range(BLOCKS):
            pairs.add(*_entries(read_bytes(work, _block_name(name, block))))


def _new_regression(bag, counts, most):
    return SparseRegression(bag, len(counts), len(counts), counts, most=most)


def _matrices(regression):
    """What a regression sums up, by name; matrices of one shape."""
    return {"gram": regression.half_gram, "right": regression.right}


def _block_name(matrix, block):
    return f"{matrix}-{block:05d}.arrow"


def _content(matrix):
    columns = {"row": matrix.row.astype("int32"), "column": matrix.col.astype("int32")}
    return table_bytes(pa.table({**columns, "sum": matrix.data}))


def _entries(content):
    table = bytes_table(content)
    return [table[name].to_numpy() for name in ("row", "column", "sum")]


def _write_items(work, log):
    buffer = io.BytesIO()
    np.savez(buffer, ids=log.ids, counts=log.counts)
    write_bytes(work, ITEMS, buffer.getvalue())


@functools.lru_cache(1)
def _read_items(work):
    """The vocabulary's ids of a record's ids, and how often training sees each item."""
    with np.load(io.BytesIO(read_bytes(work, ITEMS))) as found:
        return found["ids"], found["counts"]
