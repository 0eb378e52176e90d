"""The split of users: its shares, and what it does not depend on."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.user_splits import LEAST_VALIDATION, split_users, user_fractions

USERS = [f"user{n}" for n in range(20_000)]


def test_shares_are_70_10_20():
    split = split_users(USERS, seed=3)
    for part, share in ((TRAIN, 0.7), (VALIDATION, 0.1), (TEST, 0.2)):
        spread = math.sqrt(share * (1 - share) / len(USERS))
        assert abs((split == part).mean() - share) < 4.5 * spread
    assert set(split) == {TRAIN, VALIDATION, TEST}


@settings(max_examples=40, deadline=None)
@given(
    users=st.lists(st.text(max_size=4).filter(str.isprintable), min_size=1, unique=True),
    data=st.data(),
)
def test_a_users_split_does_not_depend_on_the_other_users(users, data):
    together = dict(zip(users, split_users(users, seed=1, train_fraction=0.5)))
    some = data.draw(st.permutations(users))[: data.draw(st.integers(1, len(users)))]
    alone = dict(zip(some, split_users(some, seed=1, train_fraction=0.5)))
    for user in some:  # a validation user may be left out once there are enough others
        assert together[user] in (alone[user], "" if alone[user] == VALIDATION else None)
    whole = dict(zip(users, split_users(users, seed=1)))
    assert dict(zip(some, split_users(some, seed=1))) == {user: whole[user] for user in some}


def test_another_seed_is_another_split():
    one, other = split_users(USERS, seed=1), split_users(USERS, seed=2)
    # Independent splits agree in 0.7² + 0.1² + 0.2² of the users.
    assert abs((one == other).mean() - 0.54) < 0.02
    np.testing.assert_array_equal(one, split_users(USERS, seed=1))


def test_a_share_is_of_training_and_validation_and_lies_within_larger_ones():
    whole = before = split_users(USERS, seed=1)
    for fraction in (0.5, 0.2, 0.05):
        split = split_users(USERS, seed=1, train_fraction=fraction)
        for part in (TRAIN, VALIDATION):
            kept = split == part
            assert not (kept & (before != part)).any()
            assert abs(kept.sum() / (whole == part).sum() - fraction) < 0.04
            assert set(split[(whole == part) & ~kept]) == {""}
        np.testing.assert_array_equal(split == TEST, whole == TEST)
        before = split


def test_enough_validation_users_are_kept_to_stop_by():
    whole = split_users(USERS, seed=1)
    found = []
    for fraction in (0.02, 0.005, 1e-9):
        split = split_users(USERS, seed=1, train_fraction=fraction)
        found.append(set(np.flatnonzero(split == VALIDATION)))
        assert found[-1] <= found[0]
    assert len(found[1]) == len(found[2]) == LEAST_VALIDATION < len(found[0])
    # Rows of one user are one user, and where there are fewer, all stay.
    rows = split_users([user for user in USERS for _ in range(3)], seed=1, train_fraction=1e-9)
    assert (rows == VALIDATION).sum() == 3 * LEAST_VALIDATION
    few = split_users(USERS[:100], seed=1, train_fraction=1e-9)
    np.testing.assert_array_equal(few == VALIDATION, whole[:100] == VALIDATION)


def test_which_users_are_kept_is_independent_of_the_split():
    # With one hash for both, a tenth of the training users would be those below 0.07.
    split = split_users(USERS, seed=1, train_fraction=0.5)
    at = user_fractions(USERS, 1, "split")
    assert abs(at[split == TRAIN].mean() - 0.35) < 0.01


def test_salts_are_independent_and_fractions_even():
    one, other = (user_fractions(USERS, 0, salt) for salt in ("split", "train"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.04
    counts, _ = np.histogram(one, bins=10, range=(0, 1))
    assert counts.min() > 1800 and counts.sum() == len(USERS)


def test_is_the_same_on_every_machine():
    # Fixed values: a change here would change every split that was ever made.
    users = ["ann", "bob", "cy", "dan", "eve", "fay", "gus", "hal"]
    assert split_users(users, seed=1).tolist() == ["train"] * 7 + ["test"]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, math.nan])
def test_a_share_out_of_range_raises(fraction):
    message = (
        "`train_fraction` should be above 0 and at most 1. "
        f"Received: `train_fraction` = {fraction!r}."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        split_users(["a", "b"], train_fraction=fraction)
