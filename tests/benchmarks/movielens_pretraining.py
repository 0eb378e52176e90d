"""Next-item quality and time on MovieLens-100K, leave-one-out, several seeds.

    python tests/benchmarks/movielens_pretraining.py --out runs/movielens-pretraining

Full ranking over all 1,682 films, none removed; the test is read once, at the epoch
that was best on validation.
"""

import argparse
import statistics
from pathlib import Path

from keras_peterrec.runs.pretrain import pretrain

SHOWN = ("repeat_hr@10", "repeat_ndcg@10", "hr@10", "ndcg@10", "mrr@10")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    results = [
        pretrain("movielens-100k/all", options.out / f"seed-{seed}", seed=seed)
        for seed in options.seeds
    ]
    print("| | " + " | ".join(SHOWN) + " | best epoch | s to the best | s |")
    print("|---|" + "---|" * (len(SHOWN) + 3))
    for split in ("validation", "test"):
        rows = [[result["metrics"][split][name] for result in results] for name in SHOWN]
        rows.append([result["best_epoch"] for result in results])
        rows.append([result["seconds"]["best"] for result in results])
        rows.append([result["seconds"]["fit"] for result in results])
        print(f"| {split} | " + " | ".join(map(_cell, rows)) + " |")


def _cell(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    digits = 1 if max(values) > 1 else 3
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


if __name__ == "__main__":
    main()
