"""Logs: what is kept, and what raises an error."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.read_log import read_log

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

IDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
TIMES = st.one_of(
    st.integers(-(2**52), 2**52),
    st.floats(-1e15, 1e15, allow_nan=False, allow_subnormal=False),
)
EVENTS = st.lists(st.tuples(IDS, IDS, TIMES), min_size=1, max_size=30).filter(
    lambda events: len({user for user, _, _ in events}) > 1
)


def log_of(events):
    users, items, times = zip(*events)
    return Events.from_columns(users, items, [float(time) for time in times])


def events_of(log):
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    return [*zip(users.tolist(), items.tolist(), log.timestamps.tolist())]


def in_order(events):
    """By user, in the order of their first events, and by time; else in the order given."""
    users = [*dict.fromkeys(user for user, _, _ in events)]
    return sorted(events, key=lambda event: (users.index(event[0]), event[2]))


@settings(deadline=None)
@given(EVENTS)
def test_events_come_by_user_and_time_and_ids_in_the_order_of_their_first(events):
    log = log_of(events)
    assert events_of(log) == in_order(events)
    assert log.user_ids.tolist() == [*dict.fromkeys(user for user, _, _ in events)]
    assert log.item_ids.tolist() == [*dict.fromkeys(item for _, item, _ in in_order(events))]
    assert len(log) == len(events)


@settings(deadline=None)
@given(EVENTS, st.data())
def test_select_is_the_log_of_the_selected_events(events, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    kept = [event for event, keep in zip(in_order(events), mask) if keep]
    if len({user for user, _, _ in kept}) < 2:
        return
    selected = log_of(events).select(np.array(mask))
    assert events_of(selected) == kept
    assert selected.fingerprint() == log_of(kept).fingerprint()
    assert selected.name == "log"
    assert log_of(events).select(np.array(mask), name="part").name == "part"


@settings(max_examples=25, deadline=None)
@given(EVENTS)
def test_fingerprint_and_contents_do_not_depend_on_the_file_format(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("formats")
    events = [*dict.fromkeys(events)]  # a reader may drop what is there twice
    users, items, times = zip(*events)
    times = [float(time) for time in times]
    table = pa.table({"user_id": users, "item_id": items, "timestamp": times})
    pa.csv.write_csv(table, folder / "a.csv")
    pa.parquet.write_table(table, folder / "b.parquet")
    (folder / "c.csv.gz").write_bytes(gzip.compress((folder / "a.csv").read_bytes()))
    expected = Events.from_columns(users, items, times)
    for name in ("a.csv", "b.parquet", "c.csv.gz"):
        log = read_log(folder / name)
        assert events_of(log) == events_of(expected)
        assert log.fingerprint() == expected.fingerprint()


def test_fingerprint_tells_users_items_times_and_order_apart():
    logs = [
        Events.from_columns(["a", "b"], ["x", "y"], [1, 2]),
        Events.from_columns(["a", "c"], ["x", "y"], [1, 2]),
        Events.from_columns(["a", "b"], ["x", "z"], [1, 2]),
        Events.from_columns(["a", "b"], ["x", "y"], [1, 3]),
        Events.from_columns(["b", "a"], ["y", "x"], [2, 1]),
    ]
    prints = [log.fingerprint() for log in logs]
    assert len(set(prints)) == len(logs)
    assert all(len(text) == 23 and text.startswith("sha256:") for text in prints)


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        np.array,
        pa.array,
        lambda ids: pa.chunked_array([ids[:1], ids[1:]]),
        lambda ids: pa.array(ids).dictionary_encode(),
        lambda ids: np.array(ids, object),
    ],
)
def test_columns_may_come_in_any_form(wrap):
    log = Events.from_columns(wrap([12, 3, 12]), wrap(["x", "y", "y"]), wrap([2, 1, 3]))
    assert events_of(log) == [("12", "x", 2), ("12", "y", 3), ("3", "y", 1)]
    assert log.users.dtype == log.items.dtype == np.int32
    assert log.timestamps.dtype == np.int64


def test_large_integer_timestamps_stay_exact_and_fractions_stay():
    nanoseconds = [1_700_000_000_000_000_001, 1_700_000_000_000_000_002]
    log = Events.from_columns("ab", "xy", nanoseconds)
    assert log.timestamps.tolist() == nanoseconds
    assert Events.from_columns("ab", "xy", [0.5, 1]).timestamps.tolist() == [0.5, 1.0]


def test_arrays_of_a_log_cannot_be_written_to():
    log = Events.from_columns("ab", "xy", [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        log.items[0] = 1


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        ([], [], [], "`user_ids` should not be empty"),
        (["a", "b"], ["x"], [1, 2], "should have one length. Received: 2, 1 and 2"),
        (["a", None], ["x", "y"], [1, 2], "`user_ids`.*none in row 2"),
        (["a", "b"], ["x", float("nan")], [1, 2], "`item_ids`.*none in row 2"),
        (["a", ""], ["x", "y"], [1, 2], "`user_ids`.*not empty.*Received: ''"),
        (["a", "b\rc"], ["x", "y"], [1, 2], "`user_ids`.*no line break"),
        (["a", " "], ["x", "y"], [1, 2], "`user_ids`.*not empty.*Received: ' '"),
        (["a", "b"], ["x", "y\n"], [1, 2], "`item_ids`.*no line break"),
        (["a", "b"], ["x y", "x%20y"], [1, 2], "`item_ids`.*written as in 'x%20y'"),
        (["a", "b"], [1.5, 2.0], [1, 2], "`item_ids`.*strings or integers"),
        (["a", 3], ["x", "y"], [1, 2], "`user_ids`.*of one type"),
        (["a", "b"], ["x", "y"], ["1", "2"], "`timestamps`.*numbers.*'1' in row 1"),
        (["a", "b"], ["x", "y"], [1, float("nan")], "`timestamps`.*NaN, in row 2"),
        (["a", "b"], ["x", "y"], [float("inf"), 1], "`timestamps`.*inf in row 1"),
        (["a", "b"], ["x", "y"], [1, None], "`timestamps`.*row 2"),
        (["a", "b"], ["x", "y"], [True, False], "`timestamps` should be numbers"),
        (["a", "a"], ["x", "y"], [1, 2], "two users. Received: a log with one user"),
    ],
)
def test_bad_columns_raise(users, items, times, message):
    with pytest.raises(InputError, match=message) as caught:
        Events.from_columns(users, items, times)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True], "shape \\(2,\\). Received: bool of shape \\(1,\\)"),
        ([1, 0], "should be a bool array"),
        ([False, False], "at least one event"),
    ],
)
def test_bad_masks_raise(mask, message):
    with pytest.raises(InputError, match=message):
        Events.from_columns("ab", "xy", [1, 2]).select(mask)


def test_csv_ids_stay_as_written_and_other_columns_are_not_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("tab,item_id,timestamp,user_id\nx,0010,2,1\n,10,1.5,01\n")
    assert events_of(read_log(path)) == [("1", "0010", 2.0), ("01", "10", 1.5)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.xls",
            "",
            "should end in one of .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, .*Received: .*a.xls",
        ),
        ("a.csv", "", "readable CSV file"),
        ("a.csv", "user_id,item_id,timestamp\n", "a.csv.*should not be empty"),
        ("a.csv", "user_id,item,timestamp\na,x,1\n", "`item_id`.*user_id, item, time"),
        ("a.csv", "user_id,item_id,timestamp\na,x,1\nb,y\n", "readable CSV file"),
        ("a.csv", "user_id,item_id,timestamp\na,x,1\n,y,2\n", "a.csv.*`user_id`.*none in 1 row"),
        ("a.csv", "user_id,item_id,timestamp\na,x,1\nb,y,z\n", "a.csv.*'z' in row 2"),
        ("a.csv", "user_id,item_id,timestamp\na,x,1\nb,y,\n", "a.csv.*'' in row 2"),
        ("a.csv", "user_id,item_id,timestamp\na,x,1\nb,y,nan\n", "a.csv.*row 2"),
        ("a.csv.gz", "user_id,item_id,timestamp\na,x,1\n", "readable CSV file"),
        ("a.parquet", "not parquet", "readable Parquet file"),
    ],
)
def test_bad_files_raise(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_log(path)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 200))
def test_the_row_of_a_bad_timestamp_is_named(tmp_path_factory, row):
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    times = ["1.5"] * 200
    times.insert(row, "noon")
    lines = [f"u{n},x,{time}" for n, time in enumerate(times)]
    path.write_text("\n".join(["user_id,item_id,timestamp", *lines]))
    with pytest.raises(InputError, match=f"'noon' in row {row + 1}\\."):
        read_log(path)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(InputError, match="file that exists. Received: .*gone.csv"):
        read_log(tmp_path / "gone.csv")


def test_a_truncated_gzip_file_raises(tmp_path):
    path = tmp_path / "a.csv.gz"
    rows = "".join(f"u{n},i{n * 7919 % 1000},{n}\n" for n in range(3000))
    whole = gzip.compress(("user_id,item_id,timestamp\n" + rows).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="readable CSV file"):
        read_log(path)


@pytest.mark.parametrize(
    ("name", "events", "users", "items"),
    [("kuairand/events.parquet", 3_134_958, 5_101, 944_384)],
)
def test_real_parquet(name, events, users, items):
    if not (SHARED / name).exists():
        pytest.skip("the data is not here")
    log = read_log(SHARED / name)
    assert (len(log), len(log.user_ids), len(log.item_ids)) == (events, users, items)


def test_real_csv_domains_share_users():
    paths = [SHARED / "amazon" / f"{name}.csv.gz" for name in ("sports", "toys")]
    if not all(path.exists() for path in paths):
        pytest.skip("the data is not here")
    sports, toys = map(read_log, paths)
    assert np.intersect1d(sports.user_ids, toys.user_ids).size > 100
