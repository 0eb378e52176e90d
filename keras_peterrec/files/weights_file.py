"""Weights on disk, keyed by path: a NumPy archive without pickles.

A small file cannot ask for much memory: what an archive says of its arrays is compared with its
size before any of them is read.
"""

import io
import math
import os
import zipfile
import zlib

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import replacing

_FLOATS = "f", "floating-point numbers"
_MOST_HEADER = 4_096  # bytes of an array's header, of which ours have 128
# What NumPy and Python raise where an archive is damaged, which can then seem to be of another
# version, encrypted or compressed.
DAMAGED = (
    *(ValueError, EOFError, RuntimeError, SyntaxError, OverflowError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)


class Untrue(ValueError):
    """An archive says something else of its arrays than is in the file."""


def write_weights(path, named):
    """Writes `{path: variable or array}` to the file `path`, all of them or nothing."""
    arrays = {name: _plain(weight) for name, weight in named.items()}
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def read_weights(path):
    """Reads `{path: array}`.

    Raises:
        InputError: the file is missing or is no archive of weights.
    """
    return _read(path, lambda file: read_arrays(file, os.fstat(file.fileno()).st_size))


def read_shapes(path):
    """Reads `{path: shape}` of an archive of weights, and nothing of their values.

    Raises:
        InputError: see `read_weights`.
    """
    return _read(path, lambda file: array_shapes(file, os.fstat(file.fileno()).st_size))


def read_arrays(file, size):
    """The arrays of an open archive of `size` bytes, `{name: array}`.

    Raises:
        one of `DAMAGED`: it is none, or it asks for more memory than its size.
    """
    array_shapes(file, size)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def array_shapes(file, size):
    """The shapes of the arrays of an open archive, `{name: tuple}`; see `read_arrays`."""
    with zipfile.ZipFile(file) as archive:  # np.load would take a single array, too
        members = archive.infolist()
        if sum(member.file_size for member in members) > size:
            raise Untrue("an archive that is compressed, or says that it is larger than it is")
        return {m.filename.removesuffix(".npy"): _shape(archive, m) for m in members}


def _shape(archive, member):
    """What an array's header says, where its size is that of its values."""
    with archive.open(member) as file:
        start = io.BytesIO(file.read(_MOST_HEADER))
    version = np.lib.format.read_magic(start)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, _, kind = read(start)
    if start.tell() + math.prod(shape) * kind.itemsize != member.file_size:
        raise Untrue("an array that is not as large as it says")
    return shape


def _read(path, read):
    try:
        with open(path, "rb") as file:
            return read(file)
    except (OSError, *DAMAGED) as error:
        raise InputError(
            f"`{path}` should be an archive of weights. Received: {_reason(error)}. Copy the "
            "folder again from where it is whole, or run the command again that wrote it."
        ) from error


def assign_weights(variables, arrays, source):
    """Assigns arrays to the variables of the same paths, after checking them all.

    Raises:
        InputError: see `check_arrays`; then nothing has been changed.
    """
    check_arrays(variables, arrays, source)
    for path, variable in variables.items():
        variable.assign(arrays[path])


def check_arrays(variables, arrays, source):
    """Refuses arrays that do not fit the variables of their paths; `source` is what messages name.

    Raises:
        InputError: a path is missing or unknown, or a shape differs.
    """
    missing, unknown = sorted(variables.keys() - arrays), sorted(arrays.keys() - variables)
    if missing or unknown:
        problem = f"no weight {missing[0]!r}" if missing else f"an unknown weight {unknown[0]!r}"
        raise InputError(f"`{source}` should hold the weights of this model. Received: {problem}.")
    for path, variable in variables.items():
        if tuple(variable.shape) != arrays[path].shape:
            raise InputError(
                f"`{source}` should hold {path!r} of shape {tuple(variable.shape)}. "
                f"Received: shape {arrays[path].shape}."
            )
        kind, words = ("i", "integers") if "int" in str(variable.dtype) else _FLOATS
        if arrays[path].dtype.kind != kind:
            raise InputError(
                f"`{source}` should hold {path!r} as {words}. Received: {arrays[path].dtype}."
            )


def _reason(error):
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Untrue):
        return str(error)
    return "a file that is damaged or cut short" if not isinstance(error, OSError) else str(error)


def _plain(weight):
    """A weight as an array that NumPy's format knows: bfloat16 becomes float32."""
    array = np.asarray(weight)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
