"""Share of padding before and after packing, and what the pipeline delivers.

    python tests/benchmarks/padding.py movielens-100k/all sports.csv.gz events.parquet

Before: each window in a row of its own, padded on the left to `--max-length`. After:
packed, a PAD after each window; the windows that a row's end cuts are counted. Tokens
are positions; the last column is the median of five epochs, starting one included, of
two seconds at most: by second of one core's work and by the clock.
"""

import argparse
import statistics
import time

import numpy as np

from keras_peterrec.log.packed_batches import NextItems, packed_batches
from keras_peterrec.log.sources import load_log
from keras_peterrec.runs.pretraining_log import encode_log

BATCHES = ((1_600, 1), (6_400, 4), (6_400, 1))  # tokens, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("logs", nargs="+", help="names of sources or paths of files")
    parser.add_argument("--max-length", type=int, default=100)
    options = parser.parse_args()
    print("| log | windows | padded left | batch | packed | cut | M tokens/s: core, clock |")
    print("|---|---|---|---|---|---|---|")
    for name in options.logs:
        _report(name, options.max_length)


def _report(name, max_length):
    sequences = encode_log(load_log(name))[0]
    starts, stops = sequences.training_windows(max_length)
    before = 1 - (stops - starts).mean() / max_length
    for tokens, rows in BATCHES:
        after = packing_report(stops - starts, tokens, rows)
        batches = packed_batches(
            sequences.items, starts, stops, NextItems(0.2), tokens, rows, seed=0
        )
        passes = [_tokens_per_second(batches) for _ in range(5)]
        core, clock = (statistics.median(rates) / 1e6 for rates in zip(*passes))
        print(
            f"| {name} | {len(starts):,} | {before:.1%} | {rows} x {after['width']:,} "
            f"| {after['padding']:.1%} | {after['cut']:.1%} | {core:.1f}, {clock:.1f} |"
        )


def packing_report(lengths, tokens, rows):
    """How much padding packing needs, and how many windows it cuts, for one shuffled order."""
    total = int(np.sum(lengths)) + len(lengths)
    steps = max(1, round(total / tokens))
    width = -(-total // (steps * rows))
    order = np.random.default_rng(0).permutation(len(lengths))
    ends = np.cumsum(np.asarray(lengths)[order] + 1)
    cuts = np.arange(1, steps * rows) * total // (steps * rows)
    window = np.searchsorted(ends, cuts, side="right")
    # A cut next to the PAD, or before a window's first event, costs nothing.
    hurts = (cuts < ends[window] - 1) & (cuts > np.append(0, ends)[window])
    return {
        "width": width,
        "padding": 1 - float(np.sum(lengths)) / (steps * rows * width),
        "cut": len(np.unique(window[hurts])) / len(lengths),
    }


def _tokens_per_second(batches, seconds=2.0):
    """Positions by second of processor time and of the clock."""
    began, cpu, tokens = time.perf_counter(), time.process_time(), 0
    for history, _ in batches:
        tokens += history.shape[0] * history.shape[1]
        if time.perf_counter() - began > seconds:
            break
    return tokens / (time.process_time() - cpu), tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
