"""What may be recommended after each history, and the best of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.log.histories import EachItems, items_for_each
from keras_peterrec.log.vocabulary import Vocabulary

# They fill an answer when fewer than `k` items are left, as in an export (`log/item_table.py`).
NO_ITEM, NO_SCORE = "", np.finfo("float32").min


@dataclass(frozen=True)
class ItemFilters:
    """What may be recommended after each of B histories; see `ItemFilters.of`."""

    seen: Sequence[Sequence[str]]
    allow: Sequence[Sequence[str]]
    deny: Sequence[Sequence[str]]
    keep_seen: Sequence[bool | None]

    @classmethod
    def of(
        cls,
        seen: Sequence[Sequence[str]],
        allow: EachItems = "",
        deny: EachItems = "",
        keep_seen: bool | Sequence[bool | None] | None = None,
    ) -> "ItemFilters":
        """The filters of `recommend`, each given once for all histories or for each of them.

        Args:
            seen: list of B lists of str, the histories' items, as `written` gives them.
            allow: Only these items: a string of ids, separated by white space, for all histories;
                or a string or a list of ids for each. Defaults to `""`, all items.
            deny: None of these items, in the same forms. Defaults to `""`.
            keep_seen: bool, a list of B bools, or `None`. Whether items of the history may be
                recommended. Defaults to `None`: as the task was trained.

        Raises:
            InputError: an argument has another form, or another length.

        Example:

        >>> filters = ItemFilters.of([["a"], ["b"]], deny=[["c"], ""])
        >>> table = Vocabulary(["a", "b", "c"], special_ids=False)
        >>> items, _ = filters.best(np.array([[1.0, 2.0, 3.0]] * 2), table, k=2, keeps=False)
        >>> items.tolist()
        [['b', ''], ['c', 'a']]
        """
        count = len(seen)
        if keep_seen is None or isinstance(keep_seen, (bool, np.bool_)):
            keep_seen = [keep_seen] * count
        if len(keep_seen) != count:
            raise InputError(
                "`keep_seen` should be one value, or one for each history. "
                f"Received: {len(keep_seen)} for {count} histories."
            )
        for value in keep_seen:
            if not (value is None or isinstance(value, (bool, np.bool_))):
                refuse("keep_seen", "True or False", value)
        allow, deny = (
            [text.split() for text in items_for_each(given, count, name)]
            for name, given in (("allow", allow), ("deny", deny))
        )
        return cls(seen, allow, deny, keep_seen)

    def rows(self, places: Sequence[int]) -> "ItemFilters":
        """The filters of some of the histories."""
        seen, allow, deny = (
            [each[n] for n in places] for each in (self.seen, self.allow, self.deny)
        )
        return ItemFilters(seen, allow, deny, [self.keep_seen[n] for n in places])

    def best(
        self, scores: np.ndarray, vocabulary: Vocabulary, k: int, keeps: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items of each row that its history allows.

        Args:
            scores: float array `[B, V]`, one score for each item of the vocabulary.
            keeps: bool. Whether items of a history stay where `keep_seen` does not say it.

        Returns:
            Items, object array of str `[B, k]`, and scores, float32 `[B, k]`, best first; with
            fewer than k items in all, so many. If fewer are left, the rest is `""` with the lowest
            float32.
        """
        scores = np.array(scores, "float32")
        only, in_only = self._cells(self.allow, vocabulary)
        allowed = scores[only, in_only]
        scores[[len(items) > 0 for items in self.allow]] = NO_SCORE
        scores[only, in_only] = allowed
        kept = [keeps if keep is None else keep for keep in self.keep_seen]
        seen = [[] if keep else items for keep, items in zip(kept, self.seen)]
        for items in (seen, self.deny):
            scores[self._cells(items, vocabulary)] = NO_SCORE
        best = np.argsort(-scores, axis=1, kind="stable")[:, : check_count("k", k)]
        scores = np.take_along_axis(scores, best, axis=1)
        return np.where(scores > NO_SCORE, vocabulary.items[best], NO_ITEM), scores

    @staticmethod
    def _cells(items, vocabulary):
        """Row and column in `[B, V]` of each item that the vocabulary has."""
        rows = np.repeat(np.arange(len(items)), [len(row) for row in items])
        ids = vocabulary.encode_written([item for row in items for item in row])
        columns = ids - vocabulary.first_id
        return rows[columns >= 0], columns[columns >= 0]
