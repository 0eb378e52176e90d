"""Histories as people have them: strings, lists of ids, tables, or rows of numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_text import EventReader, UserReader, items_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.id_text import written
from keras_peterrec.log.preprocessing import event_counts, left_pad
from keras_peterrec.log.read_log import log_of_table
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.log.vocabulary import PAD, Vocabulary, is_item
from keras_peterrec.types import ArrowTable, Named

_FORMS = (
    "a string of item ids for each user, a list of ids for each, a table with user_id, item_id "
    "and timestamp, or rows of integers"
)
_SHOWN = 60  # letters of what came, in a message


class Histories:
    """The histories of B users, the oldest event first, in any of these forms.

    | form | what it is |
    |---|---|
    | `"i1 i2 i3"` | one user's item ids, separated by white space |
    | `["i1 i2 i3", "i4"]` | a string for each user |
    | `[["i1", "i2", "i3"], ["i4"]]` | a list of ids for each user |
    | a table with `user_id`, `item_id` and `timestamp` | events in any order |
    | a table with a column `history`, or with one column alone | strings or lists of ids |
    | `np.array([[0, 17, 5], [0, 0, 9]])`, `[[17, 5], [9]]` | row numbers of the vocabulary |

    Strings are ids, also where they are digits: `[["001", "004"]]`. Integers alone are row numbers,
    padded with 0. Lists may be tuples, arrays, or Series of pandas or polars; tables are those of
    pandas, polars and Arrow, dicts of columns, and Events. An integer in a column `item_id` is an
    id, as everywhere in a log. In a string an id with white space, `@` or `;` stands as `written`
    gives it, `"New%20York"`; in a list as it is.

    Strings may also say when events were, what their fields are, and when the question is asked:
    `"i1@1700000000;price=9.5 i2@1700000060 @1700003600"`; see `event_text.py`. Tables say it by
    their columns, and beside lists of ids `times` does.

    Args:
        given: the histories.
        argument: str. What messages call them. Defaults to `"histories"`.
        times: for lists of ids a list for each user of the events' times in seconds since 1970,
            and perhaps one more, of the question. Defaults to `None`, not told.

    Attributes:
        user_ids: object array of str, `[B]`: whose they are, or `None` where nothing says it.

    Raises:
        InputError: they have another form.

    Example:

    >>> histories = Histories([["a", "?"], []])
    >>> ids, counts = histories.ids(Vocabulary(["a", "b"]))
    >>> ids.tolist(), counts["known_events"].tolist(), counts["events"].tolist()
    ([[4], [0]], [1, 0], [2, 0])
    """

    def __init__(
        self,
        given: "HistoryForms",
        argument: str = "histories",
        times: "EachTimes | None" = None,
    ) -> None:
        self._argument = argument
        self.user_ids: Any = None
        self._texts: Any = None
        self._rows: Any = None
        self._log = self._table = None
        names = None if isinstance(given, Events) else _column_names(given)
        if times is not None and (isinstance(given, Events) or names is not None):
            raise self._times_refusal("a table, whose column says it")
        if isinstance(given, Events):
            self._take_log(given)
        elif names is None:
            self._take_each(given, times)
        elif "item_id" in names:
            self._take_log(log_of_table(given))
            self._table = given
        else:
            self._take_column(given, names)

    def __len__(self) -> int:
        """B, the number of users."""
        return len(self._rows if self._texts is None else self._texts)

    def texts(
        self,
        vocabulary: Callable[[], Vocabulary] | None = None,
        fields: EventFields | None = None,
    ) -> list[str]:
        """A string for each user, item ids separated by white space.

        Args:
            vocabulary: returns the Vocabulary whose row numbers integers are; called where there
                are some. `None`: integers are not allowed.
            fields: EventFields that are told of the events of a table; `None` for none.

        Raises:
            InputError: they are rows of integers, without a vocabulary or out of its range.
        """
        if self._texts is None and vocabulary is not None:
            self._check_rows(vocabulary())
            return [" ".join(items) for items in self.items(vocabulary())]
        if self._log is not None and fields is not None and len(fields):
            return self._told(fields)
        if self._texts is None:
            raise InputError(
                f"`{self._argument}` should be item ids, which are strings, such as '1193 661'. "
                "Received: integers, which are row numbers of a host's vocabulary."
            )
        return self._texts

    def ids(
        self,
        vocabulary: Vocabulary | None,
        length: int | None = None,
        fields: EventFields = EventFields(),
    ) -> tuple:
        """What a model reads: ids without unknown ones, padded on the left.

        Args:
            vocabulary: of the source log, or `None` where only rows of integers can be read.
            length: how many of the last known events are kept; `None` for all.

        Returns:
            int32 array `[B, L]` or, where fields can be told, `[B, L, 1 + F]`; and a dict of
            `known_events` and `events`, int32 arrays `[B]`.

        Raises:
            InputError: there is no vocabulary for ids, or an integer is none of its row numbers.
        """
        if self._texts is None:
            self._check_rows(vocabulary)
            width = self._rows.shape[1]
            there = self._rows != PAD
            ids = rows = tf.RaggedTensor.from_row_lengths(self._rows[there], there.sum(axis=1))
        else:
            read = EventReader(self._written(vocabulary).table, fields)
            # A text that UTF-8 cannot write is in no vocabulary.
            texts = [text.encode("utf-8", "replace") for text in self.texts(fields=fields)]
            _, ids, rows = read(tf.constant(texts, tf.string, shape=[len(texts)]))
            width = int(tf.reduce_max(ids.row_lengths())) if texts else 0
        width = max(1, width if length is None else min(width, length))
        counts = {name: count.numpy() for name, count in event_counts(ids).items()}
        return left_pad(rows, width, fixed=self._texts is None).numpy(), counts

    def told(self, fields: UserFields) -> np.ndarray:
        """What strings tell of their users, int32 `[B, G]`; 0 where nothing does."""
        if self._texts is None or not len(self):
            return np.zeros((len(self), len(fields)), "int32")
        texts = [text.encode("utf-8", "replace") for text in self._texts]
        return UserReader(fields)(tf.constant(texts)).numpy()

    def items(self, vocabulary: Vocabulary | None) -> list[list[str]]:
        """The items of each user as they stand in a history, unknown ones included."""
        if self._texts is not None:
            return [items_of(text) for text in self._texts]
        if vocabulary is None:
            return [[] for _ in self._rows]
        known = [vocabulary.decode(row[is_item(row)]) for row in self._rows]
        return [list(map(written, items)) for items in known]

    def _told(self, fields):
        """The histories of a log or a table with what it has of the fields."""
        log = self._log
        if self._table is not None and fields.columns:
            there = [name for name in fields.columns if name in _column_names(self._table)]
            log = log_of_table(self._table, there)
        return fields.texts(log).tolist()

    def _written(self, vocabulary):
        if vocabulary is None:
            raise InputError(
                f"`{self._argument}` should be rows of integers for a task without a host, which "
                "could say what ids mean; `Task.load` gives it one. Received: strings."
            )
        return vocabulary.as_written

    def _check_rows(self, vocabulary):
        most = np.iinfo("int32").max if vocabulary is None else len(vocabulary) - 1
        wrong = (self._rows < PAD) | (self._rows > most)
        if wrong.any():
            raise InputError(
                f"`{self._argument}` should be row numbers of the vocabulary, from 0 to {most}, "
                f"where they are integers; ids are strings. Received: {self._rows[wrong][0]}."
            )

    def _take_log(self, log):
        log = log if log.log is None else log.log  # as it was before its items had ids
        self._log, self.user_ids, self._texts = log, log.user_ids, log.history_texts().tolist()

    def _take_column(self, table, names):
        others = [name for name in names if name != "user_id"]
        if "history" not in names and len(others) != 1:
            raise self._refusal(f"a table with {', '.join(map(str, names)) or 'no column'}")
        self._take_each(table["history" if "history" in names else others[0]])
        if "user_id" in names:
            self.user_ids = np.array([str(user) for user in _listed(table["user_id"])], object)

    def _take_each(self, given, times=None):
        """One string, or something with a history of each user."""
        if isinstance(given, str):
            given = [given]
        if isinstance(given, (bytes, dict)) or not hasattr(given, "__iter__"):
            raise self._refusal(given)
        if getattr(given, "ndim", 1) == 2:  # an array, of any library
            given = np.asarray(given)
            if given.dtype.kind in "iu":
                if times is not None:
                    raise self._times_refusal("rows of integers")
                self._rows = given.astype("int64")
                return
        given = _listed(given)
        if times is not None:
            given = self._with_times(list(given), list(_listed(times)))
        histories = [self._one(history) for history in given]
        numbers = [not isinstance(history, str) for history in histories]
        if not any(numbers):
            self._texts = histories
        elif all(number or not history for number, history in zip(numbers, histories)):
            self._rows = _padded(histories)
        else:
            raise self._refusal("ids in some rows and integers in others")

    def _one(self, history):
        """A user's history as a string, or as a list of integers."""
        if isinstance(history, str):
            return history
        is_nan = isinstance(history, float) and history != history
        if history is None or is_nan:  # what a table has for nothing
            return ""
        if isinstance(history, (bytes, dict)) or not isinstance(history, Iterable):
            raise self._refusal(f"{_shown(history)} in it")
        items = list(_listed(history))
        if items and all(isinstance(n, Integral) and not isinstance(n, bool) for n in items):
            return items
        for item in items:
            if not isinstance(item, str):
                raise self._refusal(f"{_shown(item)} in it")
        return " ".join(map(written, items))

    def _with_times(self, histories, times):
        """Lists of ids as texts that tell the events' times."""
        if len(times) != len(histories):
            raise self._times_refusal(f"{len(times)} for {len(histories)} histories")
        texts = []
        for items, of_items in zip(histories, times):
            of_items = list(_listed(of_items))
            if isinstance(items, str) or not all(isinstance(item, str) for item in _listed(items)):
                raise self._times_refusal(f"histories with {_shown(items)}")
            items = [written(item) for item in _listed(items)]
            if len(of_items) - len(items) not in (0, 1):
                raise self._times_refusal(f"{len(of_items)} for {len(items)} events")
            texts.append(" ".join(map(_at, [*items, ""], of_items)))
        return texts

    def _times_refusal(self, came):
        return InputError(
            "`times` should be a list of seconds since 1970 for each list of item ids: of its "
            f"events and, perhaps, of the question. Received: {came}."
        )

    def _refusal(self, came):
        shown = came if isinstance(came, str) else _shown(came)
        return InputError(f"`{self._argument}` should be {_FORMS}. Received: {shown}.")


# What `Histories` reads.
HistoryForms: TypeAlias = (
    str
    | Sequence[str | Sequence[str] | Sequence[int] | np.ndarray | None]
    | np.ndarray
    | Mapping[str, Iterable[object]]
    | ArrowTable
    | Named
)
# Seconds since 1970 of each event of each history.
EachTimes: TypeAlias = Sequence[Sequence[float]] | Sequence[np.ndarray]
# A string of ids for all histories, or a string or a list of ids for each.
EachItems: TypeAlias = str | Sequence[str | Sequence[str]]


def items_for_each(given: EachItems, count: int, argument: str) -> list[str]:
    """Items as B strings of ids, of one string for all histories, or a string or a list for each.

    Raises:
        InputError: it has another form, or there are more or fewer than histories.

    Example:

    >>> items_for_each("a b", 2, "deny"), items_for_each([["a", "b"], ""], 2, "deny")
    (['a b', 'a b'], ['a b', ''])
    """
    if isinstance(given, str):
        return [given] * count
    try:
        texts = Histories(given, argument).texts()
    except InputError:
        texts = None
    if texts is None or len(texts) != count:
        shown = _shown(given) if texts is None else f"{len(texts)} for {count} histories"
        raise InputError(
            f"`{argument}` should be a string of item ids for all histories, or a string or a list "
            f"of ids for each. Received: {shown}."
        )
    return texts


def _at(item, seconds):
    """An event as a text tells it."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.number)):
        raise InputError(
            f"`times` should be numbers, seconds since 1970. Received: {_shown(seconds)} in it."
        )
    text = f"{seconds:.3f}".rstrip("0").rstrip(".") if seconds % 1 else f"{seconds:.0f}"
    return f"{item}@{text}"


def _column_names(given):
    """The names of a table's columns; `None` of what is no table."""
    if isinstance(given, dict):
        return list(given)
    # The `columns` of an Arrow table are the columns themselves.
    names = getattr(given, "column_names", getattr(given, "columns", None))
    return None if names is None else [str(name) for name in names]


def _listed(values):
    """Something to iterate over: Arrow's arrays hold objects of their own."""
    return values.to_pylist() if hasattr(values, "to_pylist") else values


def _padded(rows):
    width = max(map(len, rows))
    padded = np.zeros((len(rows), width), "int64")
    for row, ids in zip(padded, rows):
        if len(ids):
            row[width - len(ids) :] = ids
    return padded


def _shown(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
