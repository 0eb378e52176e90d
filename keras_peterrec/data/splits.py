"""Which users are for training, validation and test."""

import hashlib
from collections.abc import Sequence

import numpy as np

from keras_peterrec.errors import InputError

TRAIN, VALIDATION, TEST = 0, 1, 2
# With fewer users, what training stops by is mostly noise.
LEAST_VALIDATION = 20


def user_fractions(user_ids: Sequence[str], seed: int, salt: str) -> np.ndarray:
    """Returns a number in [0, 1) for each user, `[U]`, from a hash of the id alone.

    It does not change when other users or rows are added or reordered.

    Args:
        user_ids: Sequence of str.
        seed: int.
        salt: str. Users get unrelated numbers for each purpose named here.
    """
    prefix = f"{salt}:{seed}:".encode()
    digests = b"".join(
        hashlib.blake2b(prefix + str(user).encode(), digest_size=8).digest() for user in user_ids
    )
    return np.frombuffer(digests, ">u8") / 2.0**64


def split_users(user_ids: Sequence[str], seed: int = 0, train_fraction: float = 1.0) -> np.ndarray:
    """Splits users 70/10/20 into training, validation and test.

    Args:
        user_ids: Sequence of str.
        seed: int. Defaults to `0`.
        train_fraction: float. Share of the training users and of the validation users to keep,
            but `LEAST_VALIDATION` of these, if there are so many. A smaller share lies within a
            larger one. Test users are all kept. Defaults to `1.0`.

    Returns:
        int array `[U]`: `TRAIN`, `VALIDATION`, `TEST`, or `-1` for users that are not kept.

    Raises:
        InputError: if `train_fraction` is out of range.

    Example:

    >>> split = split_users(["ann", "bob"], seed=1)
    >>> test_users = np.flatnonzero(split == TEST)
    """
    if not 0.0 < train_fraction <= 1.0:
        raise InputError(
            "`train_fraction` should be above 0 and at most 1. "
            f"Received: `train_fraction` = {train_fraction!r}."
        )
    at = user_fractions(user_ids, seed, "split")
    split = np.where(at < 0.7, TRAIN, np.where(at < 0.8, VALIDATION, TEST))
    if train_fraction < 1.0:
        # Both shrink: whoever has few labels has few to stop by as well.
        at = user_fractions(user_ids, seed, "train")
        split[(split == TRAIN) & (at >= train_fraction)] = -1
        validation = np.unique(at[split == VALIDATION])  # a user may have several rows
        least = validation[:LEAST_VALIDATION].max(initial=0.0)
        split[(split == VALIDATION) & (at >= train_fraction) & (at > least)] = -1
    return split
