"""Names for types that many signatures share. Imports nothing heavy.

Keras and TensorFlow have no types of their own, so a type checker takes what comes from them for
anything; these names say what is meant.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]  # of a file or folder

Tensor: TypeAlias = Any  # of Keras' backend, a symbol of Keras, or a NumPy array
Variable: TypeAlias = Any  # keras.Variable
Model: TypeAlias = Any  # keras.Model, with attributes of its own
Layer: TypeAlias = Any  # keras.layers.Layer, with attributes of its own
Loss: TypeAlias = Any  # keras.losses.Loss
DType: TypeAlias = Any  # a dtype policy of Keras, its name, or `None` for Keras' own
Initializer: TypeAlias = Any  # keras.initializers.Initializer, or its name
Shape: TypeAlias = tuple[int | None, ...]

Variables: TypeAlias = dict[str, Variable]  # by path or name
Json: TypeAlias = dict[str, Any]  # values that JSON can hold, and settings of a Keras object
Patches: TypeAlias = Mapping[str, Mapping[str, Callable[..., Tensor]]]  # by place and site


class ArrowTable(Protocol):
    """A table of pandas, polars or pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class Named(Protocol):
    """What is given as an object where a command takes a text: a log, labels, a patch method."""

    @property
    def setting_name(self) -> str:
        """What `run.json` says of it."""


# A log or labels: files, the name of a dataset, a table in memory, or an object that was read.
Source: TypeAlias = (
    str
    | os.PathLike[str]
    | Sequence[str | os.PathLike[str]]
    | Mapping[str, Iterable[object]]
    | ArrowTable
    | Named
)
EventNames: TypeAlias = str | Sequence[str]
ColumnNames: TypeAlias = str | Mapping[str, str]
