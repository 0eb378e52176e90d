"""How many users a second `predict --log` answers for, in one process and on Beam.

    python tests/benchmarks/bulk_answers.py --users 20000

A made-up model of 50,000 items, C 64, 8 blocks, with a profile (`age`); users with log-normal
numbers of events, some 60 each. Every way is a command of its own, which is also run for 100 users:
that is its start, with the loading of the model, and is taken off. CPU seconds are those of all of
its processes. Without Apache Beam only the first way runs.
"""

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

WAYS = {
    "one process": [],
    "Beam, one process": ["--runner", "DirectRunner"],
    "Beam, two workers": [
        "--runner=DirectRunner",
        "--pipeline-options=--direct_running_mode=multi_processing --direct_num_workers=2",
    ],
}


def write_log(path, users, mean, items):
    """Writes users' events, in any order of their rows."""
    draw = np.random.default_rng(0)
    sizes = draw.lognormal(0.0, 1.0, users)
    sizes = np.maximum(1, np.round(sizes * mean / sizes.mean())).astype("int64")
    rows = draw.permutation(np.repeat(np.arange(users), sizes))
    columns = {"user_id": [f"u{user}" for user in rows.tolist()]}
    columns["item_id"] = [f"i{item}" for item in draw.integers(0, items, len(rows)).tolist()]
    columns["timestamp"] = np.arange(len(rows))
    pa.parquet.write_table(pa.table(columns), path)
    return len(rows)


def run(command):
    """Seconds and CPU seconds of a command and of the processes that it waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu


def main():
    from keras_peterrec.benchmarks.report import describe_machine
    from keras_peterrec.benchmarks.serve_direct import make_model

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=60, help="of a user, on average")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    ways = list(WAYS.items())
    if importlib.util.find_spec("apache_beam") is None:
        ways = ways[:1]
    print(f"machine: {describe_machine()}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_model(folder / "peterrec" / "1", options.items, 5_000, 64, 8, options.events, 0)
        # The start and the loading alone, to be taken off.
        for name, users in (("few", 100), ("all", options.users)):
            events = write_log(folder / f"{name}.parquet", users, options.events, options.items)
        print(f"{options.users:,} users, {events:,} events")
        ask = [sys.executable, "-m", "keras_peterrec", "predict", "--task", "age", "--model"]
        ask.append(str(folder / "peterrec"))
        for _ in range(options.rounds):
            for way, more in ways:
                few, whole = (
                    run(
                        [
                            *ask,
                            "--log",
                            str(folder / f"{name}.parquet"),
                            *more,
                            "--out",
                            str(folder / "answers.parquet"),
                        ]
                    )
                    for name in ("few", "all")
                )
                wall, cpu = (after - before for before, after in zip(few, whole))
                print(
                    f"{way}: {whole[0]:.1f} s ({few[0]:.1f} s for 100 users), "
                    f"{options.users / wall:,.0f} users/s beyond the start; CPU {whole[1]:.1f} s, "
                    f"{1e4 * cpu / options.users:.1f} s for 10,000 users beyond the start",
                    flush=True,
                )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
