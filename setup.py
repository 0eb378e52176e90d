"""What setup.cfg cannot say: links on the package's page lead into the repository."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def package_page():
    """README.md; if setup.cfg names the repository (`Source`), its relative links are absolute.

    The page of a package index has none of the files and pictures beside the README.
    """
    readme = (ROOT / "README.md").read_text("utf-8")
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    source = re.search(r"^Source = (\S+)$", config["metadata"]["project_urls"], re.M)
    if source is None:
        return readme

    def absolute(match):
        mark, text, path = match.groups()
        return f"{mark}[{text}]({source[1]}/{'raw' if mark else 'blob'}/main/{path})"

    return LINK.sub(absolute, readme)


setup(long_description=package_page())
