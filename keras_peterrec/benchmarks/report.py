"""What a benchmark leaves behind: the machine's name, tables, a CSV file and a plot."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from keras_peterrec.files.atomic_write import save_figure, write_csv, write_text
from keras_peterrec.files.json_file import write_json
from keras_peterrec.types import AnyPath, Json

# Told apart in print, in grey and by the colour-blind.
COLOURS = ("#0b4f8a", "#e08a1e", "#7aa95c", "#555555")
STYLES = ("-o", "--s", ":^", "-.d")


@dataclass(frozen=True)
class Table:
    """Rows to be shown; as a string, Markdown that is also readable as it stands."""

    title: str
    rows: list
    columns: dict  # from heading to a format of a row, such as `"{seconds:.1f}"`, or a callable

    def __str__(self):
        lines = [list(self.columns)]
        for row in self.rows:
            lines.append(
                [c.format(**row) if isinstance(c, str) else c(row) for c in self.columns.values()]
            )
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines.insert(1, ["-" * width for width in widths])
        lines = [" | ".join(cell.ljust(width) for cell, width in zip(l, widths)) for l in lines]
        return f"## {self.title}\n\n" + "".join(f"| {line} |\n" for line in lines)


@dataclass(frozen=True)
class Line:
    """A line of a plot; numbers choose among `COLOURS` and `STYLES`."""

    label: str
    xs: list
    ys: list
    colour: int
    style: int


def describe_machine() -> Json:
    """Processor, GPUs, cores that this process may use, memory and versions."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": _processor(),
        "gpus": _gpus(),
        "cores": len(affinity(0)) if affinity else psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "keras", "tensorflow")},
    }


def _processor():
    try:  # on Linux `platform` knows only the architecture
        lines = Path("/proc/cpuinfo").read_text().split("\n")
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpus():
    """Names and memory of NVIDIA's GPUs, as one text; `"none"` without their driver."""
    # Asked without TensorFlow, which would take all of their memory in this process too.
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip()) or "none"


def write_report(
    result: Json, folder: AnyPath, tables: Sequence[Table], notes: str, plot_columns: Json
) -> None:
    """Writes `metrics.json`, `table.md`, `table.csv` and `plot.png`; see `save_plot`.

    `result` has `command`, `machine`, `settings` and `rows`. What is a text or a number in the rows
    goes into the CSV file. `notes` follow the tables.
    """
    folder, machine = Path(folder), result["machine"]
    folder.mkdir(parents=True, exist_ok=True)
    shown = {**machine, "memory_bytes": f"{machine['memory_bytes'] / 2**30:.0f} GiB"}
    settings = {k: v for k, v in result["settings"].items() if v not in (None, [])}
    lines = [", ".join(f"{k} {v}" for k, v in given.items()) + "." for given in (shown, settings)]
    write_json(folder / "metrics.json", result)
    write_text(
        folder / "table.md",
        "\n\n".join([f"# {result['command']}", *lines, *map(str, tables), notes]),
    )
    plain = [k for k, value in result["rows"][0].items() if not isinstance(value, (dict, list))]
    write_csv(folder / "table.csv", plain, result["rows"])
    save_plot(folder / "plot.png", machine["processor"], plot_columns)


def save_plot(path: AnyPath, title: str, columns: Json) -> None:
    """Draws lines over numbers, on a logarithmic axis, or points over names.

    `columns` is a dict from the label of an x axis to a dict from that of a y axis to a list of
    Line; the y axes of a column stand above each other.
    """
    from matplotlib.figure import Figure

    height, width = len(next(iter(columns.values()))), len(columns)
    figure = Figure(figsize=(1.5 + 4 * width, 3.2 * height))
    axes = figure.subplots(height, width, squeeze=False, sharex="col")
    entries = {}
    for column, (x_label, measures) in zip(axes.T, columns.items()):
        for axis, (y_label, lines) in zip(column, measures.items()):
            for line in lines:
                style = STYLES[line.style % len(STYLES)]
                style = style[-1] if isinstance(line.xs[0], str) else style
                colour = COLOURS[line.colour % len(COLOURS)]
                (entries[line.label],) = axis.plot(line.xs, line.ys, style, color=colour)
            axis.set_ylabel(y_label)
            axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
            axis.spines[["top", "right"]].set_visible(False)
        values = sorted({x for lines in measures.values() for line in lines for x in line.xs})
        if not isinstance(values[0], str):
            column[-1].set_xscale("log")
            column[-1].set_xticks(values, [f"{value:,}" for value in values])
            column[-1].minorticks_off()
        column[-1].set_xlabel(x_label)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    ncols = 2 * width
    legend: Json = {"frameon": False, "fontsize": 8, "ncols": ncols, "loc": "lower left"}
    figure.legend(entries.values(), entries.keys(), **legend)
    figure.tight_layout(rect=(0, 0.04 * -(-len(entries) // ncols), 1, 0.98))
    save_figure(figure, path)
