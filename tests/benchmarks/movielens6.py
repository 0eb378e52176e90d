"""Every strategy on MovieLens-6, several seeds: the table of the README.

    python tests/benchmarks/movielens6.py --out runs/movielens6 [--seeds 3]

Resumable; the seed changes the host, the split and the training. Beside it, with
whole histories (`cut_history=False`), PeterRec against ridge regression on the bag of
source items, ranked against 99 sampled negatives; ridge's penalty is chosen on the
validation users.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np

from keras_peterrec.data.sequences import Sequences
from keras_peterrec.data.sources import load_log
from keras_peterrec.data.splits import TEST, TRAIN, VALIDATION
from keras_peterrec.metrics import RidgeRanker
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.recommendation import RecommendationData
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.json_file import write_json

DATA = "movielens-100k"
MAX_LENGTH = 32  # as in the quickstart
DOMAINS = ("action", "scifi", "children")
PROFILES = ("gender", "age", "occupation")
METHODS = ("patch", "all", "head", "scratch", "random_host")
PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    options = parser.parse_args()
    results = {}
    for seed in options.seeds:
        folder = options.out / f"seed-{seed}"
        host = folder / "host"
        pretrain(f"{DATA}/source", host, max_length=MAX_LENGTH, seed=seed)
        for task in (*DOMAINS, *PROFILES):
            for method in options.methods:
                result = transfer(
                    host, f"{DATA}/source", folder / f"{task}-{method}", method=method,
                    seed=seed, **_where(task),
                )  # fmt: skip
                _add(results, task, method, result["metrics"]["test"])
                _add(results, task, result["baseline"]["name"], result["baseline"]["test"])
        for task in DOMAINS:
            result = transfer(
                host, f"{DATA}/source", folder / f"{task}-whole", cut_history=False, seed=seed,
                **_where(task),
            )  # fmt: skip
            _add(results, task, "patch, whole history", result["metrics"]["test"])
            _add(results, task, "ridge, whole history", _ridge(host, task, seed))
    write_json(options.out / "metrics.json", results)
    for metric in ("ndcg@10", "hr@10", "sampled_mrr@5", "accuracy", "log_loss"):
        _print_table(results, metric)


def _where(task):
    if task in DOMAINS:
        return {"target": f"{DATA}/{task}"}
    return {"labels": f"{DATA}/users", "column": task}


def _add(results, task, method, metrics):
    results.setdefault(task, {}).setdefault(method, []).append(metrics)


def _ridge(host, task, seed):
    host = Host.load(host)
    source = Sequences(load_log(f"{DATA}/source"), host.vocabulary)
    log = load_log(f"{DATA}/{task}")
    data = RecommendationData(source, log, host.max_length, seed, cut_history=False)
    train = data.splits[TRAIN]
    chosen = train.answers >= 0
    fitted = []
    for penalty in PENALTIES:
        ranker = RidgeRanker(l2=penalty).fit(
            *_bags(source, train), len(host.vocabulary),
            np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]), train.answers[chosen],
            len(data.targets),
        )  # fmt: skip
        fitted.append(ranker)

    def measure(ranker, part):
        queries = ranker.queries(*_bags(source, data.splits[part]))
        return data.rank(queries, ranker.item_table, part, sampled=True)

    best = max(fitted, key=lambda ranker: measure(ranker, VALIDATION)["sampled_mrr@5"])
    return measure(best, TEST)


def _bags(source, split):
    rows = [source.items[start:stop] for start, stop in zip(split.starts, split.stops)]
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows)


def _print_table(results, metric):
    tasks = [task for task, methods in results.items() if metric in next(iter(methods.values()))[0]]
    if not tasks:
        return
    methods = list(dict.fromkeys(method for task in tasks for method in results[task]))
    print(f"\n| {metric} | " + " | ".join(tasks) + " |")
    print("|---|" + "---|" * len(tasks))
    for method in methods:
        cells = [_cell([m[metric] for m in results[task].get(method, [])]) for task in tasks]
        print(f"| {method} | " + " | ".join(cells) + " |")


def _cell(values):
    if not values:
        return ""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
