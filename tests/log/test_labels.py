"""Labels of users: what is kept, what is refused."""

import gzip

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.labels import Labels, read_labels


def as_dict(labels):
    return dict(zip(*(column.tolist() for column in labels.one_each())))


def sets_of(labels):
    users, sets = labels.sets()
    return dict(zip(users.tolist(), sets))


@given(st.lists(st.integers(-99, 99), min_size=2, unique=True))
def test_numbers_are_ordered_as_numbers(numbers):
    labels = Labels.from_columns(range(len(numbers)), numbers, "n")
    assert [int(name) for name in labels.order(labels.values)] == sorted(numbers)


@given(st.permutations(["level 2", "level 10", "level 9", "basic"]))
def test_numbers_inside_names_are_ordered_as_numbers(names):
    labels = Labels.from_columns(range(4), names, "level")
    assert labels.order(labels.values) == ["basic", "level 2", "level 9", "level 10"]


@given(st.dictionaries(st.integers(0, 50), st.sampled_from("abc"), min_size=1))
def test_rows_without_a_label_are_dropped_and_repeats_counted_once(wanted):
    users = [*wanted, *wanted, 100, 101]
    values = [*wanted.values(), *wanted.values(), None, " "]
    labels = Labels.from_columns(users, values, "letter")
    assert as_dict(labels) == {str(user): value for user, value in wanted.items()}
    assert len(labels) == 2 * len(wanted)


@given(st.dictionaries(st.integers(0, 9), st.sets(st.sampled_from("abcd"), min_size=1), min_size=1))
def test_several_labels_in_cells_or_rows_are_the_same_sets(wanted):
    cells = [" | ".join(sorted(names)) for names in wanted.values()]
    rows = [(user, name) for user, names in wanted.items() for name in names]
    lists = pa.array([sorted(names) for names in wanted.values()])
    expected = {str(user): names for user, names in wanted.items()}
    for users, values in ((list(wanted), cells), zip(*rows), (list(wanted), lists)):
        assert sets_of(Labels.from_columns(users, values, "topics")) == expected


def test_a_user_may_be_known_to_have_no_label_of_several():
    labels = Labels.from_columns("abcd", ["x|y", "|", None, "y|"], "topics")
    assert sets_of(labels) == {"a": {"x", "y"}, "b": set(), "d": {"y"}}


def test_given_classes_keep_their_order_and_lose_what_nobody_has():
    labels = Labels.from_columns(
        "abc", ["56+", "under 18", "56+"], "age", ["under 18", "18-24", "56+"]
    )
    assert labels.order(labels.values) == ["under 18", "56+"]
    with pytest.raises(InputError, match="`classes` should name every label of `age`.*'66\\+'"):
        labels.order(["under 18", "66+"])


@pytest.mark.parametrize(("found", "received"), [([], "none"), (["x"], "x")])
def test_fewer_than_two_labels_are_no_order(found, received):
    labels = Labels.from_columns(["a", "b"], ["x", "x"], "sex")
    with pytest.raises(InputError, match=f"`sex` .*two different labels. Received: {received}."):
        labels.order(found)


def test_two_labels_of_one_user_are_refused_where_there_is_one_each():
    labels = Labels.from_columns(["a", "b", "a"], ["x", "y", "y"], "sex")
    with pytest.raises(InputError, match="unless the kind of the task is multilabel.*'x' and 'y'"):
        labels.one_each()
    assert sets_of(labels) == {"a": {"x", "y"}, "b": {"y"}}


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.string(), 2),
    ],
    ids=str,
)
def test_lists_of_labels_in_parquet(kind, tmp_path):
    lists = pa.array([["sports", "news"], ["news", None], None, ["music", "sports"]])
    users = pa.array(["a", "b", "c", "d"])
    table = pa.table({"user_id": users, "topics": lists.cast(kind)})
    if pa.types.is_fixed_size_list(kind) and int(pa.__version__.partition(".")[0]) < 26:
        pytest.skip("pyarrow 25 neither writes nor reads such lists where one is missing")
    pa.parquet.write_table(table, tmp_path / "users.parquet")
    labels = read_labels(tmp_path / "users.parquet", "topics")
    assert sets_of(labels) == {"a": {"sports", "news"}, "b": {"news"}, "d": {"music", "sports"}}


def test_lists_of_numbers_are_labels_too():
    labels = Labels.from_columns(["a", "b"], [[3, 10], [3]], "rooms")
    assert sets_of(labels) == {"a": {"3", "10"}, "b": {"3"}}
    assert labels.order({"10", "3"}) == ["3", "10"]


def test_an_empty_list_is_a_missing_label():
    assert sets_of(Labels.from_columns(["a", "b"], [["x"], []], "topics")) == {"a": {"x"}}


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
    ("users", "values", "message"),
    [
        ([], [], "`user_ids` should not be empty"),
        (["a", "b"], ["x"], "one length. Received: 2 and 1"),
        (["a", "b\nc"], ["x", "y"], "`user_ids`.*line break"),
        (["a", "b"], [None, ""], "`sex` should have labels. Received: none in any row."),
        (["a", "b"], ["x", 3], "`sex` should be a column of values of one type"),
    ],
)
def test_bad_labels_are_refused(users, values, message):
    with pytest.raises(InputError, match=message) as caught:
        Labels.from_columns(users, values, "sex")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("a.csv", "sex", "one column `sex`. Received: .*a.csv with .*user_id, gender, age"),
        ("a.csv", "user_id", "`column` should hold labels"),
        ("a.csv", "age", "a.csv: `age` should have labels"),
        ("b.csv", "gender", "file that exists"),
        ("a.xls", "gender", "should end in one of"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, column, message):
    (tmp_path / "a.csv").write_text("user_id,gender,age\na,F,\nb,F,\n")
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / name, column)


WORDS = ["N/A", "NA", "null", "None", "unknown", "-", "nan", " n/a ", "", None]


def test_words_for_a_missing_value_are_no_labels_unless_they_are_kept(tmp_path, capsys):
    users = {"user_id": [f"u{n}" for n in range(13)], "sex": ["F", "M", "F", *WORDS]}
    found = read_labels(users, "sex")
    assert found.values.tolist() == ["F", "M", "F"]
    [said] = [line for line in capsys.readouterr().err.splitlines() if "missing" in line]
    for part in ("the dict", "8 rows of sex", "N/A 1", "unknown 1", "- 1", "--keep-missing-words"):
        assert part in said
    kept = read_labels(users, "sex", keep_missing_words=True)
    assert kept.values.tolist() == ["F", "M", "F", *(word.strip() for word in WORDS[:8])]
    assert "missing" not in capsys.readouterr().err
    (tmp_path / "users.csv").write_text("user_id,spend\na,3\nb,N/A\nc,4.5\n")
    assert read_labels(tmp_path / "users.csv", "spend").values.tolist() == ["3", "4.5"]
    with pytest.raises(InputError, match="should have labels"):
        read_labels({"user_id": ["a", "b"], "sex": ["-", "NA"]}, "sex")
