"""keras_peterrec: one behaviour log, many small tasks.

    log → vocabulary + sequences → splits → batches → backbone → pretrainer →
    host on disk → task model → task bundle on disk → SavedModel → answer

The public names are those that `__init__.pyi` imports: editors read them there, and here a
name is imported when it is first used, so that `keras-peterrec --help` does not wait for
TensorFlow.
"""

import ast
import importlib
import sys
import types
from pathlib import Path

from keras_peterrec.keras_registration import register_when_keras_loads

__version__ = "0.2.0"

# The public names, each with its module.
_MODULES = {
    alias.name: statement.module
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}

__all__ = list(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module 'keras_peterrec' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__


class _Package(types.ModuleType):
    """This package, in which a public name is never taken by a package of the same name."""

    def __setattr__(self, name, value):
        # Python sets each subpackage that it imports here. Of `transfer`, the function stays.
        if name in _MODULES and isinstance(value, types.ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
register_when_keras_loads()
