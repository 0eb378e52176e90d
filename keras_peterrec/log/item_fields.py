"""Fields of items, such as genre and brand: which values each item of a vocabulary has."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.field_kind import FEW_NUMBERS, as_number, bucket_edges
from keras_peterrec.log.sources import item_table
from keras_peterrec.log.table_columns import (
    SEPARATOR,
    Column,
    different_items,
    joined_lists,
    texts,
    vectors,
)
from keras_peterrec.log.table_files import read_tables, source_name
from keras_peterrec.log.vocabulary import Vocabulary, id_of, is_item, number_of
from keras_peterrec.types import ColumnNames, Source

MOST_VALUES = 32  # of an item; further ones are left out
LEAST_ITEMS = 2  # that have a value: one of a single item says no more than the item


@dataclass(frozen=True)
class ItemFields:
    """The values that items have in some fields.

    Args:
        names: list of str. The fields.
        count: int. How many different values there are in all fields.
        values: int32 array `[V, M]` by the ids of a vocabulary: numbers of values from 1 on, 0 for
            no more. Special ids have none.
        shares: float32 array `[V, M]`. What each value counts: one by the number of the item's
            values in that field, those that are left out included.
        vectors: float32 array `[V, D]`. The numbers of the columns of vectors, such as embeddings
            of texts, around their mean and of one size; zeros where an item has none. D is 0
            without such columns.
    """

    names: list[str]
    count: int
    values: np.ndarray
    shares: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of_columns(cls, vocabulary: Vocabulary, item_ids: Column, columns: dict) -> "ItemFields":
        """The ItemFields of columns of words, several of them as in `Drama|War`, or numbers.

        A column with more than 20 different values that are all numbers is read in 32 buckets of
        about as many items each. A column of vectors, lists of floats or texts such as
        `[0.1, 0.2]`, is read as such. Items that the table lacks have no value.

        Args:
            item_ids: sequence `[I]` of str or int.
            columns: dict from a name to a sequence `[I]`.

        Raises:
            InputError: an item occurs twice, a column cannot be read as text, or no item of the
                vocabulary has a value that another one has too.
        """
        names = different_items(item_ids)
        ids = vocabulary.encode(names)
        every: list[list[tuple]] = [[] for _ in range(len(vocabulary))]
        of_vectors = [np.zeros((len(vocabulary), 0), "float32")]
        for name, column in columns.items():
            if (found := vectors(column, name)) is not None:
                of_vectors.append(_by_id(found, ids, len(vocabulary)))
                continue
            cells = texts(joined_lists(column, name), name)
            for id_, values in zip(ids, _values_of(cells, is_item(ids))):
                if is_item(id_):
                    every[id_] += [((name, value), 1.0 / len(values)) for value in values]
        counts = Counter(value for of_item in every for value, _ in of_item)
        kept = [value for value, items in counts.items() if items >= LEAST_ITEMS]
        all_vectors = np.concatenate(of_vectors, axis=1)
        if not kept and not all_vectors.any():
            raise InputError(
                f"`item_fields` should be columns in which items of the log share values. "
                f"Received: {', '.join(columns)}, in which none do."
            )
        place = {value: n for n, value in enumerate(kept, 1)}
        rows = [[(place[v], share) for v, share in of_item if v in place] for of_item in every]
        width = max(1, min(MOST_VALUES, max(map(len, rows))))
        numbers = np.zeros((len(rows), width), "int32")
        shares = np.zeros((len(rows), width), "float32")
        for id_, row in enumerate(rows):
            for n, (number, share) in enumerate(row[:width]):
                numbers[id_, n], shares[id_, n] = number, share
        return cls(list(columns), len(kept), numbers, shares, all_vectors)

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of which item has which values."""
        digest = hashlib.sha256(repr(self.names).encode())
        digest.update(self.values.tobytes())
        digest.update(self.shares.tobytes())
        digest.update(self.vectors.tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    @property
    def covered(self) -> float:
        """The share of the items that have a value."""
        has = np.any(self.values > 0, axis=1) | np.any(self.vectors, axis=1)
        return float(np.mean(has[id_of(0) :]))


def read_item_fields(
    source: Source,
    names: Sequence[str],
    vocabulary: Vocabulary,
    columns: ColumnNames | None = None,
) -> ItemFields:
    """The ItemFields of a table with the column `item_id` and those that are named.

    Args:
        source: path, glob, list of these, or table in memory, see `read_log`; or a name such as
            `"movielens-1m/items"`.
        names: sequence of str.
        columns: dict, or text such as `"item_id=movieId"`. Defaults to `None`.

    Raises:
        InputError: a file is missing or unreadable, lacks a column, or see
            `ItemFields.of_columns`.
    """
    with progress.stage(f"reading {source_name(source)}") as said:
        tables = read_tables(item_table(source), ["item_id", *names], columns)
        with tables.named_in_errors():
            of_columns = {name: tables.column(name) for name in names}
            fields = ItemFields.of_columns(vocabulary, tables.column("item_id"), of_columns)
        numbers = fields.vectors.shape[1]
        read = f"{fields.count:,} values" + (f" and {numbers:,} numbers" if numbers else "")
        said(
            f"{read} of {', '.join(names)}; {fields.covered:.0%} of the log's "
            f"{number_of(len(vocabulary)):,} items have one".replace("%", " %")
        )
    return fields


def _by_id(found, ids, size):
    """Vectors `[I, D]` by the ids of a vocabulary, `[V, D]`, around their mean and of one size."""
    known = is_item(ids) & np.isfinite(found).all(axis=1)
    vectors = np.zeros((size, found.shape[1]), "float32")
    if known.any():
        centred = found[known] - found[known].mean(axis=0)
        vectors[ids[known]] = centred / max(float(np.sqrt(np.mean(centred**2))), 1e-12)
    return vectors


def _values_of(cells, of_log):
    """The values in each cell: its words between `|`, or the bucket of its number."""
    words = lambda cell: dict.fromkeys(filter(None, map(str.strip, cell.split(SEPARATOR))))
    split = [[] if cell is None else list(words(cell)) for cell in cells]
    different = {value for row in split for value in row}
    numbers = {value: as_number(value) for value in different}
    if len(different) <= FEW_NUMBERS or None in numbers.values():
        return split
    known = [numbers[value] for row, here in zip(split, of_log) if here for value in row]
    edges = bucket_edges(known or [0.0])
    return [[int(np.searchsorted(edges, numbers[v], "right")) for v in row] for row in split]
