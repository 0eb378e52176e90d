"""A column of labels of users, as it was read; each kind of task makes its answers of it."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log import table_columns
from keras_peterrec.log.log_doubts import rows_with_ids
from keras_peterrec.log.table_columns import Column
from keras_peterrec.log.table_files import read_tables, source_name
from keras_peterrec.types import ColumnNames, Source

# What tables, and the people who fill them, write where a value is missing; in any case.
MISSING_WORDS = ("n/a", "na", "nan", "#n/a", "<na>", "null", "none", "unknown", "-")


class Labels:
    """The labels of some users.

    Build it with `Labels.from_columns` or `read_labels`.

    Args:
        user_ids: object array `[N]` of str; a user may have several rows.
        values: object array `[N]` of str, none empty.
        column: str. What is labelled, such as `"gender"`.
        classes: list of str or `None`. The order of the classes, where it is known.

    Example:

    >>> labels = Labels.from_columns(["ann", "bob", "cy"], [9, 10, None], "age")
    >>> labels
    Labels(column='age', rows=2)
    """

    def __init__(
        self, user_ids: Column, values: Column, column: str, classes: Sequence[str] | None = None
    ) -> None:
        self.user_ids, self.values = table_columns.freeze(user_ids, values)
        self.column = column
        self.classes = None if classes is None else list(classes)

    @classmethod
    def from_columns(
        cls, user_ids: Column, values: Column, column: str, classes: Sequence[str] | None = None
    ) -> "Labels":
        """The labels in two columns of `N` rows.

        Rows without a label are dropped, and so is white space around a label.

        Args:
            user_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            values: sequence, numpy or pyarrow array `[N]` of labels, numbers, lists of labels, or
                missing.
            column: str. What is labelled, such as `"gender"`.
            classes: sequence of str or `None`. The order of the classes. Defaults to `None`:
                sorted, numbers as numbers.

        Raises:
            InputError: the columns are of different lengths, or no user has a label.
        """
        if len(user_ids) != len(values):
            raise InputError(
                "`user_ids` and `values` should be of one length. "
                f"Received: {len(user_ids)} and {len(values)}."
            )
        different_users, users = table_columns.encode_ids(user_ids, "user_ids")
        values = table_columns.cell_texts(values, column)
        kept = np.array([value is not None and value == value for value in values], bool)
        _check_some(kept, column)
        return cls(different_users[users[kept]], values[kept], column, classes)

    def one_each(
        self, unless: str = ", unless the kind of the task is multilabel"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Users and their only label: two object arrays `[U]` of str.

        `unless` is what the message says of where a user may have several.

        Raises:
            InputError: a user has two different labels.
        """
        label_of = {}
        for user, value in zip(self.user_ids.tolist(), self.values.tolist()):
            if label_of.setdefault(user, value) != value:
                raise InputError(
                    f"`{self.column}` should have one label for each user{unless}. "
                    f"Received: {label_of[user]!r} and {value!r} for {user!r}."
                )
        return np.array([*label_of], object), np.array([*label_of.values()], object)

    def sets(self) -> tuple[np.ndarray, list[set[str]]]:
        """Users `[U]`, and all labels of each: of several rows and of cells with `|` in them."""
        labels_of = {}
        for user, value in zip(self.user_ids.tolist(), self.values.tolist()):
            parts = {part.strip() for part in value.split(table_columns.SEPARATOR)}
            labels_of.setdefault(user, set()).update(parts - {""})
        return np.array([*labels_of], object), [*labels_of.values()]

    def order(self, names: Iterable[str]) -> list[str]:
        """The different ones of some labels, in the order of the classes.

        Raises:
            InputError: there are fewer than two, or the known `classes` lack one.
        """
        different = set(names)
        if len(different) < 2:
            raise InputError(
                f"`{self.column}` should have at least two different labels. "
                f"Received: {', '.join(sorted(different)) or 'none'}."
            )
        if self.classes is None:
            return sorted(different, key=_natural_order(different))
        missing = sorted(different.difference(self.classes))
        if missing:
            raise InputError(
                f"`classes` should name every label of `{self.column}`. "
                f"Received: a user labelled {missing[0]!r}."
            )
        return [name for name in self.classes if name in different]

    def summary(self) -> str:
        """What it holds, for people: labels, users and different values."""
        values = len(set(self.values.tolist()))
        return (
            f"{self.column} of {len(set(self.user_ids.tolist())):,} users, "
            f"{values:,} different value{'s' * (values != 1)}"
        )

    @property
    def setting_name(self) -> str:
        """What `run.json` calls labels that were given as an object."""
        return self.column

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of the users, labels and classes."""
        digest = hashlib.sha256()
        for texts in (self.user_ids, self.values, self.classes or ()):
            # The lengths keep ["ab", "c"] and ["a", "bc"] apart.
            digest.update(repr([len(text) for text in texts]).encode())
            digest.update("".join(texts).encode())
        return f"sha256:{digest.hexdigest()[:16]}"

    def __len__(self):
        return len(self.user_ids)

    def __repr__(self):
        return f"Labels(column={self.column!r}, rows={len(self)})"


def read_labels(
    source: Source,
    column: str,
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
    keep_missing_words: bool = False,
) -> Labels:
    """The labels in one column of a table, a file, or several files.

    They have a column `user_id` and the named one; others are not read. A line on stderr says what
    was read.

    Args:
        source: path, glob, list of these, or table in memory; see `read_log`.
        column: str. The column that holds the labels.
        columns: dict, or text such as `"user_id=userId"`. What the table calls the column of users.
            Defaults to `None`, by its own name.
        drop_bad_rows: bool. Whether rows without a user are left out, and a line says how many.
            Defaults to `False`, they are refused; those without a label are always left out.
        keep_missing_words: bool. Whether words for a missing value, such as `N/A`, `none` or
            `unknown`, are labels. Defaults to `False`: their rows have none, and a line says how
            many there are of each.

    Raises:
        InputError: a file is missing or unreadable, lacks a column, or holds something that
            `Labels.from_columns` refuses.

    Example:

    >>> labels = read_labels("users.csv", "gender")
    """
    [labels] = read_label_columns(source, [column], columns, drop_bad_rows, keep_missing_words)
    return labels


def read_label_columns(
    source: Source,
    names: Sequence[str],
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
    keep_missing_words: bool = False,
) -> list[Labels]:
    """The labels in each of some columns of a table, which is read once; see `read_labels`."""
    if "user_id" in names:
        raise InputError("`column` should hold labels. Received: 'user_id'.")
    with progress.stage(f"reading {source_name(source)}") as found:
        tables = read_tables(source, ["user_id", *names], columns, drop_bad_rows)
        with tables.named_in_errors():
            labels = [_labels_in(tables, name, drop_bad_rows, keep_missing_words) for name in names]
        said = [f"{len(tables):,} rows", *(of_column.summary() for of_column in labels)]
        found("; ".join(said + tables.notes()))
    return labels


def _labels_in(tables, column, drop_bad_rows, keep_missing_words):
    """The Labels in one column of tables."""
    values = table_columns.cell_texts(tables.column(column), column)
    if not keep_missing_words:
        values = _without_missing_words(values, tables.name, column)
    labelled = np.array([value is not None for value in values], bool)
    _check_some(labelled, column)
    whole = rows_with_ids(tables, ["user_id"], labelled, drop_bad_rows)
    if whole is not None:
        tables, labelled = tables.select(whole), labelled[whole]
    tables = tables.select(labelled)
    return Labels.from_columns(tables.column("user_id"), tables.column(column), column)


def _without_missing_words(values, name, column):
    """Labels, with `None` in place of words for a missing value; a line says how many there are."""
    found = Counter(v for v in values if v is not None and v.lower() in MISSING_WORDS)
    if not found:
        return values
    words = ", ".join(f"{word} {count:,}" for word, count in found.most_common())
    total = sum(found.values())
    progress.line(
        f"{name}: {total:,} row{'s' * (total != 1)} of {column} have a word for a missing "
        f"value and no label: {words} (--keep-missing-words takes them for labels)"
    )
    return np.array([None if value in found else value for value in values], object)


def _check_some(labelled, column):
    if not labelled.any():
        raise InputError(f"`{column}` should have labels. Received: none in any row.")


def _natural_order(names):
    """A sort key by which "9" comes before "10", also inside a name."""
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return lambda name: [
            int(part) if position % 2 else part
            for position, part in enumerate(re.split("([0-9]+)", name))
        ]
    return lambda name: (numbers[name], name)
