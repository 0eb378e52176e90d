"""Runs the rows of a plan, each once, in its own folder."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_peterrec.errors import Misfit
from keras_peterrec.experiments.datasets import Dataset
from keras_peterrec.experiments.worker_process import WorkerProcess
from keras_peterrec.files.json_file import read_json
from keras_peterrec.progress import line
from keras_peterrec.runs.linear import linear
from keras_peterrec.runs.multi_task import multi_task
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.settings.plans import Row
from keras_peterrec.types import AnyPath, Json

LONGEST_NAME = 60  # of a folder that is named after several tasks


class Runner:
    """Runs rows on a dataset. A finished run is read instead of run again.

    A host lies in `SHARED/hosts/SOURCE-OBJECTIVE-seed-N` and is pretrained when a row first needs
    it; a row's run lies in `SHARED/runs/seed-N/TASK/ROW`. `left_out` is a list of dict of `row`,
    `task`, `seed` and `reason`. `seconds` says by folder how long each run took, also if an
    earlier experiment ran it.

    `host_settings` are `hidden_dim`, `blocks` and `max_length`; `epochs` are at most, of every
    stage, `None` for the runs' default. Tasks without a `linear` part lie in folders of their own;
    hosts are shared, since a task reads the network alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        out: AnyPath,
        shared: AnyPath,
        host_settings: Json,
        worker: WorkerProcess,
        epochs: int | None = None,
        linear: bool = True,
    ) -> None:
        self._worker = worker
        self.dataset = dataset
        self.out, self.shared = Path(out), Path(shared)
        self.host_settings = host_settings
        self._epochs = {} if epochs is None else {"epochs": epochs}
        self._linear = {} if linear else {"linear": False}
        self._ready = set()
        self.left_out = []
        self.seconds = {}

    def results(self, row: Row, seed: int) -> Iterator[Json]:
        """Yields a record for each task of the dataset that the row can be run on.

        A run that raises a Misfit (1 % of the labels leave a split empty, for example) is left
        out, with a line on stderr.

        Raises:
            InputError: a run fails for any other reason, such as a folder that holds another run.
        """
        if row.run == "multi_task":
            yield from self._multi_task(row, seed)
            return
        for task in self.dataset.tasks:
            folder = self._folder(row, task.folder, seed)
            run: Any = linear
            arguments = {**task.arguments, **self.dataset.reading}
            if row.run == "transfer":
                run, arguments["host"] = transfer, self._host(task.source, row.objective, seed)
                arguments |= {**self._epochs, **self._linear}
            done = self._try(run, row, [task], seed, out=folder, **arguments, **row.settings)
            if done:
                yield self._record(row, task, seed, folder, done)

    def _multi_task(self, row, seed):
        for source, log in self.dataset.sources.items():
            tasks = [task for task in self.dataset.tasks if task.source == source]
            named = {task.name: task.arguments for task in tasks}
            folder = self._folder(row, _name_of_all(source, tasks), seed)
            done = self._try(
                multi_task,
                row,
                tasks,
                seed,
                log=log,
                tasks=named,
                out=folder,
                **self.dataset.reading,
                **self.host_settings,
                **self._epochs,
                **row.settings,
            )
            for task in tasks if done else ():
                within = folder / "tasks" / task.name
                result = read_json(within / "metrics.json", "out")
                yield self._record(row, task, seed, within, result)

    def _try(self, run, row, of, seed, out, **arguments):
        what = ", ".join(task.name for task in of)
        line(f"seed {seed}  {what}  {row.label}")
        try:
            result = self._worker.call(run, seed=seed, out=out, **arguments)
        except Misfit as error:
            line(f"left out: {what}, {row.label}, seed {seed}: {error}")
            self.left_out += [
                {"row": row.label, "task": task.name, "seed": seed, "reason": str(error)}
                for task in of
            ]
            return None
        self.seconds[out] = result["seconds"]["total"]
        return result

    def _host(self, source, objective, seed):
        host = self.shared / "hosts" / f"{source}-{objective}-seed-{seed}"
        if host not in self._ready:
            result = self._worker.call(
                pretrain,
                log=self.dataset.sources[source],
                out=host,
                objective=objective,
                seed=seed,
                **self.dataset.reading,
                **self.host_settings,
                **self._epochs,
            )
            self._ready.add(host)
            self.seconds[host] = result["seconds"]["total"]
        return host

    def _folder(self, row, task, seed):
        without = "-no-linear" if self._linear and row.run == "transfer" else ""
        return self.shared / "runs" / f"seed-{seed}" / task / f"{row.folder}{without}"

    def _record(self, row, task, seed, folder, result):
        settings = {**row.settings, **(self._linear if row.run == "transfer" else {})}
        return {
            "row": row.label,
            "task": task.name,
            "kind": result["kind"],
            "seed": seed,
            "folder": os.path.relpath(folder, self.out),
            "settings": {"run": row.run, "objective": row.objective, **settings},
            "trainable": result["parameters"]["trainable"],
            "seconds": result["seconds"]["total"],
            "validation": result["metrics"]["validation"],
            "test": result["metrics"]["test"],
            "baselines": [
                {"name": found["name"], "test": found["test"]} for found in result["baselines"]
            ],
        }


def _name_of_all(source, tasks):
    """The folder of a run on several tasks; other tasks get another folder."""
    name = "-".join(["all-of", source, *(task.folder for task in tasks)])
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"all-of-{source}-{len(tasks)}-tasks-{digest}"
