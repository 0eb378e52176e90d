"""Labels of users: what is kept, what is refused."""

import gzip

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_peterrec.data.labels import Labels, read_labels
from keras_peterrec.errors import InputError


def as_dict(labels):
    return dict(zip(labels.user_ids.tolist(), labels.values.tolist()))


@given(st.lists(st.integers(-99, 99), min_size=2, unique=True))
def test_number_classes_are_sorted_as_numbers(numbers):
    labels = Labels.from_columns(range(len(numbers)), numbers, "n")
    assert [int(name) for name in labels.classes] == sorted(numbers)


@given(st.permutations(["level 2", "level 10", "level 9", "basic"]))
def test_numbers_inside_class_names_are_sorted_as_numbers(names):
    labels = Labels.from_columns(range(4), names, "level")
    assert labels.classes == ["basic", "level 2", "level 9", "level 10"]


@given(st.dictionaries(st.integers(0, 50), st.sampled_from("abc"), min_size=1))
def test_rows_without_a_label_are_dropped_and_repeats_counted_once(wanted):
    wanted |= {98: "a", 99: "b"}
    users = [*wanted, *wanted, 100, 101]
    values = [*wanted.values(), *wanted.values(), None, " "]
    labels = Labels.from_columns(users, values, "letter")
    assert as_dict(labels) == {str(user): value for user, value in wanted.items()}
    assert len(labels) == len(wanted)


def test_given_classes_keep_their_order_and_lose_what_nobody_has():
    labels = Labels.from_columns(
        "abc", ["56+", "under 18", "56+"], "age", ["under 18", "18-24", "56+"]
    )
    assert labels.classes == ["under 18", "56+"]


def test_files_of_all_formats_give_the_same_labels(tmp_path):
    text = "user_id,age,gender\n01,30,F\n02,,M\n03,9,\n04,30,F\n"
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text.encode()))
    columns = {
        "user_id": ["01", "02", "03", "04"],
        "gender": ["F", "M", None, "F"],
        "age": [30, None, 9, 30],
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "c.parquet")
    # A whole number next to a missing one is often stored as a float.
    columns["age"] = pa.array([30.0, None, 9.0, 30.0])
    pa.parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    for column, expected in [
        ("gender", {"01": "F", "02": "M", "04": "F"}),
        ("age", {"01": "30", "03": "9", "04": "30"}),
    ]:
        names = ("a.csv", "b.csv.gz", "c.parquet", "d.parquet")
        read = [read_labels(tmp_path / name, column) for name in names]
        assert [as_dict(labels) for labels in read] == [expected] * 4
        assert len({labels.fingerprint() for labels in read}) == 1
        assert read[0].column == column


def test_fingerprint_tells_users_and_labels_apart():
    prints = {
        Labels.from_columns(["a", "b"], ["x", "y"], "c").fingerprint(),
        Labels.from_columns(["a", "c"], ["x", "y"], "c").fingerprint(),
        Labels.from_columns(["a", "b"], ["y", "x"], "c").fingerprint(),
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("users", "values", "classes", "message"),
    [
        ([], [], None, "`user_ids` should not be empty"),
        (["a", "b"], ["x"], None, "one length. Received: 2 and 1"),
        (["a", "b c"], ["x", "y"], None, "`user_ids`.*white space.*'b c'"),
        (["a", "b"], ["x", "x"], None, "`sex`.*at least two classes.*'x'"),
        (["a", "b"], [None, ""], None, "`sex`.*two classes. Received: no labels"),
        (["a", "b", "a"], ["x", "y", "y"], None, "`sex`.*'x' and 'y' for 'a'"),
        (["a", "b"], ["x", 3], None, "`sex` should be a column of values of one type"),
        (["a", "b"], ["x", "y"], ["x", "z"], "`classes`.*a user labelled 'y'"),
    ],
)
def test_bad_labels_are_refused(users, values, classes, message):
    with pytest.raises(InputError, match=message) as caught:
        Labels.from_columns(users, values, "sex", classes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("a.csv", "sex", "one column `sex`. Received: .*a.csv with .*user_id, gender"),
        ("a.csv", "user_id", "`column` should hold labels"),
        ("a.csv", "gender", "a.csv.*at least two classes"),
        ("b.csv", "gender", "file that exists"),
        ("a.tsv", "gender", "should end in one of"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, column, message):
    (tmp_path / "a.csv").write_text("user_id,gender\na,F\nb,F\n")
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / name, column)
