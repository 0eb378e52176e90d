"""What a field of an event is to the package: how it is read, of a log and of a text.

A field is a whole number: a row of a small table, or 0 where it is not told. Each kind says it
twice, of a log in NumPy and of histories, which are texts, in operations of TensorFlow that a
SavedModel holds; both must agree. Columns of users are read by the same kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.id_text import written
from keras_peterrec.types import Json

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_peterrec.log.events import Events
    from keras_peterrec.log.table_columns import Field

# A column of numbers with at most so many different ones is one of categories.
FEW_NUMBERS = 20
QUANTILES = 32
_NUMBER = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"


class Words(NamedTuple):
    """Known events of histories, user by user, and the question after those that have one.

    Args:
        times: string tensor `[n]`, what stands after `@`, or `""`.
        rows: int64 tensor `[n]`, the history that each is of.
        parts: Ragged string tensor `[m, (p)]`, what stands between `;` in all words, those of
            unknown items too; `""` in the place of item and time.
        kept: bool tensor `[m]`, the `n` words that are meant.
    """

    times: tf.Tensor
    rows: tf.Tensor
    parts: tf.RaggedTensor
    kept: tf.Tensor


@dataclass(frozen=True)
class FieldKind:
    """A field that is read of every event, and how."""

    kind: ClassVar[str]  # what a saved host calls it
    reads_times: ClassVar[bool] = False
    # Whether the linear part reads more than the number, which methods `values` and `read_values`
    # then give, as those of `Numbers` do.
    has_values: ClassVar[bool] = False
    name: str

    @property
    def size(self) -> int:
        """Rows of its table: how many numbers there are, 0 included."""
        raise NotImplementedError

    @property
    def of_tasks(self) -> FieldKind:
        """What tasks read in its place; see `EventFields.of_tasks`."""
        return self

    def numbers(self, events: Events) -> np.ndarray:
        """The number of each event, int32 `[N]`."""
        raise NotImplementedError

    def lookup_table(self) -> tf.lookup.StaticHashTable | None:
        """What `read` looks texts up in, made once; `None` if in nothing."""
        return None

    def read(self, words: Words, table: tf.lookup.StaticHashTable | None) -> tf.Tensor:
        """The number of each word, integers `[n]`; `numbers` of texts."""
        raise NotImplementedError

    def to_config(self) -> Json:
        """JSON values, for `field_from_config`."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class ColumnKind(FieldKind):
    """A field that a column of the log tells, of events or of users.

    A kind of your own is a frozen dataclass and a line, `register_field_kind(Class)`: `find` says
    which columns it reads, and `number_of` and `numbers_of` read a text in Python and texts in
    TensorFlow.

    Args:
        name: str. Of the column.

    Example:

    >>> from keras_peterrec.log.field_kinds import Numbers
    >>> Numbers.find("plan", {"gold": 3, "silver": 5}) is None  # no numbers
    True
    """

    @classmethod
    def find(cls, name: str, counts: Mapping[str, int]) -> Self | None:
        """How it reads a column, or `None` where another kind should.

        Args:
            name: str. Of the column.
            counts: dict from each different text to the number of events that have it.
        """
        raise NotImplementedError

    @property
    def is_few(self) -> bool:
        """Whether it has so few numbers that values of other columns are counted by each."""
        return self.size - 1 <= FEW_NUMBERS and not self.has_values

    def described(self) -> str:
        """For people."""
        return f"{self.kind}, {self.size - 1:,} of them"

    def number_of(self, text: str) -> int:
        """The number of a text; 0 where it says nothing."""
        raise NotImplementedError

    def numbers_of(self, texts: tf.Tensor, table: tf.lookup.StaticHashTable | None) -> tf.Tensor:
        """The same of a string tensor `[n]`, of texts as `written` writes them."""
        raise NotImplementedError

    def numbers(self, events: Events) -> np.ndarray:
        return self.numbers_of_column(field_of(events, self.name))

    def numbers_of_column(self, column: Field) -> np.ndarray:
        """The number of each text of a column, int32 `[N]`."""
        return by_code(column, self.number_of)

    def read(self, words: Words, table: Any = None) -> tf.Tensor:
        return self.numbers_of(self.texts_of(words), table)

    def texts_of(self, words: Words) -> tf.Tensor:
        """What stands after `name=` in each word, string tensor `[n]`; `""` where nothing does."""
        import tensorflow as tf

        parts, start = words.parts, f"{written(self.name)}="
        is_it = tf.strings.substr(parts.values, 0, len(start.encode())) == start
        values = tf.strings.substr(tf.boolean_mask(parts.values, is_it), len(start.encode()), -1)
        places = tf.boolean_mask(parts.value_rowids(), is_it)[:, tf.newaxis]
        nothing = tf.fill([parts.nrows()], "")
        texts = tf.tensor_scatter_nd_update(nothing, places, values)
        return tf.boolean_mask(texts, words.kept)


def field_of(events: Events, name: str) -> Field:
    """A column of a log by its name.

    Raises:
        InputError: the log has none of this name.
    """
    if name not in events.fields:
        raise InputError(
            f"`log` should have the column {name!r}, which is read of events. "
            f"Received: {', '.join(events.fields) or 'no more columns'}."
        )
    return events.fields[name]


def as_number(text: str) -> float | None:
    """A finite number, or `None` where a text is something else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def as_numbers(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """float64 numbers of texts, and which of them are numbers; the others are 0."""
    import tensorflow as tf

    told = tf.strings.regex_full_match(texts, _NUMBER)
    return tf.strings.to_number(tf.where(told, texts, "0"), tf.float64), told


def bucket_edges(numbers: Any) -> np.ndarray:
    """Where buckets begin that hold about as many numbers each, at most 32: float64 array.

    Args:
        numbers: sequence or array of float, not empty.
    """
    shares = np.arange(1, QUANTILES) / QUANTILES
    return np.unique(np.quantile(numbers, shares, method="inverted_cdf"))


def by_code(column: Field, number_of_text: Callable[[str], Any]) -> np.ndarray:
    """The number of each event, int32 `[N]`, where that of each different text is found once."""
    numbers = [number_of_text(text) for text in column.values]
    return np.array([*numbers, 0], "int32")[column.codes]  # -1, a missing one, is the last
