"""Lets Keras load our saved models, whatever of this package was used before.

Keras finds a class that a file names in its registry only, and a class gets there when its
module is imported. But `import keras_peterrec` must not import Keras, since
`keras-peterrec --help` should not wait for it, and our modules are imported when they are
first used. So a program that does nothing but

    import keras_peterrec
    model = keras.models.load_model("task.keras")

would fail. Therefore, once Keras is imported, its registry gets a stand-in for each of our
classes, which imports the real one when a file needs it. The import of the real class
replaces the stand-in.
"""

import importlib
import importlib.abc
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

PACKAGE = "keras_peterrec"

# The rooms where classes are that Keras saves, and how their files say so.
ROOMS = ("layers", "linear", "models", "network", "optimizers", "patches", "tasks", "transfer")
_REGISTERED = re.compile(
    rb'^@keras\.saving\.register_keras_serializable\("keras_peterrec"\)\s+class (\w+)', re.MULTILINE
)


def registered_classes() -> dict[str, str]:
    """Every class that Keras saves, and its module: what the files of `ROOMS` say."""
    package = Path(__file__).parent
    classes = {}
    for room in ROOMS:
        for file in sorted((package / room).glob("*.py")):
            for name in _REGISTERED.findall(file.read_bytes()):
                classes[name.decode()] = f"{PACKAGE}.{room}.{file.stem}"
    return classes


def register_when_keras_loads() -> None:
    """Registers our classes now if Keras is imported, else as soon as it is."""
    if hasattr(sys.modules.get("keras"), "saving"):
        _register()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras as Python would, and registers our classes once it has been executed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_register(module):
            execute(module)
            _register()

        loader.exec_module = execute_and_register
        return spec


def _register():
    import keras

    registry = keras.saving.get_custom_objects()
    for name, module in registered_classes().items():
        registry.setdefault(f"{PACKAGE}>{name}", _stand_in(name, module))


def _stand_in(name, module):
    def real():
        return getattr(importlib.import_module(module), name)

    return type(
        name,
        (),
        {
            "__doc__": f"Stands for `{module}.{name}` until that is imported.",
            "from_config": staticmethod(lambda config: real().from_config(config)),
            "__new__": lambda cls, *args, **kwargs: real()(*args, **kwargs),
        },
    )
