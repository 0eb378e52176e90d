"""Features of items: words and categories of a table's columns."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.item_features import FEATURES, ItemFeatures, read_items


def features(*cells):
    return ItemFeatures.from_columns([f"i{n}" for n in range(len(cells))], {"text": cells})


def likeness(found):
    return (found.matrix @ found.matrix.T).toarray()


def test_items_of_the_same_words_are_alike():
    found = likeness(features("Blue Moon", "moon, BLUE!", "red sun", "blue sun", None))
    np.testing.assert_allclose(np.diag(found), [1, 1, 1, 1, 0], atol=1e-6)
    assert found[0, 1] == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(0.0)
    assert 0 < found[0, 3] < 1


def test_rare_words_count_more():
    found = likeness(features("a rare", "b rare", "a x", "a y", "a z", "w"))
    assert found[0, 1] > found[0, 2] > 0


def test_the_same_word_in_two_columns_is_two():
    columns = {"one": ["war", "peace"], "two": ["peace", "war"]}
    found = likeness(ItemFeatures.from_columns(["a", "b"], columns))
    assert abs(found[0, 1]) < 1e-6


def test_a_file_is_read_with_all_of_its_columns(tmp_path):
    (tmp_path / "items.csv").write_text("movieId,genres,year\n7,Drama|War,1994\n9,Comedy,1994\n")
    found = read_items(tmp_path / "items.csv", "item_id=movieId")
    assert found.item_ids.tolist() == ["7", "9"]
    assert found.matrix.shape == (2, FEATURES) and found.matrix[0].nnz >= 2
    again = read_items(tmp_path / "items.csv", "item_id=movieId")
    assert found.fingerprint() == again.fingerprint()


def test_what_cannot_be_used_is_one_clear_line(tmp_path):
    (tmp_path / "bare.csv").write_text("item_id\n1\n2\n")
    with pytest.raises(InputError, match="`items` should have columns beside `item_id`"):
        read_items(tmp_path / "bare.csv")
    (tmp_path / "twice.csv").write_text("item_id,genre\n1,a\n1,b\n")
    with pytest.raises(InputError, match="should have one row for each item"):
        read_items(tmp_path / "twice.csv")


def test_vectors_are_features_beside_words():
    vectors = [[1.0, 0.0], [0.9, 0.1], [-1.0, 0.5], None]
    found = ItemFeatures.from_columns(
        list("abcd"), {"genre": ["x", "y", "z", "x"], "text": vectors}
    )
    assert found.matrix.shape == (4, FEATURES + 2)
    like = likeness(found)
    assert like[0, 1] > 0.5 > 0 > like[0, 2] and like[0, 3] == pytest.approx(1.0)
    assert like[0, 0] == pytest.approx(2.0, abs=1e-5)
