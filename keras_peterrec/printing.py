"""Results as tables and lines on stdout, for people."""

import textwrap
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from keras_peterrec.serving.signature_names import COUNTS

_WIDTH = 80  # letters of a line that people read
_GAP = 2  # letters between two columns
_WORD = 20  # letters of a text that are kept in one line
_MOST = 12  # parts of a list that are shown


def print_metrics(result):
    """Prints the metrics of a run, a line a metric, with their intervals beside the baselines."""
    columns = _metric_columns(result)
    rows = []
    for name in result["metrics"]["test"]:
        plain = name.removeprefix("new_").removeprefix("repeat_")
        if plain != name and all(texts.get(name) == texts.get(plain) for texts in columns.values()):
            continue  # that is what is served
        rows.append([name, *(texts.get(name, "") for texts in columns.values())])
    console = people_console()
    print_table(console, f"{result['command']}: test", ["metric"], columns, rows)
    if "parameters" in result:
        parameters, seconds = result["parameters"], result["seconds"]
        linear, first = parameters.get("linear"), seconds.get("first_step")
        in_linear = f", in the linear part {linear:,}" if linear else ""
        first_step = "" if first is None else f", first step after {first:.1f} s"
        console.print(
            f"parameters: host {parameters['host']:,}, trained {parameters['trainable']:,}"
            f"{in_linear}; "
            f"{result['epochs']} epochs (best: {result['best_epoch'] or 'the start'}), "
            f"{seconds['fit']:.0f} s of fitting{first_step}"
        )
    if "linear" in result:
        settings = {name: value for name, value in result["linear"].items() if value is not None}
        weight, *others = (f"{name} {value:g}" for name, value in settings.items())
        console.print(f"linear part: {weight} ({', '.join(others)})")
    if "final" in result:
        epochs = result["final"]["epochs"]
        console.print(f"final: trained on everything, {epochs} epochs; its metrics are those above")
    if "advice" in result:
        console.print(result["advice"])


def print_table(console, title, texts, numbers, rows, width=None):
    """Prints a table; one that is too wide as several, each with the first columns of texts.

    `texts` are the names of the first columns, `numbers` of those after them, which are aligned to
    the right and never broken; all cells are str. `width` is that of the console unless given.
    """
    texts, numbers, width = [*texts], [*numbers], width or console.width
    while True:
        columns = [
            _Column(name, [row[place] for row in rows], is_text=place < len(texts))
            for place, name in enumerate([*texts, *numbers])
        ]
        count = len(columns)
        while count > len(texts) + 1 and sum(c.least + _GAP for c in columns[:count]) > width:
            count -= 1
        tight = sum(column.whole + _GAP for column in columns[:count]) > width
        console.print(_table(title, columns[:count], tight), width=min(width, console.width))
        numbers = numbers[count - len(texts) :]
        if not numbers:
            return
        title, rows = None, [row[: len(texts)] + row[count:] for row in rows]


@dataclass(frozen=True)
class _Column:
    """A column's name, its cells, and whether they are text, which may be folded."""

    name: str
    cells: list
    is_text: bool

    @property
    def least(self):
        """How wide it is at least."""
        lines = [line for cell in self.cells for line in cell.split("\n")]
        longest = max(map(len, [*lines, *self.name.split()]), default=0)
        return min(longest, _WORD) if self.is_text else longest

    @property
    def whole(self):
        """How wide it is with its name in one line."""
        return max(self.least, len(self.name))


def _table(title, columns, tight):
    """A rich Table without lines between columns: nine of them fit into 80 letters.

    Where it is tight, the names of columns of numbers are broken: rich would rather make the widest
    column narrower than it may be, and cut off the end of each line.
    """
    table = Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        justify = "left" if column.is_text else "right"
        width = column.least if tight and not column.is_text else None
        how = {"justify": justify, "overflow": "fold", "width": width}
        table.add_column(column.name, min_width=column.least, **how)
    for row in zip(*(column.cells for column in columns)):
        table.add_row(*row)
    return table


# What the numbers of an answer are, as the heading of their column.
_UNITS = {"score": "score (logit)", "probability": "probability"}


def _metric_columns(result):
    """The columns of a run's table: `{title: {metric: text}}`."""
    metrics, columns = result["metrics"], {}
    for split in (split for split in ("validation", "test") if split in metrics):
        columns[split] = _numbers(metrics[split])
    if intervals := result.get("intervals", {}).get("test"):
        columns["95 %"] = {n: f"[{low:.3f}, {high:.3f}]" for n, (low, high) in intervals.items()}
    for baseline in result.get("baselines", []):
        columns[baseline["name"]] = _numbers(baseline["test"])
    return columns


def _numbers(metrics):
    return {name: _number(value) for name, value in metrics.items()}


def print_description(found):
    """Prints nested settings as indented lines, and lists of rows as tables.

    Long values are cut into lines that are indented as well, and of a list the first few are shown:
    `--json` has all of them.
    """
    _print_lines(people_console(soft_wrap=True), found, "")


def print_answers(answers):
    """Prints what an export answered; see `runs.predict`.

    An answer with `scores` becomes a table of what they are the scores of, whose heading says
    whether they are probabilities or logits; any other, such as a number or a vector, a line. Of
    answers that went to a file it says where they are.
    """
    if not all(isinstance(value, dict) for value in answers.values()):
        print_description(answers)
        return
    console = people_console(soft_wrap=True)
    units = getattr(answers, "units", {})
    for name, histories in answers.items():
        unit = _UNITS.get(units.get(name), "score")
        for history, answer in histories.items():
            answer = {name: values for name, values in answer.items() if name not in COUNTS}
            if "scores" not in answer:
                (numbers,) = answer.values()
                numbers = numbers if isinstance(numbers, list) else [numbers]
                shown = " ".join(f"{number:.6g}" for number in numbers)
                console.print(f"{name}  {history!r}: {shown}")
                continue
            (of_what,) = set(answer) - {"scores", "titles"}
            table = Table(title=f"{name}  {history!r}", title_justify="left")
            table.add_column(of_what)
            columns = [answer[of_what], map(_number, answer["scores"])]
            if "titles" in answer:
                table.add_column("title")
                columns.insert(1, answer["titles"])
            table.add_column(unit, justify="right")
            for row in zip(*columns):
                table.add_row(*row)
            console.print(table)


def print_export(result):
    """Prints what `export` wrote, and what it found wrong."""
    written = {n: value for n, value in result.items() if n not in ("checks", "problems")}
    if "problems" not in result or len(written) > 1:  # more than the path of a check
        print_description(written)
    if "problems" not in result:
        return
    if result["problems"]:
        print("\n".join(result["problems"]))
    else:
        print(f"{result['path']}: nothing wrong ({', '.join(result['checks'])})")


def people_console(**options: Any) -> Console:
    """A console that prints names as they are: `[red]` and `:cat:` may be item ids."""
    return Console(highlight=False, markup=False, emoji=False, **options)


def _print_lines(console, content, indent):
    for key, value in content.items():
        if isinstance(value, dict):
            console.print(f"{indent}{key}:")
            _print_lines(console, value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            _print_rows(console, key, value)
        elif value is not None and value != []:
            below = f"{indent}    "
            for line in textwrap.wrap(
                f"{key}: {_shown(value)}",
                max(40, min(console.width, _WIDTH)),
                initial_indent=indent,
                subsequent_indent=below,
                break_long_words=False,
                break_on_hyphens=False,
            ):
                console.print(line)


def _shown(value):
    """A value of a description as text: of a long list the first and how many more there are."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, list):
        return value
    more = f", ... ({len(value):,} in all)" if len(value) > _MOST else ""
    return ", ".join(map(str, value[:_MOST])) + more


def _print_rows(console, title, rows):
    # Rows may have different keys: tasks of different methods have different settings.
    sample = {name: value for row in reversed(rows) for name, value in row.items()}
    names = dict.fromkeys(name for row in rows for name in row)
    numbers = [name for name in names if isinstance(sample[name], (int, float))]
    texts = [name for name in names if name not in numbers]
    cells = [[_cell(row.get(name)) for name in (*texts, *numbers)] for row in rows]
    print_table(console, title, texts, numbers, cells, min(console.width, _WIDTH))


def _cell(value):
    """A value as a table has room for it; of hashes the start."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.3f}" for name, number in value.items())
    if isinstance(value, list):
        return " ".join(str(part).rpartition(":")[2][:6] for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2%}"
    return "" if value is None else str(value)


def _number(value):
    return "" if value is None else f"{value:.4f}"
