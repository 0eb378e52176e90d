"""Files are whole or not there, whatever happens while they are written."""

import pytest

from keras_peterrec.files.atomic_write import replacing, write_csv, write_text


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "metrics.json"
    write_text(path, "old\n")
    with pytest.raises(ZeroDivisionError):
        with replacing(path) as beside:
            beside.write_text("half")
            assert path.read_text() == "old\n"  # what a reader sees meanwhile
            raise ZeroDivisionError
    assert path.read_text() == "old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_rows_with_other_keys_fit_the_columns_of_a_table(tmp_path):
    write_csv(tmp_path / "table.csv", ["a", "b"], [{"a": 1, "c": 3}, {"b": "x,y"}])
    assert (tmp_path / "table.csv").read_bytes() == b'a,b\n1,\n,"x,y"\n'
