"""The labels of users: what a classification task learns to guess."""

import hashlib
import re

import numpy as np

from keras_peterrec.data import columns, table_files
from keras_peterrec.errors import InputError


class Labels:
    """One label for each of some users.

    Build it with `Labels.from_columns` or `read_labels`.

    Args:
        user_ids: object array `[N]` of different str.
        values: object array `[N]` of str, the class of each user.
        classes: list of str. The different classes, in the order of their ids.
        column: str. What is labelled, such as `"gender"`.

    Example:

    >>> labels = Labels.from_columns(["ann", "bob", "cy"], [9, 10, None], "age")
    >>> labels
    Labels(column='age', users=2, classes=['9', '10'])
    """

    def __init__(self, user_ids, values, classes, column):
        self.user_ids, self.values = columns.freeze(user_ids, values)
        self.classes = list(classes)
        self.column = column

    @classmethod
    def from_columns(cls, user_ids, values, column, classes=None):
        """Returns the labels in two columns of `N` rows.

        Rows without a label are dropped, and white space around a label. A user
        may occur more than once, with the same label each time.

        Args:
            user_ids: sequence, numpy or pyarrow array `[N]` of str or int.
            values: sequence, numpy or pyarrow array `[N]` of class names, numbers
                or missing.
            column: str. What is labelled, such as `"gender"`.
            classes: optional sequence of str. The order of the classes; those that
                no user has are left out. Defaults to sorted, numbers as numbers.

        Raises:
            InputError: the columns are of different lengths, a user has two
                labels, there are not two classes, or `classes` lacks one.
        """
        if len(user_ids) != len(values):
            raise InputError(
                "`user_ids` and `values` should be of one length. "
                f"Received: {len(user_ids)} and {len(values)}."
            )
        different_users, users = columns.encode_ids(user_ids, "user_ids")
        label_of = {}
        for user, value in zip(users.tolist(), columns.texts(values, column)):
            if value is None or value != value:
                continue
            if label_of.setdefault(user, value) != value:
                raise InputError(
                    f"`{column}` should be one label for each user. Received: "
                    f"{label_of[user]!r} and {value!r} for {different_users[user]!r}."
                )
        ordered = _order_classes(set(label_of.values()), column, classes)
        kept = different_users[np.fromiter(label_of, np.int64, len(label_of))]
        return cls(kept, np.array([*label_of.values()], object), ordered, column)

    def fingerprint(self):
        """Returns `"sha256:<16 hex digits>"` of the users, labels and classes."""
        digest = hashlib.sha256()
        for texts in (self.user_ids, self.values, self.classes):
            # The lengths keep ["ab", "c"] and ["a", "bc"] apart.
            digest.update(repr([len(text) for text in texts]).encode())
            digest.update("".join(texts).encode())
        return f"sha256:{digest.hexdigest()[:16]}"

    def __len__(self):
        return len(self.user_ids)

    def __repr__(self):
        return f"Labels(column={self.column!r}, users={len(self)}, classes={self.classes})"


def read_labels(path, column):
    """Returns the labels in one column of a .csv, .csv.gz or .parquet file.

    The file has a column `user_id` and the named one; others are not read.

    Args:
        path: str or path.
        column: str. The column that holds the labels.

    Raises:
        InputError: the file is missing or unreadable, lacks a column, or holds
            something that `Labels.from_columns` refuses.

    Example:

    >>> labels = read_labels("users.csv", "gender")
    """
    if column == "user_id":
        raise InputError("`column` should hold labels. Received: 'user_id'.")
    users, values = table_files.read_columns(path, ["user_id", column])
    try:
        return Labels.from_columns(users, values, column)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _order_classes(found, column, classes):
    if len(found) < 2:
        raise InputError(
            f"`{column}` should have at least two classes. "
            f"Received: {sorted(found) or 'no labels'}."
        )
    if classes is None:
        return sorted(found, key=_class_key(found))
    missing = sorted(found.difference(classes))
    if missing:
        raise InputError(
            f"`classes` should name every label of `{column}`. "
            f"Received: a user labelled {missing[0]!r}."
        )
    return [name for name in classes if name in found]


def _class_key(names):
    """Returns a sort key by which "9" comes before "10", also inside a name."""
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return lambda name: [
            int(part) if position % 2 else part
            for position, part in enumerate(re.split("([0-9]+)", name))
        ]
    return lambda name: (numbers[name], name)
