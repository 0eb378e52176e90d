"""Which users, or which events of a target log, are for training, validation and test of a task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_peterrec.errors import refuse
from keras_peterrec.log.event_split import PARTS, TEST, TRAIN, VALIDATION
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.splits import bad_moment, bounds_of

if TYPE_CHECKING:
    from keras_peterrec.log.events import Events

LEFT_OUT = ""  # of a row that is in no part
# With fewer validation users, early stopping follows noise.
LEAST_VALIDATION = 20


def user_fractions(user_ids: Sequence[str] | np.ndarray, seed: int, salt: str) -> np.ndarray:
    """A number in [0, 1) for each user, `[U]`, from a hash of the id alone.

    It does not change when other users or rows are added or reordered. Users get unrelated numbers
    for each purpose, which `salt` names.
    """
    prefix = f"{salt}:{seed}:".encode()
    digests = b"".join(
        hashlib.blake2b(prefix + str(user).encode(), digest_size=8).digest() for user in user_ids
    )
    return np.frombuffer(digests, ">u8") / 2.0**64


def split_users(
    user_ids: Sequence[str] | np.ndarray, seed: int = 0, train_fraction: float = 1.0
) -> np.ndarray:
    """Splits users 70/10/20 into training, validation and test.

    Args:
        user_ids: Sequence of str.
        seed: int. Defaults to `0`.
        train_fraction: float. Share of the training users and of the validation users to keep,
            but `LEAST_VALIDATION` of these, if there are so many. A smaller share lies within a
            larger one. Test users are all kept. Defaults to `1.0`.

    Returns:
        object array `[U]` of str: `"train"`, `"validation"`, `"test"`, or `""` for users that are
        not kept.

    Raises:
        InputError: if `train_fraction` is out of range.

    Example:

    >>> split = split_users(["ann", "bob"], seed=1)
    >>> test_users = np.flatnonzero(split == "test")
    """
    if not 0.0 < train_fraction <= 1.0:
        refuse("train_fraction", "above 0 and at most 1", train_fraction)
    at = user_fractions(user_ids, seed, "split")
    split = _between(at, 0.7, 0.8)
    if train_fraction < 1.0:
        # Both shrink: whoever has few labels has few to stop by as well.
        at = user_fractions(user_ids, seed, "train")
        split[(split == TRAIN) & (at >= train_fraction)] = LEFT_OUT
        validation = np.unique(at[split == VALIDATION])  # a user may have several rows
        least = validation[:LEAST_VALIDATION].max(initial=0.0)
        split[(split == VALIDATION) & (at >= train_fraction) & (at > least)] = LEFT_OUT
    return split


def split_target_events(log: Events, split: str, seed: int, train_fraction: float) -> np.ndarray:
    """Splits the events of a target log: by their users, or by time.

    By time, the events before the moment are for training, but for the last tenth of them, which is
    for validation; all from the moment on are the test. The share of the users that is kept is that
    of `split_users`. The split is `"users"`, see `split_users`, or `"time:MOMENT"`.

    Returns:
        object array `[N]` of str: `"train"`, `"validation"`, `"test"`, or `""` for events that are
        not kept.
    """
    if not is_moment(split):
        return split_users(log.user_ids, seed, train_fraction)[log.users]
    begin, moment = bounds_of(log, split)
    times = log.timestamps
    parts = _between(times, begin, moment)
    if len(set(parts)) < len(PARTS):
        raise bad_moment(split, *log.times())
    at = user_fractions(log.user_ids, seed, "train")[log.users]
    parts[(parts != TEST) & (at >= train_fraction)] = LEFT_OUT
    return parts


def check_part(part: str) -> None:
    """Raises InputError unless `part` is one of `PARTS`."""
    if part not in PARTS:
        refuse("part", f"one of {', '.join(PARTS)}", part)


def _between(values, validation, test):
    """The part of each value, by where validation and test begin."""
    # One object a part: names in an array of their own type would take five times the memory.
    return np.array(PARTS, object)[np.searchsorted([validation, test], values, side="right")]
