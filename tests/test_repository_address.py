"""`Source` in setup.cfg is the one place of the repository's address; pages follow it."""

import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import setuptools
from test_site import loaded

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/someone/something"


def named(folder):
    """Copies what an address changes, and names one in the copy."""
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    setup = re.sub("^ *Source = .*\n", "", setup, flags=re.M)
    setup = setup.replace("project_urls =\n", f"project_urls =\n    Source = {ADDRESS}\n")
    (folder / "setup.cfg").write_text(setup)


def test_links_of_the_package_page_are_absolute_and_lead_to_files(tmp_path, monkeypatch):
    said = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: said.update(arguments))
    named(tmp_path)
    runpy.run_path(str(tmp_path / "setup.py"))
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", said["long_description"])
    inside = [(mark, link.removeprefix(ADDRESS)) for mark, link in links if ADDRESS in link]
    assert len(inside) == len(re.findall(r"\]\((?!http|#)", (ROOT / "README.md").read_text())) > 10
    assert all(link.startswith("http") for _, link in links)
    for mark, link in inside:
        _, form, branch, path = link.split("/", 3)
        assert (form, branch) == ("raw" if mark else "blob", "main")
        assert (ROOT / path.partition("#")[0]).exists(), path


def test_without_an_address_the_package_page_is_the_readme(tmp_path, monkeypatch):
    said = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: said.update(arguments))
    named(tmp_path)
    setup = (tmp_path / "setup.cfg").read_text()
    (tmp_path / "setup.cfg").write_text(setup.replace(f"    Source = {ADDRESS}\n", ""))
    runpy.run_path(str(tmp_path / "setup.py"))
    assert said["long_description"] == (ROOT / "README.md").read_text("utf-8")


def test_the_site_links_to_the_repository_and_opens_notebooks_in_colab(tmp_path, monkeypatch):
    hooks = loaded("hooks", "mkdocs")
    named(tmp_path)
    (tmp_path / "setup.sh").touch()
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    config = hooks.on_config(SimpleNamespace(repo_url=None, repo_name=None))
    assert config.repo_url == ADDRESS
    files = SimpleNamespace(get_file_from_path=lambda path: None)
    notebook, page = (
        SimpleNamespace(file=SimpleNamespace(src_uri=name)) for name in ("04_shop.ipynb", "data.md")
    )
    shown = hooks.on_page_content("<h1>", notebook, None, files)
    assert "/github/someone/something/blob/main/notebooks/04_shop.ipynb" in shown
    assert hooks.on_page_content("<h1>", page, None, files) == "<h1>"
    shown = hooks.on_page_markdown("See [x](../setup.sh).", page, None, files)
    assert shown == f"See [x]({ADDRESS}/blob/main/setup.sh)."
