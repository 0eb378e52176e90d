"""The records of a prepared log's shards, read as flat arrays."""

import posixpath
from collections.abc import Sequence

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.log.prepared.format import FIELD, WEIGHTS

RECORDS = 2_048  # parsed at once


def read_fields(paths: Sequence[str], names: Sequence[str], whole_timestamps: bool) -> dict:
    """Some fields of all records of the shards at some paths.

    Timestamps are integers or, if not whole, the bytes of doubles.

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
    every |= {name: tf.io.RaggedFeature(tf.string) for name in names if name.startswith(FIELD)}
    asked = {name: every[name] for name in names}
    parse = lambda records: tf.io.parse_example(records, asked)
    batches = tf.data.TFRecordDataset([*paths]).batch(RECORDS)
    columns = {name: [] for name in (*names, *(["lengths"] if "items" in names else []))}
    try:
        for batch in batches.map(parse, num_parallel_calls=2).prefetch(2):
            for name, values in batch.items():
                columns[name].append(_flat(name, values, whole_timestamps))
            if "items" in names:
                columns["lengths"].append(batch["items"].row_lengths().numpy())
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        folder = posixpath.dirname(paths[0])
        raise InputError(
            f"`log` should be a prepared log that is whole. Received: {folder!r} ({reason})."
        ) from error
    return {n: np.concatenate(p) if p else np.zeros(0, "int64") for n, p in columns.items()}


def _flat(name, values, whole_timestamps):
    if name == "items":  # ids fit into 32 bits, which records do not have
        return values.values.numpy().astype("int32")
    if name == "timestamps" and not whole_timestamps:
        return np.frombuffer(b"".join(values.numpy()), "<f8")
    return values.numpy() if name in ("user_id", "first_event") else values.values.numpy()
