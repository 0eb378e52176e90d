"""Events as they stand in a history, which is one text of a user.

    i7 i9@1700000000 i3@1700000060;event_type=buy;price=12.5 @1700003600

An event is an item's id and, where they are told, its time in seconds since 1970 and fields of the
log. A last one without an item says when the question is asked and what is known of the user, as in
`@1700003600;plan=gold` or `;plan=gold`. The parts are told apart by `@` and `;`, so ids hold these
percent-encoded, as they hold white space; see `written`. Here texts are read by operations of
TensorFlow, in a SavedModel and out of it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import tensorflow as tf

from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.field_kind import Words
from keras_peterrec.log.preprocessing import keep_some
from keras_peterrec.log.user_fields import UserFields
from keras_peterrec.log.vocabulary import UNK

_AFTER_ITEM = "[@;].*"


class ReadHistories(NamedTuple):
    """What an EventReader makes of histories.

    Args:
        items: ragged string tensor `[B, (n)]`. The items of all events, as they are written.
        ids: ragged int64 tensor `[B, (n)]`. Their ids, UNK for unknown ones.
        rows: ragged int64 tensor. What the network reads: `ids` or, where it has fields, the rows
            of the known events, `[B, (n), 1 + F + V]`.
    """

    items: tf.RaggedTensor
    ids: tf.RaggedTensor
    rows: tf.RaggedTensor


class EventReader(tf.Module):
    """Reads histories, texts, as a network takes them.

    `ids` is a lookup table from an item, as `written` writes it, to its id.

    Example:

    >>> vocabulary = Vocabulary(["x", "y"])
    >>> read = EventReader(vocabulary.lookup_table(), EventFields([TimeUntilNext()]))
    >>> _, ids, rows = read(tf.constant(["x y@900000000 ? @900000060"]))
    >>> ids.to_list(), rows.to_list()
    ([[4, 5, 1]], [[[4, 0], [5, 13]]])
    """

    def __init__(self, ids: tf.lookup.StaticHashTable, fields: EventFields) -> None:
        super().__init__(name="event_reader")
        self.ids, self._fields, self._with_values = ids, tuple(fields), fields.with_values
        self.tables = _tables(self._fields)

    def __call__(self, history: tf.Tensor) -> ReadHistories:
        """Reads a string tensor `[B]`."""
        if not self._fields:
            items = split_items(history)
            ids = items.with_values(self.ids.lookup(items.values))
            return ReadHistories(items, ids, ids)
        words = tf.strings.split(history)
        items, times, parts = _read_words(words.values)
        ids = words.with_values(self.ids.lookup(items))
        is_event, rows = items != "", words.value_rowids()
        is_last = tf.range(tf.size(rows, tf.int64)) == tf.gather(words.row_splits[1:], rows) - 1
        is_known = is_event & (ids.values != UNK)
        kept = is_known | (~is_event & is_last)  # the question comes last
        known, times, rows = (tf.boolean_mask(part, kept) for part in (ids.values, times, rows))
        told = Words(times, rows, parts, kept)
        numbers = _read(self._fields, told, self.tables, tf.int64)
        values = [field.read_values(told) for field in self._with_values]
        rows = keep_some(ids, kept).with_values(tf.stack([known, *numbers, *values], axis=1))
        rows = keep_some(rows, tf.boolean_mask(is_known, kept))
        items = words.with_values(items)
        return ReadHistories(keep_some(items, is_event), keep_some(ids, is_event), rows)


class UserReader(tf.Module):
    """Reads what histories tell of their users: the last event, where it has no item.

    Example:

    >>> read = UserReader(UserFields([Categories("plan", ["gold", "free"])]))
    >>> read(tf.constant(["x @9;plan=free", ";plan=gold", "x;plan=gold", ""])).numpy().tolist()
    [[2], [1], [0], [0]]
    """

    def __init__(self, fields: UserFields) -> None:
        super().__init__(name="user_reader")
        self._fields = fields
        self.tables = _tables(fields.fields)

    def __call__(self, history: tf.Tensor) -> tf.Tensor:
        """The users' numbers, int32 `[B, G]`, of a string tensor `[B]`; see `UserFields`."""
        words = tf.strings.split(history)
        ends = words.row_splits[1:]
        nothing = tf.size(words.values, tf.int64)
        last = tf.where(words.row_lengths() > 0, ends - 1, nothing)
        last = tf.gather(tf.concat([words.values, [""]], axis=0), last)
        last = tf.where(tf.strings.regex_full_match(last, f"(?s){_AFTER_ITEM}"), last, "")
        rows = tf.range(tf.size(last, tf.int64))
        parts = tf.strings.split(last, ";")
        told = Words(tf.zeros_like(last), rows, parts, tf.ones_like(rows, tf.bool))
        numbers = _read(self._fields.fields, told, self.tables, tf.int32)
        return tf.stack(
            [tf.where(n > 0, start + n, 0) for start, n in zip(self._fields.starts, numbers)],
            axis=1,
        )


def split_items(history: tf.Tensor) -> tf.RaggedTensor:
    """The items in texts `[B]`, whatever is told beside: ragged string tensor `[B, (n)]`."""
    # Once for each text: for each word it would take as long as all the rest of reading ids.
    return tf.strings.split(tf.strings.regex_replace(history, r"[@;][^\s\v]*", ""))


def items_of(history: str) -> list[str]:
    """The same of one text, in Python."""
    items = (re.sub(_AFTER_ITEM, "", word) for word in history.split())
    return [item for item in items if item]


def _read_words(words):
    """Of each word its item and its time, or `""`, `[n]`, and its fields, ragged `[n, (p)]`."""
    parts = tf.strings.split(words, ";")
    starts = parts.row_splits[:-1]
    heads = tf.strings.split(tf.gather(parts.values, starts), "@", maxsplit=1)
    texts, nothing = tf.concat([heads.values, [""]], axis=0), tf.size(heads.values, tf.int64)
    told = heads.row_lengths()  # 0 where a word begins with `;`
    items = tf.gather(texts, tf.where(told > 0, heads.row_splits[:-1], nothing))
    times = tf.gather(texts, tf.where(told > 1, heads.row_splits[1:] - 1, nothing))
    # An item may be called as a field is told, `price=3`.
    fields = tf.tensor_scatter_nd_update(
        parts.values, starts[:, tf.newaxis], tf.fill(tf.shape(starts), "")
    )
    return items, times, parts.with_values(fields)


def _tables(fields):
    """The lookup tables of fields, by their names."""
    tables = {field.name: field.lookup_table() for field in fields}
    return {name: table for name, table in tables.items() if table is not None}


def _read(fields, words, tables, dtype):
    """The numbers of words in each field."""
    return [tf.cast(field.read(words, tables.get(field.name)), dtype) for field in fields]
