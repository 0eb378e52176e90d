"""Columns that the log does not know, carried as fields: in memory and prepared."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading, read_log
from keras_peterrec.log.vocabulary import Vocabulary

START = 1_700_000_000
# Two rows are equal in every column, two differ in their price alone.
ROWS = [
    ("ann", "i1", START + 9, "2.50", " web "),
    ("bob", "i1", START + 1, "", "app"),
    ("ann", "i2", START + 5, "7", ""),
    ("ann", "i2", START + 5, "8", ""),
    ("bob", "i1", START + 1, "", "app"),
    ("cy", "i3", START + 2, "2.50", "web"),
]
NAMES = ("user_id", "item_id", "timestamp", "price", "channel")
SORTED = [ROWS[2], ROWS[3], ROWS[0], ROWS[1], ROWS[5]]  # by user and time, one of two equal rows


@pytest.fixture
def files(tmp_path):
    """The rows in two files, of which one has channels alone and no prices above 7."""
    table = pa.table(dict(zip(NAMES, map(list, zip(*ROWS)))))
    pa.csv.write_csv(table.slice(0, 3), tmp_path / "1.csv")
    pa.parquet.write_table(table.slice(3), tmp_path / "2.parquet")
    return str(tmp_path / "[12].*")


def texts_of(log):
    return [
        (log.fields["price"].texts()[n], log.fields["channel"].texts()[n]) for n in range(len(log))
    ]


def wanted_texts(rows):
    return [(price or None, channel.strip() or None) for *_, price, channel in rows]


@pytest.mark.parametrize("fields", ["price, channel", ["price", "channel"]])
def test_fields_are_sorted_with_their_events_and_tell_duplicates_apart(files, fields, capsys):
    log = read_log(files, fields=fields)
    assert texts_of(log) == wanted_texts(SORTED)
    said = capsys.readouterr().err
    assert "1 exact duplicate dropped" in said and "not read" not in said
    assert len(read_log(files)) == 4 and read_log(files).fields == {}
    assert log.fingerprint() != read_log(files, fields="price").fingerprint()


def test_parts_of_a_log_keep_their_fields(files):
    log = read_log(files, fields="price,channel")
    some = log.select(log.items == log.items[0])
    assert texts_of(some) == wanted_texts(SORTED[:2])
    known = log.encode(Vocabulary(["i3", "i1"]), known_only=True)
    assert texts_of(known) == wanted_texts(SORTED[2:])
    turned = log.of_users(np.array([2, 0]))
    assert texts_of(turned) == wanted_texts([SORTED[4], *SORTED[:3]])


@pytest.mark.parametrize("of_memory", [False, True])
def test_a_prepared_log_has_the_fields_of_memory(files, tmp_path, of_memory):
    log = read_log(files, fields="price,channel")
    given, reading = (log, Reading()) if of_memory else (files, Reading(fields="price,channel"))
    plan = Plan.of(given, shards=3, reading=reading)
    prepare_in_process(given, plan, tmp_path / "out")
    found = PreparedLog(tmp_path / "out")
    assert found.fields == ["price", "channel"]
    assert texts_of(found.log()) == wanted_texts(SORTED)
    assert found.log().fingerprint() == log.fingerprint()
    assert texts_of(found.log(users=["cy", "ann"])) == wanted_texts([*SORTED[:3], SORTED[4]])
    assert found.read(range(3)).fields == {}  # unless they are asked for


def test_tensorflow_datasets_reads_them(files, tmp_path):
    import tensorflow_datasets as tfds

    plan = Plan.of(files, shards=1, reading=Reading(fields="channel"))
    prepare_in_process(files, plan, tmp_path / "out")
    users = tfds.builder_from_directory(tmp_path / "out").as_dataset("users")
    found = {user["user_id"]: user["field_channel"].tolist() for user in tfds.as_numpy(users)}
    assert found[b"ann"] == [b"", b"web"] and found[b"cy"] == [b"web"]


def test_columns_in_memory_may_be_fields():
    fields = {"price": [1.5, None, 3.0], "kind": ["buy", "", "view"]}
    log = Events.from_columns("aab", "xyx", [2, 1, 3], fields=fields)
    assert log.fields["price"].texts().tolist() == [None, "1.5", "3"]
    assert log.fields["kind"].texts().tolist() == [None, "buy", "view"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("price,item_id", "`fields` should be other columns than user_id"),
        ("brand", "one column `brand`"),
        (" , ", "`fields` should name at least one"),
        (3, "`fields` should be columns of the log"),
    ],
)
def test_what_cannot_be_a_field_is_refused(files, fields, message):
    with pytest.raises(InputError, match=message):
        read_log(files, fields=fields)
    with pytest.raises(InputError, match=message):
        Plan.of(files, reading=Reading(fields=fields))


def test_a_field_of_another_length_is_refused():
    with pytest.raises(
        InputError, match="`fields` should have a value for each event. Received: 1"
    ):
        Events.from_columns("ab", "xy", [1, 2], fields={"price": [1]})
