"""Rows that lack an id or a time, or whose time is far from all others: named, or left out."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from prepared_samples import contents

from keras_peterrec.errors import InputError
from keras_peterrec.log.clocks import is_fine, strays, unit_of
from keras_peterrec.log.item_features import read_items
from keras_peterrec.log.labels import read_labels
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.read_log import Reading, read_log
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.splits import find_periods
from keras_peterrec.runs.prepare import prepare

START = 1_704_700_000
HEAD = "userId,item_id,ts\n"
COLUMNS = "user_id=userId,timestamp=ts"


def lines(count=40, unit=1):
    rows = [f"u{n % 7},i{n % 5},{(START + 500 * n) * unit}" for n in range(count)]
    return "".join(f"{row}\n" for row in rows)


def written(path, text):
    path.write_text(text)
    return path


def rows_of(log):
    users, items = log.user_ids[log.users].tolist(), log.item_ids[log.items].tolist()
    return [*zip(users, items, log.timestamps.tolist())]


def said_about(capsys, word):
    return [line for line in capsys.readouterr().err.splitlines() if word in line]


def test_a_half_written_last_line_is_doubted_and_the_others_tell_the_clock(tmp_path, capsys):
    path = written(tmp_path / "log.csv", HEAD + lines() + "u3,i2,1704720")
    log = read_log(path, COLUMNS)
    assert len(log) == 41 and unit_of(log.timestamps) == "seconds"
    err = capsys.readouterr().err
    [doubt] = [line for line in err.splitlines() if "far from" in line]
    for part in (str(path), "ts 1704720 in row 41", "1704700000 to 1704719500", "half-written"):
        assert part in doubt
    assert "2024-01-08 to 2024-01-08" in err
    dropped = read_log(path, COLUMNS, drop_bad_rows=True)
    left_out = ("u3", "i2", 1704720)
    assert rows_of(dropped) == [row for row in rows_of(log) if row != left_out]
    [doubt] = said_about(capsys, "far from")
    assert doubt.endswith("left out")


def test_a_whole_file_without_a_last_end_of_line_is_no_doubt(tmp_path, capsys):
    path = written(tmp_path / "log.csv", (HEAD + lines()).removesuffix("\n"))
    read_log(path, COLUMNS)
    [said] = capsys.readouterr().err.splitlines()
    assert "no end of line at the end of log.csv" in said
    read_log(written(tmp_path / "log.csv", HEAD + lines()), COLUMNS)
    assert "no end of line" not in capsys.readouterr().err


SECONDS = np.arange(2_000) * 50_000 + 1_600_000_000
DAYS = np.arange(2_000) + 15_000


@pytest.mark.parametrize(
    ("times", "away"),
    [
        (SECONDS, [0]),
        (SECONDS, [170_471_991]),  # a digit less
        (SECONDS * 1000, [SECONDS[5]]),
        (SECONDS, [253_402_214_400, 0]),  # 9999-12-31
        (SECONDS / 3, [1.5e12]),
        (DAYS, [20_240_101]),
        (SECONDS, []),
        (np.arange(2_000), []),  # positions
        (np.arange(2_000) + 1_000, []),
        (np.r_[np.arange(1, 10).repeat(300), 200], []),
        (np.r_[SECONDS, SECONDS[::50] * 1000], []),  # too many for an accident
        (SECONDS[:2], []),
    ],
)
def test_a_few_times_far_from_all_others_are_strays(times, away):
    both = np.r_[times, np.array(away, np.asarray(times).dtype)]
    found = strays(both)
    assert both[found].tolist() == away and not found[: len(times)].any()
    assert unit_of(both) == unit_of(times)


def test_a_stray_does_not_make_a_clock_of_days_fine():
    days = np.append(np.arange(100) * 86_400 + 86_400 * 19_000, 1_704_720)
    assert unit_of(days) == "seconds" and not is_fine(days, "seconds")


def test_a_prepared_log_has_the_clock_of_the_others_too(tmp_path, capsys):
    path = written(tmp_path / "log.csv", HEAD + lines(400, 1000) + "u3,i2,1704720\n")
    log = read_log(path, COLUMNS)
    plan = Plan.of(str(path), shards=1, reading=Reading(COLUMNS))
    prepare_in_process(str(path), plan, tmp_path / "out")
    assert len(said_about(capsys, "far from")) == 2
    found = PreparedLog(tmp_path / "out")
    assert sorted(rows_of(found.log())) == sorted(rows_of(log))
    assert found.times() == (START * 1000, (START + 500 * 399) * 1000)
    split = "time:2024-01-10T01:00"
    wanted = find_periods(log, split).events(log)
    ours = find_periods(found, split).events(found.read(range(1), times=True))
    assert sorted(ours.trained) == sorted(wanted.trained)
    prepare(str(path), tmp_path / "dropped", columns=COLUMNS, drop_bad_rows=True)
    assert len(load_log(tmp_path / "dropped")) == 400


BAD = "u1,,1704700000\n ,i1,1704700000\nu1,i1,\n,i4,1704700001\n,i5,1704700001\n,i5,9\n"


def test_rows_without_an_id_are_named_by_the_files_own_column(tmp_path):
    path = written(tmp_path / "log.csv", HEAD + lines(20) + BAD)
    with pytest.raises(InputError) as caught:
        read_log(path, COLUMNS)
    text = str(caught.value)
    for part in (
        "`userId`",
        "none in 4 rows (22, 24, 25, ...) of 26",
        "--drop-bad-rows",
        "log.csv",
    ):
        assert part in text
    assert "\n" not in text
    good = written(tmp_path / "good.csv", HEAD + lines(20))
    with pytest.raises(InputError, match=r"`item_id`.*none in 1 row \(21\) of 21"):
        read_log(written(tmp_path / "b.csv", HEAD + lines(20) + BAD.split("\n")[0]), COLUMNS)
    with pytest.raises(InputError, match=r"`userId`.*none in 4 rows \(log.csv:22, log.csv:24, "):
        read_log([good, path], COLUMNS)
    with pytest.raises(InputError, match="`userId`.*none in 4 rows"):
        Plan.of(str(path), reading=Reading(COLUMNS)) and prepare(
            str(path), tmp_path / "out", columns=COLUMNS
        )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_bad_rows_are_left_out_with_their_count(tmp_path, capsys, ending):
    good = read_log(written(tmp_path / "good.csv", HEAD + lines(20)), COLUMNS)
    path = written(tmp_path / "log.csv", HEAD + lines(10) + BAD + lines(20)[len(lines(10)) :])
    if ending == "parquet":
        table = pa.csv.read_csv(path)
        pa.parquet.write_table(table, path := tmp_path / "log.parquet")
    capsys.readouterr()
    found = read_log(path, COLUMNS, drop_bad_rows=True)
    assert rows_of(found) == rows_of(good)
    err = capsys.readouterr().err
    for part in ("4 rows (12, 14, 15, ...) without userId", "1 row (11) without item_id"):
        assert part in err
    assert "1 row (13) without ts" in err and "26 rows; 20 events" in err
    for name, place in (("good", tmp_path / "good.csv"), ("bad", path)):
        prepare(str(place), tmp_path / name, columns=COLUMNS, drop_bad_rows=True, shards=2)
    ours, wanted = (contents(tmp_path / name) for name in ("bad", "good"))
    assert {n: ours[n] for n in ours if "tfrecord" not in n and n != "prepared.json"} == {
        n: wanted[n] for n in wanted if "tfrecord" not in n and n != "prepared.json"
    }
    assert rows_of(load_log(tmp_path / "bad")) == rows_of(load_log(tmp_path / "good"))


def test_rows_of_events_that_are_not_asked_for_may_lack_an_item(tmp_path):
    text = "user_id,item_id,timestamp,event_type\na,x,1,buy\nb,,2,login\nb,y,3,buy\n"
    assert len(read_log(written(tmp_path / "log.csv", text), events="buy")) == 2


def test_a_row_of_fewer_values_is_left_out_too(tmp_path, capsys):
    path = written(tmp_path / "log.csv", HEAD + lines() + "u3,i2")
    with pytest.raises(InputError, match="Expected 3 columns, got 2.*--drop-bad-rows"):
        read_log(path, COLUMNS)
    assert len(read_log(path, COLUMNS, drop_bad_rows=True)) == 40
    assert "left out 1 row with more or fewer values than columns" in capsys.readouterr().err
    prepare(str(path), tmp_path / "out", columns=COLUMNS, drop_bad_rows=True)
    assert len(load_log(tmp_path / "out")) == 40


def test_labels_and_items_without_an_id(tmp_path, capsys):
    path = written(tmp_path / "users.csv", "userId,sex\na,F\n,M\nb,M\n,\n")
    with pytest.raises(InputError, match=r"`userId`.*none in 1 row \(2\) of 4"):
        read_labels(path, "sex", "user_id=userId")
    found = read_labels(path, "sex", "user_id=userId", drop_bad_rows=True)
    assert found.user_ids.tolist() == ["a", "b"]
    assert "left out 1 row (2) without userId" in capsys.readouterr().err
    written(path, "userId,sex\na,F\nb,M\n,\n")  # as spreadsheets end their files
    assert len(read_labels(path, "sex", "user_id=userId")) == 2
    path = written(tmp_path / "items.csv", "item_id,title\nx,one\n,two\n")
    with pytest.raises(InputError, match=r"`item_id`.*none in 1 row \(2\) of 2"):
        read_items(path)
    assert read_items(path, drop_bad_rows=True).item_ids.tolist() == ["x"]


def test_ids_that_a_library_made_floats_of_are_told_how_to_become_integers():
    table = {"user": [1.0, 2.0, None], "item_id": ["a", "b", "c"], "timestamp": [1, 2, 3]}
    with pytest.raises(InputError, match=r'`user`.*double.*frame\["user"\].astype\("Int64"\)'):
        read_log(table, "user_id=user")


class LazyFrame:
    def collect(self):
        raise NotImplementedError


def test_a_query_that_has_not_run_is_told_to(tmp_path):
    with pytest.raises(InputError, match=r"Received: LazyFrame; \.collect\(\) makes a table"):
        read_log(LazyFrame())
