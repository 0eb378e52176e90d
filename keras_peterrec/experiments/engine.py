"""Runs an experiment: a plan on a dataset, over several seeds; writes tables and plots."""

import re
from pathlib import Path

from keras_peterrec.errors import Misfit
from keras_peterrec.experiments import plots
from keras_peterrec.experiments.datasets import DEFAULT, open_dataset, own_dataset
from keras_peterrec.experiments.differences import (
    compare_runs,
    difference_table,
    markdown,
    write_differences,
)
from keras_peterrec.experiments.runner import Runner
from keras_peterrec.experiments.tables import (
    format_cell,
    grouped,
    pivot,
    shown_metrics,
    summarise,
    table_notes,
    write_tables,
)
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_json
from keras_peterrec.printing import people_console, print_table
from keras_peterrec.progress import line
from keras_peterrec.report.tensorboard import write_trials
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.experiment import ExperimentSettings
from keras_peterrec.settings.plans import PLANS
from keras_peterrec.types import Json


@takes(ExperimentSettings)
def experiment(settings: ExperimentSettings) -> Json:
    """Runs one of the experiments; goes on where it was.

    Every seed (0, 1, ...) changes the split, the host and the training. Each run keeps its own
    folder with its `metrics.json`; over all of them `out` holds `metrics.json`, `table.md`,
    `table.csv`, `differences.csv`, plots and, under `logs`, what TensorBoard's HParams shows. More
    seeds or tasks can be asked for later, in the same folder. What does not go with the data (a
    split that 1 % of the labels leave empty) is left out, which the tables say; asked again, it is
    tried again.

    Returns:
        dict, the content of `metrics.json`. Its `seconds` are those of all runs and hosts, whenever
        they were run.

    Raises:
        InputError: an argument or the data cannot be used, a folder holds another run, or nothing
            can be run.
    """
    plan = PLANS[settings.name].only(settings.rows)
    data = _data(settings).only(settings.tasks)
    data = data if settings.cut_history else data.with_whole_histories()
    asked = {
        "seeds": list(range(settings.seeds)),
        "tasks": [task.name for task in data.tasks],
        "rows": [row.label for row in plan.rows],
        # Reads all files, so that one that cannot be read ends this before anything is written.
        "data": data.fingerprints(),
    }
    name = settings.name if settings.linear else f"{settings.name}-no-linear"
    out = settings.out or f"runs/experiments/{name}"
    # Also a finished folder is locked: more seeds may be added to it.
    with RunFolder(out, settings) as folder, locked(folder.path):
        if (earlier := _same_result(folder, asked)) is not None:
            return earlier
        host_settings = {
            "hidden_dim": settings.hidden_dim,
            "blocks": settings.blocks,
            "max_length": settings.max_length or data.max_length,
        }
        shared = settings.shared or folder.path
        epochs, linear = settings.epochs, settings.linear
        with WorkerProcess() as worker:
            runner = Runner(data, folder.path, shared, host_settings, worker, epochs, linear)
            runs = [
                record
                for seed in asked["seeds"]
                for row in plan.rows
                for record in runner.results(row, seed)
            ]
        if not runs:
            raise Misfit(runner.left_out[0]["reason"])
        wanted = {**settings.recorded(), **asked}
        result = _report(plan, data, runs, runner.left_out, folder.path, wanted)
        result["seconds"] = {"total": round(sum(runner.seconds.values()), 1)}
        _print_total(result)
        return folder.finish(result)


def _data(settings):
    if settings.log is None:
        return open_dataset(settings.dataset or DEFAULT, settings.path)
    return own_dataset(settings)


def show(result: Json) -> None:
    """Prints an experiment's tables."""
    console = people_console()
    for cells in grouped(result["table"], "kind", "metric"):
        metric = cells[0]["metric"]
        tasks, rows = pivot(cells, format_cell)
        print_table(console, f"{result['title']}: test {metric}", [""], tasks, rows)
    for cells in grouped(result.get("differences", []), "kind"):
        title, header, rows = difference_table(cells)
        rows = [[text.replace(" [", "\n[") for text in row] for row in rows]
        print_table(console, title, header[:1], header[1:], rows)
    for note in result["notes"]:
        console.print(note)
    console.print(f"tables, plots and every run: {result['out']}")


def _same_result(folder, asked):
    """The earlier result, if the same was asked for and nothing was left out; else `None`."""
    file = folder.path / "metrics.json"
    if not file.is_file():
        return None
    earlier = read_json(file, "out")
    if earlier.get("left_out") or any(earlier["settings"].get(k) != v for k, v in asked.items()):
        return None
    _print_total(earlier)
    return folder.earlier_result()


def _print_total(result):
    seconds = result["seconds"]["total"]
    line(f"{result['out']}: {len(result['runs'])} runs, {seconds:.1f} s in all")


def _report(plan, data, runs, left_out, out, settings):
    """Writes tables, plots and HParams; returns the content of `metrics.json`."""
    cells = summarise(runs)
    notes = table_notes(plan, data, cells, left_out, len(settings["seeds"]))
    differences = compare_runs(plan, runs, out)
    write_tables(cells, out, plan.title, notes, markdown(differences))
    write_differences(differences, out)
    pictures = plots.draw(plan, runs, cells, Path(out))
    _write_hparams(runs, Path(out) / "logs")
    return {
        "command": "experiment",
        "title": plan.title,
        "notes": notes,
        "settings": settings,
        "out": str(out),
        "table": cells,
        "differences": differences,
        "plots": pictures,
        "runs": runs,
        "left_out": left_out,
    }


def _write_hparams(runs: list[Json], folder: Path) -> None:
    """Writes each run's settings and test metrics for TensorBoard."""
    trials = {}
    for run in runs:
        name = f"seed-{run['seed']}/{run['task']}/{re.sub('[^A-Za-z0-9.]+', '-', run['row'])}"
        named = {"row": run["row"], "task": run["task"], "seed": run["seed"], **run["settings"]}
        shown = [metric for _, metric in shown_metrics([run]) if metric in run["test"]]
        metrics = {f"test/{metric}": run["test"][metric] for metric in shown}
        trials[name] = {**named, "trainable": run["trainable"]}, metrics
    write_trials(folder, trials)
