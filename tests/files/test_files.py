"""Files are whole or not there; JSON that cannot be read is one clear line; locks let go."""

import json
import multiprocessing

import matplotlib.figure
import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import replacing, save_figure, write_csv, write_text
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_format, read_json, refuse_misfits, write_json


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


def test_a_figure_is_a_png_whatever_its_name(tmp_path):
    save_figure(matplotlib.figure.Figure(), tmp_path / "plot.of.films", dpi=10)
    assert (tmp_path / "plot.of.films").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_json_makes_the_round_trip(tmp_path):
    content = {"classes": ["a", "ü"], "mean": 1 / 3, "patch": None, "rank": np.int64(8)}
    write_json(tmp_path / "task.json", content)
    assert read_json(tmp_path / "task.json", "task") == content
    assert "ü" in (tmp_path / "task.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "`task` should be a folder with task.json. Received: {folder!r}, which has none."),
        ("{", "`task` should hold valid JSON. Received: {file!r}, which is damaged"),
        ("\xff", "`task` should hold valid JSON. Received: {file!r}, which is damaged"),
        ("[]", "`task` should be of format version 2. Received: {file!r}, version None."),
        ('{"format_version": 1}', "format version 2. Received: {file!r}, version 1."),
    ],
)
def test_json_that_cannot_be_read_is_one_clear_line(content, message, tmp_path):
    file = tmp_path / "task.json"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    with pytest.raises(InputError) as info:
        read_format(file, 2, "task")
    assert message.format(folder=str(tmp_path), file=str(file)) in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (
            {"run.json": {"command": "pretrain"}},
            "a run of pretrain that was stopped .* command again",
        ),
        ({"run.json": {"command": "pretrain"}, "metrics.json": {}}, "which has none"),
        (
            {"run.json": {"settings": {"host": "runs/host"}}, "task.json": {}},
            "a task bundle; its host was 'runs/host'",
        ),
        ({"run.json": 3, "task.json": {}}, "a task bundle"),
        (None, "which does not exist"),
    ],
)
def test_a_folder_without_the_file_is_told_what_it_is(files, what, tmp_path):
    folder = tmp_path / "runs"
    for name, content in (files or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"folder with host.json. Received: '{folder}', {what}"):
        read_format(folder / "host.json", 2, "host")


def test_settings_that_do_not_fit_are_one_clear_line():
    with pytest.raises(InputError) as info, refuse_misfits("runs/films", "task"):
        raise ValueError("two\nlines")
    assert str(info.value) == (
        "`task` should hold settings that fit together. "
        "Received: 'runs/films': ValueError: two lines"
    )
    with pytest.raises(InputError, match="^as it was$"), refuse_misfits("runs/films", "task"):
        raise InputError("as it was")


def try_to_lock(folder):
    try:
        with locked(folder):
            return None
    except InputError as error:
        return str(error)


def test_a_folder_is_one_process_own_until_the_block_ends(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as other:
        with pytest.raises(KeyboardInterrupt), locked(tmp_path):
            with locked(tmp_path):  # a process may lock its own folder again
                pass
            assert other.apply(try_to_lock, [tmp_path]) == (
                "`out` should be a folder that no other process works in. "
                f"Received: {str(tmp_path)!r}, where another process does."
            )
            raise KeyboardInterrupt  # as in a notebook's cell
        assert other.apply(try_to_lock, [tmp_path]) is None
