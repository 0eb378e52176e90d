"""eSASRec beside a host of ours: the same log, the same held-out events, the same items left out.

    python -m venv rectools && rectools/bin/pip install 'rectools[torch]==0.19.0'
    python tests/benchmarks/esasrec.py --run runs/host --python rectools/bin/python

RecTools is the library of eSASRec's authors; it pins other versions than this package, so it has an
environment of its own. The settings are those that they publish for MovieLens-1M
(`blondered/transformer_benchmark`, configs/paper/loo), with `--settings` those for another log, but
for the loss: all items in place of 256 sampled ones for each position, which take 1.7 GB a batch.
For Amazon's shops they publish

    --settings '{"n_factors": 256, "session_max_len": 50, "n_blocks": 1, "dropout_rate": 0.2,
                 "transformer_layers_kwargs": {"ff_factors_multiplier": 4}}'

with a multiplier of 4 for beauty, 1 for toys and 2 for sports. Training stops after ten epochs
without a better NDCG@10 on the validation events, the same as ours.

`--run` is a finished run of `pretrain` with `--split last` on the same log.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from keras_peterrec.benchmarks.report import describe_machine
from keras_peterrec.experiments.differences import paired_differences
from keras_peterrec.files.json_file import read_json
from keras_peterrec.metrics.ranking import ranking_metrics
from keras_peterrec.report.kept_rows import RUN, UserSums, read_test_users
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.task_data import open_source
from keras_peterrec.tasks.task_kind import Metric

SETTINGS = {"n_factors": 64, "session_max_len": 200, "n_blocks": 2, "n_heads": 1}
SETTINGS |= {"dropout_rate": 0.1, "loss": "softmax", "seed": 0}
WORKER = Path(__file__).with_name("esasrec_worker.py")
MISSED = 10**6  # the rank of an item that is not among the best
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--run", required=True, help="folder of a pretrain run")
parser.add_argument("--python", required=True, help="of an environment with RecTools")
parser.add_argument("--settings", type=json.loads, default={}, help="of SASRecModel, as JSON")
parser.add_argument("--answers", help="answers of an earlier call, in place of training")


def ranks(best, targets):
    """The rank of each target among the best items, from 1."""
    found = best == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, MISSED)


def main():
    options = parser.parse_args()
    log = read_json(Path(options.run) / "run.json", "run")["settings"]["log"]
    events = PretrainingLog.of(open_source(log), 1, "last").sequences
    with tempfile.TemporaryDirectory() as folder:
        sequences, answers = Path(folder) / "sequences.npz", options.answers
        np.savez(sequences, items=events.items.astype("int64"), lengths=events.lengths)
        if answers is None:
            answers = Path(folder) / "answers.npz"
            words = [options.python, WORKER, sequences, answers]
            subprocess.run([*words, json.dumps({**SETTINGS, **options.settings})], check=True)
        found = dict(np.load(answers))
    print(f"machine: {describe_machine()}")
    said = ("epochs", "best_epoch", "parameters", "seconds")
    print(", ".join(f"{name} {float(found[name]):,.0f}" for name in said))
    for part in ("validation", "test"):
        measured = ranking_metrics(ranks(found[part], found[f"{part}_target"]))
        print(f"eSASRec, {part}: HR@10 {measured['hr@10']:.4f}, NDCG@10 {measured['ndcg@10']:.4f}")
    ours = read_test_users(options.run)[RUN]
    test = ranks(found["test"], found["test_target"])
    gains = np.where(test < MISSED, 1 / np.log2(test + 1.0), 0.0)
    order = np.argsort(events.user_ids)
    theirs = UserSums(events.user_ids[order], np.ones(len(order), "int64"), gains[order])
    runs = {("ours", "next item", 0): ours, ("eSASRec", "next item", 0): theirs}
    print(f"ours, test: NDCG@10 {ours.mean:.4f}")
    cell = paired_differences(runs, "ours", Metric("ndcg@10", True), with_mean=False)[0]
    print("eSASRec - ours: {difference:+.4f} ({low:+.4f} to {high:+.4f})".format(**cell))


if __name__ == "__main__":
    main()
