"""What `import keras_peterrec` offers: the names, in which order things are imported, how fast."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import keras_peterrec as kp

PACKAGE = Path(kp.__file__).parent


def in_new_process(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_dir_shows_the_public_names_and_nothing_else():
    assert sorted(dir(kp)) == sorted(kp.__all__)
    assert {"Host", "Task", "build_task", "Bottleneck", "get_patch", "transfer"} <= {*dir(kp)}
    assert not {"importlib", "ast", "annotations"} & {*dir(kp)}


@pytest.mark.parametrize("name", kp.__all__)
def test_every_public_name_is_there_with_its_module(name):
    value = getattr(kp, name)
    assert callable(value) and value.__name__ == name
    assert value.__doc__ and value.__module__.startswith("keras_peterrec.")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'keras_peterrec' has no attribute 'Hots'"):
        _ = kp.Hots


def test_an_editor_can_read_the_names():
    """In the form that type checkers take for a re-export: `import X as X`."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name for node in imports for alias in node.names} == {*kp.__all__}
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("name", kp.__all__)
def test_public_functions_and_methods_have_type_hints(name):
    value = getattr(kp, name)
    functions = [value]
    if inspect.isclass(value):
        own = (value.__dict__.get(key) for key in value.__dict__ if not key.startswith("_"))
        functions = [function for function in own if inspect.isfunction(function)]
        functions = [f for f in functions if f.__name__ not in KERAS_METHODS]
        if "__init__" in value.__dict__:
            functions.append(value.__init__)
    for function in functions:
        named = {*inspect.signature(function).parameters} - {"self", "cls"}
        missing = named - {*function.__annotations__}
        assert not missing, (function.__qualname__, missing)
        assert "return" in function.__annotations__, function.__qualname__


# What Keras calls, with arguments of its own.
KERAS_METHODS = (
    "build",
    "call",
    "get_config",
    "from_config",
    "compute_output_shape",
    "patches_of",
    "item_patch_of",
    "apply",
    "apply_step",
    "fold",
    "kernels",
    "named_weights",
    "compute_loss",
    "train_step",
    "compute_output_spec",
)


def test_transfer_is_the_function_whatever_was_imported_before():
    in_new_process("""
import importlib, sys, types
import keras, pyarrow, tensorflow  # which can be imported only once
for module in ("transfer", "transfer.task_bundle", "runs.transfer", "errors"):
    for name in [n for n in sys.modules if n.partition(".")[0] == "keras_peterrec"]:
        del sys.modules[name]
    importlib.import_module(f"keras_peterrec.{module}")
    import keras_peterrec as kp
    assert isinstance(kp.transfer, types.FunctionType), (module, kp.transfer)
    import keras_peterrec.transfer.host
    from keras_peterrec.transfer.host import Host
    assert isinstance(kp.transfer, types.FunctionType), (module, kp.transfer)
    assert kp.Host is Host
    from keras_peterrec import transfer
    assert transfer is kp.transfer
""")


def test_importing_the_package_imports_neither_keras_nor_tensorflow():
    code = """
import sys, keras_peterrec
print(sorted({name.partition(".")[0] for name in sys.modules} & {"keras", "tensorflow", "numpy"}))
"""
    assert in_new_process(code).strip() == "[]"
