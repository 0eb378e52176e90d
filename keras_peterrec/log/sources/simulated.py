"""Simulated users, for trying things out without data."""

import numpy as np

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels

DOMAINS = ("source", "target")
PROFILES = ("gender", "age", "spend", "topics")
AGES = ("18-29", "30-49", "50+")
TOPICS = ("music", "news", "sports", "travel")

_TASTES = 6  # Dimensions of a user's taste, and of an item's character.
_SUCCESSORS = 4  # Items that tend to follow an item.
_TASTE_STRENGTH = 1.2
_PROFILE_STRENGTH = 4.0
_DAY = 86400


class Simulated:
    """Two logs and four profiles that follow from a known taste of each user.

    A user `u` has a taste `t_u`, and an item `i` a character `e_i` and a popularity
    `p_i` (Zipf), all drawn at random. A user likes items with the probabilities

        q(i | u) ∝ p_i · exp(1.2 · t_u · e_i).

    The next source item is drawn from `q` with probability `1 - order`, and with
    probability `order` from `q` among the four successors of the previous item, so
    that the order of a history matters. No user gets an item twice. The targets are
    other items, drawn from `q`, at times between the user's later source events. The
    profiles are drawn with probabilities that depend on the taste: `"gender"` (two
    classes), `"age"` (three), `"spend"` (a number) and `"topics"` (several labels).

    Args:
        users: int. The number of users `U`. Defaults to `800`.
        items: int. The number of source items. Defaults to `400`.
        target_items: int. The number of target items. Defaults to `120`.
        events: int. The mean number of source events of a user; each user has between
            half and one and a half times as many. Defaults to `40`.
        target_events: int. The mean number of target events of a user; each user has
            at least one. Defaults to `3`.
        order: float. How often an item follows from the previous one, from 0 to 1.
            Defaults to `0.5`.
        seed: int. The same seed gives the same data. Defaults to `0`.

    Attributes:
        titles: dict from item id to title.

    Raises:
        InputError: if an argument is out of range.

    Example:

    >>> simulated = Simulated(seed=1)
    >>> simulated.domain("source")
    Events(name='simulated/source', events=31524, users=800, items=400)
    >>> simulated.labels("gender")
    Labels(column='gender', rows=800)
    """

    def __init__(
        self,
        users: int = 800,
        items: int = 400,
        target_items: int = 120,
        events: int = 40,
        target_events: int = 3,
        order: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.users = check_count("users", users, 2)
        self.events = check_count("events", events, 2)
        self.target_events = check_count("target_events", target_events)
        # No user gets an item twice, so there must be enough to choose from.
        self.items = check_count("items", items, 3 * events)
        self.target_items = check_count("target_items", target_items, 4 * target_events)
        self.seed = check_count("seed", seed, 0)
        if not 0 <= order <= 1:
            refuse("order", "from 0 to 1", order)
        self.order = order
        self.titles, self._logs, self._profiles = self._draw(np.random.default_rng(seed))

    def __repr__(self) -> str:
        return (
            f"Simulated(users={self.users}, items={self.items}, "
            f"target_items={self.target_items}, order={self.order}, seed={self.seed})"
        )

    def domain(self, name: str) -> Events:
        """Returns the `Events` named `"source"` or `"target"`; they share users.

        Raises:
            InputError: if `name` is neither.
        """
        if name not in DOMAINS:
            raise InputError(f"`name` should be one of {', '.join(DOMAINS)}. Received: {name!r}.")
        return self._logs[name]

    def labels(self, column: str) -> Labels:
        """Returns the `Labels` of all users for `"gender"`, `"age"`, `"spend"` or `"topics"`.

        Raises:
            InputError: if `column` is none of these.
        """
        if column not in PROFILES:
            raise InputError(
                f"`column` should be one of {', '.join(PROFILES)}. Received: {column!r}."
            )
        users = [f"u{user}" for user in range(self.users)]
        return Labels.from_columns(users, self._profiles[column], column)

    def _draw(self, rng):
        """Returns the titles, the logs by domain and the labels by column."""
        tastes = rng.normal(size=(self.users, _TASTES))
        source = _Items(rng, self.items, "s")
        target = _Items(rng, self.target_items, "t")
        counts = rng.integers((self.events + 1) // 2, self.events * 3 // 2 + 1, self.users)
        histories = _histories(rng, source.liked(tastes), counts.max(), self.order)
        times = _clock(rng, self.users, counts.max())
        met = np.arange(counts.max()) < counts[:, None]  # [U, L]

        target_counts = rng.integers(1, 2 * self.target_events, self.users)
        targets = _without_repeats(rng, target.liked(tastes), target_counts.max())
        last = times[np.arange(self.users), counts - 1]
        middle = times[np.arange(self.users), counts // 2]
        share = np.sort(rng.random(targets.shape), axis=1)
        target_times = (middle[:, None] + share * (last - middle)[:, None]).astype(int)
        taken = np.arange(targets.shape[1]) < target_counts[:, None]

        logs = {
            "source": _log("source", histories, times, met, source.ids),
            "target": _log("target", targets, target_times, taken, target.ids),
        }
        profiles = {
            "gender": _profile(rng, tastes, ["F", "M"]),
            "age": _profile(rng, tastes, AGES),
            "spend": _spend(rng, tastes),
            "topics": _topics(rng, tastes),
        }
        return source.titles | target.titles, logs, profiles


class _Items:
    """Items with a character and a popularity that their ids do not reveal."""

    def __init__(self, rng, count, prefix):
        self.characters = rng.normal(size=(count, _TASTES))
        self.popularity = rng.permutation(1 / (np.arange(count) + 10))
        self.ids = np.array([f"{prefix}{item}" for item in range(count)], object)
        themes = self.characters.argmax(axis=1)
        self.titles = {
            id_: f"Simulated {id_} (theme {theme})" for id_, theme in zip(self.ids, themes.tolist())
        }

    def liked(self, tastes):
        """Returns `q`, `[U, V]`, each row summing to 1."""
        logits = _TASTE_STRENGTH * tastes @ self.characters.T
        weights = self.popularity * np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def _histories(rng, liked, length, order):
    """Returns the items of every user, `[U, length]`, drawn step by step for all users."""
    users = np.arange(len(liked))
    successors = rng.integers(liked.shape[1], size=(liked.shape[1], _SUCCESSORS))
    open_ = liked.copy()  # `q`, with 0 for the items that the user already has
    histories = np.empty((len(liked), length), np.int64)
    for step in range(length):
        items = _sample(rng, open_)
        if step:
            following = successors[histories[:, step - 1]]  # [U, 4]
            weights = open_[users[:, None], following]
            follows = (rng.random(len(users)) < order) & (weights.sum(axis=1) > 0)
            picked = following[users, _sample(rng, weights)]
            items = np.where(follows, picked, items)
        histories[:, step] = items
        open_[users, items] = 0
    return histories


def _sample(rng, weights):
    """Returns one column of each row, drawn in proportion to the weights."""
    heights = weights.cumsum(axis=1)
    drawn = rng.random((len(weights), 1)) * heights[:, -1:]
    # Where a row is all 0 no column is right, and the caller ignores it.
    return np.minimum((heights <= drawn).sum(axis=1), weights.shape[1] - 1)


def _without_repeats(rng, liked, count):
    # Gumbel's trick: the largest values of log q + noise are draws without replacement.
    keys = np.log(liked) + rng.gumbel(size=liked.shape)
    return np.argsort(-keys, axis=1)[:, :count]


def _clock(rng, users, length):
    """Returns times in seconds, `[U, length]`, rising for each user."""
    starts = rng.uniform(0, 100 * _DAY, (users, 1))
    gaps = 1 + rng.exponential(_DAY, (users, length))
    return (1_600_000_000 + starts + gaps.cumsum(axis=1)).astype(int)


def _profile(rng, tastes, classes):
    """Returns the class of each user, `[U]`, given a direction of taste for each class."""
    directions = np.linalg.qr(rng.normal(size=(_TASTES, _TASTES)))[0][:, : len(classes)]
    noise = rng.gumbel(size=(len(tastes), len(classes)))
    scores = _PROFILE_STRENGTH * tastes @ directions + noise
    return [classes[index] for index in scores.argmax(axis=1)]


def _spend(rng, tastes):
    """Returns an amount of money for each user, `[U]`, that grows with one part of the taste."""
    noise = rng.normal(size=len(tastes))
    return [f"{50 + 15 * taste + 5 * other:.2f}" for taste, other in zip(tastes[:, 0], noise)]


def _topics(rng, tastes):
    """Returns the topics that each user likes, `[U]`, such as `"music|news"`, or `None`."""
    directions = np.linalg.qr(rng.normal(size=(_TASTES, _TASTES)))[0][:, : len(TOPICS)]
    scores = _PROFILE_STRENGTH * tastes @ directions - 1.0
    liked = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
    return ["|".join(np.array(TOPICS)[row]) or None for row in liked]


def _log(name, chosen, times, kept, ids):
    users = np.nonzero(kept)[0]
    items, times = chosen[kept], times[kept]
    order = np.argsort(times, kind="stable")
    names = np.array([f"u{user}" for user in range(len(chosen))], object)
    columns = names[users[order]], ids[items[order]], times[order]
    return Events.from_columns(*columns, name=f"simulated/{name}")
