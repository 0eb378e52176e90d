"""What is in the folder of a prepared log, and how it is told from another folder.

dataset_info.json, features.json            what tensorflow-datasets reads
peterrec_log-users.tfrecord-00007-of-00064  one record a user; a hash of the id tells the shard
vocabulary.txt                              every item; its line is its id
item_counts.npy                             of each: its events, and those training sees
user_lengths.npz                            how many users of a shard have how many events
split-1788220800.npz                        what a split at this moment trains on, if asked for
prepared.json                               all else, and hashes of what we read; written last
"""

import contextlib
import hashlib
import json
import posixpath
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_peterrec.errors import InputError
from keras_peterrec.files import atomic_write
from keras_peterrec.files.leftovers import folder_beside
from keras_peterrec.types import AnyPath

FORMAT_VERSION = 4
MANIFEST = "prepared.json"
VOCABULARY = "vocabulary.txt"
COUNTS = "item_counts.npy"
LENGTHS = "user_lengths.npz"
DATASET, SPLIT = "peterrec_log", "users"
VERSION = "1.0.0"  # as tensorflow-datasets counts

# A record's fields, and what each is; `features` makes features of tensorflow-datasets of them.
FIELDS = {
    "user_id": "The user's id, as in the log.",
    "items": "Ids of the user's items in order of time; id n is line n of vocabulary.txt.",
    "timestamps": "When the events happened, as in the log.",
    "first_event": "Where the user's first row stands in the log: file number · 2^40 + row.",
}
WEIGHTS = "weights"  # a field more, where the log has them
ABOUT_WEIGHTS = "How much each event counts in a loss, as in the log."
FIELD = "field_"  # what stands before the name of a column that the log carries as it is
ROWS_OF_A_FILE = 2**40


def shard_name(number: int, shards: int) -> str:
    """The file name of a shard, as tensorflow-datasets names it."""
    return f"{DATASET}-{SPLIT}.tfrecord-{number:05d}-of-{shards:05d}"


def is_prepared(path: Any) -> bool:
    """Whether a path is the folder of a prepared log."""
    import os

    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
    if not text or text.lower().endswith((".csv", ".gz", ".parquet", ".tsv", ".txt", "jsonl")):
        return False
    if "://" not in text:
        return os.path.isfile(os.path.join(text, MANIFEST))
    import tensorflow as tf  # which reads gs:// and other places

    try:
        return tf.io.gfile.exists(posixpath.join(text, MANIFEST))
    except tf.errors.OpError:  # a place that only fsspec knows
        return False


def read_manifest(folder: Any, argument: str = "log") -> dict:
    """The content of `prepared.json` of a folder, which messages call `argument`.

    Raises:
        InputError: the folder holds no prepared log, one of another version, or is damaged. Other
            files than this one are not looked at.
    """
    text = str(folder)
    try:
        content = json.loads(read_bytes(folder, MANIFEST))
        version = content["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"`{argument}` should be a folder that `prepare` has written. "
            f"Received: {text!r}, without a readable {MANIFEST} ({type(error).__name__})."
        ) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"`{argument}` should be a log prepared in format version {FORMAT_VERSION}. "
            f"Received: {text!r}, version {version!r}; prepare it anew."
        )
    if content.pop("sha256", None) != manifest_hash(content):
        raise not_whole(folder, f"{MANIFEST} was changed", argument)
    return content


def not_whole(folder: AnyPath, reason: str, argument: str = "log") -> InputError:
    """The error of a prepared log of which something is missing or changed."""
    return InputError(
        f"`{argument}` should be a prepared log that is whole. "
        f"Received: {str(folder)!r}, where {reason}. Copy it again, or prepare it anew."
    )


def manifest_hash(content: dict) -> str:
    """A hash of what `prepared.json` says, itself aside."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fingerprint_of(hashes: Iterable[str]) -> str:
    """`"sha256:<16 hex digits>"` of the hashes of the vocabulary and of all shards."""
    return f"sha256:{hashlib.sha256(''.join(hashes).encode()).hexdigest()[:16]}"


def file_hash(path: str) -> str:
    """The SHA-256 of a file, which may be remote: hex digits."""
    if "://" not in path:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    import tensorflow as tf

    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_bytes(folder: AnyPath, name: str) -> bytes:
    """The content of a file of a folder, which may be remote; OSError if there is none."""
    if "://" not in str(folder):
        with open(posixpath.join(str(folder), name), "rb") as file:
            return file.read()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(posixpath.join(str(folder), name), "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def write_bytes(folder: AnyPath, name: str, content: bytes) -> None:
    """Writes a file of a folder, which may be remote, so that it is whole or not there."""
    path = posixpath.join(str(folder), name)
    if "://" not in path:
        atomic_write.write_bytes(path, content)
        return
    import tensorflow as tf

    with replacing_anywhere(path) as beside, tf.io.gfile.GFile(beside, "wb") as file:
        file.write(content)


@contextlib.contextmanager
def replacing_anywhere(path: str) -> Iterator[str]:
    """`replacing` for a path that may be remote, where nothing can be held or synced."""
    if "://" not in path:
        with atomic_write.replacing(path) as local:
            yield str(local)
        return
    import tensorflow as tf

    beside = f"{path}.{uuid.uuid4().hex}.writing"
    yield beside
    tf.io.gfile.rename(beside, path, overwrite=True)


@contextlib.contextmanager
def work_beside(path: AnyPath, argument: str) -> Iterator[str]:
    """Yields a folder beside a path, which may be remote, for what several workers write.

    It is removed at the end. One of this machine that a killed process left is removed by the next
    one that writes beside it. Messages call the path `argument`.

    Raises:
        InputError: nothing can be written there.
    """
    import tensorflow as tf

    text, stack = str(path).rstrip("/"), contextlib.ExitStack()
    try:
        if "://" in text:
            folder = f"{text}.{uuid.uuid4().hex}.writing"
            tf.io.gfile.makedirs(folder)
            stack.callback(_remove, folder)
        else:
            folder = str(stack.enter_context(folder_beside(text)))
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f"`{argument}` should be in a place that can be written where a `runner` works, since "
            f"its workers leave there what they found. Received: {text!r} "
            f"({' '.join(str(error).split())})."
        ) from error
    with stack:
        yield folder


def _remove(folder):
    import tensorflow as tf

    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)


def features(whole_timestamps: bool, weighted: bool = False, fields: Sequence[str] = ()) -> Any:
    """The features of a record as tensorflow-datasets describes them.

    Timestamps are integers or, if not whole, doubles, whose bytes are stored, since a record has no
    other place for 64 bits. `fields` are columns that the log carries as they are.
    """
    import tensorflow_datasets as tfds

    doc = {name: tfds.features.Documentation(desc=text) for name, text in FIELDS.items()}
    scalar = lambda name: tfds.features.Scalar(np.int64, doc=doc[name])
    if whole_timestamps:
        times = tfds.features.Sequence(np.int64, doc=doc["timestamps"])
    else:
        times = tfds.features.Tensor(
            shape=(None,), dtype=np.float64, encoding="bytes", doc=doc["timestamps"]
        )
    described = {
        "user_id": tfds.features.Text(doc=doc["user_id"]),
        "items": tfds.features.Sequence(np.int64, doc=doc["items"]),
        "timestamps": times,
        "first_event": scalar("first_event"),
    }
    if weighted:
        about = tfds.features.Documentation(desc=ABOUT_WEIGHTS)
        described[WEIGHTS] = tfds.features.Sequence(np.float32, doc=about)
    for name in fields:
        about = tfds.features.Documentation(desc=f"The column {name}, as in the log; '' for none.")
        described[FIELD + name] = tfds.features.Sequence(tfds.features.Text(), doc=about)
    return tfds.features.FeaturesDict(described)


def user_hashes(ids: Any) -> np.ndarray:
    """A number for each id that depends on the id alone, on every machine: uint64 `[N]`.

    Source: FNV-1a of the bytes in UTF-8, with its bits mixed at the end as in MurmurHash3.
    """
    import pyarrow as pa

    column = pa.array(ids, pa.large_binary())
    offsets = np.frombuffer(column.buffers()[1], np.int64)[: len(column) + 1]
    content = column.buffers()[2]
    content = np.frombuffer(content, np.uint8) if content is not None else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    hashes = np.full(len(column), 0xCBF29CE484222325, np.uint64)
    rows, place = np.arange(len(column)), 0
    while len(rows := rows[lengths[rows] > place]):
        byte = content[offsets[rows] + place].astype(np.uint64)
        hashes[rows] = (hashes[rows] ^ byte) * np.uint64(0x100000001B3)
        place += 1
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    return hashes ^ (hashes >> np.uint64(33))
