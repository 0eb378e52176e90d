"""Differences of an experiment's rows to one of them, with intervals over test users."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_peterrec.experiments.tables import MEAN, baseline_runs, grouped, markdown_table, pivot
from keras_peterrec.files.atomic_write import write_csv
from keras_peterrec.metrics.measured import sampled_means
from keras_peterrec.report.kept_rows import RUN, UserSums, read_test_users
from keras_peterrec.settings.plans import Plan
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.types import AnyPath, Json

COLUMNS = ("kind", "metric", "row", "reference", "task", "difference", "low", "high", "seeds")
LEVEL = 0.95
NOTE = (
    "On the same test users, means over the seeds; the 95 % intervals are those of a paired "
    "bootstrap over these users, each of whom counts once, however many seeds test them."
)


def reference_row(plan: Plan) -> str:
    """The label of the row that others are compared with: the default patch, or the first row."""
    usual = [row.label for row in plan.rows if row.settings == {"method": "patch"}]
    return (usual or [plan.rows[0].label])[0]


def compare_runs(plan: Plan, runs: list[Json], folder: AnyPath) -> list[Json]:
    """How much each row differs from the reference in the metrics that decide, on test users.

    `runs` are as `Runner.results` yields them, and lie in `folder`. Each dict has the `COLUMNS`:
    a cell for each row or baseline and task, and one for the mean over the tasks if their metrics
    have no units.
    """
    reference, cells = reference_row(plan), []
    read = {run["folder"]: read_test_users(Path(folder) / run["folder"]) for run in runs}
    for of_kind in grouped(runs, "kind"):
        kind = of_kind[0]["kind"]
        named = [(run, RUN) for run in of_kind]
        named += [(run, name) for name, found in baseline_runs(of_kind).items() for run in found]
        users = {
            (run["row"] if name == RUN else name, run["task"], run["seed"]): found
            for run, name in named
            if (found := read[run["folder"]].get(name)) is not None
        }
        metric, has_units = get_kind(kind).metric, get_kind(kind).has_units
        cells += [
            {"kind": kind, "metric": metric.name, "reference": reference, **cell}
            for cell in paired_differences(users, reference, metric, with_mean=not has_units)
        ]
    return cells


def paired_differences(
    users: Mapping[tuple, UserSums], reference: str, metric: Metric, with_mean: bool = True
) -> list[Json]:
    """Differences to a reference, with intervals of a paired bootstrap over test users.

    Users are drawn with replacement, as many as there are; all rows, tasks and seeds share the
    draw, since a user who is hard for one is often hard for another, and a user who is tested in
    several seeds is still one user. The metric's difference is computed for each draw and averaged
    over the seeds, and the interval holds the middle 95 % of these averages. So it says how much
    the difference depends on who was tested, not how much a training with another seed changes it.

    `users` has the sums of each `(row, task, seed)`; a row with other test users than the
    reference is left out. `with_mean` asks for a cell of the mean over several tasks. A cell has
    `row`, `task`, `difference`, `low`, `high` and `seeds`.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    by_cell = {}  # (row, task) -> {seed: (difference, its draws)}
    tasks = list(dict.fromkeys(task for row, task, _ in users if row == reference))
    tested = [sums.user_ids for (row, _, _), sums in users.items() if row == reference]
    everyone = np.unique(np.concatenate(tested)) if tested else []
    for seed in dict.fromkeys(seed for _, _, seed in users):
        for row, task, pair in _of_seed(users, reference, metric, seed, everyone):
            by_cell.setdefault((row, task), {})[seed] = pair
    cells = []
    for row in dict.fromkeys(row for row, _ in by_cell):
        of_row = {task: by_cell[row, task] for task in tasks if (row, task) in by_cell}
        cells += [_cell(row, task, list(pairs.values())) for task, pairs in of_row.items()]
        if len(of_row) == len(tasks) and (with_mean or len(tasks) == 1):
            whole = set.intersection(*map(set, of_row.values()))
            pairs = [[of_row[task][seed] for task in tasks] for seed in sorted(whole)]
            if pairs:
                cells.append(_cell(row, MEAN, list(map(_mean, pairs))))
    return cells


def _of_seed(users, reference, metric, seed, everyone):
    """Yields the row, the task and the pair of the difference and its draws, of one seed."""
    of_seed = {(row, task): sums for (row, task, s), sums in users.items() if s == seed}
    bases = {task: sums for (row, task), sums in of_seed.items() if row == reference}
    for task, base in bases.items():
        rows = {
            row: sums for (row, t), sums in of_seed.items() if t == task and sums.same_users(base)
        }
        place = np.searchsorted(everyone, base.user_ids)
        sums = {row: _spread(found.sums, place, len(everyone)) for row, found in rows.items()}
        counts = _spread(base.rows, place, len(everyone))
        # The same generator for every task and seed: the same users are drawn.
        means = sampled_means(sums, counts, np.random.default_rng(0))
        draws = {row: metric.of_means(of_row) for row, of_row in means.items()}
        values = {row: metric.of_means(found.mean) for row, found in rows.items()}
        for row in rows:
            if row != reference:
                difference = values[row] - values[reference]
                yield row, task, (difference, draws[row] - draws[reference])


def _spread(values, place, size):
    whole = np.zeros(size, values.dtype)
    whole[place] = values
    return whole


def _mean(pairs):
    """The mean of differences and that of their draws."""
    draws = np.mean([draws for _, draws in pairs], axis=0)
    return float(np.mean([difference for difference, _ in pairs])), draws


def _cell(row, task, pairs):
    difference, draws = _mean(pairs)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    cell = {"row": row, "task": task, "difference": difference, "low": low, "high": high}
    return {**cell, "seeds": len(pairs)}


def difference_table(cells: list[Json]) -> tuple[str, list[str], list[list[str]]]:
    """The cells of one kind as a table of texts: header, rows and what the table is of."""
    tasks, rows = pivot(cells, format_difference)
    metric, reference = get_kind(cells[0]["kind"]).metric, cells[0]["reference"]
    better = "more" if metric.higher_is_better else "less"
    title = f"{metric.name}, difference to {reference} with its 95 % interval ({better} is better)"
    return title, ["", *tasks], rows


def format_difference(cell: Json) -> str:
    """`+0.012 [+0.004, +0.020]`."""
    return f"{cell['difference']:+.3f} [{cell['low']:+.3f}, {cell['high']:+.3f}]"


def markdown(cells: list[Json]) -> str:
    """The differences as a section of `table.md`, or "" if there are none."""
    parts = []
    for of_kind in grouped(cells, "kind"):
        title, header, rows = difference_table(of_kind)
        parts.append(f"{title}:\n\n{markdown_table(header, rows)}")
    return "\n\n".join(["## Differences", NOTE, *parts]) if parts else ""


def write_differences(cells: list[Json], folder: AnyPath) -> None:
    """Writes `differences.csv` with a row for each cell."""
    write_csv(Path(folder) / "differences.csv", COLUMNS, cells)
