"""The records of a prepared log's shards, one a user: written, and read as flat arrays."""

import posixpath
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError
from keras_peterrec.integers import offsets_of
from keras_peterrec.log.clocks import usual
from keras_peterrec.log.event_split import last_events
from keras_peterrec.log.prepared.format import FIELD, WEIGHTS, file_hash, replacing_anywhere
from keras_peterrec.log.prepared.shards import ItemIds
from keras_peterrec.log.splits import target_weight
from keras_peterrec.types import Json

RECORDS = 2_048  # parsed at once


def write_records(
    path: str, users: pa.Table, items: pa.Table, vocabulary: ItemIds, whole_timestamps: bool
) -> dict:
    """Writes a shard, the tables of `sorted_users`, as a TFRecord file, whole or not at all.

    Returns:
        dict, what `prepared.json` says of the shard, with `lengths`: pairs of a number of events
        and how many users have so many. `times` are the first and the last without strays,
        `target_weight` that of a split by last events.
    """
    import tensorflow as tf

    size = 0
    with replacing_anywhere(path) as beside:
        with tf.io.TFRecordWriter(beside) as writer:
            for record in _encoded(users, items, vocabulary, whole_timestamps):
                writer.write(record)
                size += len(record)
        digest = file_hash(beside)
    lengths = pc.list_value_length(users["items"]).to_numpy()
    values, counts = np.unique(lengths, return_counts=True)
    times = usual(_flat(users["timestamps"]))
    about: Json = {"times": [times.min().item(), times.max().item()] if len(times) else None}
    if WEIGHTS in users.column_names:
        offsets = offsets_of(lengths)
        trained = last_events(lengths).trained
        about["target_weight"] = target_weight(_flat(users[WEIGHTS]), offsets, trained)
    return {
        **about,
        "users": len(users),
        "events": int(lengths.sum()),
        "bytes": size,
        "sha256": digest,
        "lengths": [values.tolist(), counts.tolist()],
    }


def _encoded(users, items, vocabulary, whole_timestamps):
    """The records of a shard, one a user, as `tf.train.Example`."""
    from tensorflow.core.example.example_pb2 import Example

    ids = vocabulary.of(items["item_id"].combine_chunks()) if len(items) else np.zeros(0, "int64")
    flat = ids[_flat(users["items"])].tolist() if len(users) else []
    times = _flat(users["timestamps"])
    times = times.tolist() if whole_timestamps else times.astype("<f8")
    weights = _flat(users[WEIGHTS]).tolist() if WEIGHTS in users.column_names else None
    more = {n: _texts(users[n]) for n in users.column_names if n.startswith(FIELD)}
    begin = 0
    lengths = pc.list_value_length(users["items"]).to_pylist()
    for user_id, length, first in zip(
        users["user_id"].to_pylist(), lengths, users["first_event"].to_pylist()
    ):
        example, end = Example(), begin + length
        fields = example.features.feature
        fields["user_id"].bytes_list.value.append(user_id.encode())
        fields["items"].int64_list.value.extend(flat[begin:end])
        if whole_timestamps:
            fields["timestamps"].int64_list.value.extend(times[begin:end])
        else:
            fields["timestamps"].bytes_list.value.append(times[begin:end].tobytes())
        fields["first_event"].int64_list.value.append(first)
        if weights is not None:
            fields[WEIGHTS].float_list.value.extend(weights[begin:end])
        for name, texts in more.items():
            fields[name].bytes_list.value.extend(texts[begin:end])
        begin = end
        # A map has no order of its own: the same record should always have the same bytes.
        yield example.SerializeToString(deterministic=True)


def _flat(lists):
    return np.concatenate([chunk.flatten().to_numpy() for chunk in lists.chunks] or [[]])


def _texts(lists):
    """The bytes of each event's text; none where it has none."""
    texts = lists.combine_chunks().flatten().fill_null("")
    return texts.cast(pa.binary()).to_pylist()


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
                columns[name].append(_array(name, values, whole_timestamps))
            if "items" in names:
                columns["lengths"].append(batch["items"].row_lengths().numpy())
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())
        folder = posixpath.dirname(paths[0])
        raise InputError(
            f"`log` should be a prepared log that is whole. Received: {folder!r} ({reason})."
        ) from error
    return {n: np.concatenate(p) if p else np.zeros(0, "int64") for n, p in columns.items()}


def _array(name, values, whole_timestamps):
    if name == "items":  # ids fit into 32 bits, which records do not have
        return values.values.numpy().astype("int32")
    if name == "timestamps" and not whole_timestamps:
        return np.frombuffer(b"".join(values.numpy()), "<f8")
    return values.numpy() if name in ("user_id", "first_event") else values.values.numpy()
