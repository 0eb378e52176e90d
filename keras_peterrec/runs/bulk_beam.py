"""Answers for every user of a log on Apache Beam, for what one machine cannot do in time.

Workers sort the log by user, as `prepare` does, cut each shard into batches of histories of about
one length, as `bulk` does, and ask the export by Beam's RunInference. Beam's own handler of
TensorFlow models reads models that Keras has saved and calls them with numbers; ours asks a
signature of a SavedModel with texts.
"""

import json
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.beam import (
    bytes_table,
    pipeline_on,
    sorted_shards,
    table_bytes,
)
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.format import (
    FIELD,
    read_bytes,
    user_hashes,
    work_beside,
    write_bytes,
)
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading
from keras_peterrec.log.sources import is_named, is_prepared, load_log
from keras_peterrec.log.table_columns import Field
from keras_peterrec.log.table_files import is_table
from keras_peterrec.runs.bulk import (
    Question,
    answers_table,
    batches_of,
    known_events_of,
    table_writer,
)
from keras_peterrec.types import AnyPath


def answer_on_beam(
    model: Any,
    question: Question,
    log: Any,
    reading: Reading,
    out: AnyPath,
    runner: str,
    options: str | None,
    trust: bool = False,
    fields: EventFields = EventFields(),
) -> dict:
    """Writes an answer for every user of a log into several files, on a runner of Beam.

    File n of N has the users whose `user_hashes` modulo N is n, in the order of these hashes; all
    N files are written, empty ones too. They appear when all are whole, and replace those of an
    earlier call.

    Args:
        model: path of a version directory that every worker can read.
        log: see `read_log`; or the folder of a prepared log, whose shards are then those of the
            answers. Every worker has to read it as well, unless it is in memory.
        reading: Reading, what is read of it.
        out: path or URL such as `answers.parquet`: of files such as
            `answers-00000-of-00004.parquet`. Every worker has to write beside it.
        runner: str. Such as `"DirectRunner"`.
        options: str or `None`. Options of the pipeline, as on a command line.
        trust: bool. See `ExportedModel`. Defaults to `False`.
        fields: EventFields that are told of the events. Defaults to `EventFields()`, none.

    Returns:
        dict of `out` (a pattern of the files' names), `users`, `columns`, what
        `known_events_of` says, and `files`, how many.

    Raises:
        InputError: Beam does not know the runner, or the log cannot be used.
    """
    out = out if "://" in str(out) else os.path.abspath(out)
    with work_beside(out, "out") as work:
        with pipeline_on(runner, options) as pipeline:
            users, count = _users(pipeline, log, reading, fields)
            (
                users
                | "batches" >> beam.FlatMap(_batches)
                | "spread" >> beam.Reshuffle()
                | "ask" >> RunInference(KeyedModelHandler(ExportHandler(model, question, trust)))
                | "answers by shard" >> beam.GroupByKey()
                | "write answers" >> beam.Map(_write, work, Path(str(out)).suffix)
            )
        shards = [json.loads(read_bytes(work, f"{n:05d}.json")) for n in range(count)]
        _publish(work, str(out), count)
    return {
        "out": _file(str(out), "*", "*"),
        "users": sum(file["users"] for file in shards),
        "columns": shards[0]["columns"],
        **{name: sum(file["known"][name] for file in shards) for name in shards[0]["known"]},
        "files": count,
    }


class ExportHandler(ModelHandler[bytes, bytes, Any]):
    """Asks an export for RunInference: tables of users with histories in, tables of answers out.

    An element is a batch already, cut by the lengths of its histories, and is asked as it is.

    Args:
        model: path of a version directory.
        trust: bool. See `ExportedModel`. Defaults to `False`.
    """

    def __init__(self, model: Any, question: Question, trust: bool = False) -> None:
        super().__init__(max_batch_size=1)
        self._model, self._question, self._trust = str(model), question, trust

    def load_model(self) -> Any:
        from keras_peterrec.serving.exported_model import ExportedModel

        return ExportedModel(self._model, trust=self._trust)

    def run_inference(self, batch: Any, model: Any, inference_args: Any = None) -> Iterator[bytes]:
        for users in map(bytes_table, batch):
            user_ids = users["user_id"]
            answers = self._question.ask(model, users["history"].to_pylist(), user_ids.to_pylist())
            yield table_bytes(answers_table(user_ids.to_numpy(), answers))

    def get_metrics_namespace(self) -> str:
        return "keras_peterrec"


def _users(pipeline, log, reading, fields):
    """Pairs of a shard and its table of users, and how many shards there are."""
    if is_prepared(log):
        count = PreparedLog(log).shards
        numbers = pipeline | "prepared" >> beam.Create(range(count)) | beam.Reshuffle()
        return numbers | "read" >> beam.Map(_read, os.fspath(log), fields), count
    if is_named(log) or is_table(log):
        log, reading = load_log(log, **vars(reading)), Reading()
    plan = Plan.of(log, reading=reading)
    shards = sorted_shards(pipeline, log, plan)
    return shards | "histories" >> beam.Map(_histories, fields), plan.shards


def _histories(shard, fields):
    number, (users, items) = shard
    users, items = bytes_table(users), bytes_table(items)
    column = lambda name: users[name].combine_chunks()
    told = {name: Field.of(column(FIELD + name).values, name) for name in fields.columns}
    events = Events(
        column("user_id").to_numpy(zero_copy_only=False),
        column("items").values.to_numpy(),
        column("items").offsets.to_numpy(),
        column("timestamps").values.to_numpy(),
        items["item_id"].combine_chunks().to_numpy(zero_copy_only=False),
        fields=told,
    )
    return number, _users_table(users["user_id"], fields.texts(events), events.lengths)


def _read(number, path, fields):
    prepared = PreparedLog(path)
    if not prepared.events_of(number):
        return number, _users_table([], [], [])
    log = prepared.log(shards=[number])
    texts = fields.texts(log).tolist()
    return number, _users_table(log.user_ids.tolist(), texts, log.lengths)


def _users_table(user_ids, histories, lengths):
    columns = {"user_id": (user_ids, pa.string()), "history": (histories, pa.string())}
    columns["events"] = lengths, pa.int64()
    return table_bytes(pa.table({n: pa.array(v, kind) for n, (v, kind) in columns.items()}))


def _batches(shard):
    number, users = shard[0], bytes_table(shard[1])
    if not len(users):  # asked as well, so that its empty file has the columns of the others
        yield shard
    for rows in batches_of(users["events"].to_numpy()):
        yield number, table_bytes(users.take(pa.array(rows)))


def _write(grouped, work, ending):
    number, parts = grouped
    answers = pa.concat_tables(map(bytes_table, parts)).combine_chunks()
    hashes = pa.array(user_hashes(answers["user_id"].combine_chunks()))
    order = pc.sort_indices(
        pa.table({"hash": hashes, "user_id": answers["user_id"]}),
        [("hash", "ascending"), ("user_id", "ascending")],
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"answers{ending}"
        with table_writer(path, ending) as write:
            write(answers.take(order))
        write_bytes(work, f"{number:05d}{ending}", path.read_bytes())
    about = {"users": len(answers), "columns": answers.column_names}
    about["known"] = known_events_of(answers)
    write_bytes(work, f"{number:05d}.json", json.dumps(about).encode())


def _publish(work, out, count):
    """Moves the files to their names, and removes those of an earlier call with another number."""
    folder, ending = posixpath.dirname(out), posixpath.splitext(out)[1]
    names = [_file(out, f"{n:05d}", f"{count:05d}") for n in range(count)]
    for number, name in enumerate(names):
        tf.io.gfile.rename(posixpath.join(work, f"{number:05d}{ending}"), name, overwrite=True)
    stem = re.escape(posixpath.basename(posixpath.splitext(out)[0]))
    earlier = re.compile(rf"{stem}-\d{{5}}-of-\d{{5}}{re.escape(ending)}")
    for name in tf.io.gfile.listdir(folder):
        path = posixpath.join(folder, name)
        if earlier.fullmatch(name) and path not in names:
            tf.io.gfile.remove(path)


def _file(out, number, count):
    stem, ending = posixpath.splitext(out)
    return f"{stem}-{number}-of-{count}{ending}"
