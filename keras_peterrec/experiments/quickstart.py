"""The whole job on MovieLens-6, in a few minutes."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.experiments.comparison_plot import plot_comparison
from keras_peterrec.experiments.datasets import MAX_LENGTH, MOVIELENS_TASKS, SIMULATED_TASKS
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.sources import load_labels, load_log, load_titles
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.printing import people_console, print_table
from keras_peterrec.progress import HOW, line
from keras_peterrec.runs.export import export
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.signature_names import COUNTS
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.experiment import QuickstartSettings
from keras_peterrec.task_kinds import get_kind
from keras_peterrec.types import Json

COMPARED = ("children", "shop")  # the task with few labels; of the simulated data
OTHER_METHODS = ("all", "head")
BASELINES = ("simplest", "linear")  # the order of a task's baselines


@takes(QuickstartSettings)
def quickstart(settings: QuickstartSettings) -> Json:
    """Pretrains, transfers, compares, exports and asks; goes on where it was.

    Where MovieLens cannot be had, the simulated data is taken, and said so.

    Returns:
        dict of `rows` (the table), `export`, `user` (one user's answers), `data`, `out` and
        `seconds`.
    """
    began = time.perf_counter()
    out, epochs, seed = Path(settings.out), settings.epochs, settings.seed
    data = _available(settings.data)
    source, tasks = f"{data}/source", SIMULATED_TASKS if data == "simulated" else MOVIELENS_TASKS
    host = out / "host"
    pretrained = pretrain(source, host, max_length=MAX_LENGTH, epochs=epochs, seed=seed)
    compared = COMPARED[data == "simulated"]
    jobs = [
        (task, method, task if method == "patch" else f"{task}-{method}")
        for task in tasks
        for method in ("patch", *(OTHER_METHODS if task == compared else ()))
    ]
    common = {"host": host, "log": source, "epochs": epochs, "seed": seed}
    _transfer_all(
        {**common, **_answers(data, tasks[task]), "method": method, "out": out / name}
        for task, method, name in jobs
    )
    rows = [
        _row(task, method, read_json(out / name / "metrics.json", "out"))
        for task, method, name in jobs
    ]
    exported = _export(host, [out / task for task in tasks], out)
    units = {
        task: get_kind(read_json(out / task / "task.json", "out")["kind"]).unit for task in tasks
    }
    user = _ask(data, units, exported["out"], seed)
    result = {
        "command": "quickstart",
        "data": data,
        "out": str(out),
        "seed": seed,
        "pretraining": {"test": pretrained["metrics"]["test"], **pretrained["seconds"]},
        "rows": rows,
        "export": exported,
        "user": user,
        "seconds": {"total": round(time.perf_counter() - began, 1)},
    }
    plot_comparison(rows, out / "comparison.png", f"{data}, test users, seed {seed}")
    write_json(out / "metrics.json", result)
    return result


def show(result: Json) -> None:
    """Prints a quickstart's result."""
    console = people_console()
    source = "one site split by genre" if result["data"].startswith("movielens") else "no real data"
    rows = [
        [
            row["task"],
            row["method"],
            row["metric"],
            f"{row['value']:.3f}",
            *_in_columns(f"{value:.3f}" for value in row["baselines"].values()),
            f"{row['trainable']:,}",
            _seconds(row["first_step"]),
            _seconds(row["fit"]),
        ]
        for row in result["rows"]
    ]
    title = f"{result['data']} ({source}), test users"
    numbers = ("value", *BASELINES, "trained", "first\nstep", "fitting")
    print_table(console, title, ("task", "method", "metric"), numbers, rows)
    for place, column in enumerate(BASELINES):
        lines = dict.fromkeys(
            f"{_in_columns(row['baselines'])[place]} ({row['metric']})" for row in result["rows"]
        )
        console.print(f"baseline, {column}: {', '.join(lines)}")
    console.print()
    _show_user(console, result["user"])
    exported, out = result["export"], result["out"]
    console.print(
        f"\none SavedModel with {len(exported['signatures'])} signatures, "
        f"{exported['bytes'] / 1e6:.1f} MB: {exported['out']}\n"
        f"plot: {out}/comparison.png   all in {result['seconds']['total']:.0f} s\n\n"
        "Try next:\n"
        f"  {_program()} predict --model {exported['out']} --task {result['user']['task']} "
        f'--history "{" ".join(result["user"]["history"].split()[-3:])}"\n'
        f"  {_program()} inspect {exported['out']}\n"
        f"  {_program('tensorboard')} --logdir {out}",
        soft_wrap=True,
    )


def _program(name="keras-peterrec"):
    """How to call one of our programs: by its name, or by its path if it is not on PATH."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.executable).parent / name)


def _available(data):
    """The name of the data, or of the simulated data if it is not available."""
    try:
        load_log(f"{data}/source")
        return data
    except InputError as error:
        line(f"{error}\nGoing on with simulated data.")
        return "simulated"


def _answers(data, answers):
    if "target" in answers:
        return {"target": f"{data}/{answers['target']}"}
    return {"labels": f"{data}/users", **answers}


def _transfer_all(jobs):
    """Runs transfers side by side, because one small task cannot use two cores.

    Each of two processes runs one after the other, so TensorFlow is loaded twice in all.
    """
    cores = os.cpu_count() or 1
    workers = min(2, cores)
    environment = {
        "TF_NUM_INTRAOP_THREADS": str(max(1, cores // workers)),
        HOW: "off" if os.environ.get(HOW) == "off" else "lines",  # one terminal for both
    }
    waiting = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)

    def run_waiting():
        with WorkerProcess(calls=None, environment=environment) as worker:
            while not waiting.empty():
                with contextlib.suppress(queue.Empty):
                    worker.call(transfer, **waiting.get_nowait())

    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(run_waiting) for _ in range(workers)]:
            done.result()


def _row(task, method, result):
    metric = get_kind(result["kind"]).shown[0]
    simplest_and_linear = result["baselines"][0], result["baselines"][-1]
    return {
        "task": task,
        "method": method,
        "metric": metric,
        "value": result["metrics"]["test"][metric],
        "baselines": {b["name"]: b["test"][metric] for b in simplest_and_linear},
        "trainable": result["parameters"]["trainable"],
        "first_step": result["seconds"]["first_step"],
        "fit": result["seconds"]["fit"],
        "seconds": result["seconds"]["total"],
    }


def _in_columns(baselines):
    """The simplest baseline and the linear part, "" for one that is not there."""
    shown = list(baselines)[: len(BASELINES)]
    return [*shown, *[""] * (len(BASELINES) - len(shown))]


def _seconds(seconds):
    return "" if seconds is None else f"{seconds:.1f} s"


def _export(host, tasks, out):
    """Exports the next version; an earlier one is never overwritten."""
    base = out / "export" / "peterrec"
    versions = [int(path.name) for path in base.glob("[0-9]*") if path.name.isdigit()]
    return export(host, tasks, base / str(max(versions, default=0) + 1))


def _ask(data, units, model, seed):
    """Answers for one test user, from a new process that loads the export."""
    log, titles = load_log(f"{data}/source"), load_titles(f"{data}/source")
    user_ids = load_labels(f"{data}/users", "gender").user_ids
    lengths = dict(zip(log.user_ids, log.lengths.tolist()))
    user_id = next(
        user
        for user, part in zip(user_ids, split_users(user_ids, seed))
        if part == TEST and 10 <= lengths.get(user, 0) <= 40
    )
    history = log.item_ids[log[log.index([user_id])[0]]].tolist()
    asked = " ".join(history)
    command = [sys.executable, "-m", "keras_peterrec", "predict", "--json", "--model", str(model)]
    command += ["--task", *units, "--history", asked]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "user_id": user_id,
        "task": next(iter(units)),
        "history": asked,
        "history_titles": [titles.get(item, item) for item in history],
        "units": units,
        "answers": {task: _titled(answers[asked], titles) for task, answers in answer.items()},
    }


def _titled(answer, titles):
    """What an export answered as pairs of a label and a score; of a number, of "" and it."""
    if "scores" not in answer:
        return [["", value] for name, value in answer.items() if name not in COUNTS]
    (labels,) = (v for name, v in answer.items() if name not in ("scores", *COUNTS))
    return [[titles.get(label, label), score] for label, score in zip(labels, answer["scores"])]


def _show_user(console, user):
    console.print(f"user {user['user_id']}, answered by the export in a new process")
    console.print("  history        " + "; ".join(user["history_titles"][-6:]))
    for task, answer in user["answers"].items():
        unit = user["units"][task]
        if unit == "number":
            text = f"{answer[0][1]:.4g}"
        elif unit == "probability":
            text = ", ".join(f"{label} {score:.0%}" for label, score in answer[:4])
        else:
            text = "; ".join(title for title, _ in answer[:5])
        console.print(f"  {task:<14} {text}")
