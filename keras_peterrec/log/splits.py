"""Which users, or which events, are for training, validation and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.log.moments import in_clock, is_moment

TRAIN, VALIDATION, TEST = 0, 1, 2
LAST, USERS = "last", "users"  # the settings `split` of pretrain and of transfer, without a time
# With fewer validation users, early stopping follows noise.
LEAST_VALIDATION = 20
# The share of the events before a moment that is trained on; the latest tenth is for validation.
TRAINED_SHARE = 0.9


@dataclass(frozen=True)
class EventSplit:
    """Which events of a log's users the next-item training sees, and which it is asked for.

    Args:
        trained: int64 array `[U]`. How many events training sees of each user, the first ones.
        validation, test: int64 arrays `[U]`. Which event of each user is to be predicted from all
            before it, counted from 0; -1 for none.
    """

    trained: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def asked(self, part: int) -> np.ndarray:
        """`validation` or `test`."""
        return {VALIDATION: self.validation, TEST: self.test}[part]

    @property
    def asks_all(self) -> bool:
        """Whether there is something to train on, to validate with and to test."""
        asked = (self.validation >= 0).any() and (self.test >= 0).any()
        return bool(asked) and self.trained.max() >= 2


def last_events(lengths: np.ndarray) -> EventSplit:
    """Holds out the last event of each user for the test and the one before for validation.

    Users with fewer than three events are trained on alone.

    Args:
        lengths: int array `[U]`. How many events each user has.
    """
    long = lengths >= 3
    trained = np.where(long, lengths - 2, lengths)
    return EventSplit(trained, np.where(long, lengths - 2, -1), np.where(long, lengths - 1, -1))


def all_events(lengths: np.ndarray) -> EventSplit:
    """Training sees everything, and nothing is held out; see `last_events`."""
    none = np.full(len(lengths), -1)
    return EventSplit(lengths, none, none)


def split_events(log: Any, split: str = LAST) -> EventSplit:
    """Splits the events of a log for the training and the test of the next item.

    By time, training sees the first 90 % of the events before the moment. The rest of these are for
    validation, each user's first one, and of the events from the moment on each user's first one is
    the test. Users without an event before theirs are not asked.

    Args:
        log: Log.
        split: str. `"last"`, see `last_events`, or `"time:MOMENT"`, see `in_clock`. Defaults to
            `"last"`.

    Returns:
        EventSplit of `log.user_ids`.

    Raises:
        InputError: training, validation or test would have no event.
    """
    lengths = np.bincount(log.users, minlength=len(log.user_ids))
    if not is_moment(split):
        if lengths.max() < 4:  # one input and one target, validation, test
            raise InputError(
                "`log` should have a user with at least four events. "
                f"Received: {len(lengths)} users with at most {lengths.max()}."
            )
        return last_events(lengths)
    begin, moment = period_bounds(log.timestamps, split)
    trained, before = (
        np.bincount(log.users[log.timestamps < end], minlength=len(lengths))
        for end in (begin, moment)
    )
    found = events_by_time(trained, before, lengths)
    if not found.asks_all:
        raise bad_moment(split, log.timestamps.min(), log.timestamps.max())
    return found


def events_by_time(trained: np.ndarray, before: np.ndarray, lengths: np.ndarray) -> EventSplit:
    """The EventSplit of users, given how many events they have before each bound of the periods.

    Args:
        trained, before: int arrays `[U]`. Events before validation begins, and before the moment.
        lengths: int array `[U]`. How many events each user has.
    """
    return EventSplit(
        trained,
        np.where((trained > 0) & (before > trained), trained, -1),
        np.where((before > 0) & (lengths > before), before, -1),
    )


def split_target_events(log: Any, split: str, seed: int, train_fraction: float) -> np.ndarray:
    """Splits the events of a target log: by their users, or by time.

    By time, the events before the moment are for training, but for the last tenth of them, which is
    for validation; all from the moment on are the test. The share of the users that is kept is that
    of `split_users`.

    Args:
        log: Log.
        split: str. `"users"`, see `split_users`, or `"time:MOMENT"`.
        seed, train_fraction: see `split_users`.

    Returns:
        int array `[N]`: `TRAIN`, `VALIDATION`, `TEST`, or `-1`.
    """
    if not is_moment(split):
        return split_users(log.user_ids, seed, train_fraction)[log.users]
    times = log.timestamps
    begin, moment = period_bounds(times, split)
    parts = np.where(times < begin, TRAIN, np.where(times < moment, VALIDATION, TEST))
    if len(np.unique(parts)) < 3:
        raise bad_moment(split, times.min(), times.max())
    at = user_fractions(log.user_ids, seed, "train")[log.users]
    parts[(parts != TEST) & (at >= train_fraction)] = -1
    return parts


def events_before(source: Any, split: str) -> np.ndarray:
    """How many events of each user of some Sequences come before a moment, int64 `[U]`."""
    moment = in_clock(split, source.timestamps)
    passed = np.concatenate([[0], np.cumsum(source.timestamps < moment)])
    return np.diff(passed[source.offsets])


def period_bounds(times: np.ndarray, split: str) -> tuple:
    """Where validation begins and where the test begins, of a split by time.

    Args:
        times: array `[N]` of numbers, all timestamps of a log.
        split: str, `"time:MOMENT"`.

    Raises:
        InputError: no event is before the moment.
    """
    moment = in_clock(split, times)
    before = np.sort(times[times < moment])
    if not len(before):
        raise bad_moment(split, times.min(), times.max())
    return before[trained_events(len(before))], moment


def trained_events(before: int) -> int:
    """How many of the events before a moment come before validation begins, int."""
    return int(TRAINED_SHARE * before)


def bad_moment(split: str, low: Any, high: Any) -> InputError:
    """The error of a moment that leaves a part of the log empty, given its first and last time."""
    return InputError(
        "`split` should leave events for training, validation and test on both sides of its "
        f"moment. Received: {split!r} for timestamps from {low} to {high}."
    )


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
        refuse("train_fraction", "above 0 and at most 1", train_fraction)
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
