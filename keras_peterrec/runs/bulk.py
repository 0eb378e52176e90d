"""Answers for every user of a log, written to a file in pieces."""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from keras_peterrec import progress
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.atomic_write import replacing
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.events import Events
from keras_peterrec.log.id_text import has_separator, written
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.signature_names import EVENTS, KNOWN_EVENTS
from keras_peterrec.types import AnyPath

CHUNK = 50_000  # users whose answers are in memory at a time
# Items of a batch, padding included: larger ones gain nothing, and smaller ones lose to what a
# call costs.
BATCH_ITEMS = 16_384
ENDINGS = (".parquet", ".csv", ".jsonl")  # of what is written
_ARROW_TYPES = {"f": pa.float32(), "i": pa.int32()}  # by the kind of a NumPy type; else strings


@dataclass(frozen=True)
class Question:
    """What every user is asked.

    Args:
        task: str. A signature of histories.
        wishes: dict. What may be recommended: arguments of `ExportedModel.select`; empty where
            nothing is said of it.
        tell: Callable from users to what their histories tell of them last, see
            `UserFields.texts`; on a runner it goes to the workers. Defaults to `None`, nothing.
    """

    task: str
    wishes: dict
    tell: Callable[[list[str]], list[str]] | None = None

    def ask(
        self, exported: ExportedModel, histories: list[str], user_ids: Sequence[str] = ()
    ) -> dict:
        """What an ExportedModel answers for histories and the users whose they are."""
        if self.tell is not None:
            told = self.tell(list(user_ids))
            histories = [f"{text} {of_user}" for text, of_user in zip(histories, told)]
        if self.wishes:
            return exported.select(self.task, histories, **self.wishes)
        return exported.predict(self.task, histories)


def check_out(out: AnyPath, remote: bool = False) -> None:
    """Raises InputError if answers cannot be written to a file of this name.

    Args:
        remote: bool. Whether it may be a URL such as `gs://...`. Defaults to `False`.
    """
    if Path(out).suffix not in ENDINGS:
        raise InputError(f"`out` should end in {', '.join(ENDINGS)}. Received: {str(out)!r}.")
    if remote and "://" in str(out):
        return
    if not Path(out).absolute().parent.is_dir():
        refuse("out", "in a folder that exists", str(out))


def answer_logs(
    ask: Callable,
    logs: Iterable[Events],
    out: AnyPath,
    what: str,
    chunks: int | None = None,
    fields: EventFields = EventFields(),
) -> dict:
    """Writes an answer for every user of some logs.

    Users are asked in batches of about one length, so that little of a batch is padding, several
    batches at a time. The file appears when it is whole.

    Args:
        ask: Callable from two lists of str, histories and users, to a dict of arrays `[B, ...]`.
        logs: iterable of Events, each with other users; one of them is in memory at a time.
        out: path of the file: .parquet, .csv or .jsonl. In CSV, lists are separated by spaces.
        what: str. What the progress bar calls the work.
        chunks: int or `None`. How many times `CHUNK` users there are, for the bar. Defaults to
            `None`, unknown.
        fields: EventFields that are told of the events. Defaults to `EventFields()`, none.

    Returns:
        dict of `out`, `users`, `columns` and what `known_events_of` says.
    """
    users, columns, counts = 0, [], Counter()
    with (
        replacing(out) as beside,
        progress.bar(what, chunks) as step,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        table_writer(beside, Path(out).suffix) as write,
    ):
        for user_ids, texts, lengths in _chunks(logs, fields):
            table = answers_table(user_ids, _answers(ask, user_ids, texts, lengths, pool))
            write(table)
            counts.update(known_events_of(table))
            users, columns = users + len(user_ids), table.column_names
            step()
    return {"out": str(out), "users": users, "columns": columns, **counts}


def known_events_of(table: pa.Table) -> dict:
    """How many events the users of `answers_table` have, and how many the model knows.

    Returns:
        dict of `events`, `known_events` and `unknown_users`, of whom it knows no event.
    """
    known_events = table[KNOWN_EVENTS].to_numpy()
    return {
        "events": int(table[EVENTS].to_numpy().sum()),
        "known_events": int(known_events.sum()),
        "unknown_users": int(np.count_nonzero(known_events == 0)),
    }


def _chunks(logs, fields):
    """Yields users, their histories and how many events these have."""
    for log in logs:
        for start in range(0, log.user_count, CHUNK):
            part = slice(start, start + CHUNK)
            yield log.user_ids[part], fields.texts(log, start, start + CHUNK), log.lengths[part]


def _answers(ask, user_ids, texts, lengths, pool):
    """What the users of a chunk are answered, in their order: a dict of arrays."""
    batches = list(batches_of(lengths))
    of_batch = lambda rows: ask(texts[rows].tolist(), user_ids[rows].tolist())
    parts = list(pool.map(of_batch, batches))
    back = np.argsort(np.concatenate(batches))
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def batches_of(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts users into batches of some `BATCH_ITEMS`, the shortest history first.

    Args:
        lengths: int array `[U]`, how many events each user has.

    Yields:
        int arrays, the rows of a batch.
    """
    order = np.argsort(lengths, kind="stable")
    longest = np.maximum(lengths[order], 1)
    start = 0
    while start < len(order):
        # The last row of a batch is its longest.
        sizes = longest[start:] * np.arange(1, len(order) - start + 1)
        stop = start + max(1, int(np.searchsorted(sizes, BATCH_ITEMS, "right")))
        yield order[start:stop]
        start = stop


def answers_table(user_ids: np.ndarray, answers: dict) -> pa.Table:
    """A table of users and their answers.

    Args:
        user_ids: object array of str, `[U]`.
        answers: dict of arrays `[U, ...]`, as an ExportedModel gives them.
    """
    columns = {"user_id": pa.array(user_ids.tolist(), pa.string())}
    for name, values in answers.items():
        kind = _ARROW_TYPES.get(values.dtype.kind, pa.string())
        flat = pa.array(values.reshape(-1), kind)
        if values.ndim > 1:
            offsets = np.arange(0, values.size + 1, values.shape[1]).astype("int32")
            flat = pa.ListArray.from_arrays(pa.array(offsets), flat)
        columns[name] = flat
    return pa.table(columns)


@contextlib.contextmanager
def table_writer(path: AnyPath, ending: str) -> Any:
    """Yields a function that adds a table's rows to a file; all tables have the same columns.

    Args:
        path: path of the file.
        ending: str, one of `ENDINGS`. In CSV, lists become texts, separated by spaces.
    """
    with contextlib.ExitStack() as stack:
        if ending == ".jsonl":
            file = stack.enter_context(open(path, "w", encoding="utf-8"))
            encode = json.JSONEncoder(ensure_ascii=False).encode
            yield lambda table: file.writelines(f"{encode(row)}\n" for row in table.to_pylist())
            return
        writers = []

        def write(table):
            if ending == ".csv":
                table = pa.table({n: _text(table.column(n)) for n in table.column_names})
            if not writers:  # only now its columns are known
                if ending == ".csv":
                    writer = pyarrow.csv.CSVWriter(path, table.schema)
                else:
                    writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd")
                writers.append(stack.enter_context(writer))
            writers[0].write_table(table)

        yield write


def _text(column):
    """A column with its lists as texts; what holds white space is encoded, as in a history."""
    if not pa.types.is_list(column.type):
        return column
    lists = column.combine_chunks()
    values = lists.flatten()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.string())
    elif has_separator(values.unique().to_pylist()):
        values = pa.array(map(written, values.to_pylist()), pa.string())
    return pc.binary_join(pa.ListArray.from_arrays(lists.offsets, values), " ")
