"""What the site has besides the pages of notebooks/, and where links out of that folder lead.

MkDocs calls these functions; see `hooks` in mkdocs.yml.
"""

import ast
import configparser
import html
import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# Pages whose place in the repository is elsewhere.
ELSEWHERE = {
    "README.md": "index.md",
    "export/README.md": "serving.md",
    "tests/benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}
# Classes whose base is no public name: the page shows what they have of it as theirs.
WITH_INHERITED = {"Events"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config):
    """Every page links to the repository, if setup.cfg names it."""
    if repository():
        config.repo_url, config.repo_name = repository(), "Repository"
    return config


def repository():
    """The repository's address, `Source` in setup.cfg's `project_urls`; empty while it has none."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    found = re.search(r"^Source = (\S+)$", setup["metadata"]["project_urls"], re.M)
    return found[1] if found else ""


def on_files(files, config):
    """Adds the pages that lie elsewhere, and those that are made of settings and docstrings."""
    contents = {page: (ROOT / path).read_text("utf-8") for path, page in ELSEWHERE.items()}
    contents |= {"commands.md": commands_page(), "api.md": api_page()}
    for page, content in contents.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Points links at the site's pages, or at the repository for what the site does not have.

    Without an address of the repository such a file is named and has no link.
    """
    here = page.file.src_uri
    inside = {page: path for path, page in ELSEWHERE.items()}
    folder = posixpath.dirname(inside.get(here, f"notebooks/{here}"))

    def pointed(match):
        mark, text, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        path, sign, anchor = link.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        target = ELSEWHERE.get(path, os.path.relpath(path, "notebooks"))
        if files.get_file_from_path(target) is None:
            if not (ROOT / path).exists():
                return match[0]  # MkDocs says that it leads nowhere
            if repository():
                return f"[{text}]({repository()}/blob/main/{path})"
            return text if text.startswith("`") else f"{text} (`{path}`)"
        return f"{mark}[{text}]({target}{sign}{anchor})"

    # Code is not prose: in `[x](y)` of a program nothing is a link.
    parts = re.split(r"(^```.*?^```|`[^`\n]+`(?!\]))", markdown, flags=re.M | re.S)
    parts[::2] = [LINK.sub(pointed, part) for part in parts[::2]]
    # A bar in a table's code is written `\|`; here the backslash would be shown.
    parts[1::2] = [re.sub(r"^`(.*\\\|.*)`$", with_bars, part) for part in parts[1::2]]
    return "".join(parts)


def on_page_content(content, page, config, files):
    """A notebook's page begins with a button that opens it in Colab, which reads GitHub."""
    name = page.file.src_uri
    if not (name.endswith(".ipynb") and repository().startswith("https://github.com/")):
        return content
    colab = repository().replace("https://github.com", "https://colab.research.google.com/github")
    address = f"{colab}/blob/main/notebooks/{name}"
    return f'<p><a class="md-button" href="{address}">Open in Colab</a></p>\n{content}'


def with_bars(match):
    """Code with its bars as HTML."""
    return f"<code>{html.escape(match[1]).replace(chr(92) + '|', '&#124;')}</code>"


def commands_page():
    """Every command with its settings, as `--help` has them."""
    from keras_peterrec.commands import COMMANDS

    lines = ["# Commands and settings", ""]
    lines += ["In Python each is a function of the same settings: `--max-length` is `max_length`."]
    for command in COMMANDS:
        lines += ["", *command_section(command.settings)]
    return "\n".join(lines) + "\n"


def command_section(settings):
    """The lines of one command."""
    from keras_peterrec.settings.base import default_text, flag_of, ordered_fields

    lines = [f"## {settings.command}", "", f"{settings.help_text}.", ""]
    lines += ["| setting | what it says |", "|---|---|"]
    for field in ordered_fields(settings):
        flag = flag_of(field)
        name = field.name if field.metadata["positional"] else f"--{flag}"
        if field.default is True:
            name = f"--no-{flag}"
        elif field.metadata["no_help"] is not None:
            name += f"`, `--no-{flag}"
        text = (field.metadata["help"] + default_text(field)).replace("|", "\\|")
        lines.append(f"| `{name}` | {escaped(text)} |")
    return lines


def escaped(text):
    """A text whose signs Markdown leaves alone; inside of backticks it does so anyway."""
    parts = re.split("(`[^`]+`)", text)
    parts[::2] = [re.sub("[<>*_]", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def api_page():
    """All public names, each room of the package by itself."""
    from keras_peterrec.commands import COMMANDS

    # A decorator makes their arguments of the settings, so their source does not show them.
    commands = {f"keras_peterrec.{c.run.replace(':', '.')}": c.settings.command for c in COMMANDS}
    stub = ast.parse((ROOT / "keras_peterrec/__init__.pyi").read_text("utf-8"))
    lines, last = ["# Python", "", "`import keras_peterrec as kp`: the names below are `kp.…`."], ""
    for statement in stub.body:
        if isinstance(statement, ast.ImportFrom):
            room = statement.module.split(".")[1]
            lines += [] if room == last else ["", f"## {room}"]
            last = room
            for alias in statement.names:
                name = f"{statement.module}.{alias.name}"
                lines += ["", f"::: {name}"]
                if alias.name in WITH_INHERITED:
                    lines += ["    options:", "      inherited_members: true"]
                if name in commands:
                    command = commands[name]
                    anchor = command.replace(" ", "-")
                    lines += ["    options:", "      show_signature: false", ""]
                    lines += [
                        f"Its arguments are the settings of [{command}](commands.md#{anchor})."
                    ]
    return "\n".join(lines) + "\n"
