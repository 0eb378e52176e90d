"""How fast a large log is prepared and streamed, and how much memory that takes.

    python tests/benchmarks/large_logs.py --events 5_000_000 --out runs/large-logs

makes a log with a realistic item law, prepares it, and streams batches from it without a model.
`--until pretrain` also trains on it for a while, and `--until answer` does all that comes after:
test metrics, a task with two classes, an export, and its first answer. Each stage is a process of
its own, so that its peak memory is its own. Results are printed and written to `OUT/results.json`.
`--each-item` lets every item occur, so that a vocabulary of millions needs no billions of events.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keras_peterrec.files.json_file import write_json

FILE_EVENTS = 4_000_000
STAGES = ("make", "prepare", "stream", "pretrain", "evaluate", "transfer", "export", "answer")
LABELLED = 20_000  # users


def make(options):
    """Writes Parquet files in order of time, as an application would.

    An item's share follows the law of Zipf and Mandelbrot, 1 / (rank + 50)^1.05; how active users
    are follows a log-normal distribution; a third of a user's events repeat a neighbourhood of
    items, so that there is something to learn.
    """
    draw = np.random.default_rng(0)
    items = np.cumsum(1.0 / (np.arange(options.items) + 50.0) ** 1.05)
    users = np.cumsum(draw.lognormal(0.0, 1.0, options.users))
    tastes = draw.integers(0, options.items, options.users)
    names = draw.permutation(options.items)  # an item's name says nothing of its rank
    folder = options.out / "log"
    folder.mkdir(parents=True, exist_ok=True)
    for n, begin in enumerate(range(0, options.events, FILE_EVENTS)):
        count = min(FILE_EVENTS, options.events - begin)
        user = np.searchsorted(users, draw.random(count) * users[-1])
        item = np.searchsorted(items, draw.random(count) * items[-1])
        of_taste = draw.random(count) < 1 / 3
        near = (tastes[user] + draw.integers(0, 100, count)) % options.items
        item = names[np.where(of_taste, near, item)]
        if options.each_item:
            turn = np.arange(begin - 1, begin + count) * options.items // options.events
            item[np.diff(turn) > 0] = turn[1:][np.diff(turn) > 0]
        times = 1_700_000_000 + np.sort(draw.integers(begin, begin + count, count)) // 10
        table = pa.table({"user_id": user, "item_id": item, "timestamp": times})
        pa.parquet.write_table(table, folder / f"{n:04d}.parquet")
    chosen = draw.choice(options.users, min(LABELLED, options.users), replace=False)
    kinds = np.where(tastes[chosen] < options.items // 2, "low", "high")
    rows = [f"{user},{kind}" for user, kind in zip(chosen, kinds)]
    (options.out / "users.csv").write_text("\n".join(["user_id,kind", *rows, ""]))
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"events": options.events, "bytes": size}


def prepare(options):
    """Prepares the log in this process, or on Beam with `--runner`."""
    from keras_peterrec.runs.prepare import prepare

    arguments = {"runner": options.runner, "pipeline_options": options.pipeline_options}
    found = prepare(str(options.out / "log" / "*.parquet"), options.out / "prepared", **arguments)
    return {**found["data"], "of": "events"}


def stream(options):
    """Reads batches of pretraining for a while, without a model."""
    from keras_peterrec.log.packed_batches import NextItems
    from keras_peterrec.log.prepared.reading import PreparedLog
    from keras_peterrec.log.streamed_batches import StreamedBatches
    from keras_peterrec.log.vocabulary import counted_vocabulary

    began = time.perf_counter()
    prepared = PreparedLog(options.out / "prepared")
    _, _, ids = counted_vocabulary(prepared.item_ids, prepared.counts, 1)
    batches = StreamedBatches(prepared, ids, NextItems(0.1), tokens=1_000)
    count, first = 0, None
    for history, _ in batches.from_step(0):
        first = first or time.perf_counter() - began
        count += int(np.count_nonzero(history))
        if time.perf_counter() - began > options.seconds:
            break
    return {"events": count, "first_batch_s": round(first, 2)}


def pretrain(options):
    """Trains on the prepared log for a number of steps."""
    from keras_peterrec.runs.pretrain import pretrain

    runner = {"runner": options.runner, "pipeline_options": options.pipeline_options}
    found = pretrain(
        options.out / "prepared",
        options.out / "host",
        epochs=1,
        steps_per_epoch=options.steps,
        hidden_dim=options.hidden_dim,
        linear=options.linear,
        baselines=False,
        **(runner if options.linear else {}),
    )
    metrics = {name: found["metrics"]["test"][name] for name in ("hr@10", "ndcg@10")}
    about = {"steps": options.steps, "bytes": _size(options.out / "host"), "test": metrics}
    return {"seconds": found["seconds"], "linear": found.get("linear"), **about}


def evaluate(options):
    """Measures the host again."""
    from keras_peterrec.runs.evaluate import evaluate

    found = evaluate(options.out / "host")
    return {"users": found["data"]["users"], "ndcg@10": found["metrics"]["test"]["ndcg@10"]}


def transfer(options):
    """Trains a task with two classes."""
    from keras_peterrec.runs.transfer import transfer

    labels = {"labels": options.out / "users.csv", "column": "kind"}
    log, out = options.out / "prepared", options.out / "task"
    found = transfer(options.out / "host", log, out, epochs=2, linear=options.linear, **labels)
    return {"log_loss": found["metrics"]["test"]["log_loss"], "bytes": _size(out)}


def export(options):
    """Exports host and task."""
    from keras_peterrec.runs.export import export as export_runs

    out = options.out / "export" / "1"
    export_runs(host=options.out / "host", task=[options.out / "task"], out=out)
    vocabulary = next(out.rglob("vocabulary.txt")).stat().st_size
    return {"bytes": _size(out), "vocabulary_bytes": vocabulary}


def answer(options):
    """Loads the export as a server does, and asks it."""
    import tensorflow as tf

    began = time.perf_counter()
    loaded = tf.saved_model.load(str(options.out / "export" / "1"))
    seconds = {"load_s": round(time.perf_counter() - began, 2)}
    items = (options.out / "prepared" / "vocabulary.txt").read_text().split("\n", 20)[10:14]
    for name in ("serving_default", "task"):
        for which in ("first", "second"):
            began = time.perf_counter()
            loaded.signatures[name](tf.constant([" ".join(items)]))
            seconds[f"{name}_{which}_s"] = round(time.perf_counter() - began, 3)
    return seconds


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runner")
    parser.add_argument("--pipeline-options")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--hidden-dim", type=int, default=64)
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--each-item", action="store_true")
    parser.add_argument("--until", choices=STAGES, default="stream")
    parser.add_argument("--stage", choices=STAGES)
    options = parser.parse_args()
    options.users = options.users or max(1_000, options.events // 33)
    options.items = options.items or max(1_000, options.events // 100)
    if options.stage:
        began = time.perf_counter()
        found = globals()[options.stage](options)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found |= {"wall_s": round(seconds, 1), "peak_gb": round(peak, 2)}
        if "events" in found:
            found["events_a_second"] = round(found["events"] / seconds)
        print(json.dumps(found))
        return
    results = {}
    for stage in STAGES[: STAGES.index(options.until) + 1]:
        command = [sys.executable, __file__, *sys.argv[1:], "--stage", stage]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[stage] = json.loads(done.stdout.splitlines()[-1])
        print(stage, json.dumps(results[stage]), flush=True)
    write_json(options.out / "results.json", results)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
