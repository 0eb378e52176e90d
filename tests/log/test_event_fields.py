"""What a network reads of an event beside its item, from tables and from texts."""

import bisect
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from keras_peterrec.errors import InputError
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.log import field_kinds
from keras_peterrec.log.batches import hide_fields
from keras_peterrec.log.event_fields import EventFields, find_fields, is_only_an_order
from keras_peterrec.log.event_text import EventReader, UserReader, items_of
from keras_peterrec.log.events import Events
from keras_peterrec.log.field_kind import ColumnKind
from keras_peterrec.log.field_kinds import (
    VALUE_STEPS,
    Categories,
    Numbers,
    TimeSincePrevious,
    TimeUntilNext,
    register_field_kind,
)
from keras_peterrec.log.histories import Histories
from keras_peterrec.log.id_text import written
from keras_peterrec.log.user_fields import UserTable, find_user_fields
from keras_peterrec.log.vocabulary import UNK, Vocabulary

DAY = 86_400
KINDS = ("buy", "view now", "a;b=c@d")


def shop(seed=0, events=300, scale=1):
    """Events whose ids, kinds and times need care; some are of items that nobody knows."""
    draw = np.random.default_rng(seed)
    columns = {
        "user_id": draw.integers(0, 12, events).astype(str),
        "item_id": np.array([f"i {n}@x;y" for n in draw.integers(0, 30, events)], object),
        "timestamp": (1.7e9 + np.cumsum(draw.exponential(900, events)).round(3)) * scale,
    }
    if scale > 1:
        columns["timestamp"] = columns["timestamp"].round().astype("int64")
    fields = {
        "kind": draw.choice(
            np.array(["buy", "view now", "a;b=c@d", None], object), events
        ).tolist(),
        "price": draw.choice(np.array([None, *draw.normal(10, 5, 60).round(2)]), events).tolist(),
    }
    log = Events.from_columns(*columns.values(), fields=fields)
    return log, {**columns, **fields}


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary([f"i {n}@x;y" for n in range(25)])


@pytest.fixture(scope="module")
def fields(vocabulary):
    return find_fields(shop()[0].encode(vocabulary), ["kind", "price"])


def expected_time_numbers(events, ticks=1):
    """The definition, event by event."""
    edges, numbers = sorted({round(1_000 * 2 ** (n / 2)) for n in range(57)}), []
    for user in range(events.user_count):
        part = slice(events.offsets[user], events.offsets[user + 1])
        items, times = events.items[part], events.timestamps[part]
        for n, time in enumerate(times):
            later = [t for item, t in zip(items[n + 1 :], times[n + 1 :]) if item != UNK]
            gap = round((later[0] - time) * 1_000 / ticks) if later else None
            numbers.append(0 if gap is None else 1 + bisect.bisect_right(edges, gap))
    return numbers


@pytest.mark.parametrize("ticks", [1, 1_000, 1_000_000])
def test_the_time_until_the_next_known_event(vocabulary, ticks):
    events = shop(scale=ticks)[0].encode(vocabulary)
    found = TimeUntilNext().numbers(events).tolist()
    assert found == expected_time_numbers(events, ticks)
    assert len(set(found)) > 5 and max(found) < TimeUntilNext().size


def test_categories_and_numbers_are_told_by_the_column(vocabulary, fields):
    time, kind, price = fields
    assert isinstance(time, TimeUntilNext)
    assert isinstance(kind, Categories) and set(kind.values) == set(KINDS)
    assert isinstance(price, Numbers)
    log, columns = shop()
    rows = fields.rows(log.encode(vocabulary))
    kinds, prices = log.fields["kind"].texts(), log.fields["price"].texts()
    for row, one, value in zip(rows, kinds, prices):
        assert row[2] == (0 if one is None else 1 + list(kind.values).index(one))
        below = None if value is None else sum(edge <= float(value) for edge in price.edges)
        assert row[3] == (0 if value is None else 1 + below)
    counts = np.bincount(rows[:, 3])[1:]
    assert counts.max() < 2 * counts.mean()  # about as many events each


def test_what_is_held_out_does_not_say_how_a_field_is_read(vocabulary):
    log, columns = shop()
    last = np.zeros(len(log), bool)
    last[log.offsets[1:] - 1] = True
    kinds = np.where(last, "only at the end", log.fields["kind"].texts())
    users = log.user_ids[log.users]
    known = Events.from_columns(
        users, log.item_ids[log.items], log.timestamps, fields={"kind": kinds.tolist()}
    )
    [kind] = find_fields(known.encode(vocabulary), ["kind"], times=False)
    assert "only at the end" not in kind.values


def test_texts_tables_and_lists_are_read_alike(vocabulary, fields):
    log, columns = shop()
    known = log.encode(vocabulary, known_only=True)
    rows = fields.rows(known)
    read = EventReader(vocabulary.as_written.table, fields)
    items, ids, told = read(tf.constant(list(fields.texts(log))))
    np.testing.assert_array_equal(told.values, rows)
    np.testing.assert_array_equal(told.row_lengths(), known.lengths)
    np.testing.assert_array_equal(ids.row_lengths(), log.lengths)
    assert [item.decode() for item in items.values.numpy()] == [
        written(i) for i in log.item_ids[log.items]
    ]
    padded, counts = Histories(columns).ids(vocabulary, None, fields)
    np.testing.assert_array_equal(padded[padded[..., 0] > 0], rows)
    np.testing.assert_array_equal(counts["events"], log.lengths)
    items = [log.item_ids[log[user]].tolist() for user in range(log.user_count)]
    times = [log.timestamps[a:b] for a, b in zip(log.offsets, log.offsets[1:])]
    timed, _ = Histories(items, times=times).ids(vocabulary, None, EventFields([TimeUntilNext()]))
    np.testing.assert_array_equal(timed[timed[..., 0] > 0], rows[:, :2])


def test_the_question_has_a_time():
    vocabulary, fields = Vocabulary(["x", "y"]), EventFields([TimeUntilNext()])
    read = EventReader(vocabulary.table, fields)
    texts = ["x@100 y@160 @160.5", "x@100 ? y@160", "@5", "", "x @9 y@100 @7 @101", "x@a y@1e2 z"]
    _, ids, rows = read(tf.constant(texts))
    minute = 1 + int(np.searchsorted([1_000 * 2 ** (n / 2) for n in range(57)], 60_000))
    assert rows.to_list() == [
        [[4, minute], [5, 1]],
        [[4, minute], [5, 0]],
        [],
        [],
        [[4, 0], [5, 2]],  # a question in the middle is none
        [[4, 0], [5, 0]],
    ]
    assert ids.to_list() == [[4, 5], [4, 1, 5], [], [], [4, 5], [4, 5, 1]]
    _, ids, rows = EventReader(vocabulary.table, EventFields())(tf.constant(texts))
    assert rows.to_list() == ids.to_list()
    assert items_of("x@1;a=b y;c=@ @7 z%40") == ["x", "y", "z%40"]


def test_the_time_since_the_previous_event_is_that_until_the_next_one_there():
    vocabulary, time = Vocabulary(["x", "y"]), EventFields([TimeUntilNext()])
    since = time.of_task(EventFields([TimeSincePrevious()]))
    times = [9e8, 9e8 + 1, 9e8 + 60, 9e8]
    log = Events.from_columns(["a", "a", "a", "b"], ["x", "?", "y", "x"], times)
    events = log.encode(vocabulary)
    rows, numbers = since.rows(events), time.rows(events)[:, 1]
    assert rows.tolist() == [[4, 0, 0], [1, 0, rows[1, 2]], [5, 0, numbers[0]], [4, 0, 0]]
    read = EventReader(vocabulary.table, since)
    texts = [
        "x@900000000 ? y@900000060 @900000070",
        "x@900000000 @900000009",
        "@9 x@10",
        "x y@5",
        "",
    ]
    _, _, told = read(tf.constant(texts))
    expected = [[4, 0, 0], [5, 0, numbers[0]]]
    assert told.to_list() == [expected, [[4, 0, 0]], [[4, 0, 0]], [[4, 0, 0], [5, 0, 0]], []]


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (np.arange(40), True),  # positions
        (np.repeat(np.arange(20), 2) + 1_700_000_000, True),  # positions after a moment
        (np.arange(40) % 7 + 18_000, True),  # days since 1970
        (np.full(40, 1_700_000_000), True),
        (1_700_000_000 + DAY * np.arange(40) ** 2 // 50, False),  # days in seconds
        (1_700_000_000 + np.arange(40) ** 2, False),
    ],
)
def test_an_order_is_not_taken_for_times(times, order):
    log = Events.from_columns(["a", "b"] * 20, ["x"] * 40, times)
    assert is_only_an_order(log) is order
    events = log.encode(Vocabulary(["x"]))
    assert find_fields(events).names == ([] if order else ["time"])
    assert find_fields(events, times=False).names == []


def test_fields_round_trip(fields):
    again = EventFields.from_config(fields.to_config())
    assert again.to_config() == fields.to_config() and again.sizes == fields.sizes
    events = shop(seed=3)[0].encode(Vocabulary(["i 1@x;y"]))
    np.testing.assert_array_equal(again.rows(events), fields.rows(events))


@dataclass(frozen=True)
class Lengths(ColumnKind):
    """A kind of a user's own: how many characters a text has."""

    kind = "lengths"
    longest: int

    @classmethod
    def find(cls, name, counts):
        return cls(name, max(map(len, counts))) if name == "kind" else None

    @property
    def size(self):
        return 1 + self.longest

    def number_of(self, text):
        return min(len(text), self.longest)

    def numbers_of(self, texts, table):
        texts = tf.strings.regex_replace(texts, "%..", "_")  # written as in a request
        return tf.minimum(tf.strings.length(texts, unit="UTF8_CHAR"), self.longest)


def test_a_kind_of_ones_own_is_a_class_and_a_line(vocabulary, monkeypatch):
    monkeypatch.setattr(field_kinds, "_KINDS", dict(field_kinds._KINDS))
    register_field_kind(Lengths)
    log, _ = shop()
    events = log.encode(vocabulary, known_only=True)
    fields = find_fields(events, ["kind", "price"])
    assert fields.to_config()[1] == {"kind": "lengths", "name": "kind", "longest": 8}
    assert EventFields.from_config(fields.to_config()).fields == fields.fields
    rows = fields.rows(events)
    assert set(rows[:, 2]) == {0, 3, 7, 8}
    read = EventReader(vocabulary.as_written.table, fields)
    np.testing.assert_array_equal(read(tf.constant(list(fields.texts(log)))).rows.values, rows)
    table = UserTable({"kind": {"ann": "abc", "bob": "a"}})
    of_users = find_user_fields(table, ["ann", "bob"])
    read = UserReader(of_users)(tf.constant(of_users.texts(table, ["ann", "bob", "cy"])))
    assert read.numpy().tolist() == of_users.told(table, ["ann", "bob", "cy"]).tolist()
    price = list(fields)[2].size - 1
    assert EventFeatures.of(fields).rows == 8 + price + 1 + 8  # the last: prices by length


def test_kinds_that_cannot_be_registered_or_read_are_refused():
    with pytest.raises(InputError, match="`kind` should have a name that is free. .*'numbers'"):
        register_field_kind(Numbers)
    with pytest.raises(InputError, match="`kind` should be a subclass of ColumnKind"):
        register_field_kind(TimeUntilNext)
    with pytest.raises(InputError, match="`register_field_kind`.* Received: 'lengths'"):
        EventFields.from_config([{"kind": "lengths", "name": "kind", "longest": 8}])


def test_a_log_without_the_field_is_refused(vocabulary, fields):
    kinds = {"kind": [None, None, None, "a", None]}
    log = Events.from_columns([*"aaaab"], ["x"] * 5, range(5), fields=kinds)
    with pytest.raises(InputError, match="`log` should have the column 'price', .* Received: kind"):
        fields.rows(log.encode(vocabulary))
    with pytest.raises(InputError, match="`fields` should be columns that have a value somewhere"):
        find_fields(log.encode(vocabulary), ["kind"])  # the only values are held out


@pytest.mark.parametrize("times", [[[1, 2]], [[1, 2], [3], []], [[1, 2], ["a"]], [[1, 2], [1] * 3]])
def test_times_that_do_not_fit_are_refused(times):
    with pytest.raises(InputError, match="`times` should be"):
        Histories([["x", "y"], ["z"]], times=times)
    with pytest.raises(InputError, match="`times` should be"):
        Histories(np.array([[4, 5], [0, 4]]), times=times)


def test_a_share_of_the_fields_is_hidden():
    rows, length, rate = 400, 40, 0.2
    events = np.tile(np.where(np.arange(length) % 10 < 9, np.arange(length), -1), (rows, 1))
    fields = np.ones((rows, length, 2), "int32")
    shown = hide_fields(tf.constant(fields), tf.constant(events), tf.constant([3, 5]), rate).numpy()
    windows = shown[:, : length - 1].reshape(rows, -1, 2)
    windows = np.stack([windows[:, n : n + 9] for n in (0, 10, 20, 30)], 1).reshape(-1, 9, 2)
    nothing = (windows == 0).all(axis=(1, 2)).mean()
    assert abs(nothing - (rate + (1 - rate) * (rate / 2) ** 2)) < 0.03
    one = ((windows == 0).all(axis=1).sum(axis=1) == 1).mean()
    assert abs(one - (1 - rate) * 2 * (rate / 2) * (1 - rate / 2)) < 0.03
    some = windows[(windows != 0).any(axis=(1, 2))]
    assert abs((some == 0).all(axis=2).mean() - rate / 2) < 0.02
    assert hide_fields(fields, events, None, 0.0) is fields


def test_an_item_named_like_a_field_tells_no_field():
    vocabulary, fields = Vocabulary(["p=1.5", "x"]), EventFields([Numbers("p", [1.0, 2.0], 1.5)])
    read = EventReader(vocabulary.table, fields)
    _, _, rows = read(tf.constant(["p=1.5 p=1.5;p=9 x;p=9"]))
    assert [row[1] for row in rows.to_list()[0]] == [0, 3, 3]


def test_odd_texts_harm_no_other_row():
    read = EventReader(
        Vocabulary(["x", "y"]).table,
        EventFields([TimeUntilNext(), Numbers("p", [1.0, 2.0], 1.5), Categories("k", ["a"])]),
    )
    good = "x@1;p=1.5;k=a y@2"
    [expected] = read(tf.constant([good])).rows.to_list()
    odd = ["x@1e400 y@5", "x;p=1e999 y;p=-1e999", "x@@5 y@6", "x@5@6 y", "@", ";;", ";p=1 @ @@"]
    odd += ["x@" + "9" * 400, "x@0x10;p=nan;k", "x;p=;k=b;k=a;;", "é@5;k=ü x@-1", "\x00 x"]
    assert expected == [[4, 2, 2, 1, VALUE_STEPS], [5, 0, 0, 0, 0]]
    for text in odd:
        _, ids, rows = read(tf.constant([good, text, good]))
        assert rows.to_list()[0] == rows.to_list()[2] == expected, text
        assert all(row[0] in (4, 5) and row[2] <= 3 for row in rows.to_list()[1]), text
        assert len(ids.to_list()[1]) == len(items_of(text.replace("\x00", "?"))), text
