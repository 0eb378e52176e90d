"""What a finished run keeps of its test users, so that a report needs neither data nor model.

`test_rows.npz` holds arrays, `examples.json` a few users with their histories and answers, and
`test_users.npz` what each user adds to the metric that decides, from which runs are compared in
pairs. They are small, and a run without them still gets a report. Which arrays there are says what
can be shown: nobody asks what kind of task it was.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_peterrec.files.json_file import read_json, write_json
from keras_peterrec.files.weights_file import read_weights, write_weights
from keras_peterrec.log.sources import load_titles
from keras_peterrec.log.vocabulary import is_item
from keras_peterrec.metrics.measured import Measured
from keras_peterrec.types import AnyPath

if TYPE_CHECKING:  # reading needs no TensorFlow
    from keras_peterrec.tasks.task_kind import Metric

FILE, EXAMPLES, USERS = "test_rows.npz", "examples.json", "test_users.npz"
VALIDATION_USERS = "validation_users.npz"
RUN, OF_BASELINE = "run", "baselines/"
# Arrays of `RowDetails` with one element for each row R, and those without.
#   class [R] or has [R, n]      the true label, or which of the labels a user has
#   probabilities [R, n]         of the labels
#   value, truth [R]             numbers
#   target [R]                   the item to be found, counted by falling frequency; -1: unknown;
#                                of several the most frequent
#   labels [n]                   names, of `probabilities`
#   counts [V]                   how often training has each item
#   lists [S, k]                 the best items of some histories
OF_ROWS = ("class", "has", "probabilities", "value", "truth", "target")
OF_ALL = ("labels", "counts", "lists")
MOST_ROWS = 50_000
SHOWN_EVENTS = 8
SHOWN_EXAMPLES = 5


def write_test_rows(folder: AnyPath, result: dict, metric: "Metric", examples: "Examples") -> dict:
    """Writes `test_rows.npz` and `examples.json` of a run's test users.

    Args:
        folder: path of the run.
        result: dict, as `metrics.json` will hold it, with `Measured` metrics. Of a plain dict
            nothing is known, and nothing is written.
        metric: Metric that decides.

    Returns:
        dict of the arrays; empty if nothing was written.
    """
    test = result["metrics"]["test"]
    if not isinstance(test, Measured) or test.details is None or metric.part not in test.rows:
        return {}
    details, owners = test.details, np.asarray(test.owners, "int32")
    arrays = {
        "owners": owners,
        "history": np.asarray(details.stops - details.starts, "int32"),
        "part": np.asarray(test.rows[metric.part], "float32"),
    }
    for baseline in result["baselines"]:
        of_rows = getattr(baseline["test"], "rows", {}).get(metric.part)
        if of_rows is not None and len(of_rows) == len(owners):
            arrays[OF_BASELINE + baseline["name"]] = np.asarray(of_rows, "float32")
    found = details.arrays()
    arrays |= {name: np.asarray(found[name]) for name in OF_ROWS if name in found}
    if len(owners) > MOST_ROWS:  # whole users, evenly spread
        kept = owners % -(-len(owners) // MOST_ROWS) == 0
        arrays = {name: array[kept] for name, array in arrays.items()}
    arrays |= {name: np.asarray(found[name]) for name in OF_ALL if name in found}
    write_weights(Path(folder) / FILE, arrays)
    write_json(Path(folder) / EXAMPLES, examples.of(test, SHOWN_EXAMPLES))
    return arrays


def read_test_rows(folder: AnyPath) -> dict[str, np.ndarray]:
    """The arrays of `test_rows.npz`, empty if a run has none; InputError if it is damaged."""
    path = Path(folder) / FILE
    return read_weights(path) if path.is_file() else {}


def read_examples(folder: AnyPath) -> list:
    """The content of `examples.json`, empty if a run has none."""
    path = Path(folder) / EXAMPLES
    return read_json(path, "path") if path.is_file() else []


class Examples:
    """A few measured users for people to read: history, truth and answer, with titles.

    Args:
        source: Events of the histories.
        vocabulary: Vocabulary of `source`.
        places: names or paths of the logs, whose titles are used where they have some.
    """

    def __init__(self, source: Any, vocabulary: Any, places: Any = ()) -> None:
        self.source, self.vocabulary = source, vocabulary
        self.titles = {}
        for place in places:
            if isinstance(place, (str, Path)):
                self.titles |= load_titles(place)

    def name(self, item: Any) -> str:
        """An item's title, or its id if it has none."""
        return self.titles.get(str(item), str(item))

    def of(self, measured: Any, count: int) -> list:
        """At most so many rows, evenly spread.

        Args:
            measured: Measured; a plain dict has no examples.

        Returns:
            list of dict of `user`, `events` (length of the history), `history` (the last events,
            list of str), `truth`, `truth_in_history` (what of it the history has), `answer` and
            `of_items`; see `RowDetails`.
        """
        details = getattr(measured, "details", None)
        if details is None or not len(details.starts):
            return []
        rows = np.unique(np.linspace(0, len(details.starts) - 1, count).astype("int64"))
        named = self.name if details.of_items else str
        found = []
        for row, example in zip(rows, details.examples(rows)):
            history = self.source.items[details.starts[row] : details.stops[row]]
            events = self.vocabulary.decode(history[is_item(history)])
            had = set(map(str, events)) if details.of_items else ()
            found.append(
                {
                    "of_items": details.of_items,
                    "user": str(measured.user_ids[measured.owners[row]]),
                    "events": len(history),
                    "history": [self.name(item) for item in events[-SHOWN_EVENTS:]],
                    "truth": [named(name) for name in example["truth"]],
                    "truth_in_history": [named(n) for n in example["truth"] if str(n) in had],
                    "answer": [[named(name), score] for name, score in example["answer"]],
                }
            )
        return found

    def markdown(self, measured: Any, count: int = 3) -> str:
        """The same as Markdown, for TensorBoard; `""` if there are none."""
        paragraphs = []
        for example in self.of(measured, count):
            right = set(example["truth"])
            answer = ", ".join(
                f"{'**' * (name in right)}{_plain(name)}{'**' * (name in right)} {score:.3g}"
                for name, score in example["answer"]
            )
            paragraphs.append(
                f"### {_plain(example['user'])}\n\n"
                f"- {example['events']:,} events, the last: {_listed(example['history'])}\n"
                f"- truth: {_listed(marked_truth(example))}\n"
                f"- answer: {answer}\n"
            )
        return "\n".join(paragraphs)


def marked_truth(example: dict) -> list[str]:
    """What was true of an example, with a word beside what the history has already."""
    seen = example.get("truth_in_history", ())
    return [f"{name} (in the history)" if name in seen else name for name in example["truth"]]


def _listed(names):
    return ", ".join(map(_plain, names)) or "none"


def _plain(text):
    """A name in which nothing is Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


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


def write_test_users(folder: AnyPath, result: dict, metric: "Metric") -> None:
    """Writes `test_users.npz`: the test users' parts of a run's metric, and of its baselines'.

    Nothing is written of what is no `Measured`, and no file if the run itself is none.

    Args:
        folder: path of the run.
        result: dict, as `metrics.json` will hold it.
        metric: Metric that decides.
    """
    tests = {RUN: result["metrics"]["test"]}
    tests |= {OF_BASELINE + found["name"]: found["test"] for found in result["baselines"]}
    _write_users(Path(folder) / USERS, tests, metric)


def write_validation_users(folder: AnyPath, result: dict, metric: "Metric") -> None:
    """Writes `validation_users.npz`, the same of a run's validation users; see above."""
    validation = {RUN: result["metrics"]["validation"]}
    _write_users(Path(folder) / VALIDATION_USERS, validation, metric)


def _write_users(path, measured, metric):
    arrays = {}
    for name, test in measured.items():
        if isinstance(test, Measured) and test.user_ids is not None and metric.part in test.rows:
            sums, rows = test.users()
            user_ids = np.asarray(test.user_ids, str)
            order = np.argsort(user_ids)
            arrays |= {"user_ids": user_ids[order], "rows": rows[order]}
            arrays[name] = sums[metric.part][order]
    if RUN in arrays:
        write_weights(path, arrays)


def read_test_users(folder: AnyPath, file: str = USERS) -> dict[str, UserSums]:
    """The UserSums of a run, under `RUN`, and of its baselines, by their names.

    Args:
        folder: path of the run.
        file: str. `USERS`, or `VALIDATION_USERS`. Defaults to `USERS`.

    Returns:
        dict, empty if the run has no such file.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / file
    if not path.is_file():
        return {}
    arrays = read_weights(path)
    user_ids, rows = arrays.pop("user_ids"), arrays.pop("rows")
    return {
        name.removeprefix(OF_BASELINE): UserSums(user_ids, rows, sums)
        for name, sums in arrays.items()
    }
