"""Weights on disk, keyed by path: a NumPy archive without pickles."""

import zipfile
import zlib

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import replacing

_FLOATS = "f", "floating-point numbers"


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
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):  # np.load would take a single array, too
                raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # A damaged archive can seem to be of another version, encrypted or compressed.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"`{path}` should be an archive of weights. Received: {_reason(error)}. Copy the "
            "folder again from where it is whole, or run the command again that wrote it."
        ) from error


def assign_weights(variables, arrays, source):
    """Assigns arrays to the variables of the same paths, after checking them all.

    Args:
        variables: dict from path to variable.
        arrays: dict from path to array.
        source: str. Where the arrays come from, for messages.

    Raises:
        InputError: see `check_arrays`; then nothing has been changed.
    """
    check_arrays(variables, arrays, source)
    for path, variable in variables.items():
        variable.assign(arrays[path])


def check_arrays(variables, arrays, source):
    """Refuses arrays that do not fit the variables of their paths.

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
    return "a file that is damaged or cut short" if not isinstance(error, OSError) else str(error)


def _plain(weight):
    """A weight as an array that NumPy's format knows: bfloat16 becomes float32."""
    array = np.asarray(weight)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
