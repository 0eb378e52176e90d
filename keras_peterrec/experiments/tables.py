"""An experiment's runs as a table: mean ± sample standard deviation over seeds."""

from pathlib import Path

import numpy as np

from keras_peterrec.files.atomic_write import write_csv, write_text
from keras_peterrec.task_kinds import get_kind

MEAN = "mean"
COLUMNS = ("kind", "metric", "row", "task", "mean", "sd", "seeds", "trainable", "seconds")


def summarise(runs):
    """The cells of the table.

    Args:
        runs: list of dict, as `Runner.results` yields them.

    Returns:
        list of dict of `COLUMNS`: for each metric that a kind shows, and each row, a cell for
        every task, and one for the mean over the tasks if their metrics have no units. The
        spread of the latter is that of the seeds' means. `sd` is `None` for a single seed.
        `trainable` and `seconds` are means, and `None` for the baselines, which come first.
    """
    cells = []
    for kind, metric in shown_metrics(runs):
        of_kind = [run for run in runs if run["kind"] == kind]
        tasks = list(dict.fromkeys(run["task"] for run in of_kind))
        rows = {row: [r for r in of_kind if r["row"] == row] for row in _names(of_kind, "row")}
        for row, chosen in {**_baselines(of_kind), **rows}.items():
            values = {task: {} for task in tasks}
            for run in chosen:
                if metric in run["test"]:  # an AUC of labels that nobody has is left out
                    values[run["task"]][run["seed"]] = run["test"][metric]
            cells += [
                _cell(kind, metric, row, task, list(values[task].values()), _of(chosen, task))
                for task in tasks
                if values[task]
            ]
            whole = set.intersection(*(set(of_task) for of_task in values.values()))
            means = [np.mean([values[task][seed] for task in tasks]) for seed in sorted(whole)]
            if means and not (get_kind(kind).has_units and len(tasks) > 1):
                cells.append(_cell(kind, metric, row, MEAN, means, chosen))
    return cells


def shown_metrics(runs):
    """Pairs of a kind of task in the runs and each metric that it shows."""
    return [(kind, metric) for kind in _names(runs, "kind") for metric in get_kind(kind).shown]


def by_metric(cells):
    """The cells of each kind and metric, a list of lists."""
    pairs = dict.fromkeys((cell["kind"], cell["metric"]) for cell in cells)
    return [[c for c in cells if (c["kind"], c["metric"]) == pair] for pair in pairs]


def write_tables(cells, folder, title, lines, below=""):
    """Writes `table.md` with a table for each metric, and `table.csv` with a row for each cell.

    Args:
        cells: list of dict, as from `summarise`.
        folder: path.
        title: str.
        lines: sequence of str. Notes above the tables.
        below: str. What follows the tables. Defaults to `""`.
    """
    parts = [f"# {title}", "\n".join(lines)]
    for of_metric in by_metric(cells):
        parts.append(_markdown(of_metric))
    parts += [below] if below else []
    write_text(Path(folder) / "table.md", "\n\n".join(parts) + "\n")
    write_csv(Path(folder) / "table.csv", COLUMNS, cells)


def format_cell(cell):
    """`0.273 ± 0.013`, or `0.273` for a single seed."""
    spread = "" if cell["sd"] is None else f" ± {cell['sd']:.3f}"
    return f"{cell['mean']:.3f}{spread}"


def baseline_runs(runs):
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


def _markdown(cells):
    tasks = sorted(_names(cells, "task"), key=lambda task: task == MEAN)  # the mean comes last
    lines = [
        f"| {cells[0]['metric']} | " + " | ".join(tasks) + " | trained | seconds |",
        "|---|" + "---|" * (len(tasks) + 2),
    ]
    for row in _names(cells, "row"):
        of_row = {cell["task"]: cell for cell in cells if cell["row"] == row}
        texts = [format_cell(of_row[task]) if task in of_row else "" for task in tasks]
        costs = of_row.get(MEAN) or next(iter(of_row.values()))
        trained = "0" if costs["trainable"] is None else f"{costs['trainable']:,.0f}"
        seconds = "" if costs["seconds"] is None else f"{costs['seconds']:.0f}"
        lines.append(f"| {row} | " + " | ".join([*texts, trained, seconds]) + " |")
    return "\n".join(lines)


def _names(entries, key):
    return list(dict.fromkeys(entry[key] for entry in entries))


def _of(runs, task):
    return [run for run in runs if run["task"] == task]
