"""Imports point down: a file imports from its own room and from the rooms below it."""

import ast
import graphlib
from pathlib import Path

import keras_peterrec

PACKAGE = Path(keras_peterrec.__file__).parent
# From the lowest to the highest: a room is a folder of the package, or a file that stands alone.
ROOMS = (
    *(
        "types",
        "lazy_import",
        "errors",
        "progress",
        "files",
        "compile_cache",
        "tensorflow_start",
        "matrix_threads",
    ),
    *("integers", "short_values"),
    *("keras_internals", "tensorflow_internals", "keras_registration", "task_kinds"),
    *("log", "linear", "layers", "network", "patches", "settings", "metrics", "optimizers"),
    *("training", "models", "tasks", "report", "transfer", "serving", "printing", "runs"),
    *("server", "benchmarks", "experiments", "commands", "cli", "__init__", "__main__"),
)


def imported(file):
    """The modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, module = name.partition(".")
            if package == "keras_peterrec" and module.split(".")[0] in ROOMS:
                yield module


def test_imports_point_down():
    files = {file.relative_to(PACKAGE).as_posix(): file for file in PACKAGE.rglob("*.py")}
    pointing_up = set()
    for name, file in files.items():
        height = ROOMS.index(name.removesuffix(".py").split("/")[0])
        for module in imported(file):
            if ROOMS.index(module.split(".")[0]) > height:
                pointing_up.add((name, module.rpartition(".")[0]))
    assert not pointing_up


def needed_files():
    """The files that each file imports, also for a type alone or in a function, by module."""
    files = {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    return {
        module: {name if name in files else name.rpartition(".")[0] for name in imported(file)}
        for module, file in files.items()
    }


def test_no_file_needs_itself():
    """No circle of files, also where a name is imported for its type alone, or in a function."""
    graphlib.TopologicalSorter(needed_files()).prepare()  # raises CycleError, which names a circle


def test_from_a_log_to_batches_lead_few_files():
    needed, reached = needed_files(), set()
    waiting = ["log.read_log", "log.packed_batches"]
    while waiting:
        module = waiting.pop()
        if module in needed and module not in reached:
            reached.add(module)
            waiting += needed[module]
    assert len(reached) <= 30, sorted(reached)
