"""What `import keras_peterrec` offers: the names, in which order things are imported, how fast."""

import ast
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import keras_peterrec as kp
from keras_peterrec.commands import COMMANDS

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
        if "__init__" in value.__dict__:
            functions.append(value.__init__)
    for function in functions:
        named = {*inspect.signature(function).parameters} - {"self", "cls"}
        missing = named - {*function.__annotations__}
        assert not missing, (function.__qualname__, missing)
        assert "return" in function.__annotations__, function.__qualname__


# Of whatever type, or given to Keras as it comes.
ANY = {"kwargs", "args", "arguments", "answers", "learning_rate", "changes", "saved", "x", "y"}


def test_any_stands_where_no_type_is_known():
    """Where one is known, it or a name of `keras_peterrec/types.py` is said."""
    rooms = ["settings", "layers", "network", "patches", "models"]
    rooms += ["tasks", "transfer", "serving", "server"]
    found = set()
    for file in (file for room in rooms for file in (PACKAGE / room).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for function in (node for body in (tree, *classes) for node in body.body):
            if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
                continue
            for argument in ast.walk(function.args):
                hint = getattr(argument, "annotation", None)
                if isinstance(hint, ast.Name) and hint.id == "Any" and argument.arg not in ANY:
                    found.add(f"{file.stem}.{function.name}({argument.arg})")
    assert len(found) <= 40, sorted(found)


@pytest.mark.parametrize("name", kp.__all__)
def test_what_makes_an_object_says_of_which_class(name):
    """Or a type checker and an editor know nothing of all that comes after `kp.Host.load`."""
    value = getattr(kp, name)
    own = value.__dict__.values() if inspect.isclass(value) else ()
    for maker in (method.__func__ for method in own if isinstance(method, classmethod)):
        if maker.__name__ == "load" or maker.__name__.startswith("of_"):
            assert typing.get_type_hints(maker)["return"] not in (typing.Any, object), maker


def test_every_command_is_a_function_of_its_settings():
    for command in COMMANDS:
        name = command.settings.command.replace(" ", "_")
        assert name in kp.__all__
        taken = inspect.signature(getattr(kp, name)).parameters
        assert list(taken) == list(inspect.signature(command.settings).parameters)
    with pytest.raises(kp.InputError, match="`export` should be given --host and --out"):
        kp.export()
    with pytest.raises(
        kp.InputError, match="One of `model_base_path`, `model_config_file` and `write_config`"
    ):
        kp.serve()


@pytest.mark.slow
def test_transfer_is_the_function_whatever_was_imported_before():
    in_new_process("""
import importlib, sys, types
import keras, pyarrow, tensorflow  # which can be imported only once
for module in ("transfer.task_bundle", "runs.transfer"):
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
