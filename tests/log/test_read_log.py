"""Logs and labels from files of many forms and from tables in memory."""

import codecs
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import read_labels
from keras_peterrec.log.log_doubts import looks_swapped
from keras_peterrec.log.read_log import read_log
from keras_peterrec.log.sources import load_labels, load_log
from keras_peterrec.log.sources.movielens import MovieLens

SHARED = [p / "shared" / "data" for p in Path(__file__).parents if (p / "shared/data").is_dir()]
ROWS = [("ann", "0010", 3), ("bob", "New York", 1), ("ann", "x;y", 2)]
TABLE = pa.table(dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*ROWS)))))
RENAMED = TABLE.rename_columns(["userId", "movieId", "ts"])
COLUMNS = "user_id=userId,item_id=movieId,timestamp=ts"


def by_user(rows):
    """Rows in the order in which a log holds them."""
    users = [*dict.fromkeys(user for user, _, _ in rows)]
    return sorted(rows, key=lambda row: (users.index(row[0]), row[2]))


def rows_of(log):
    users, items = log.user_ids[log.users].tolist(), log.item_ids[log.items].tolist()
    return [*zip(users, items, log.timestamps.tolist())]


def lines(separator, names=("user_id", "item_id", "timestamp"), rows=ROWS):
    quoted = lambda cell: f'"{cell}"' if separator in str(cell) else str(cell)
    return "".join(separator.join(map(quoted, row)) + "\n" for row in (names, *rows))


class Frame:
    """A table that offers only the dataframe interchange protocol."""

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return TABLE.__dataframe__(nan_as_null, allow_copy)


class Stream:
    """A table that offers only Arrow's stream."""

    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "txt"])
def test_the_separator_is_found_out(tmp_path, separator, ending):
    path = tmp_path / f"log.{ending}"
    text = lines(separator).encode()
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    assert rows_of(read_log(path)) == by_user(ROWS)


def test_other_formats(tmp_path):
    pa.parquet.write_table(TABLE, tmp_path / "log.parquet")
    text = "".join(json.dumps(row) + "\n" for row in TABLE.to_pylist())
    (tmp_path / "log.jsonl").write_text(text)
    (tmp_path / "log.ndjson.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "utf16.csv").write_bytes(codecs.BOM_UTF16_LE + lines(",").encode("utf-16-le"))
    (tmp_path / "mark.csv").write_text(lines(";"), encoding="utf-8-sig")
    (tmp_path / "spaced.csv").write_text(lines(",", ("user_id", " item_id", " timestamp")))
    for path in tmp_path.iterdir():
        assert rows_of(read_log(path)) == by_user(ROWS), path


@pytest.mark.parametrize("source", [TABLE, Frame(), Stream(), TABLE.to_pydict()])
def test_tables_in_memory(source):
    assert rows_of(load_log(source)) == by_user(ROWS)
    assert load_log(source).fingerprint() == Events.from_columns(*zip(*ROWS)).fingerprint()
    labels = load_labels(source, "item_id")
    assert labels.values.tolist() == [item for _, item, _ in ROWS]


def test_columns_that_are_not_read_may_hold_anything():
    mixed = {**TABLE.to_pydict(), "note": [1, "a", object()]}
    assert rows_of(load_log(mixed)) == by_user(ROWS)
    with pytest.raises(InputError, match="one type and one length. Received: the dict"):
        load_labels(mixed, "note")


def test_text_as_polars_holds_it():
    views = [pa.array(c).cast(pa.string_view()) for c in (list("aab"), list("xyx"), list("123"))]
    table = pa.table(dict(zip(("user_id", "item_id", "timestamp"), views)))
    table = table.append_column("event_type", pa.array(["buy", "no", "buy"]).cast(pa.string_view()))
    assert rows_of(load_log(table, events="buy")) == [("a", "x", 1), ("b", "x", 3)]
    assert load_labels(table, "event_type").values.tolist() == ["buy", "no", "buy"]


def test_columns_by_other_names(tmp_path):
    expected = by_user([*ROWS, *ROWS])
    as_dict = dict(part.split("=") for part in COLUMNS.split(","))
    for columns in (COLUMNS, as_dict):
        assert rows_of(read_log(RENAMED, columns)) == by_user(ROWS)
        assert rows_of(read_log(TABLE, columns)) == by_user(ROWS)  # by their own names
    (tmp_path / "a.csv").write_text(lines(",", ("userId", "movieId", "ts")))
    (tmp_path / "b.tsv").write_text(lines("\t"))
    assert rows_of(read_log([tmp_path / "a.csv", tmp_path / "b.tsv"], COLUMNS)) == expected
    table = pa.table({"user_id": ["a", "b"], "member": ["c", "d"], "sex": ["F", "M"]})
    assert read_labels(table, "sex", "user_id=member").user_ids.tolist() == ["c", "d"]


def test_several_files_are_one_log(tmp_path):
    for n, row in enumerate(ROWS):
        (tmp_path / f"day{n}.csv").write_text(lines(",", rows=[row]))
    pa.parquet.write_table(TABLE, tmp_path / "more.parquet")
    log = load_log(str(tmp_path / "day*.csv"))
    assert rows_of(log) == by_user(ROWS) and log.name == "day0.csv and 2 more"
    log = load_log([str(tmp_path / "day?.csv"), tmp_path / "more.parquet"])
    assert rows_of(log) == by_user([*ROWS, *ROWS])


def test_days_of_dates_and_of_milliseconds_are_on_one_clock(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(
        lines(",", rows=[("a", "x", "2026-01-31"), ("b", "x", "2026-02-01")])
    )
    (tmp_path / "b.csv").write_text(lines(",", rows=[("a", "y", 1_769_860_800_000)]))
    log = read_log(str(tmp_path / "*.csv"))
    assert log.timestamps.tolist() == [1_769_817_600, 1_769_860_800, 1_769_904_000]
    assert "seconds and milliseconds are all read as seconds" in capsys.readouterr().err


def test_events_and_weights():
    table = TABLE.append_column("event_type", pa.array(["buy", "view", " buy "]))
    table = table.append_column("value", pa.array([2.5, 1, 0]))
    for more, renames in ((table, None), (_renamed(table, "what"), "event_type=what")):
        log = read_log(more, renames, ["buy", "view"], "value")
        assert rows_of(log) == by_user(ROWS) and log.weights.tolist() == [0, 2.5, 1]
    assert log.fingerprint() != read_log(table).fingerprint()
    log = read_log(table.append_column("x", pa.array("abc")), events="view,buy")
    assert len(log) == 3 and log.weights is None
    part = read_log(table, weight_column="value").select(np.array([True, False, True]))
    assert part.weights.tolist() == [0, 1]


def _renamed(table, name):
    return table.rename_columns([name if n == "event_type" else n for n in table.column_names])


def test_what_was_read_is_said_in_one_line(tmp_path, capsys):
    rows = [("a", "x", 1_769_860_800 + n // 2, "t", 5) for n in range(4)]
    rows.append(("b", "x", 1_772_000_000, "t", 5))
    (tmp_path / "log.csv").write_text(
        lines(",", ("user_id", "item_id", "timestamp", "title", "rating"), rows)
    )
    log = read_log(tmp_path / "log.csv")
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(
        f"reading {tmp_path / 'log.csv'} ... 5 rows; 3 events of 2 users and 1 items, "
        "2026-01-31 to 2026-02-25; 2 exact duplicates dropped; not read: title, rating, "
    )
    assert len(log) == 3


def test_equal_rows_of_a_coarse_clock_are_kept(capsys):
    for time in ("2026-01-31", 7):
        log = read_log({"user_id": list("aab"), "item_id": list("xxy"), "timestamp": [time] * 3})
        assert len(log) == 3
        assert "1 repeat user, item and time, and are kept" in capsys.readouterr().err


TWO = "user_id,item_id,timestamp\na,x,1\nb,y,2\n"


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("a.csv", "user_id:item_id\na:b\n", {}, "one column `user_id`.*its separator should"),
        ("a.csv", "196,242,881250949\n1,2,3\n", {}, "names of the columns seems to be missing"),
        (
            "a.csv",
            "userId,movieId,date\n",
            {},
            r"try --columns user_id=userId,item_id=movieId,timestamp=date\.",
        ),
        ("a.csv", TWO, {"columns": "user_id=uid,item=x"}, "Received: item=x"),
        ("a.csv", TWO, {"columns": "userId=user_id"}, "other way round: user_id=userId"),
        ("a.csv", TWO, {"columns": "user_id"}, "given like user_id=userId"),
        (
            "a.csv",
            TWO.replace("user_id", "u"),
            {"columns": "user_id=uid"},
            "one column `uid` or `user_id`",
        ),
        ("a.csv", TWO, {"events": "buy"}, "one column `event_type`"),
        ("a.csv", TWO, {"events": ""}, "`events` should name at least one"),
        (
            "a.csv",
            TWO,
            {"events": "buy", "columns": "event_type=item_id"},
            "among the values of item_id: x, y. Received: buy",
        ),
        ("a.csv", TWO, {"weight_column": "item_id"}, "`weight_column` should hold numbers"),
        ("a.csv", TWO.replace("x,1", "x,-1"), {"weight_column": "timestamp"}, "-1 in row 1"),
        ("a.csv", TWO.encode() + b"\xe9,x,3\n", {}, "row 3 is not; if it is Latin-1, try iconv"),
        ("a.csv", TWO.encode("utf-16-le"), {}, "try iconv -f UTF-16LE -t UTF-8"),
        ("a.jsonl", "[1]\n", {}, "one JSON object a line"),
        ("a.jsonl", '{"user_id": "a"}\n', {}, "one column `item_id`"),
        ("a.jsonl", "{\n", {}, "readable JSON file"),
        ("a.xlsx", "", {}, "should end in one of .csv, .tsv"),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, name, content, arguments, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_log(path, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "at least one file"),
        (3, "a file, a glob, several of them, or a table.*Received: int"),
        ({"user_id": ["a"], "item_id": []}, "one type and one length"),
        (RENAMED, "the Table with the columns userId, movieId, ts; try --columns user_id=userId,"),
        ("gone*.csv", "match files. Received: gone"),
        (".", "the folder .; name what is in it"),
    ],
)
def test_mistakes_in_sources_are_named(source, message):
    with pytest.raises(InputError, match=message):
        load_log(source)


def test_what_looks_wrong_is_said(capsys):
    read_log({"user_id": ["a", "b"], "item_id": [" x", "y"], "timestamp": [1, 2]})
    assert "1 item ids begin or end with white space, such as ' x'" in capsys.readouterr().err


@pytest.mark.parametrize("clock", ["seconds", "positions"])
def test_swapped_columns_are_told(clock):
    rng = np.random.default_rng(0)
    users, sessions, events, items = 400, 6, 5, 120
    start = 1_700_000_000 + rng.uniform(0, 1e7, (users, sessions, 1))
    times = np.sort(start, axis=1) + rng.exponential(60, (users, sessions, events)).cumsum(-1)
    times = times.reshape(users, -1).astype(int)
    if clock == "positions":
        times = np.tile(np.arange(times.shape[1]), (users, 1))
    who = np.repeat(np.arange(users), times.shape[1])
    what = (items * rng.random(len(who)) ** 2).astype(int)
    assert not looks_swapped(Events.from_columns(who, what, times.ravel()))
    assert looks_swapped(Events.from_columns(what, who, times.ravel()))


def turned(log):
    return Events.from_columns(log.item_ids[log.items], log.user_ids[log.users], log.timestamps)


@pytest.mark.parametrize("name", ["amazon/*.csv.gz", *slow("kuairand/events.parquet")])
def test_real_logs_do_not_look_swapped(name):
    found = [path for folder in SHARED for path in sorted(folder.glob(name))]
    if not found:
        pytest.skip("the data is not here")
    for path in found:
        assert not looks_swapped(read_log(path))
    if "amazon" in name:
        assert looks_swapped(turned(read_log(found[0])))


@pytest.mark.slow  # as the logs of Amazon do
def test_movielens_does_not_look_swapped_and_is_told_if_it_is():
    found = [folder / "movielens-1m" for folder in SHARED if (folder / "movielens-1m").is_dir()]
    if not found:
        pytest.skip("the data is not here")
    log = MovieLens("1m", found[0]).domain("action")
    assert not looks_swapped(log)
    assert looks_swapped(turned(log))
