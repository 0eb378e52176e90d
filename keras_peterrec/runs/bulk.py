"""Answers for every user of a log, written to a file in pieces."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec import progress
from keras_peterrec.data.id_text import has_space, written
from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import replacing
from keras_peterrec.files.table_writer import ENDINGS, table_writer

CHUNK = 50_000  # users whose answers are in memory at a time
# Items of a batch, padding included: larger ones gain nothing, and smaller ones lose to what a
# call costs.
BATCH_ITEMS = 16_384


@dataclass(frozen=True)
class Question:
    """What every user is asked.

    Args:
        task: str. A signature of histories.
        wishes: dict. What may be recommended: arguments of `ExportedModel.select`; empty where
            nothing is said of it.
    """

    task: str
    wishes: dict

    def ask(self, exported: Any, histories: list[str]) -> dict:
        """What an ExportedModel answers."""
        if self.wishes:
            return exported.select(self.task, histories, **self.wishes)
        return exported.predict(self.task, histories)


def check_out(out: Any, remote: bool = False) -> None:
    """Raises InputError if answers cannot be written to a file of this name.

    Args:
        out: path.
        remote: bool. Whether it may be a URL such as `gs://...`. Defaults to `False`.
    """
    if Path(out).suffix not in ENDINGS:
        raise InputError(f"`out` should end in {', '.join(ENDINGS)}. Received: {str(out)!r}.")
    if remote and "://" in str(out):
        return
    if not Path(out).absolute().parent.is_dir():
        raise InputError(f"`out` should be in a folder that exists. Received: {str(out)!r}.")


class Histories:
    """Each user's items in order of time, as texts that a signature reads.

    Args:
        log: Log.

    Attributes:
        user_ids: object array of str, `[U]`.
        lengths: int array `[U]`, how many events each has.
    """

    def __init__(self, log):
        order = np.lexsort((log.timestamps, log.users))  # stable: ties keep the order of the rows
        self.user_ids = log.user_ids
        self.lengths = np.bincount(log.users, minlength=len(log.user_ids))
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self._items = log.items[order]
        self._texts = written_texts(log.item_ids)

    def __len__(self):
        return len(self.user_ids)

    def texts(self, start: int, stop: int) -> np.ndarray:
        """Items of users `start` to `stop`, separated by spaces: object array of str."""
        offsets = self._offsets[start : stop + 1]
        codes = self._items[offsets[0] : offsets[-1]]
        joined = joined_texts(self._texts, codes, offsets - offsets[0])
        return joined.to_numpy(zero_copy_only=False)


def written_texts(item_ids: Any) -> pa.Array:
    """Items as they stand in a history: pyarrow array of strings."""
    texts = map(written, item_ids) if has_space(item_ids) else item_ids
    return pa.array(list(texts), pa.string())


def joined_texts(texts: pa.Array, codes: Any, offsets: Any) -> pa.Array:
    """Histories as texts, items separated by spaces: pyarrow array of strings, `[U]`.

    Args:
        texts: pyarrow array of strings, of `written_texts`.
        codes: int array `[N]`, rows of `texts`, user by user.
        offsets: int array `[U + 1]`. User u has `codes[offsets[u]:offsets[u + 1]]`.
    """
    offsets = pa.array(np.asarray(offsets, "int32"))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts.take(pa.array(codes))), " ")


def answer_logs(ask: Any, logs: Any, out: Any, what: str, chunks: int | None = None) -> dict:
    """Writes an answer for every user of some logs.

    Users are asked in batches of about one length, so that little of a batch is padding, several
    batches at a time. The file appears when it is whole.

    Args:
        ask: Callable from a list of str, histories, to a dict of arrays `[B, ...]`.
        logs: iterable of Log, each with other users; one of them is in memory at a time.
        out: path of the file: .parquet, .csv or .jsonl. In CSV, lists are separated by spaces.
        what: str. What the progress bar calls the work.
        chunks: int or `None`. How many times `CHUNK` users there are, for the bar. Defaults to
            `None`, unknown.

    Returns:
        dict of `out`, `users` and `columns`.
    """
    users, columns = 0, []
    with (
        replacing(out) as beside,
        progress.bar(what, chunks) as step,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        table_writer(beside, Path(out).suffix) as write,
    ):
        for user_ids, texts, lengths in _chunks(logs):
            table = answers_table(user_ids, _answers(ask, texts, lengths, pool))
            write(table)
            users, columns = users + len(user_ids), table.column_names
            step()
    return {"out": str(out), "users": users, "columns": columns}


def _chunks(logs):
    """Yields users, their histories and how many events these have."""
    for log in logs:
        histories = Histories(log)
        for start in range(0, len(histories), CHUNK):
            part = slice(start, start + CHUNK)
            texts = histories.texts(start, min(start + CHUNK, len(histories)))
            yield histories.user_ids[part], texts, histories.lengths[part]


def _answers(ask, texts, lengths, pool):
    """What the users of a chunk are answered, in their order: a dict of arrays."""
    batches = list(batches_of(lengths))
    found = list(pool.map(lambda rows: ask(texts[rows].tolist()), batches))
    back = np.argsort(np.concatenate(batches))
    return {name: np.concatenate([part[name] for part in found])[back] for name in found[0]}


def batches_of(lengths: Any) -> Iterator[np.ndarray]:
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


def answers_table(user_ids: Any, answers: dict) -> pa.Table:
    """A table of users and their answers.

    Args:
        user_ids: object array of str, `[U]`.
        answers: dict of arrays `[U, ...]`, as an ExportedModel gives them.
    """
    columns = {"user_id": pa.array(user_ids.tolist(), pa.string())}
    for name, values in answers.items():
        kind = pa.float32() if values.dtype.kind == "f" else pa.string()
        flat = pa.array(values.reshape(-1), kind)
        if values.ndim > 1:
            offsets = np.arange(0, values.size + 1, values.shape[1]).astype("int32")
            flat = pa.ListArray.from_arrays(pa.array(offsets), flat)
        columns[name] = flat
    return pa.table(columns)
