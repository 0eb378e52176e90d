"""What a task's recipe is worth, by cross-validation without the test users of a seed.

    keras-peterrec pretrain --log movielens-100k/source --max-length 32 --out runs/host
    python tests/benchmarks/recipe_search.py --host runs/host --tasks scifi gender [--folds 8]
        [--method head] [--train-fraction 0.1] [--no-cut-history] [--loss bce]
        [--dropout 0.8]

The users that seed 0 trains and validates with lie in folds, by a hash of their ids. In turns,
one fold is scored, the next one says when to stop, and the others are trained on, by the code of
`transfer`. Printed is the mean over the folds, by their events or users, and the spread. Settings
are compared by calls that differ in one of them.
"""

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

import numpy as np

from keras_peterrec.log.task_examples import ItemLists

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--host", required=True)
parser.add_argument("--tasks", nargs="+", default=["scifi", "children", "gender", "age"])
parser.add_argument("--folds", type=int, default=8)
parser.add_argument("--method", default="head")
parser.add_argument("--train-fraction", type=float, default=1.0)
parser.add_argument("--loss", default=None)
parser.add_argument("--dropout", type=float, default=0.5)
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument("--batch-size", type=int, default=None)
parser.add_argument("--no-cut-history", dest="cut_history", action="store_false")


def main():
    options = parser.parse_args()
    from keras_peterrec.experiments.datasets import open_dataset
    from keras_peterrec.transfer.host import Host

    host = Host.load(options.host)
    dataset = open_dataset("movielens-100k").only(options.tasks)
    dataset = dataset if options.cut_history else dataset.with_whole_histories()
    for task in dataset.tasks:
        settings = settings_of(task, options)
        data = whole_data(host, settings)
        found = [scored(host, data, fold, settings, options) for fold in range(options.folds)]
        scores, weights = zip(*found)
        mean, spread = np.average(scores, weights=weights), np.std(scores, ddof=1)
        print(f"{task.name}: {data.kind.metric.name} {mean:.4f}, folds {spread:.4f}", flush=True)


def settings_of(task, options):
    """The settings of `transfer` for a task."""
    from keras_peterrec.settings.transfer import TransferSettings

    names = ("host", "method", "loss", "batch_size", "learning_rate", "dropout")
    chosen = {name: getattr(options, name) for name in names}
    return TransferSettings(out="", **chosen, **task.arguments)


def whole_data(host, settings):
    """A task's data as `transfer` reads it, with the examples of training and validation."""
    from keras_peterrec.log.event_split import TRAIN, VALIDATION
    from keras_peterrec.log.sources import load_log
    from keras_peterrec.runs.task_data import load_answers, with_kind

    answers = load_answers(settings)
    settings, kind = with_kind(settings, answers)
    source = load_log(settings.log).encode(host.vocabulary, known_only=True)
    data = kind.make_data(source, answers, host.task_settings()["history_length"], settings)
    data.examples = joined(data.splits[TRAIN], data.splits[VALIDATION])
    return data


def joined(*parts):
    """The examples of several splits as one."""
    names = ("user_ids", "starts", "stops")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    answers = [row for part in parts for row in part.answers]
    of_items = isinstance(parts[0].answers, ItemLists)
    columns["answers"] = ItemLists.of(answers) if of_items else np.array(answers)
    return dataclasses.replace(parts[0], **columns)


def scored(host, data, fold, settings, options):
    """The metric of one fold, and how much it counts."""
    from keras_peterrec.log.event_split import PARTS, TEST
    from keras_peterrec.log.user_splits import user_fractions
    from keras_peterrec.runs.task_training import train_task
    from keras_peterrec.training.seeds import seeded
    from keras_peterrec.transfer.strategies import build_task

    examples, folds = data.examples, options.folds
    place = (user_fractions(examples.user_ids, 0, "recipe") * folds).astype(int)
    stops = (fold + 1) % folds
    kept = user_fractions(examples.user_ids, 0, "few") < options.train_fraction
    rows = (place != fold) & (place != stops) & kept, place == stops, place == fold
    data.splits = {part: examples.select(mask) for part, mask in zip(PARTS, rows)}
    with seeded(0), tempfile.TemporaryDirectory() as folder, quiet():
        model = build_task(
            host.backbone,
            data.new_head(),
            settings.method,
            dropout=settings.dropout,
            name="fold",
            **host.task_settings(),
        )
        train_task(model, data, settings, Path(folder))
    answers = data.splits[TEST].answers
    counts = len(answers.items if isinstance(answers, ItemLists) else answers)
    return data.measure(model, TEST)[data.kind.metric.name], counts


class quiet:
    """Without the progress of the folds."""

    def __enter__(self):
        self._stderr = os.dup(2)
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)

    def __exit__(self, *error):
        os.dup2(self._stderr, 2)
        os.close(self._stderr)


if __name__ == "__main__":
    main()
