"""Item strings and ids, in memory, on disk and inside TensorFlow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_text import items_of
from keras_peterrec.log.id_text import check_ids, written
from keras_peterrec.log.vocabulary import Vocabulary

words = st.text(min_size=1, max_size=6).filter(
    lambda text: text.split() == [text] and "\0" not in text and text.isprintable()
)


def test_source_ids_start_after_the_special_ones():
    vocabulary = Vocabulary(["b", "a", "ü"])
    assert vocabulary.encode(["a", "b", "ü", "?"]).tolist() == [5, 4, 6, 1]
    assert vocabulary.encode(["b"]).dtype == np.int32
    assert vocabulary.decode([6, 4]).tolist() == ["ü", "b"]
    assert len(vocabulary) == 7


def test_target_ids_start_at_zero_and_unknown_items_get_minus_one():
    vocabulary = Vocabulary(["b", "a"], special_ids=False)
    assert vocabulary.encode(["a", "b", "?"]).tolist() == [1, 0, -1]
    assert vocabulary.decode([[1, 0]]).tolist() == [["a", "b"]]
    assert len(vocabulary) == 2


def test_its_repr_says_what_it_holds():
    assert repr(Vocabulary(["b", "a"])) == "Vocabulary(items=2, first='b', special_ids=True)"


def test_no_items_give_no_ids():
    assert Vocabulary(["a"]).encode([]).tolist() == []


@settings(max_examples=25, deadline=None)
@given(counts=st.dictionaries(words, st.integers(1, 5), min_size=1), minimum=st.integers(0, 5))
def test_sorts_by_falling_count_then_by_name(counts, minimum):
    kept = [item for item, count in counts.items() if count >= minimum]
    if not kept:
        with pytest.raises(InputError, match="`min_count` should leave at least one item"):
            Vocabulary.from_counts(list(counts), list(counts.values()), min_count=minimum)
        return
    vocabulary = Vocabulary.from_counts(list(counts), list(counts.values()), min_count=minimum)
    assert vocabulary.items.tolist() == sorted(kept, key=lambda item: (-counts[item], item))


def test_does_not_depend_on_the_order_of_the_counts():
    items, counts = np.array(["c", "a", "d", "b"], object), np.array([2, 2, 9, 2])
    shuffled = [2, 0, 3, 1]
    one = Vocabulary.from_counts(items, counts)
    other = Vocabulary.from_counts(items[shuffled], counts[shuffled])
    assert one.items.tolist() == other.items.tolist() == ["d", "a", "b", "c"]


@settings(max_examples=15, deadline=None)
@given(items=st.lists(words, min_size=1, unique=True), special_ids=st.booleans())
def test_round_trip_through_the_file(items, special_ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "items.txt"
    vocabulary = Vocabulary(items, special_ids)
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded.items.tolist() == items and loaded.special_ids == special_ids
    assert [file.name for file in path.parent.iterdir()] == ["items.txt"]
    # The table that goes into a SavedModel gives the same ids.
    table = loaded.lookup_table(path)
    asked = [*items, "not in it"]
    import tensorflow as tf

    assert table.lookup(tf.constant(asked)).numpy().tolist() == vocabulary.encode(asked).tolist()
    assert vocabulary.decode(vocabulary.encode(items)).tolist() == items


NOT_IDS = "`items` should be ids that are not empty and have no line break."


def test_a_history_holds_items_without_their_white_space(tmp_path):
    items = ["New York", "50%", "a\u00a0b\tc"]
    assert [written(item) for item in items] == ["New%20York", "50%", "a%C2%A0b%09c"]
    vocabulary = Vocabulary(items)
    assert vocabulary.has_separators and not Vocabulary(["50%"]).has_separators
    vocabulary.save(tmp_path / "items.txt")
    assert Vocabulary.load(tmp_path / "items.txt").items.tolist() == items
    vocabulary.save_written(tmp_path / "written.txt")
    lines = (tmp_path / "written.txt").read_text().split("\n")
    assert lines[4:] == ["New%20York", "50%", "a%C2%A0b%09c", ""]


@given(st.lists(st.text(), unique=True, min_size=1))
def test_allowed_ids_are_read_back_from_a_history(ids):
    try:
        check_ids(ids, "ids")
    except InputError:
        return
    texts = [written(id_) for id_ in ids]
    assert items_of(" ".join(texts)) == texts and len(set(texts)) == len(ids)
    plain = [id_ for id_ in ids if id_.split() == [id_] and not {"@", ";"} & {*id_}]
    assert [written(id_) for id_ in plain] == plain


@pytest.mark.parametrize(
    "items, message",
    [
        ([], "`items` should hold at least one item. Received: none."),
        (["a", "b", "a"], "`items` should all be different. Received: 'a' more than once."),
        (["a", ""], f"{NOT_IDS} Received: ''."),
        (["a b\n"], f"{NOT_IDS} Received: 'a b\\n'."),
        (["a", "\u2028"], f"{NOT_IDS} Received: '\\u2028'."),
        (
            ["a b", "a%20b"],
            "`items` should differ also where they are written as in 'a%20b'. "
            "Received: 'a b' and 'a%20b'.",
        ),
    ],
)
def test_items_that_cannot_be_told_apart_raise(items, message):
    with pytest.raises(InputError) as info:
        Vocabulary(items)
    assert str(info.value) == message


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\n", b"a\n\n", b"a\na\n"])
def test_a_file_that_is_not_a_vocabulary_raises(content, tmp_path):
    path = tmp_path / "vocabulary.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as info:
        Vocabulary.load(path)
    assert "\n" not in str(info.value)


def test_decoding_special_ids_raises():
    with pytest.raises((InputError, IndexError)):
        Vocabulary(["a", "b", "c", "d", "e"]).decode([1])
