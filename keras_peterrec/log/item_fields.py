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
    cell_texts,
    different_items,
    vectors,
)
from keras_peterrec.log.table_files import read_tables, source_name
from keras_peterrec.log.vocabulary import Vocabulary, id_of, is_item, number_of
from keras_peterrec.types import ColumnNames, Source

MOST_VALUES = 32  # of an item; further ones are left out
LEAST_ITEMS = 2  # that have a value: one of a single item says no more than the item


@dataclass(frozen=True)
class ItemField:
    """A field of items: which of its values have a number, and how a cell is read.

    Args:
        values: what at least two items of a log have: words, or numbers of buckets.
        edges: of a column that is read in buckets: what lies between them.
        centre: of a column of vectors: their mean, D numbers.
        size: of a column of vectors: how long they are around it.
    """

    name: str
    values: list[str]
    edges: list[float] | None = None
    centre: list[float] | None = None
    size: float = 1.0

    @classmethod
    def of_column(cls, name: str, column: Column, of_log: np.ndarray) -> "ItemField":
        """The ItemField of a column, by the cells of which `of_log`, bool `[I]`, is true."""
        if (found := vectors(column, name)) is not None:
            known = found[of_log & np.isfinite(found).all(axis=1)].astype("float64")
            centre = known.mean(axis=0) if len(known) else np.zeros(found.shape[1])
            size = np.sqrt(np.mean((known - centre) ** 2)) if len(known) else 0.0
            return cls(name, [], None, centre.tolist(), max(float(size), 1e-12))
        cells = cls(name, []).read(column)
        numbers = {value: as_number(value) for cell in cells for value in cell}
        edges = None
        if len(numbers) > FEW_NUMBERS and None not in numbers.values():
            known = [numbers[value] for cell, here in zip(cells, of_log) if here for value in cell]
            edges = bucket_edges(known or [0.0]).tolist()
            cells = cls(name, [], edges).read(column)
        counts = Counter(value for cell, here in zip(cells, of_log) if here for value in cell)
        return cls(name, [v for v, items in counts.items() if items >= LEAST_ITEMS], edges)

    def read(self, column: Column) -> list[list[str]]:
        """The values in each cell: its words between `|`, or the buckets of its numbers."""
        cells = cell_texts(column, self.name)
        words = lambda cell: dict.fromkeys(filter(None, map(str.strip, cell.split(SEPARATOR))))
        split = [[] if cell is None else list(words(cell)) for cell in cells]
        if self.edges is None:
            return split
        numbers = [[n for value in row if (n := as_number(value)) is not None] for row in split]
        return [[str(np.searchsorted(self.edges, n, "right")) for n in row] for row in numbers]

    def read_vectors(self, column: Column) -> np.ndarray:
        """The vectors of a column, around `centre` and of one size, `[I, D]`; zeros where empty.

        Raises:
            InputError: the column is of something else, or of vectors of another length.
        """
        found, numbers = vectors(column, self.name), len(self.centre or ())
        if found is None or found.shape[1] != numbers:
            came = "other values" if found is None else f"vectors of {found.shape[1]:,}"
            raise InputError(
                f"`{self.name}` should have vectors of {numbers:,} numbers, as the host has read "
                f"them. Received: {came}."
            )
        known = np.isfinite(found).all(axis=1)[:, None]
        return np.where(known, (found - np.array(self.centre)) / self.size, 0).astype("float32")


@dataclass(frozen=True)
class ItemFields:
    """The values that items have in some fields.

    Args:
        values: int32 array `[V, M]` by the ids of a vocabulary: numbers of values from 1 on, 0 for
            no more. Special ids have none.
        shares: float32 array `[V, M]`. What each value counts: one by the number of the item's
            values in that field, those that are left out included.
        vectors: float32 array `[V, D]`. The numbers of the columns of vectors, such as embeddings
            of texts, around their mean and of one size; zeros where an item has none.
    """

    fields: list[ItemField]
    values: np.ndarray
    shares: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of_columns(cls, vocabulary: Vocabulary, item_ids: Column, columns: dict) -> "ItemFields":
        """The ItemFields of columns of words, several of them as in `Drama|War`, or numbers.

        A column with more than 20 different values that are all numbers is read in 32 buckets of
        about as many items each. A column of vectors, lists of floats or texts such as
        `[0.1, 0.2]`, is read as such. Items that the table lacks have no value.

        Raises:
            InputError: an item occurs twice, a column cannot be read as text, or no item of the
                vocabulary has a value that another one has too.
        """
        ids = vocabulary.encode(different_items(item_ids))
        of_log = is_item(ids)
        fields = [ItemField.of_column(name, part, of_log) for name, part in columns.items()]
        found = cls.read(fields, columns, np.where(of_log, ids, -1), len(vocabulary))
        if not found.count and not found.vectors.any():
            raise InputError(
                f"`item_fields` should be columns in which items of the log share values. "
                f"Received: {', '.join(columns)}, in which none do."
            )
        return found

    @classmethod
    def read(
        cls, fields: Sequence[ItemField], columns: dict, ids: np.ndarray, size: int
    ) -> "ItemFields":
        """The ItemFields of columns whose fields are known.

        Args:
            fields: one whose column is missing has no value anywhere.
            ids: int array `[I]`. Where each cell belongs, below `size`, V; -1 for nowhere.

        Raises:
            InputError: a column cannot be read as text, or see `ItemField.read_vectors`.
        """
        rows: list[list[tuple]] = [[] for _ in range(size)]
        of_vectors, first, used = [np.zeros((size, 0), "float32")], 1, ids >= 0
        for field in fields:
            column = columns.get(field.name)
            if field.centre is not None:
                found = np.zeros((size, len(field.centre)), "float32")
                if column is not None:
                    found[ids[used]] = field.read_vectors(column)[used]
                of_vectors.append(found)
            elif column is not None:
                place = {value: n for n, value in enumerate(field.values, first)}
                for id_, cell in zip(ids, field.read(column)):
                    if id_ >= 0:
                        rows[id_] += [(place[v], 1.0 / len(cell)) for v in cell if v in place]
            first += len(field.values)
        width = max(1, min(MOST_VALUES, max(map(len, rows), default=0)))
        values, shares = np.zeros((size, width), "int32"), np.zeros((size, width), "float32")
        for id_, row in enumerate(rows):
            for n, (number, share) in enumerate(row[:width]):
                values[id_, n], shares[id_, n] = number, share
        return cls(list(fields), values, shares, np.concatenate(of_vectors, axis=1))

    @property
    def names(self) -> list[str]:
        """The names of the fields."""
        return [field.name for field in self.fields]

    @property
    def count(self) -> int:
        """How many different values there are in all fields."""
        return sum(len(field.values) for field in self.fields)

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

    The source is as of `read_log`, or a name such as `"movielens-1m/items"`.

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
