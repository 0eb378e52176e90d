"""Metrics with what each user adds to them, from which intervals are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Users that are drawn in all, over all samples: this bounds the time.
DRAWN = 20_000_000
SAMPLES = 1_000
SAMPLES_AGAIN = 200  # where the metrics are computed again for each


@dataclass
class RowDetails:
    """What is known of the rows of a measurement beside their parts of the metrics.

    Nothing is computed before it is asked for: every epoch measures, and only the end of a run
    wants all of it.

    Args:
        starts, stops: int arrays `[R]`. The history of each row, a slice of the source's items.
        arrays: Callable without arguments. What a report shows, `{name: array}`; the names are
            those of `report/kept_rows.py`.
        examples: Callable of row numbers. A list of dict of `truth`, a list of str, and `answer`,
            a list of `[str, number]`, the best first.
        of_items: bool. Whether truths and answers are item ids, which may have titles. Defaults
            to `False`.
    """

    starts: Any
    stops: Any
    arrays: Callable
    examples: Callable
    of_items: bool = False


class Measured(dict):
    """Metrics `{name: float}` that also know how uncertain they are.

    Args:
        metrics: dict of float.
        rows: dict from name to float array `[R]`: each row's part of a metric that is a mean of
            rows; see `users`.
        owners: int array `[R]`. The user of each row, numbered from 0.
        again: Callable or `None`. From row numbers to the metrics of these rows, for metrics that
            are no means. Every row is a user there. Defaults to `None`.
        user_ids: str array `[U]` or `None`. Who the users are, for comparisons of two models user
            by user. Defaults to `None`.
        details: RowDetails or `None`. Defaults to `None`.
        beside: Measured or `None`. More metrics of the same users, whose rows are others, such as
            single targets. Defaults to `None`.
    """

    def __init__(
        self,
        metrics: dict,
        rows: dict,
        owners: Any,
        again: Callable | None = None,
        user_ids: Any = None,
        details: RowDetails | None = None,
        beside: "Measured | None" = None,
    ):
        super().__init__({**metrics, **(beside or {})})
        self.beside = beside
        self.rows, self.owners, self.again = rows, np.asarray(owners), again
        self.user_ids, self.details = user_ids, details

    def __reduce__(self):
        # Another process is sent the metrics alone.
        return dict, (dict(self),)

    def users(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Each user's sums `{name: [U]}` of the rows' parts, and the number of rows, `[U]`."""
        users = 0 if self.user_ids is None else len(self.user_ids)
        counts = np.bincount(self.owners, minlength=users)
        sums = {n: np.bincount(self.owners, part, users) for n, part in self.rows.items()}
        return sums, counts

    def gain_over(self, other: "Measured", metric: Any) -> tuple[float, float]:
        """How much better a row is here than elsewhere on average, and the standard error of that.

        Rows of one user are alike, so users are what is counted as independent.

        Args:
            other: Measured of the same rows.
            metric: Metric; see `Metric.part`.

        Returns:
            The mean difference of the rows' parts, above 0 where these are better, and its error.
        """
        differences = np.asarray(self.rows[metric.part], "float64") - other.rows[metric.part]
        if not metric.higher_is_better:
            differences = -differences
        mean, rows = differences.mean(), len(differences)
        of_users = np.bincount(self.owners, differences - mean)
        return float(mean), float(np.sqrt(np.sum(of_users**2)) / rows)

    def intervals(self, seed: int = 0, level: float = 0.95) -> dict[str, list[float]]:
        """The interval of each metric over test users, `{name: [low, high]}`.

        Users are drawn with replacement, as many as there are, and the metric is computed for
        each such sample; the interval holds the middle `level` of them. A user's rows stay
        together, since they are alike.

        Args:
            seed: int. Defaults to `0`.
            level: float. Defaults to `0.95`.

        Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
        """
        generator = np.random.default_rng(seed)
        ends = [(1 - level) / 2, (1 + level) / 2]
        if self.again is not None:
            rows = len(self.owners)
            samples = min(SAMPLES_AGAIN, max(50, DRAWN // rows))
            measured = [self.again(generator.integers(0, rows, rows)) for _ in range(samples)]
            drawn: dict[str, Any] = {
                name: [one[name] for one in measured if name in one] for name in self
            }
        else:
            sums, counts = self.users()
            drawn = sampled_means(sums, counts, generator)
        spread = {
            name: np.quantile(values, ends).tolist()
            for name, values in drawn.items()
            if len(values)
        }
        return spread | ({} if self.beside is None else self.beside.intervals(seed, level))


def sampled_means(
    sums: dict, counts: np.ndarray, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Means over rows for samples of users, drawn with replacement.

    Args:
        sums: dict from name to float array `[U]`.
        counts: int array `[U]`, rows of each user.
        generator: numpy.random.Generator.

    Returns:
        dict from name to float64 array `[samples]`. All names share the samples.
    """
    users = len(counts)
    samples = min(SAMPLES, max(100, DRAWN // users))
    columns = np.stack([counts, *sums.values()], axis=1).astype("float64")
    totals = np.empty((samples, columns.shape[1]))
    for sample in range(samples):
        times = np.bincount(generator.integers(0, users, users), minlength=users)
        totals[sample] = times @ columns
    of_rows = np.maximum(totals[:, 0], 1)
    return {name: totals[:, n] / of_rows for n, name in enumerate(sums, 1)}
