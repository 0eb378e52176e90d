"""An experiment's runs as a table: mean ± sample standard deviation over seeds."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_peterrec.experiments.datasets import Dataset
from keras_peterrec.files.atomic_write import write_csv, write_text
from keras_peterrec.settings.plans import Plan
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.types import AnyPath, Json

MEAN = "mean"
COLUMNS = ("kind", "metric", "row", "task", "mean", "sd", "seeds", "trainable", "seconds")


def summarise(runs: list[Json]) -> list[Json]:
    """The cells of the table, dicts of `COLUMNS`, from runs as `Runner.results` yields them.

    For each metric that a kind shows, and each row, there is a cell for every task, and one for the
    mean over the tasks if their metrics have no units. The spread of the latter is that of the
    seeds' means. `sd` is `None` for a single seed. `trainable` and `seconds` are means, and `None`
    for the baselines, which come first.
    """
    cells = []
    for kind, metric in shown_metrics(runs):
        of_kind = [run for run in runs if run["kind"] == kind]
        tasks = names_of(of_kind, "task")
        rows = {of_row[0]["row"]: of_row for of_row in grouped(of_kind, "row")}
        for row, chosen in {**_baselines(of_kind), **rows}.items():
            values = {task: {} for task in tasks}
            of_task = {task: [run for run in chosen if run["task"] == task] for task in tasks}
            for run in chosen:
                if metric in run["test"]:  # an AUC of labels that nobody has is left out
                    values[run["task"]][run["seed"]] = run["test"][metric]
            cells += [
                _cell(kind, metric, row, task, list(values[task].values()), of_task[task])
                for task in tasks
                if values[task]
            ]
            whole = set.intersection(*map(set, values.values()))
            means = [np.mean([values[task][seed] for task in tasks]) for seed in sorted(whole)]
            if means and not (get_kind(kind).has_units and len(tasks) > 1):
                cells.append(_cell(kind, metric, row, MEAN, means, chosen))
    return cells


def shown_metrics(runs: list[Json]) -> list[tuple[str, str]]:
    """Pairs of a kind of task in the runs and each metric that it shows."""
    return [(kind, metric) for kind in names_of(runs, "kind") for metric in get_kind(kind).shown]


def grouped(entries: Iterable[Json], *keys: str) -> list[list[Json]]:
    """The entries that have the same under some keys, such as a metric, together."""
    groups = {}
    for entry in entries:
        groups.setdefault(tuple(entry[key] for key in keys), []).append(entry)
    return list(groups.values())


def write_tables(
    cells: list[Json], folder: AnyPath, title: str, lines: Sequence[str], below: str = ""
) -> None:
    """Writes `table.md` with a table for each metric, and `table.csv` with a row for each cell.

    `lines` stand above the tables, `below` follows them.
    """
    parts = [f"# {title}", "\n".join(lines)]
    parts += [_markdown(of_metric) for of_metric in grouped(cells, "kind", "metric")]
    parts += [below] if below else []
    write_text(Path(folder) / "table.md", "\n\n".join(parts) + "\n")
    write_csv(Path(folder) / "table.csv", COLUMNS, cells)


def table_notes(
    plan: Plan, data: Dataset, cells: list[Json], left_out: list[Json], seeds: int
) -> list[str]:
    """What a reader has to know besides the numbers.

    The data, the source, which cells have fewer seeds than were asked for, and what was left out
    (see `Runner`) and why.
    """
    count = f"mean ± sample standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    notes = [f"{data.name} ({data.note}); test users; {count}.", f"Source: {plan.source}."]
    fewer = {(cell["row"], cell["task"]): cell["seeds"] for cell in cells if cell["seeds"] < seeds}
    if fewer:
        counts = (f"{row}, {task}: {count}" for (row, task), count in fewer.items())
        notes.append(f"Over fewer seeds: {'; '.join(counts)}.")
    for runs in grouped(left_out, "row", "task"):
        first, of = runs[0], ", ".join(str(run["seed"]) for run in runs)
        # The first reason stands for all: they differ only in sizes.
        notes.append(f"Left out: {first['row']}, {first['task']}, of seed {of}: {first['reason']}")
    return notes


def format_cell(cell: Json) -> str:
    """`0.273 ± 0.013`, or `0.273` for a single seed."""
    spread = "" if cell["sd"] is None else f" ± {cell['sd']:.3f}"
    return f"{cell['mean']:.3f}{spread}"


def baseline_runs(runs: list[Json]) -> dict[str, list[Json]]:
    """By the name of each baseline, the runs that it is read from: one a task and seed.

    A baseline also learns from the training users, so the run with most of them counts. Not every
    run has all baselines.
    """
    fullest = {}
    for run in runs:
        share = run["settings"].get("train_fraction", 1.0)
        for baseline in run["baselines"]:
            key = baseline["name"], run["task"], run["seed"]
            if key not in fullest or share > fullest[key][0]:
                fullest[key] = share, run
    by_name = {}
    for (name, _, _), (_, run) in fullest.items():
        by_name.setdefault(name, []).append(run)
    return by_name


def _baselines(runs):
    """The runs' baselines as runs, by the name of the baseline."""
    return {
        name: [
            {**run, "test": baseline["test"], "trainable": None, "seconds": None}
            for run in chosen
            for baseline in run["baselines"]
            if baseline["name"] == name
        ]
        for name, chosen in baseline_runs(runs).items()
    }


def _cell(kind, metric, row, task, values, runs):
    def mean(key):
        values = [run[key] for run in runs if run[key] is not None]
        return round(float(np.mean(values)), 1) if values else None

    return {
        "kind": kind,
        "metric": metric,
        "row": row,
        "task": task,
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "seeds": len(values),
        "trainable": mean("trainable"),
        "seconds": mean("seconds"),
    }


def pivot(cells: list[Json], written: Callable[[Json], str]) -> tuple[list[str], list[list[str]]]:
    """The tasks, the mean last, and for each row its label and its cell of each task, or `""`."""
    tasks = sorted(names_of(cells, "task"), key=lambda task: task == MEAN)
    texts = {(cell["row"], cell["task"]): written(cell) for cell in cells}
    rows = [
        [row, *(texts.get((row, task), "") for task in tasks)] for row in names_of(cells, "row")
    ]
    return tasks, rows


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table of texts as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown(cells):
    tasks, rows = pivot(cells, format_cell)
    for row in rows:
        of_row = {cell["task"]: cell for cell in cells if cell["row"] == row[0]}
        costs = of_row.get(MEAN) or next(iter(of_row.values()))
        row.append("0" if costs["trainable"] is None else f"{costs['trainable']:,.0f}")
        row.append("" if costs["seconds"] is None else f"{costs['seconds']:.0f}")
    return markdown_table([cells[0]["metric"], *tasks, "trained", "seconds"], rows)


def names_of(entries: Iterable[Json], key: str) -> list[str]:
    """What the entries have under a key, each once."""
    return list(dict.fromkeys(entry[key] for entry in entries))
