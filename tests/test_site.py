"""What the site makes of docstrings, settings and tables; `make site` builds it, links checked."""

import importlib.util
import sys
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "notebooks" / "site"


def loaded(name, needs):
    pytest.importorskip(needs, reason="make site installs it")
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def test_an_example_is_a_section_and_ends_with_the_next():
    with_examples = loaded("docstrings", "griffe").with_examples
    text = "Adds.\n\nExample:\n\n>>> 1 + 1\n2\n\nRaises:\n    InputError: never."
    assert with_examples(text) == (
        "Adds.\n\nExamples:\n    >>> 1 + 1\n    2\n\nRaises:\n    InputError: never."
    )


def test_signs_in_settings_and_bars_in_tables_are_shown_as_they_are():
    hooks = loaded("hooks", "mkdocs")
    assert hooks.escaped("a_b and `a_b` * 2") == r"a\_b and `a_b` \* 2"
    page = type("Page", (), {"file": type("File", (), {"src_uri": "data.md"})})
    found = hooks.on_page_markdown(r"| `a\|b` | `c_d` |", page, None, None)
    assert found == "| <code>a&#124;b</code> | `c_d` |"
