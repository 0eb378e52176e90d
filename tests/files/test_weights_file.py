"""Weights by path on disk: whole or not there, checked before anything changes."""

import io
import pickle
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.files.weights_file import (
    assign_weights,
    read_shapes,
    read_weights,
    write_weights,
)


def variables():
    return {
        "a/kernel": keras.Variable(np.arange(6, dtype="float32").reshape(2, 3)),
        "b": keras.Variable(np.ones(2, "float32")),
    }


def refused(path):
    with pytest.raises(InputError) as info:
        read_weights(path)
    message = str(info.value)
    assert str(path) in message and "\n" not in message and "Received: " in message
    return message


def test_round_trip_is_bitwise(tmp_path):
    tricky = np.array([0.1, -0.0, np.inf, np.nan, 1e-42], "float32")
    write_weights(tmp_path / "w.npz", {**variables(), "tricky/one": tricky})
    arrays = read_weights(tmp_path / "w.npz")
    assert set(arrays) == {"a/kernel", "b", "tricky/one"}
    assert arrays["tricky/one"].tobytes() == tricky.tobytes()
    assert arrays["tricky/one"].dtype == "float32"
    np.testing.assert_array_equal(arrays["a/kernel"], [[0, 1, 2], [3, 4, 5]])


def test_bfloat16_weights_survive(tmp_path):
    saved = keras.Variable(np.array([1.5, -2.0]), dtype="bfloat16")
    write_weights(tmp_path / "w.npz", {"a": saved})
    read = keras.Variable(np.zeros(2), dtype="bfloat16")
    assign_weights({"a": read}, read_weights(tmp_path / "w.npz"), "here")
    assert keras.ops.convert_to_numpy(read).astype("float32").tolist() == [1.5, -2.0]


def test_leaves_only_the_file_and_replaces_an_old_one(tmp_path):
    write_weights(tmp_path / "w.npz", {"a": np.zeros(2)})
    write_weights(tmp_path / "w.npz", {"a": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]
    assert read_weights(tmp_path / "w.npz")["a"].tolist() == [1, 1]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    write_weights(tmp_path / "w.npz", {"a": np.zeros(2)})

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError):
        write_weights(tmp_path / "w.npz", {"a": np.ones(2)})
    assert read_weights(tmp_path / "w.npz")["a"].tolist() == [0, 0]


def test_a_missing_or_empty_or_foreign_file_is_refused(tmp_path):
    refused(tmp_path / "none.npz")
    refused(tmp_path)
    for name, content in {
        "empty": b"",
        "text": b"no archive",
        "zip": b"PK\x03\x04 but not much of one",
        "pickle": pickle.dumps({"a": 1}),
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "w.npy", np.ones(3))
    refused(tmp_path / "w.npy")


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    bomb = np.empty(1, object)
    bomb[0] = Trap()
    np.savez(tmp_path / "w.npz", a=bomb)
    refused(tmp_path / "w.npz")
    assert not (tmp_path / "sprung").exists()


def test_no_damage_goes_unnoticed(tmp_path):
    path = tmp_path / "w.npz"
    write_weights(path, {"a": np.arange(20.0), "b/c": np.ones(3, "float32")})
    whole = path.read_bytes()
    wanted = read_weights(path)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(len(whole))]
        path.write_bytes(damaged)
        try:
            read = read_weights(path)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        # Damage to what the format does not use; names are checked by assign_weights.
        for name in read.keys() & wanted.keys():
            np.testing.assert_array_equal(read[name], wanted[name])


def test_assigns_by_path_whatever_the_order():
    named = variables()
    arrays = {"b": np.array([5.0, 6.0]), "a/kernel": np.zeros((2, 3))}
    assign_weights(named, arrays, "here")
    assert keras.ops.convert_to_numpy(named["b"]).tolist() == [5, 6]
    assert not keras.ops.convert_to_numpy(named["a/kernel"]).any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"b": None}, "`here` should hold the weights of this model. Received: no weight 'b'."),
        ({"c": np.ones(1)}, "Received: an unknown weight 'c'."),
        (
            {"b": np.ones((2, 1))},
            "`here` should hold 'b' of shape (2,). Received: shape (2, 1).",
        ),
        ({"b": np.ones(3)}, "Received: shape (3,)."),
        ({"b": np.array(["x", "y"])}, "Received: "),
        ({"b": np.array([1j, 1j])}, "Received: "),
    ],
    ids=["missing", "unknown", "rank", "shape", "text", "complex"],
)
def test_what_does_not_fit_changes_nothing(change, message):
    named = variables()
    arrays = {"a/kernel": np.full((2, 3), 9.0), "b": np.full(2, 9.0), **change}
    arrays = {path: array for path, array in arrays.items() if array is not None}
    with pytest.raises(InputError) as info:
        assign_weights(named, arrays, "here")
    assert message in str(info.value) and "\n" not in str(info.value)
    for path, variable in variables().items():
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(named[path]), keras.ops.convert_to_numpy(variable)
        )


def header(shape, kind="<f4"):
    """The header of an array that has this shape, or says so."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


@pytest.mark.parametrize("way", ["compressed", "header", "names"])
def test_a_small_file_does_not_take_much_memory(tmp_path, way):
    path = tmp_path / "w.npz"
    if way == "compressed":
        np.savez_compressed(path, a=np.zeros(2**24, "float32"))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", header((2**26,)) + bytes(4))
    if way == "names":  # many entries of one place in the file
        write_weights(path, {"a": np.zeros(2**17, "float32")})
        with zipfile.ZipFile(path, "a") as archive:
            [member] = archive.infolist()
            archive.filelist += [member] * 64
            archive._didModify = True
    tracemalloc.start()
    refused(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**22


def test_shapes_are_read_without_the_values(tmp_path):
    write_weights(tmp_path / "w.npz", {**variables(), "one": np.float32(1)})
    assert read_shapes(tmp_path / "w.npz") == {"a/kernel": (2, 3), "b": (2,), "one": ()}
