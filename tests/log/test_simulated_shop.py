"""The simulated shop: what it should contain, and that commands read it."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.read_log import read_log
from keras_peterrec.log.sources.simulated_shop import simulate_shop


@pytest.fixture(scope="module")
def shop():
    return simulate_shop(users=2_000, items=400)


def by_user(shop):
    """The columns of a shop, by user and time."""
    columns = {name: np.array(shop[name].to_pylist()) for name in shop.column_names}
    order = np.lexsort((columns["timestamp"], columns["user_id"]))
    return {name: values[order] for name, values in columns.items()}


def views(shop):
    """Users and items of the views, by user and time."""
    columns = by_user(shop)
    viewed = columns["event_type"] == "view"
    return columns["user_id"][viewed], columns["item_id"][viewed]


def repeated(shop):
    """The share of the views after a user's first that repeat the last item, and any item."""
    users, items = views(shop)
    same = users[1:] == users[:-1]
    had, again = set(), []
    for user, item in zip(users, items):
        again.append((user, item) in had)
        had.add((user, item))
    return np.mean((items[1:] == items[:-1])[same]), np.mean(np.array(again)[1:][same])


def test_the_asked_share_of_views_repeats_mostly_the_last_item(shop):
    last, any_item = repeated(shop)
    assert 0.13 < last < 0.18 < any_item < 0.2
    last, any_item = repeated(simulate_shop(users=2_000, items=400, repeats=0))
    assert last < 0.001 and any_item < 0.01


def test_purchases_are_of_the_item_just_viewed(shop):
    columns = by_user(shop)
    kinds, items, prices = (columns[name] for name in ("event_type", "item_id", "price"))
    assert {*kinds} == {"view", "cart", "buy"}
    bought = np.flatnonzero(kinds == "buy")
    assert (kinds[bought - 1] == "cart").all()
    share = np.mean(items[bought] == items[bought - 2])
    assert 0.97 < share < 1 and len(bought) > 1_000
    assert len({*zip(items, prices)}) == len({*items}) and prices.min() > 0


def test_the_last_item_tells_the_next(shop):
    users, items = views(shop)
    same = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    pairs, counts = np.unique(
        np.stack([items[:-1][same], items[1:][same]]), axis=1, return_counts=1
    )
    order = np.lexsort((-counts, pairs[0]))
    place = np.arange(len(order)) - np.searchsorted(pairs[0][order], pairs[0][order])
    assert counts[order][place < 4].sum() / counts.sum() > 0.4


def test_a_file_is_read_like_the_table(shop, tmp_path):
    path = tmp_path / "shop.csv"
    written = simulate_shop(path, users=2_000, items=400)
    assert written.equals(shop)
    of_file, of_table = (read_log(source, events="view") for source in (path, shop))
    assert of_file.fingerprint() == of_table.fingerprint() and len(of_file.user_ids) == 2_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 1}, "`users` should be an integer of at least 2. Received: `users` = 1"),
        ({"items": 3}, "`items`.*Received: `items` = 3"),
        ({"views": 0}, "`views` should be a positive integer"),
        ({"repeats": 1.5}, "`repeats` should be from 0 to 1. Received: `repeats` = 1.5"),
        ({"order": float("nan")}, "`order`"),
    ],
)
def test_arguments_out_of_range_raise(arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_shop(**arguments)
