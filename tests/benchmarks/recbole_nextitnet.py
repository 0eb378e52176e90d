"""RecBole's NextItNet on MovieLens-100K: seconds an epoch and validation NDCG@10 by epoch.

The yardstick of `movielens_pretraining.py`: the same events, leave-one-out by time, full
ranking over all films with none removed. RecBole 1.2.1 (March 2024) wants the NumPy and
pandas of its day, so it lives in a virtual environment of its own:

    python3.11 -m venv runs/recbole/venv
    runs/recbole/venv/bin/pip install recbole==1.2.1 torch numpy==1.26.4 pandas==2.2.3 \
        "scipy<1.14" "setuptools<81"
    runs/recbole/venv/bin/python tests/benchmarks/recbole_nextitnet.py \
        --out runs/recbole/result [--epochs 1]

`setuptools<81` still has the `pkg_resources` that RecBole's ray imports. The data lie in
RecBole's own wheel. The settings are RecBole's (rate 1e-3, rows of 50 items, batches of
2,048 rows, no padding mask, one target a row) but for 4 times the dilations 1, 4, which
makes the paper's and our 8 blocks; `--max-length`, `--batch-size` and `--learning-rate`
change them.
"""

import argparse
import functools
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import NextItNet
from recbole.trainer import Trainer
from recbole.utils import init_logger, init_seed

# A checkpoint of RecBole holds its settings as objects, which newer torch refuses to
# unpickle unasked; it is read back in the process that has just written it.
torch.load = functools.partial(torch.load, weights_only=False)
# Its use of pandas is what pandas 3 will no longer take.
warnings.filterwarnings("ignore", category=FutureWarning)


class TimedTrainer(Trainer):
    """RecBole's trainer, which also remembers how long every epoch took."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.records = []

    def _train_epoch(self, *arguments, **options):
        began = time.perf_counter()
        loss = super()._train_epoch(*arguments, **options)
        self.records.append({"train_seconds": time.perf_counter() - began, "loss": float(loss)})
        return loss

    def _valid_epoch(self, *arguments, **options):
        began = time.perf_counter()
        score, result = super()._valid_epoch(*arguments, **options)
        self.records[-1].update(
            validation_seconds=time.perf_counter() - began, **{"ndcg@10": result["ndcg@10"]}
        )
        print(json.dumps({"epoch": len(self.records), **self.records[-1]}), flush=True)
        return score, result


def main():
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(options.out)  # RecBole writes its logs where it stands
    config = Config(
        model="NextItNet",
        dataset="ml-100k",
        config_dict={
            "data_path": str(Path(recbole.__file__).parent / "dataset_example"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "block_num": 4,  # times dilations 1, 4
            "MAX_ITEM_LIST_LENGTH": options.max_length,
            "train_batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "epochs": options.epochs,
            "stopping_step": options.patience,
            "train_neg_sample_args": None,  # cross-entropy over all items
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
            "repeatable": True,  # nothing is removed from the ranking
            "metrics": ["Hit", "MRR", "NDCG"],
            "topk": [5, 10, 20],
            "valid_metric": "NDCG@10",
            "use_gpu": False,
            "reproducibility": False,  # faster, as its docstring says
            "show_progress": False,
            "state": "WARNING",
            "seed": options.seed,
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    train, validation, test = data_preparation(config, create_dataset(config))
    model = NextItNet(config, train.dataset).to(config["device"])
    trainer = TimedTrainer(config, model)
    trainer.fit(train, validation, verbose=False)
    result = _summary(trainer, trainer.evaluate(test), train, options)
    Path("metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=50, help="at most, from 1")
    parser.add_argument("--patience", type=int, default=10, help="epochs without a better one")
    parser.add_argument("--max-length", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _summary(trainer, test, train, options):
    epochs = trainer.records
    best = max(range(len(epochs)), key=lambda epoch: epochs[epoch]["ndcg@10"])
    seconds = [epoch["train_seconds"] for epoch in epochs]
    return {
        "settings": {**vars(options), "out": None},
        "rows": len(train.dataset),
        "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
        "seconds_an_epoch": float(np.median(seconds)),
        "seconds_to_the_best": sum(seconds[: best + 1]),
        "best_epoch": best + 1,
        "validation_ndcg@10": [epoch["ndcg@10"] for epoch in epochs],
        "test": {name: float(value) for name, value in test.items()},
        "epochs": epochs,
        "machine": {
            "platform": platform.platform(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "recbole": recbole.__version__,
        },
    }


if __name__ == "__main__":
    main()
