"""Columns of users, such as plan and country: what a task knows of a user beside the history."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.field_kind import ColumnKind
from keras_peterrec.log.field_kinds import field_from_config, find_field
from keras_peterrec.log.id_text import written
from keras_peterrec.log.sources import load_label_columns
from keras_peterrec.log.table_columns import Field
from keras_peterrec.types import ColumnNames, EventNames, Json, Source


@dataclass(frozen=True)
class UserTable:
    """What columns say of users: of each column, by its name, a text for each user that has one."""

    columns: dict[str, dict[str, str]]

    def column(self, name: str, user_ids: Sequence[str]) -> Field:
        """What a column says of some users, in their order."""
        values = self.columns[name]
        different = {text: n for n, text in enumerate(dict.fromkeys(values.values()))}
        codes = [different.get(values.get(user), -1) for user in user_ids]  # type: ignore[arg-type]
        return Field(np.array([*different], object), np.array(codes, "int32"))

    def users(self) -> set[str]:
        """The users of whom it says something."""
        return {user for values in self.columns.values() for user in values}

    def fingerprint(self) -> str:
        """`"sha256:<16 hex digits>"` of what it says."""
        said = [(name, sorted(values.items())) for name, values in self.columns.items()]
        return f"sha256:{hashlib.sha256(repr(said).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class UserFields:
    """The columns of users that a task reads.

    The values of all of them are numbered together, from 1 on: a user is as many numbers as there
    are columns, with 0 for one that is not told.

    Example:

    >>> fields = UserFields([Categories("plan", ["gold", "free"]), Categories("country", ["de"])])
    >>> table = UserTable({"plan": {"ann": "free"}, "country": {"ann": "de", "bob": "fr"}})
    >>> fields.told(table, ["ann", "bob", "cy"]).tolist()
    [[2, 3], [0, 0], [0, 0]]
    >>> fields.texts(table, ["ann", "cy"])
    [';plan=free;country=de', '']
    """

    fields: Sequence[ColumnKind] = ()

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [field.name for field in self.fields]

    @property
    def values(self) -> int:
        """How many values there are in all columns."""
        return sum(field.size - 1 for field in self.fields)

    @property
    def starts(self) -> list[int]:
        """Of each column, how many values those before it have."""
        return np.cumsum([0, *(field.size - 1 for field in self.fields)])[:-1].tolist()

    def told(self, table: UserTable, user_ids: Sequence[str]) -> np.ndarray:
        """The numbers of users, int32 `[U, G]`."""
        columns = []
        for start, field in zip(self.starts, self.fields):
            numbers = field.numbers_of_column(table.column(field.name, user_ids))
            columns.append(np.where(numbers > 0, start + numbers, 0))
        return np.stack(columns, axis=1).astype("int32")

    def texts(self, table: UserTable, user_ids: Sequence[str]) -> list[str]:
        """What a request tells of users: the last event of a history, without an item."""
        columns = [(f";{written(name)}=", table.columns[name]) for name in self.names]
        return [
            "".join(start + written(of[user]) for start, of in columns if user in of)
            for user in user_ids
        ]

    def to_config(self) -> list[Json]:
        """JSON values, for `from_config`."""
        return [field.to_config() for field in self.fields]

    @classmethod
    def from_config(cls, config: Any) -> "UserFields":
        """What `to_config` wrote, as an object."""
        return cls(tuple(map(field_from_config, config)))


def read_users(
    source: Source,
    names: EventNames,
    columns: ColumnNames | None = None,
    drop_bad_rows: bool = False,
) -> UserTable:
    """The named columns of a table with a column `user_id` and one row for each user.

    A column is read as one of labels is: where there is a word for a missing value, it says
    nothing of the user. The arguments are those of `load_labels`; names may also be text, such as
    `"plan,country"`.

    Raises:
        InputError: a file is missing or unreadable or lacks a column, or a user has two values.
    """
    read = {}
    for labels in load_label_columns(source, as_fields(names), columns, drop_bad_rows):
        users, values = labels.one_each("")
        read[labels.column] = dict(zip(users.tolist(), values.tolist()))
    return UserTable(read)


def find_user_fields(table: UserTable, user_ids: Sequence[str]) -> UserFields:
    """How the columns of a table are read: as categories, or as numbers in buckets.

    Only the users that are trained on, `user_ids`, are looked at.

    Raises:
        InputError: a column says nothing of these users.
    """
    users, fields = sorted(set(user_ids)), []
    for name in table.columns:
        column = table.column(name, users)
        fields.append(find_field(column, name, np.ones(len(users), bool), "user_fields"))
    return UserFields(tuple(fields))
