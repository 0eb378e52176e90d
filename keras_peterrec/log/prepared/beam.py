"""Prepares a log on Apache Beam, for what one machine cannot hold: to the same files.

Beam brings a shard's events to one worker and runs again what fails; all else is done by the
functions that `in_process` uses. What is brought are Arrow batches, not events, so that Beam has
little to count. A worker holds the events of one shard, and the vocabulary.
"""

import contextlib
import functools
import io
import json
import posixpath
import shlex
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.atomic_write import publish
from keras_peterrec.log.clocks import Clock, Clocks
from keras_peterrec.log.prepared.finishing import (
    Plan,
    finish,
    read_vocabulary,
    write_vocabulary,
)
from keras_peterrec.log.prepared.format import read_bytes, shard_name, user_hashes, write_bytes
from keras_peterrec.log.prepared.in_process import work_folder
from keras_peterrec.log.prepared.partition import parted_events
from keras_peterrec.log.prepared.records import write_records
from keras_peterrec.log.prepared.shards import (
    ItemIds,
    add_counts,
    has_whole_times,
    sorted_users,
)
from keras_peterrec.types import AnyPath

COUNT_BUCKETS = 64  # parts of the items that are counted at the same time


def prepare_on_beam(log: Any, plan: Plan, out: AnyPath, runner: str, options: str | None) -> dict:
    """Prepares a log, see `find_inputs`, into a new folder on a runner such as `"DirectRunner"`.

    The folder is a path or URL that every worker can write; the pipeline's options are as on a
    command line. Returns the content of `prepared.json`.

    Raises:
        InputError: Beam is not installed, does not know the runner, or the log cannot be used.
    """
    import_beam(runner)
    import tensorflow as tf

    if "://" not in str(out):
        with work_folder(out, plan) as work:
            folder = str(work / "folder")
            result = _prepare(log, plan, folder, str(work / "written"), runner, options)
            publish(folder, out)
        return result
    # A remote folder cannot be renamed in one step; `prepared.json`, written last, publishes it.
    written = posixpath.join(str(out), "written")
    result = _prepare(log, plan, str(out), written, runner, options)
    tf.io.gfile.rmtree(written)
    return result


def _prepare(log, plan, folder, written, runner, options):
    """Fills a folder; what workers tell of it is left in another one."""
    import tensorflow as tf

    for path in (folder, written):
        try:
            tf.io.gfile.makedirs(path)
        except tf.errors.UnimplementedError:
            refuse(
                "out", "on this machine, or a place that TensorFlow writes, such as gs://", folder
            )
    with pipeline_on(runner, options) as pipeline:
        _build(pipeline, log, plan, folder, written)
    whole = json.loads(read_bytes(written, "whole.json"))
    infos = [json.loads(read_bytes(written, f"{n:05d}.json")) for n in range(plan.shards)]
    clocks = json.loads(read_bytes(written, "clocks.json"))
    rows = sum(clock["rows"] for clock in clocks if clock is not None)
    return finish(folder, plan, infos, whole, rows)


def import_beam(runner: str) -> Any:
    """The module `apache_beam`; InputError if it is not installed."""
    try:
        import apache_beam
        from apache_beam.options import pipeline_options  # noqa: F401
    except ImportError as error:
        raise InputError(
            "`runner` needs Apache Beam: pip install 'keras-peterrec[beam]'. "
            f"Received: `runner` = {runner!r} ({error})."
        ) from error
    return apache_beam


def new_pipeline(runner: str, options: str | None) -> Any:
    """An empty pipeline, by which a runner and its options are checked before there is work.

    Raises:
        InputError: Beam is not installed, does not know the runner, or refuses the options.
    """
    beam = import_beam(runner)
    from apache_beam.options.pipeline_options import PipelineOptions

    said = io.StringIO()  # by argparse, before it exits
    try:
        with contextlib.redirect_stderr(said):
            given = PipelineOptions([f"--runner={runner}", *shlex.split(options or "")])
            given.get_all_options()  # reads their values
            return beam.Pipeline(options=given)
    except (ValueError, SystemExit) as error:
        message = said.getvalue() if isinstance(error, SystemExit) else f"error: {error}"
        reason = " ".join(message.rpartition("error: ")[2].split())
        raise InputError(
            "`runner` and `pipeline_options` should be ones that Apache Beam accepts. Received: "
            f"`runner` = {runner!r}, `pipeline_options` = {options!r} ({reason})."
        ) from error


@contextlib.contextmanager
def pipeline_on(runner: str, options: str | None) -> Iterator[Any]:
    """Yields a pipeline, which runs when the block ends; see `prepare_on_beam`.

    Raises:
        InputError: see `new_pipeline`; or a worker raised one.
    """
    try:
        with new_pipeline(runner, options) as pipeline:
            yield pipeline
    except InputError:
        raise
    except Exception as error:
        raise _own_error(error) from error


def _own_error(error):
    """An InputError raised on a worker, out of the text that Beam makes of it; or the error."""
    text = str(error)
    name = f"{InputError.__name__}: "
    if name not in text:
        return error
    return InputError(text.rpartition(name)[2].split("\n")[0].split(" [while running")[0])


def sorted_shards(pipeline: Any, log: Any, plan: Plan, written: Any = None) -> Any:
    """The events of a log by shard, all shards included.

    The log is Events, if that is the input, else anything. A folder `written` gets `clocks.json`.

    Returns:
        PCollection of pairs of a shard's number and its two tables of `sorted_users`, each as
        `table_bytes` writes it.
    """
    import apache_beam as beam

    if "path" in plan.inputs[0]:
        numbers = pipeline | "inputs" >> beam.Create(range(len(plan.inputs))) | beam.Reshuffle()
        parts = numbers | "part" >> beam.FlatMap(_part, plan)
    else:
        parts = pipeline | "part" >> beam.Create(list(_part(0, plan, log)))
    is_clock = lambda part: part[0] < 0
    clocks = (
        parts
        | "clocks" >> beam.Filter(is_clock)
        | "of inputs" >> beam.Map(lambda part: part[1])
        | "all clocks" >> beam.combiners.ToList()
        | "one clock" >> beam.Map(_common_clock, plan, written)
    )
    parts = parts | "events" >> beam.Filter(lambda part: not is_clock(part))
    # An empty part of every shard, so that all of them are written.
    nothing = pipeline | "shards" >> beam.Create([(n, b"") for n in range(plan.shards)])
    return (
        (parts, nothing)
        | "together" >> beam.Flatten()
        | "by shard" >> beam.GroupByKey()
        | "sort" >> beam.Map(_sort, beam.pvalue.AsSingleton(clocks))
        | "keep" >> beam.Reshuffle()
    )


def _build(pipeline, log, plan, folder, written):
    import apache_beam as beam

    shards = sorted_shards(pipeline, log, plan, written)
    ready = (
        shards
        | "items" >> beam.FlatMap(_bucketed_items)
        | "by items" >> beam.GroupByKey()
        | "add up" >> beam.Map(_added_up)
        | "all items" >> beam.GroupByKey()
        | "vocabulary" >> beam.Map(_write_vocabulary, folder, plan.min_count)
    )
    whole = (
        shards
        | "is whole" >> beam.Map(lambda shard: has_whole_times(bytes_table(shard[1][0]).schema))
        | "all whole" >> beam.CombineGlobally(all)
    )
    whole | "say" >> beam.Map(
        lambda value: write_bytes(written, "whole.json", json.dumps(value).encode())
    )
    sides = beam.pvalue.AsSingleton(whole), beam.pvalue.AsSingleton(ready)
    shards | "write" >> beam.Map(_write, plan, folder, written, *sides)


def _part(number, plan, log=None):
    """Parts of shards; and the clock of each piece, under a number below 0."""
    for batches, clock in parted_events(plan, number, log):
        yield -1, json.dumps([number, clock.content()]).encode()
        for shard, batch in enumerate(batches):
            if batch.num_rows:
                yield shard, table_bytes(pa.Table.from_batches([batch]))


def _common_clock(found, plan, written):
    clocks = [None] * len(plan.inputs)
    for number, content in map(json.loads, found):
        clock = Clock(**content)
        clocks[number] = clock if clocks[number] is None else clocks[number] + clock
    if written is not None:
        content = [clock and clock.content() for clock in clocks]
        write_bytes(written, "clocks.json", json.dumps(content).encode())
    return Clocks.of(clocks, plan.names)


def _sort(grouped, clocks):
    shard, parts = grouped
    batches = [batch for part in parts if part for batch in bytes_table(part).to_batches()]
    return shard, tuple(table_bytes(table) for table in sorted_users(batches, clocks))


def _bucketed_items(shard):
    items = bytes_table(shard[1][1])
    if not len(items):
        return
    bucket = pa.array(user_hashes(items["item_id"].combine_chunks()) % COUNT_BUCKETS)
    for number in range(COUNT_BUCKETS):
        some = items.filter(pa.compute.equal(bucket, number))
        if len(some):
            yield number, table_bytes(some)


def _write_vocabulary(grouped, folder, min_count):
    items = pa.concat_tables(map(bytes_table, grouped[1])).combine_chunks()
    write_vocabulary(folder, items, min_count)
    return True


def _added_up(bucket):
    return 0, table_bytes(add_counts(map(bytes_table, bucket[1])))


def _write(shard, plan, folder, written, whole, ready):
    number, (users, items) = shard
    tables = bytes_table(users), bytes_table(items)
    path = posixpath.join(folder, shard_name(number, plan.shards))
    found = write_records(path, *tables, _vocabulary(folder), whole)
    write_bytes(written, f"{number:05d}.json", json.dumps(found).encode())


@functools.lru_cache(1)
def _vocabulary(folder):
    return ItemIds(pa.array(read_vocabulary(folder).items, pa.string()))


def table_bytes(table: pa.Table) -> bytes:
    """A table as bytes, compressed; `bytes_table` reads them."""
    buffer = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(buffer, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return buffer.getvalue()


def bytes_table(content: bytes) -> pa.Table:
    """The table that `table_bytes` wrote."""
    return pa.ipc.open_stream(content).read_all()
