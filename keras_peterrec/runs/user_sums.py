"""What each test user adds to the metric that decides, from which runs are compared in pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.metrics.measured import Measured

FILE = "test_users.npz"
RUN, OF_BASELINE = "run", "baselines/"


@dataclass(frozen=True)
class UserSums:
    """Each test user's part of a metric.

    Args:
        user_ids: str array `[U]`, sorted.
        rows: int array `[U]`. How many rows of the test a user has.
        sums: float64 array `[U]`. What these rows add to the metric's mean over all rows.
    """

    user_ids: np.ndarray
    rows: np.ndarray
    sums: np.ndarray

    @property
    def mean(self) -> float:
        """The mean over rows."""
        return float(self.sums.sum() / max(1, self.rows.sum()))

    def same_users(self, other: "UserSums") -> bool:
        """Whether both were measured on the same users, with as many rows of each."""
        return np.array_equal(self.user_ids, other.user_ids) and np.array_equal(
            self.rows, other.rows
        )


def write_test_users(folder: Any, result: dict, metric: Any) -> None:
    """Writes `test_users.npz`: the test users' parts of a run's metric, and of its baselines'.

    Nothing is written of what is no `Measured`, and no file if the run itself is none.

    Args:
        folder: path of the run.
        result: dict, as `metrics.json` will hold it.
        metric: Metric that decides.
    """
    tests = {RUN: result["metrics"]["test"]}
    tests |= {OF_BASELINE + found["name"]: found["test"] for found in result["baselines"]}
    arrays = {}
    for name, test in tests.items():
        if isinstance(test, Measured) and test.user_ids is not None and metric.part in test.rows:
            sums, rows = test.users()
            user_ids = np.asarray(test.user_ids, str)
            order = np.argsort(user_ids)
            arrays |= {"user_ids": user_ids[order], "rows": rows[order]}
            arrays[name] = sums[metric.part][order]
    if RUN in arrays:
        write_weights(Path(folder) / FILE, arrays)


def read_test_users(folder: Any) -> dict[str, UserSums]:
    """The UserSums of a run, under `RUN`, and of its baselines, by their names.

    Returns:
        dict, empty if the run has no such file.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    arrays = read_weights(path)
    user_ids, rows = arrays.pop("user_ids"), arrays.pop("rows")
    return {
        name.removeprefix(OF_BASELINE): UserSums(user_ids, rows, sums)
        for name, sums in arrays.items()
    }
