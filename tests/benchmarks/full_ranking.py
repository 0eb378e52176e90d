"""Full ranking of many users over a large catalogue: speed, share of the machine, memory.

    python tests/benchmarks/full_ranking.py [--users 2048] [--items 1000000] [--channels 64]

The machine's own rate is that of float32 matrix products `queries · itemsᵀ` of the same
numbers with the BLAS' threads, the scores of a product thrown away: in `--rounds` rounds
it and the ranking take turns. Every user has one target and 20 known items.
"""

import argparse
import resource
import statistics
import threading
import time

import numpy as np

from keras_peterrec.metrics import full_ranks

ALL_USERS = 100_000
SHAPES = {"256 x 8,192": (256, 8192), "256 x 65,536": (256, 65536), "1,024 x all": (1024, None)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--users", type=int, default=2048)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    data = make_data(options.users, options.items, options.channels)
    queries, table = data[:2]
    before, peak = memory(), 0
    shapes = {"ranking": None, **SHAPES}
    seconds = {name: [] for name in shapes}
    for _ in range(options.rounds):
        for name, shape in shapes.items():
            began = time.perf_counter()
            if shape is None:
                peak = max(peak, peak_memory(lambda: full_ranks(*data)))
            else:
                multiply(queries, table, *shape)
            seconds[name].append(time.perf_counter() - began)
    report(options, seconds, peak - before)


def make_data(users, items, channels):
    generator = np.random.default_rng(0)
    return (
        generator.standard_normal((users, channels), np.float32),
        generator.standard_normal((items, channels), np.float32),
        np.arange(users),
        generator.integers(0, items, users),
        np.arange(users + 1) * 20,
        generator.integers(0, items, users * 20),
    )


def multiply(queries, table, rows, columns):
    """All products in pieces of a shape, into one buffer."""
    columns = columns or len(table)
    # At most 1 GB: of a larger piece only as many rows.
    rows = min(rows, len(queries), max(1, 2**28 // columns))
    buffer = np.empty(rows * columns, np.float32)
    for first in range(0, len(queries), rows):
        some = queries[first : first + rows]
        for start in range(0, len(table), columns):
            items = table[start : start + columns]
            out = buffer[: len(some) * len(items)].reshape(len(some), len(items))
            np.matmul(some, items.T, out=out)


def memory():
    """Bytes of this process in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak_memory(function):
    """Most bytes of this process in memory while a function runs."""
    readings, done = [memory()], threading.Event()

    def watch():
        while not done.wait(0.01):
            readings.append(memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return max(readings)


def report(options, seconds, peak):
    users, items = options.users, options.items
    ranking = statistics.median(seconds["ranking"])
    print(
        f"{users:,} users, {items:,} items, {options.channels} channels: {ranking:.1f} s, "
        f"{users / ranking:,.0f} users/s, {peak / 1e6:.0f} MB above the inputs"
    )
    if users != ALL_USERS:
        print(
            f"extrapolated, not run: {ALL_USERS:,} users in "
            f"{ranking * ALL_USERS / users / 60:.1f} minutes"
        )
    print("| products of | Gflop/s | the ranking's share of that rate, median (rounds) |")
    print("|---|---|---|")
    for name in SHAPES:
        rate = 2 * users * items * options.channels / statistics.median(seconds[name]) / 1e9
        shares = [b / a for a, b in zip(seconds["ranking"], seconds[name])]
        each = ", ".join(f"{share:.0%}" for share in shares)
        print(f"| {name} | {rate:.0f} | {statistics.median(shares):.0%} ({each}) |")


if __name__ == "__main__":
    main()
