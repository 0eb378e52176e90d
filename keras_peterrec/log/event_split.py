"""Which events of each user are trained on and which are asked for: a split as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_peterrec.errors import refuse
from keras_peterrec.integers import counted_up

PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"


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

    def asked(self, part: str) -> np.ndarray:
        """`validation` or `test`."""
        if part not in (VALIDATION, TEST):
            refuse("part", f"{VALIDATION!r} or {TEST!r}", part)
        return self.validation if part == VALIDATION else self.test

    def histories(self, offsets: np.ndarray, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Where the histories of those who are asked start and stop, int64 `[U']` each.

        They stop before the event to predict. `offsets` are those of Events, `[U + 1]`.
        """
        asked = self.asked(part)
        users = np.flatnonzero(asked >= 0)
        return offsets[users], offsets[users] + asked[users]

    def windows(self, offsets: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """Where windows of training start and stop; see `Events.training_windows`."""
        targets, counts = window_counts(self.trained, max_length)
        first = np.repeat(offsets[:-1], counts)
        stops = first + np.repeat(targets, counts) - counted_up(counts) * max_length
        return np.maximum(first, stops - max_length), stops

    @property
    def asks_all(self) -> bool:
        """Whether there is something to train on, to validate with and to test."""
        asked = (self.validation >= 0).any() and (self.test >= 0).any()
        return bool(asked) and self.trained.max() >= 2


def last_events(lengths: np.ndarray) -> EventSplit:
    """Holds out the last event of each user for the test and the one before for validation.

    Users with fewer than three events are trained on alone.
    """
    long = lengths >= 3
    trained = np.where(long, lengths - 2, lengths)
    return EventSplit(trained, np.where(long, lengths - 2, -1), np.where(long, lengths - 1, -1))


def all_events(lengths: np.ndarray) -> EventSplit:
    """Training sees everything, and nothing is held out; see `last_events`."""
    none = np.full(len(lengths), -1)
    return EventSplit(lengths, none, none)


def events_by_time(trained: np.ndarray, before: np.ndarray, lengths: np.ndarray) -> EventSplit:
    """The EventSplit of users, given how many events each has before validation begins (`trained`),
    before the moment (`before`), and in all.
    """
    return EventSplit(
        trained,
        np.where((trained > 0) & (before > trained), trained, -1),
        np.where((before > 0) & (lengths > before), before, -1),
    )


def last_asked(offsets: np.ndarray, asked: np.ndarray) -> EventSplit:
    """`last_events` of a log of which some events alone are asked for, bool `[N]`.

    The last of these is the test and the one before it is for validation, and training sees what
    comes before both. Users with fewer than two, which have an event before them, are trained on
    alone.
    """
    places = PlacesOfAsked(offsets, asked)
    validation = places.last_but(1)
    held_out = validation >= 0
    trained = np.where(held_out, validation, np.diff(offsets))
    return EventSplit(trained, validation, np.where(held_out, places.last_but(0), -1))


def window_counts(trained: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """How many targets users have of whom so many events are trained on, and in how many windows.

    A window has at most `max_length` inputs.
    """
    targets = np.maximum(trained - 1, 0)
    return targets, -(-targets // max_length)


class PlacesOfAsked:
    """The places of the events of users that may be asked for, bool `[N]`, with one before them."""

    def __init__(self, offsets: np.ndarray, asked: np.ndarray) -> None:
        self._offsets = offsets
        firsts = offsets[:-1][np.diff(offsets) > 0]
        asked = asked.copy()
        asked[firsts] = False
        self._found = np.append(np.flatnonzero(asked), len(asked))
        self._passed = np.concatenate([[0], np.cumsum(asked)])

    def last_but(self, others: int) -> np.ndarray:
        """Each user's last one but so many, counted from 0, int64 `[U]`; -1 for none."""
        nth = self._passed[self._offsets[1:]] - 1 - others
        has = nth >= self._passed[self._offsets[:-1]]
        return np.where(has, self._found[np.maximum(nth, 0)] - self._offsets[:-1], -1)

    def first_of(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Each user's first one between two places; -1 for none."""
        begins = self._offsets[:-1]
        place = self._found[self._passed[begins + starts]] - begins
        return np.where(place < stops, place, -1)
