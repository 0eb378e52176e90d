"""What a report says of a run's test users, from the arrays of `test_rows.npz`. NumPy alone.

Every function answers with JSON values. Which of them apply follows from the arrays at hand.
"""

import itertools

import numpy as np

from keras_peterrec.metrics.classification import area_under_curve
from keras_peterrec.metrics.measured import sampled_means
from keras_peterrec.report.kept_rows import OF_BASELINE
from keras_peterrec.types import Json

HISTORY_BINS = (0, 1, 5, 20, 50, 100, 200, 500)
POPULARITY = ("the most popular", "in between", "the rarest", "not in training")
UNKNOWN = "unknown to the model, so never found"
BINS = 10
CURVE_POINTS = 100
MOST_LABELS = 30  # rows of a table; the most frequent ones
SCATTER_POINTS = 1_000


def describe(rows: dict, metric: dict, seed: int = 0) -> dict:
    """All that the arrays tell.

    Args:
        rows: dict of arrays, of `read_test_rows`.
        metric: dict of `name` and `root_of`, as `metrics.json` has it under `decides`.
        seed: int. Of the intervals. Defaults to `0`.

    Returns:
        dict with those of `groups`, `against`, `by_label`, `confusion`, `calibration`, `curves`,
        `numbers` and `recommendations` that apply; empty without arrays.
    """
    if not rows:
        return {}
    view: Json = {
        "groups": [by_history(rows, metric, seed)],
        "against": against_baselines(rows, metric, seed),
    }
    if "target" in rows:
        view["groups"].append(by_popularity(rows, metric, seed))
    if "probabilities" in rows:
        view["by_label"] = by_class(rows) if "class" in rows else by_label(rows)
        view |= describe_probabilities(rows)
    if "value" in rows:
        view["numbers"] = numbers(rows)
        view["groups"].append(by_truth(rows, metric, seed))
    if "lists" in rows:
        view["recommendations"] = recommendations(rows)
    return view


def describe_probabilities(rows: dict) -> dict:
    """Of arrays with `probabilities`: `calibration`, `curves` and, of classes, `confusion`."""
    view = {"calibration": calibration(*_pairs(rows)), "curves": curves(rows)}
    if "class" in rows:
        view["confusion"] = confusion(rows)
    return view


# Groups of rows.


def by_history(rows: dict, metric: dict, seed: int) -> dict:
    """The deciding metric by the number of events in the history."""
    bins = np.searchsorted(HISTORY_BINS, rows["history"], side="right") - 1
    ends = [f"{a:,} to {b - 1:,}" if b - a > 1 else f"{a:,}" for a, b in _neighbours(HISTORY_BINS)]
    names = [*ends, f"{HISTORY_BINS[-1]:,} and more"]
    return _groups("events in the history", names, bins, rows, metric, seed)


def by_popularity(rows: dict, metric: dict, seed: int) -> dict:
    """The deciding metric by how often training has the item to be found.

    Each of the first three groups has a third of the training events. An item that the model does
    not know, since all of its events are held out or it is too rare, is in a group of its own.
    """
    third = popularity_third(rows["counts"])
    of_rows = np.where(rows["target"] < 0, 4, third[np.maximum(rows["target"], 0)])
    sizes = np.bincount(third, minlength=4)
    names = [f"{name} ({size:,} items)" for name, size in zip(POPULARITY, sizes)] + [UNKNOWN]
    return _groups("popularity of the item", names, of_rows, rows, metric, seed)


def by_truth(rows: dict, metric: dict, seed: int) -> dict:
    """The deciding metric by fifths of the true number."""
    edges = np.unique(np.quantile(rows["truth"], [0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    bins = np.clip(np.searchsorted(edges, rows["truth"], side="right") - 1, 0, len(edges) - 2)
    names = [f"{low:.4g} to {high:.4g}" for low, high in _neighbours(edges)] or [f"{edges[0]:g}"]
    return _groups("true number", names, np.maximum(bins, 0), rows, metric, seed)


def popularity_third(counts: np.ndarray) -> np.ndarray:
    """0, 1 or 2 for items by the third of the training events they fall in, 3 for items of none."""
    order = np.argsort(-counts, kind="stable")
    before = np.empty(len(counts))
    before[order] = np.cumsum(counts[order]) - counts[order]
    third = np.minimum(3 * before / max(1, counts.sum()), 2).astype("int64")
    return np.where(counts > 0, third, 3)


def against_baselines(rows: dict, metric: dict, seed: int) -> dict:
    """The interval of the metric minus each baseline's, over test users: `{name: [low, high]}`.

    Both are measured on the same users, drawn with replacement: what makes a user hard is hard for
    both, so that the difference is surer than either.
    """
    _, owners = np.unique(rows["owners"], return_inverse=True)
    baselines = _baselines(rows)
    if owners.max() < 1 or not baselines:
        return {}
    parts = {"": rows["part"], **baselines}
    sums = {name: np.bincount(owners, part) for name, part in parts.items()}
    drawn = sampled_means(sums, np.bincount(owners), np.random.default_rng(seed))
    values = {name: np.sqrt(v) if metric["root_of"] else v for name, v in drawn.items()}
    return {
        name: np.quantile(values[""] - values[name], [0.025, 0.975]).tolist() for name in baselines
    }


def _baselines(rows):
    """Each baseline's part of the metric in every row, `{name: [R]}`."""
    named = ((n, part) for n, part in rows.items() if n.startswith(OF_BASELINE))
    return {name.removeprefix(OF_BASELINE): part for name, part in named}


def _groups(by, names, bins, rows, metric, seed):
    groups = []
    for number, name in enumerate(names):
        in_bin = bins == number
        if not in_bin.any():
            continue
        baselines = {n: _of_part(part[in_bin], metric) for n, part in _baselines(rows).items()}
        _, owners = np.unique(rows["owners"][in_bin], return_inverse=True)
        part = rows["part"][in_bin].astype("float64")
        groups.append(
            {
                "group": name,
                "users": int(owners.max()) + 1,
                "rows": int(in_bin.sum()),
                "value": _of_part(part, metric),
                "interval": _interval(part, owners, metric, seed),
                "baselines": baselines,
            }
        )
    return {"by": by, "groups": groups}


def _of_part(part, metric):
    mean = float(np.mean(part, dtype="float64"))
    return float(np.sqrt(mean)) if metric["root_of"] else mean


def _interval(part, owners, metric, seed):
    sums, counts = np.bincount(owners, part), np.bincount(owners)
    if len(counts) < 2:
        return None
    drawn = sampled_means({"part": sums}, counts, np.random.default_rng(seed))["part"]
    low, high = np.quantile(np.sqrt(drawn) if metric["root_of"] else drawn, [0.025, 0.975])
    return [float(low), float(high)]


def _neighbours(edges):
    return list(itertools.pairwise(edges))


# Classes and labels.


def by_class(rows: dict) -> list:
    """For each class, the most frequent first: users, precision, recall, F1 and AUC."""
    truth, names = rows["class"], rows["labels"]
    predicted = rows["probabilities"].argmax(axis=1)
    rows_of = []
    for label in _most_frequent(np.bincount(truth, minlength=len(names))):
        has, said = truth == label, predicted == label
        right = int((has & said).sum())
        rows_of.append(
            {
                "label": str(names[label]),
                "users": int(has.sum()),
                "predicted": int(said.sum()),
                "precision": right / said.sum() if said.any() else None,
                "recall": right / has.sum() if has.any() else None,
                "f1": 2 * right / (has.sum() + said.sum()) if (has | said).any() else None,
                "auc": _auc(rows["probabilities"][:, label], has),
            }
        )
    return rows_of


def by_label(rows: dict) -> list:
    """For each label, the most frequent first: users, AUC and average precision."""
    rows_of = []
    for label in _most_frequent(rows["has"].sum(axis=0)):
        has, scores = rows["has"][:, label], rows["probabilities"][:, label]
        rows_of.append(
            {
                "label": str(rows["labels"][label]),
                "users": int(has.sum()),
                "mean_probability": float(scores.mean()),
                "auc": _auc(scores, has),
                "average_precision": average_precision(scores, has) if has.any() else None,
            }
        )
    return rows_of


def confusion(rows: dict) -> dict:
    """How many users of each true class (rows) were given each class (columns).

    Of many classes the most frequent ones are shown, and the others together.
    """
    truth, predicted = rows["class"], rows["probabilities"].argmax(axis=1)
    names, size = rows["labels"], len(rows["labels"])
    shown = np.sort(_most_frequent(np.bincount(truth, minlength=size), 12))
    place = np.full(size, len(shown))
    place[shown] = np.arange(len(shown))
    labels = [str(names[n]) for n in shown] + ["others"] * (size > len(shown))
    counts = np.zeros((len(labels), len(labels)), "int64")
    np.add.at(counts, (place[truth], place[predicted]), 1)
    return {"labels": labels, "counts": counts.tolist()}


def calibration(probabilities: np.ndarray, happened: np.ndarray) -> dict:
    """How often what was given a probability was true, by bins of equal width.

    Args:
        probabilities: float array `[N]`.
        happened: bool array `[N]`.

    Returns:
        dict of `bins` (list of dict of `count`, `probability` and `share`, both means) and `error`,
        the mean distance between the two, weighted with the counts.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    places = np.minimum((probabilities * BINS).astype("int64"), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    sums = np.bincount(places, probabilities, BINS), np.bincount(places, happened, BINS)
    bins = [
        {"count": int(n), "probability": float(said / n), "share": float(true / n)}
        for n, said, true in zip(counts, *sums)
        if n
    ]
    distance = sum(b["count"] * abs(b["probability"] - b["share"]) for b in bins)
    return {"bins": bins, "error": distance / max(1, len(probabilities))}


def label_columns(rows: dict) -> list:
    """The labels whose curves are drawn: triples of name, probabilities `[R]` and truths `[R]`.

    Of two classes the second says all; of many the six most frequent are taken.
    """
    probabilities = rows["probabilities"]
    has = rows.get("has")
    if has is None:
        has = rows["class"][:, None] == np.arange(probabilities.shape[1])
    columns = [1] if "class" in rows and has.shape[1] == 2 else _most_frequent(has.sum(0), 6)
    return [(str(rows["labels"][n]), probabilities[:, n], has[:, n]) for n in columns]


def curves(rows: dict) -> list:
    """Precision and recall of `label_columns` at falling thresholds."""
    each = []
    for name, scores, has in label_columns(rows):
        if not has.any():
            continue
        precision, recall = precision_recall(scores, has)
        shown = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).astype("int64"))
        each.append(
            {
                "label": name,
                "share": float(has.mean()),
                "average_precision": average_precision(scores, has),
                "recall": recall[shown].tolist(),
                "precision": precision[shown].tolist(),
            }
        )
    return each


def precision_recall(scores: np.ndarray, has: np.ndarray) -> tuple:
    """Precision and recall at each different score as the threshold, falling."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(has[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of equal scores
    return right[last] / (last + 1.0), right[last] / max(1, right[-1])


def average_precision(scores: np.ndarray, has: np.ndarray) -> float:
    """The mean precision, each threshold weighted with the recall that it adds."""
    precision, recall = precision_recall(scores, has)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _pairs(rows):
    """Probabilities and whether each was true, of all labels together."""
    probabilities = rows["probabilities"].astype("float64")
    if "has" in rows:
        return probabilities.ravel(), rows["has"].ravel()
    if probabilities.shape[1] == 2:  # the other class mirrors it
        return probabilities[:, 1], rows["class"] == 1
    happened = rows["class"][:, None] == np.arange(probabilities.shape[1])
    return probabilities.ravel(), happened.ravel()


def _most_frequent(counts, most=MOST_LABELS):
    return np.argsort(-counts, kind="stable")[:most]


def _auc(scores, has):
    return area_under_curve(scores, has) if 0 < has.sum() < len(has) else None


# Numbers and recommendations.


def numbers(rows: dict) -> dict:
    """Answers against truths: a sample of points, the bias and the quantiles of the error."""
    value, truth = rows["value"], rows["truth"]
    errors = value - truth
    shown = np.unique(np.linspace(0, len(value) - 1, SCATTER_POINTS).astype("int64"))
    return {
        "bias": float(errors.mean()),
        "error_quantiles": {f"{q:g}": float(np.quantile(errors, q)) for q in (0.05, 0.5, 0.95)},
        "points": np.stack([truth[shown], value[shown]], axis=1).tolist(),
    }


def recommendations(rows: dict) -> dict:
    """Coverage and novelty of the lists, beside what users took and the most popular items.

    Novelty is the mean of -log2 of an item's share of the training events (one event is added to
    each item): 1 more is half as popular.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems",
    PNAS 2010 (self-information as novelty).
    """
    counts, lists = rows["counts"], rows["lists"]
    third = popularity_third(counts)
    surprise = -np.log2((counts + 1.0) / (counts.sum() + len(counts)))
    popular = np.argsort(-counts, kind="stable")[: lists.shape[1]]
    taken = rows["target"][rows["target"] >= 0]
    times = np.sort(np.bincount(lists.ravel(), minlength=len(counts)))[::-1]

    def shares(items):
        return (np.bincount(third[items], minlength=4) / max(1, items.size)).tolist()

    return {
        "lists": len(lists),
        "k": lists.shape[1],
        "items": len(counts),
        "items_recommended": len(np.unique(lists)),
        "coverage": float(len(np.unique(lists)) / len(counts)),
        "share_of_the_ten_most_recommended": float(times[:10].sum() / times.sum()),
        "novelty": {
            "recommended": float(surprise[lists].mean()),
            "taken by test users": float(surprise[taken].mean()) if len(taken) else None,
            "the most popular items": float(surprise[popular].mean()),
        },
        "popularity_shares": {
            "groups": list(POPULARITY),
            "recommended": shares(lists.ravel()),
            "taken by test users": shares(taken),
        },
    }
