"""A shard of a prepared log: its users' events in order, and its items counted."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.log.clocks import Clocks, in_seconds
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.format import (
    FIELD,
    ROWS_OF_A_FILE,
    WEIGHTS,
    user_hashes,
)
from keras_peterrec.log.table_columns import numbers
from keras_peterrec.log.vocabulary import UNK, id_of

COUNTED_ROWS = 4_000_000  # items of several shards that are added up together


def sorted_users(
    batches: Sequence[pa.RecordBatch], clocks: Clocks = Clocks()
) -> tuple[pa.Table, pa.Table]:
    """Gathers the events of a shard by user.

    Batches are those of one shard from `parted_events`, in any order. By default inputs are on one
    clock, and their duplicates are kept.

    Returns:
        A table with a row for each user, in the order of their hashes: `user_id`, `items` (lists
        of rows of the second table), `timestamps`, `first_event`, each field and, where events are
        weighed, `weights`; a user's events are in order of time, and those of equal times in the
        order of the log. And a table of the items: `item_id`, `events`, and `training_events`
        without every user's last two.
    """
    batches = sorted((b for b in batches if b.num_rows), key=lambda b: b["row"][0].as_py())
    if not batches:
        ids, none = np.zeros(0, object), np.zeros(0, "int64")
        empty = Events(ids, none, np.zeros(1, "int64"), none, ids, first_rows=none)
        return _users_table(empty), _items_table(ids, none, none)
    column = lambda name: pa.chunked_array([batch[name] for batch in batches])
    names = batches[0].schema.names
    events = Events.of_rows(
        column("user_id"),
        column("item_id"),
        _joined_times(batches, clocks.units),
        weights=column("weight") if "weight" in names else None,
        fields={n.removeprefix(FIELD): column(n) for n in names if n.startswith(FIELD)},
        rows=column("row").to_numpy(),
    )
    if clocks.distinct:
        events = events.without_repeats()
    # Ids of one hash, should there ever be any, by name.
    user_ids = pa.array(events.user_ids, pa.string())
    events = events.of_users(np.lexsort((_ranks(user_ids), user_hashes(user_ids))))
    trained = events.places < np.repeat(events.split.trained, events.lengths)
    counts = (
        np.bincount(items, minlength=len(events.item_ids))
        for items in (events.items, events.items[trained])
    )
    return _users_table(events), _items_table(events.item_ids, *counts)


def _joined_times(batches, units):
    """The timestamps of all batches, in seconds if inputs count differently."""
    parts = [batch["timestamp"].to_numpy() for batch in batches]
    if units is not None:
        inputs = [batch["row"][0].as_py() // ROWS_OF_A_FILE for batch in batches]
        parts = [in_seconds(part, units[number]) for part, number in zip(parts, inputs)]
    return numbers(np.concatenate(parts), "timestamps")


def _ranks(ids):
    ranks = np.empty(len(ids), "int64")
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks


def _users_table(events):
    lists = lambda values, kind=None: pa.LargeListArray.from_arrays(
        pa.array(events.offsets, pa.int64()), pa.array(values, kind)
    )
    columns = {
        "user_id": pa.array(events.user_ids, pa.string()),
        "items": lists(events.items, pa.int32()),
        "timestamps": lists(events.timestamps),
        "first_event": events.first_rows,
    }
    if events.weights is not None:
        columns[WEIGHTS] = lists(events.weights, pa.float32())
    for name, field in events.fields.items():
        columns[FIELD + name] = lists(field.texts(), pa.string())
    return pa.table(columns)


def has_whole_times(users: pa.Schema) -> bool:
    """Whether the timestamps in a table of `sorted_users` are integers, and not doubles."""
    return pa.types.is_integer(users.field("timestamps").type.value_type)


def _items_table(item_ids, events, training):
    counts = {"events": events, "training_events": training}
    counts = {name: pa.array(values, pa.int64()) for name, values in counts.items()}
    item_ids = (
        item_ids if isinstance(item_ids, pa.ChunkedArray) else pa.array(item_ids, pa.string())
    )
    return pa.table({"item_id": item_ids, **counts})


def add_counts(tables: Iterable[pa.Table]) -> pa.Table:
    """Adds up tables of items, such as those of several shards."""
    waiting, total = [], 0
    for table in tables:
        waiting.append(table)
        # All together would not fit, and one after the other would count the same items each time.
        if sum(map(len, waiting)) > 2 * total + COUNTED_ROWS:
            waiting = [_summed(waiting)]
            total = len(waiting[0])
    return _summed(waiting)


def _summed(tables):
    sums = [("events", "sum"), ("training_events", "sum")]
    summed = pa.concat_tables(tables).group_by("item_id").aggregate(sums)
    return _items_table(
        summed["item_id"], summed["events_sum"], summed["training_events_sum"]
    ).combine_chunks()


class ItemIds:
    """Finds the ids of the items of many shards, where `index_in` would read all items each time.

    The items are in the order of their ids.
    """

    def __init__(self, items: pa.Array) -> None:
        self._items = items
        hashes = user_hashes(items)
        self._order = np.argsort(hashes).astype("int32")
        self._hashes = hashes[self._order]

    def of(self, items: pa.Array) -> np.ndarray:
        """The ids of items, int64 `[N]`; `UNK` for those that the vocabulary lacks."""
        hashes = user_hashes(items)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        numbers = self._order[places].astype("int64")
        same = pc.equal(self._items.take(pa.array(numbers)), items).to_numpy(zero_copy_only=False)
        # Two items of one hash, should there ever be any.
        unsure = np.flatnonzero(~same & (self._hashes[places] == hashes))
        if len(unsure):
            known = pc.index_in(items.take(pa.array(unsure)), value_set=self._items)
            numbers[unsure] = known.fill_null(-1).to_numpy(zero_copy_only=False)
            same[unsure] = numbers[unsure] >= 0
        return np.where(same, id_of(numbers), UNK)
