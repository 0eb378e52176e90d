"""The scripts here still find what they take from the package, though no test runs them all."""

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))


def taken_from_the_package(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "keras_peterrec":
            yield from ((node.module, name.name) for name in node.names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_what_a_script_imports_is_there(script):
    for module, name in taken_from_the_package(script):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
