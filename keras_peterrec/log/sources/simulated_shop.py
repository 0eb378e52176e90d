"""A simulated shop: views that often repeat, carts and purchases, with prices."""

import numpy as np
import pyarrow as pa
import pyarrow.csv

from keras_peterrec.errors import check_count, refuse
from keras_peterrec.files.atomic_write import replacing
from keras_peterrec.types import AnyPath

_TASTES = 6  # Dimensions of a user's taste, and of an item's character.
_TASTE_STRENGTH = 1.2
_SUCCESSORS = np.array([0.4, 0.3, 0.2, 0.1])  # How often each of them follows an item.
_OF_LAST = 0.8  # Of the repeats: the item just viewed. The others are of any item before.
_CARTS, _BUYS = 0.25, 0.4  # Of the views, and of what is in a cart.
_OTHER_BUYS = 0.01  # Purchases of another item than the one just viewed.
_DRAWS = 4  # Of what a user likes, for a view; then any item.
_CHUNK = 1_000  # Users whose likings are in memory at once.
_DAY = 86_400


def simulate_shop(
    path: AnyPath = None,
    users: int = 20_000,
    items: int = 2_000,
    views: int = 10,
    repeats: float = 0.19,
    order: float = 0.5,
    seed: int = 0,
) -> pa.Table:
    """Makes the log of a shop that does not exist: who viewed, put in a cart and bought what.

    As in `Simulated`, users have tastes, and items a popularity and successors. The next view is
    of an item viewed before with the probability `repeats`, mostly of the last one; else, with the
    probability `order`, of one of the four successors of the last item; else of what the user
    likes. A quarter of the views is followed by `cart`, and two fifths of those by `buy`: of the
    item just viewed, but for one purchase in a hundred.

    Args:
        path: path of a CSV file to write as well, or `None`. Defaults to `None`.
        users: int. Defaults to `20000`.
        items: int. Defaults to `2000`.
        views: int. The mean number of views of a user; each user has between one and twice as
            many but one. Defaults to `10`.
        repeats: float. Share of the views after the first that repeat one, from 0 to 1. Defaults
            to `0.19`.
        order: float. How often another view follows from the last one, from 0 to 1. Defaults to
            `0.5`.
        seed: int. The same seed gives the same log. Defaults to `0`.

    Returns:
        pyarrow.Table of `user_id`, `item_id`, `timestamp`, `event_type` (`view`, `cart`, `buy`)
        and `price`, by time. `read_log` takes it as it is.

    Raises:
        InputError: if an argument is out of range.

    Example:

    >>> shop = simulate_shop(users=100, seed=1)
    >>> views = read_log(shop, events="view")
    """
    check_count("users", users, 2)
    check_count("items", items, len(_SUCCESSORS) + 2)
    check_count("views", views)
    check_count("seed", seed, 0)
    for name, share in (("repeats", repeats), ("order", order)):
        if not 0 <= share <= 1:
            refuse(name, "from 0 to 1", share)
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 2 * views, users)
    viewed = _views(rng, users, items, counts.max(), repeats, order)
    owners, viewed, times, kinds = _events(rng, viewed, counts, items)
    prices = np.round(np.exp(rng.normal(3.0, 1.0, items)), 2)
    table = _table(owners, viewed, times, kinds, prices)
    if path is not None:
        with replacing(path) as beside:
            pyarrow.csv.write_csv(table, str(beside))
    return table


def _views(rng, users, items, length, repeats, order):
    """Returns the items viewed, `[U, length]`, drawn step by step for all users."""
    liked = _liked(rng, users, items, _DRAWS * length)
    # Successors differ from the item and from each other.
    steps = np.argsort(rng.random((items, min(items - 1, 50))), axis=1)[:, : len(_SUCCESSORS)]
    successors = (np.arange(items)[:, None] + 1 + steps) % items
    every = np.arange(users)
    viewed = np.empty((users, length), np.int64)
    viewed[:, 0] = liked[:, 0]
    for step in range(1, length):
        last = viewed[:, step - 1]
        follows = rng.random(users) < order
        places = rng.choice(len(_SUCCESSORS), users, p=_SUCCESSORS)
        new = np.where(follows, successors[last, places], liked[:, step])
        # What was viewed before is a repeat, of which there are enough.
        for draw in range(1, _DRAWS + 1):
            seen = (viewed[:, :step] == new[:, None]).any(axis=1)
            other = (
                liked[:, draw * length + step] if draw < _DRAWS else rng.integers(0, items, users)
            )
            new = np.where(seen, other, new)
        back = np.where(rng.random(users) < _OF_LAST, step - 1, rng.integers(0, step, users))
        again = rng.random(users) < repeats
        viewed[:, step] = np.where(again, viewed[every, back], new)
    return viewed


def _liked(rng, users, items, length):
    """Returns draws of what each user likes, `[U, length]`."""
    characters = rng.normal(size=(items, _TASTES))
    popularity = rng.permutation(1 / (np.arange(items) + 10))
    drawn = np.empty((users, length), np.int64)
    for start in range(0, users, _CHUNK):
        tastes = rng.normal(size=(min(_CHUNK, users - start), _TASTES))
        logits = _TASTE_STRENGTH * tastes @ characters.T
        heights = (popularity * np.exp(logits - logits.max(axis=1, keepdims=True))).cumsum(axis=1)
        heights = heights / heights[:, -1:] + np.arange(len(tastes))[:, None]
        asked = rng.random((len(tastes), length)) + np.arange(len(tastes))[:, None]
        places = np.searchsorted(heights.reshape(-1), asked.reshape(-1), side="right")
        nearest = places.reshape(asked.shape) - items * np.arange(len(tastes))[:, None]
        drawn[start : start + len(tastes)] = np.clip(nearest, 0, items - 1)
    return drawn


def _events(rng, viewed, counts, items):
    """Returns users, items, times and kinds of all events, `[E]` each, by time."""
    users, length = viewed.shape
    met = np.arange(length) < counts[:, None]
    gaps = 300 + rng.exponential(_DAY, viewed.shape)
    times = (1_600_000_000 + rng.uniform(0, 100 * _DAY, (users, 1)) + gaps.cumsum(axis=1))[met]
    owners, chosen = np.nonzero(met)[0], viewed[met]
    in_cart = np.flatnonzero(rng.random(len(chosen)) < _CARTS)
    bought = in_cart[rng.random(len(in_cart)) < _BUYS]
    other = rng.random(len(bought)) < _OTHER_BUYS
    bought_items = np.where(other, rng.integers(0, items, len(bought)), chosen[bought])
    owners = np.concatenate([owners, owners[in_cart], owners[bought]])
    kinds = np.repeat(["view", "cart", "buy"], [len(chosen), len(in_cart), len(bought)])
    when = np.concatenate([times, times[in_cart] + 30, times[bought] + 90]).astype("int64")
    chosen = np.concatenate([chosen, chosen[in_cart], bought_items])
    by_time = np.argsort(when, kind="stable")
    return owners[by_time], chosen[by_time], when[by_time], kinds[by_time]


def _table(users, items, times, kinds, prices):
    return pa.table(
        {
            "user_id": [f"u{user}" for user in users.tolist()],
            "item_id": [f"i{item}" for item in items.tolist()],
            "timestamp": times,
            "event_type": kinds.tolist(),
            "price": prices[items],
        }
    )
