"""Runs an experiment: a plan on a dataset, several seeds, tables and plots out."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from keras_peterrec.errors import InputError, Misfit
from keras_peterrec.experiments import plots
from keras_peterrec.experiments.datasets import open_dataset
from keras_peterrec.experiments.hparams import write_hparams
from keras_peterrec.experiments.notes import table_notes
from keras_peterrec.experiments.plans import PLANS
from keras_peterrec.experiments.runner import Runner
from keras_peterrec.experiments.tables import MEAN, format_cell, summarise, write_tables
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.files.folder_lock import locked
from keras_peterrec.files.json_file import read_json
from keras_peterrec.runs.run_folder import RunFolder
from keras_peterrec.runs.settings import check_settings


def experiment(
    name,
    dataset="movielens-100k",
    path=None,
    tasks=None,
    cut_history=True,
    seeds=3,
    epochs=None,
    hidden_dim=64,
    blocks=8,
    max_length=None,
    shared=None,
    out=None,
):
    """Runs one of the experiments; goes on where it was.

    Every seed changes the split, the host and the training. Each run keeps its own
    folder with its `metrics.json`; over all of them `out` holds `metrics.json`,
    `table.md`, `table.csv`, plots and, under `logs`, what TensorBoard's HParams shows.
    More seeds or tasks can be asked for later, in the same folder. What does not go with
    the data (a split that 1 % of the labels leave empty) is left out, which the tables say;
    asked again, it is tried again.

    Args:
        name: str. One of `PLANS`.
        dataset: str. One of `DATASETS`.
        path: path of its folder, for `"amazon"` and `"peterrec"`.
        tasks: sequence of str, or `None` for all of the dataset.
        cut_history: bool. `False` for whole histories in all tasks; see `transfer`.
        seeds: int. How many: 0, 1, ...
        epochs: int or `None`. At most, of every stage; `None` for the runs' default.
        hidden_dim, blocks: int. Of the hosts; see `pretrain`.
        max_length: int or `None`. Of the hosts; `None` for what suits the dataset.
        shared: path of the folder of hosts and runs, which several experiments on one
            dataset may share: what two of them have in common is run once. Defaults to
            `None`, `out`.
        out: path. Defaults to `None`, `runs/experiments/NAME`.

    Returns:
        dict, the content of `metrics.json`. Its `seconds` are those of all runs and hosts,
        whenever they were run.

    Raises:
        InputError: an argument or the data cannot be used, a folder holds another run, or
            nothing can be run.
    """
    plan = _plan(name, seeds)
    settings = {
        "name": name,
        "dataset": dataset,
        "path": None if path is None else str(path),
        "cut_history": cut_history,
        "epochs": epochs,
        "hidden_dim": hidden_dim,
        "blocks": blocks,
        "max_length": max_length,
    }
    check_settings(settings)
    data = open_dataset(dataset, path).only(tasks)
    data = data if cut_history else data.with_whole_histories()
    asked = {
        "seeds": list(range(seeds)),
        "tasks": [task.name for task in data.tasks],
        # What cannot be read is refused before anything is written.
        "data": data.fingerprints(),
    }
    with RunFolder(out or f"runs/experiments/{name}", "experiment", settings) as folder:
        if (earlier := _same_result(folder, asked)) is not None:
            return earlier
        host_settings = {
            "hidden_dim": hidden_dim,
            "blocks": blocks,
            "max_length": max_length or data.max_length,
        }
        # Also a finished folder, to which more seeds are added.
        with locked(folder.path), WorkerProcess() as worker:
            runner = Runner(data, folder.path, shared or folder.path, host_settings, worker, epochs)
            runs = [
                record
                for seed in asked["seeds"]
                for row in plan.rows
                for record in runner.results(row, seed)
            ]
        if not runs:
            raise Misfit(runner.left_out[0]["reason"])
        result = _report(plan, data, runs, runner.left_out, folder.path, {**settings, **asked})
        result["seconds"] = {"total": round(sum(runner.seconds.values()), 1)}
        _print_total(result)
        return folder.finish(result)


def show(result):
    """Prints an experiment's tables for people."""
    console = Console(highlight=False)
    for metric in dict.fromkeys(cell["metric"] for cell in result["table"]):
        cells = [cell for cell in result["table"] if cell["metric"] == metric]
        tasks = sorted(dict.fromkeys(cell["task"] for cell in cells), key=lambda t: t == MEAN)
        table = Table(title=f"{result['title']}: test {metric}", title_justify="left")
        table.add_column("")
        for task in tasks:
            table.add_column(task, justify="right")
        for row in dict.fromkeys(cell["row"] for cell in cells):
            of_row = {cell["task"]: format_cell(cell) for cell in cells if cell["row"] == row}
            table.add_row(row, *(of_row.get(task, "") for task in tasks))
        console.print(table)
    for note in result["notes"]:
        console.print(note)
    console.print(f"tables, plots and every run: {result['out']}")


def _plan(name, seeds):
    if name not in PLANS:
        raise InputError(
            f"`name` should be one of {', '.join(PLANS)}. Received: `name` = {name!r}."
        )
    if not isinstance(seeds, int) or seeds < 1:
        raise InputError(f"`seeds` should be a positive integer. Received: `seeds` = {seeds!r}.")
    return PLANS[name]


def _same_result(folder, asked):
    """What was found before, if the same was asked for and nothing was left out."""
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
    print(f"{result['out']}: {len(result['runs'])} runs, {seconds:.1f} s in all", file=sys.stderr)


def _report(plan, data, runs, left_out, out, settings):
    """Writes tables, plots and HParams; returns the result, as `metrics.json` has it."""
    cells = summarise(runs)
    notes = table_notes(plan, data, cells, left_out, len(settings["seeds"]))
    write_tables(cells, out, plan.title, notes)
    pictures = plots.draw(plan, runs, cells, Path(out))
    write_hparams(runs, Path(out) / "logs")
    return {
        "command": "experiment",
        "title": plan.title,
        "notes": notes,
        "settings": settings,
        "out": str(out),
        "table": cells,
        "plots": pictures,
        "runs": runs,
        "left_out": left_out,
    }
