"""What a person hands over as histories, in every form."""

import numpy as np
import pyarrow as pa
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.histories import Histories
from keras_peterrec.log.vocabulary import Vocabulary

WANTED = ["i1 i2", "", "i3"]
VOCABULARY = Vocabulary(["i1", "i2", "i3", "New York", "001", "1", "4", "004"])
EVENTS = {
    "user_id": ["ann", "bob", "ann"],
    "item_id": ["i2", "i3", "i1"],
    "timestamp": [2, 1, 1],
}


class Series(list):
    """What pandas and polars have in common here: a column that can be iterated over."""

    shape, ndim, dtype = (3,), 1, object


class Table(dict):
    """A DataFrame with one column of histories."""

    @property
    def columns(self):
        return list(self)


@pytest.mark.parametrize(
    "given",
    [
        WANTED,
        tuple(WANTED),
        Series(WANTED),
        np.array(WANTED),
        np.array(WANTED, object),
        pa.array(WANTED),
        [["i1", "i2"], [], ["i3"]],
        [("i1", "i2"), None, np.array(["i3"])],
        [["i1", "i2"], float("nan"), "i3"],
        np.array([["i1", "i2"], ["", ""], ["", "i3"]]),
        pa.array([["i1", "i2"], [], ["i3"]]),
        Table(user_id=[1, 2, 3], history=Series(WANTED)),
        Table(anything=Series([["i1", "i2"], [], ["i3"]])),
        pa.table({"history": WANTED, "age": [1, 2, 3]}),
        {"user_id": ["a", "b", "c"], "history": WANTED},
    ],
)
def test_histories_of_every_form_are_one(given):
    histories = Histories(given)
    assert [text.split() for text in histories.texts()] == [text.split() for text in WANTED]
    assert len(histories) == 3
    ids, counts = histories.ids(VOCABULARY)
    assert ids.tolist() == [[4, 5], [0, 0], [0, 6]]
    assert counts["known_events"].tolist() == counts["events"].tolist() == [2, 0, 1]


def test_one_string_is_one_user():
    assert Histories("i1 i2").ids(VOCABULARY)[0].tolist() == [[4, 5]]


def test_strings_are_ids_also_where_they_are_digits():
    for given in ([["001", "004"]], ["001 004"], np.array([["001", "004"]]), "001 004"):
        ids, counts = Histories(given).ids(VOCABULARY)
        assert ids.tolist() == [[8, 11]] and counts["known_events"].tolist() == [2]
    ids, counts = Histories(["1 4 7"]).ids(VOCABULARY)  # lost zeros are other ids
    assert ids.tolist() == [[9, 10]]
    assert (counts["known_events"].tolist(), counts["events"].tolist()) == ([2], [3])


@pytest.mark.parametrize(
    "given",
    [
        np.array([[0, 0, 4, 1, 6], [0, 0, 0, 0, 5]]),
        np.array([[0, 0, 4, 1, 6], [0, 0, 0, 0, 5]], "uint8"),
        [[4, 1, 6], [5]],
        [np.array([0, 4, 1, 6]), (np.int32(5),)],
    ],
)
def test_integers_are_row_numbers(given):
    histories = Histories(given)
    for vocabulary in (VOCABULARY, None):
        ids, counts = histories.ids(vocabulary)
        assert ids[:, -2:].tolist() == [[4, 6], [0, 5]] and not ids[:, :-2].any()
        assert counts["known_events"].tolist() == [2, 1] and counts["events"].tolist() == [3, 1]
    assert histories.items(VOCABULARY) == [["i1", "i3"], ["i2"]]
    with pytest.raises(InputError, match="should be item ids, which are strings.* Received: integ"):
        histories.texts()


def test_ids_with_white_space():
    for given in ([["New York", "i1"]], ["New%20York i1"]):
        histories = Histories(given)
        assert histories.texts() == ["New%20York i1"]
        assert histories.ids(VOCABULARY)[0].tolist() == [[7, 4]]


def in_memory(events):
    return Events.from_columns(*events.values())


@pytest.mark.parametrize(
    "make", [dict, pa.table, in_memory, lambda events: in_memory(events).encode(VOCABULARY)]
)
def test_a_table_of_events_is_a_history_of_each_user(make):
    histories = Histories(make(EVENTS))
    assert histories.user_ids.tolist() == ["ann", "bob"]
    assert histories.texts() == ["i1 i2", "i3"]


def test_tables_may_be_of_one_user_and_of_other_types():
    one = {"user_id": [7, 7], "item_id": [1, 4], "timestamp": ["2024-01-02", "2024-01-01"]}
    histories = Histories(one)  # integers in a column of ids are ids
    assert histories.user_ids.tolist() == ["7"] and histories.texts() == ["4 1"]
    for name in ("pandas", "polars"):
        library = pytest.importorskip(name)
        assert Histories(library.DataFrame(EVENTS)).texts() == ["i1 i2", "i3"]
        assert Histories(library.Series(WANTED)).texts() == WANTED
        assert Histories(library.DataFrame({"history": WANTED})).texts() == WANTED


def test_the_last_known_events_are_kept():
    ids, counts = Histories(["i1 x i2 y i3 z"]).ids(VOCABULARY, length=2)
    assert ids.tolist() == [[5, 6]] and counts["events"].tolist() == [6]
    assert Histories([[4, 1, 5, 6]]).ids(VOCABULARY, length=2)[0].tolist() == [[5, 6]]
    assert Histories([]).ids(VOCABULARY, length=2)[0].shape == (0, 1)
    assert Histories(["\udcff i1"]).ids(VOCABULARY)[0].tolist() == [[4]]


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (3, "Received: 3."),
        (None, "Received: None."),
        (b"i1", "Received: b'i1'."),
        ([3], "Received: 3 in it."),
        (np.array([4, 5]), "in it."),
        ([[4.0, 5.0]], "Received: 4.0 in it."),
        (np.array([[4.0, 5.0]]), "4.0.* in it."),
        ([["i1", 4]], "Received: 4 in it."),
        ([[True, False]], "Received: True in it."),
        ([["i1"], [4]], "Received: ids in some rows and integers in others."),
        ({"a": [], "b": []}, "Received: a table with a, b."),
        ([{"history": "i1"}], "Received: {'history': 'i1'} in it."),
    ],
)
def test_other_forms_are_one_line(given, came):
    with pytest.raises(
        InputError, match=f"`histories` should be a string of item ids.*{came}"
    ) as e:
        Histories(given)
    assert "\n" not in str(e.value) and len(str(e.value)) < 250


def test_other_mistakes_are_one_line():
    with pytest.raises(
        InputError, match="row numbers of the vocabulary, from 0 to 11.*Received: 12"
    ):
        Histories([[12]]).ids(VOCABULARY)
    with pytest.raises(InputError, match="Received: -1"):
        Histories([[-1]]).ids(None)
    with pytest.raises(
        InputError, match="`histories` should be rows of integers for a task without"
    ):
        Histories(["i1"]).ids(None)
    with pytest.raises(InputError, match="timestamp"):
        Histories({"user_id": ["a"], "item_id": ["b"]})
