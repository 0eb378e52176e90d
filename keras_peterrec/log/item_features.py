"""What columns say of items: words and categories, hashed into a fixed number of features."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.log_doubts import rows_with_ids
from keras_peterrec.log.sources import item_table
from keras_peterrec.log.table_columns import Column, different_items, texts, vectors
from keras_peterrec.log.table_files import read_tables, source_name
from keras_peterrec.types import ColumnNames, Source

FEATURES = 4_096
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class ItemFeatures:
    """Items and their features.

    Args:
        item_ids: object array `[I]` of different str.
        matrix: float32 `[I, FEATURES + D]`. The words of an item have length one, or zero where it
            has none, and so have its numbers in D columns of vectors.
        columns: the columns themselves, `[I]`, by name.
    """

    item_ids: np.ndarray
    matrix: scipy.sparse.csr_matrix
    columns: dict[str, Column]

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of the items and their features."""
        digest = hashlib.sha256("\n".join(self.item_ids).encode())
        for part in (self.matrix.indptr, self.matrix.indices, self.matrix.data):
            digest.update(part.tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    @classmethod
    def from_columns(cls, item_ids: Column, columns: dict) -> "ItemFeatures":
        """Features of the words in columns of text, numbers or categories such as `Drama|War`.

        A column of vectors, lists of floats or texts such as `[0.1, 0.2]`, is taken as it is.

        A word counts the more the fewer items have it, `log(I / n)`, and stands in one of
        `FEATURES` places with a sign, both by a hash: two words in one place cancel on average.
        The same word in two columns is two.

        Raises:
            InputError: an item occurs twice, or a column cannot be read as text.

        Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
        """
        names = different_items(item_ids)
        words: list[set] = [set() for _ in names]
        of_vectors = []
        for column, values in columns.items():
            if (rows_of := vectors(values, column)) is not None:
                centred = np.nan_to_num(rows_of - np.nanmean(rows_of, axis=0))
                of_vectors.append(_with_length_one(scipy.sparse.csr_matrix(centred)))
                continue
            for row, value in enumerate(texts(values, column)):
                here = _WORD.findall(value.lower()) if value is not None else ()
                words[row].update(f"{column}={word}" for word in here)
        counts = Counter(word for of_item in words for word in of_item)
        known = {word: n for n, word in enumerate(counts)}
        places, signs = _hashed(list(known))
        rarity = np.log(len(names) / np.array([*counts.values()], "float64"))
        lengths = [len(of_item) for of_item in words]
        every = np.array([known[word] for of_item in words for word in of_item], "int64")
        rows = np.repeat(np.arange(len(names)), lengths)
        values = (signs * rarity)[every] if len(every) else np.zeros(0)
        matrix = scipy.sparse.csr_matrix(
            (values, (rows, places[every])), (len(names), FEATURES), dtype="float32"
        )
        both = scipy.sparse.hstack([_with_length_one(matrix), *of_vectors], format="csr")
        return cls(names, both.astype("float32"), columns)


def read_items(
    source: Source, columns: ColumnNames | None = None, drop_bad_rows: bool = False
) -> ItemFeatures:
    """The ItemFeatures of a table with the column `item_id`; all other columns are read.

    Args:
        source: path, glob, list of these, or table in memory, see `read_log`; or a name such as
            `"movielens-1m/items"`.
        columns: dict, or text such as `"item_id=movieId"`. Defaults to `None`.
        drop_bad_rows: bool. Whether rows without an id are left out, and a line says how many.
            Defaults to `False`, they are refused.

    Raises:
        InputError: a file is missing or unreadable, has no other column, or see
            `ItemFeatures.from_columns`.

    Example:

    >>> features = read_items("items.csv")
    """
    with progress.stage(f"reading {source_name(source)}") as found:
        table = item_table(source)
        others = read_tables(table, ["item_id"], columns, drop_bad_rows).ignored
        if not others:
            raise InputError(
                "`items` should have columns beside `item_id`. "
                f"Received: {source_name(source)}, which has none."
            )
        tables = read_tables(table, ["item_id", *others], columns, drop_bad_rows)
        with tables.named_in_errors():
            whole = rows_with_ids(tables, ["item_id"], drop=drop_bad_rows)
            tables = tables if whole is None else tables.select(whole)
            of_columns = {name: tables.column(name) for name in others}
            features = ItemFeatures.from_columns(tables.column("item_id"), of_columns)
        found(f"{len(features.item_ids):,} items by {', '.join(others)}")
    return features


def _with_length_one(matrix):
    """Each row divided by its length, unless that is zero."""
    size = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return scipy.sparse.diags(1.0 / np.where(size > 0, size, 1.0)) @ matrix


def _hashed(words):
    """The place and the sign of each word."""
    digests = b"".join(hashlib.blake2b(w.encode(), digest_size=8).digest() for w in words)
    numbers = np.frombuffer(digests, "<u8")
    return (numbers % FEATURES).astype("int64"), np.where(numbers >> 63, 1.0, -1.0)
