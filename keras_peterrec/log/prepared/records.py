"""The records of a prepared log's shards, read as flat arrays."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.prepared.format import WEIGHTS

RECORDS = 2_048  # parsed at once


@dataclass(frozen=True)
class Histories:
    """Users' events as flat arrays.

    Args:
        items: int32 array `[N]` of ids, user by user and in order of time.
        offsets: int64 array `[U + 1]`; user u has `items[offsets[u]:offsets[u + 1]]`.
        first_events: int64 array `[U]`: where each user's first row stands in the log.
        timestamps: array `[N]`, or `None` if they were not asked for.
        user_ids: object array of str `[U]`, or `None` likewise.
        weights: float32 array `[N]`, or `None` if the log has none.
    """

    items: np.ndarray
    offsets: np.ndarray
    first_events: np.ndarray
    timestamps: np.ndarray | None = None
    user_ids: np.ndarray | None = None
    weights: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        paths: Sequence[str],
        whole_timestamps: bool,
        times: bool = False,
        users: bool = False,
        weights: bool = False,
    ) -> "Histories":
        """Those of some shards, in the order of the records.

        Args:
            paths, whole_timestamps: see `read_fields`.
            times, users, weights: bool. Whether these are read. Default to `False`.

        Raises:
            InputError: a shard is damaged.
        """
        optional = {"timestamps": times, "user_id": users, WEIGHTS: weights}
        asked = [name for name, wanted in optional.items() if wanted]
        found = read_fields(paths, ["items", "first_event", *asked], whole_timestamps)
        offsets = np.concatenate([[0], np.cumsum(found["lengths"])]).astype("int64")
        user_ids = found.get("user_id")
        if users:
            user_ids = np.array([user_id.decode() for user_id in user_ids], object)
        return cls(
            found["items"],
            offsets,
            found["first_event"],
            found.get("timestamps"),
            user_ids,
            found.get(WEIGHTS),
        )

    @classmethod
    def joined(cls, parts: Sequence["Histories"]) -> "Histories":
        """The users of several, which have the same arrays."""
        arrays = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            arrays[field.name] = None if values[0] is None else np.concatenate(values)
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype("int64")
        return cls(**arrays)

    def of_users(self, users: np.ndarray) -> "Histories":
        """Those of some users, by their places, in this order."""
        lengths = np.diff(self.offsets)[users]
        ends = np.cumsum(lengths)
        begins = self.offsets[users] - (ends - lengths)
        places = np.arange(lengths.sum()) + np.repeat(begins, lengths)
        chosen = lambda array, at: None if array is None else array[at]
        return Histories(
            self.items[places],
            np.concatenate([[0], ends]).astype("int64"),
            self.first_events[users],
            chosen(self.timestamps, places),
            chosen(self.user_ids, users),
            chosen(self.weights, places),
        )

    def in_first_order(self) -> "Histories":
        """The same, users in the order of their first events in the log."""
        return self.of_users(np.argsort(self.first_events, kind="stable"))


def read_fields(paths: Sequence[str], names: Sequence[str], whole_timestamps: bool) -> dict:
    """Some fields of all records of some shards.

    Args:
        paths: sequence of str, the files of the shards.
        names: sequence of str.
        whole_timestamps: bool. Whether timestamps are integers; else they are the bytes of doubles.

    Returns:
        dict from each name to an array `[U]`, or `[N]` of what events have; with `items` also
        `lengths`, how many events each user has.

    Raises:
        InputError: a shard is damaged.
    """
    import tensorflow as tf

    integers, text = tf.io.RaggedFeature(tf.int64), tf.io.FixedLenFeature([], tf.string)
    every = {
        "items": integers,
        "first_event": tf.io.FixedLenFeature([], tf.int64),
        "timestamps": integers if whole_timestamps else text,
        "user_id": text,
        WEIGHTS: tf.io.RaggedFeature(tf.float32),
    }
    asked = {name: every[name] for name in names}
    parse = lambda records: tf.io.parse_example(records, asked)
    batches = tf.data.TFRecordDataset([*paths]).batch(RECORDS)
    found = {name: [] for name in (*names, *(["lengths"] if "items" in names else []))}
    try:
        for batch in batches.map(parse, num_parallel_calls=2).prefetch(2):
            for name, values in batch.items():
                found[name].append(_flat(name, values, whole_timestamps))
            if "items" in names:
                found["lengths"].append(batch["items"].row_lengths().numpy())
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        folder = posixpath.dirname(paths[0])
        raise InputError(
            f"`log` should be a prepared log that is whole. Received: {folder!r} ({reason})."
        ) from error
    return {n: np.concatenate(p) if p else np.zeros(0, "int64") for n, p in found.items()}


def _flat(name, values, whole_timestamps):
    if name == "items":  # ids fit into 32 bits, which records do not have
        return values.values.numpy().astype("int32")
    if name == "timestamps" and not whole_timestamps:
        return np.frombuffer(b"".join(values.numpy()), "<f8")
    return values.values.numpy() if name in ("timestamps", WEIGHTS) else values.numpy()
