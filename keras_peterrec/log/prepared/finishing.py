"""What is prepared, and the last files of its folder, wherever the shards were made."""

import dataclasses
import io
import json
import posixpath
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_peterrec.errors import InputError
from keras_peterrec.log.log import Log
from keras_peterrec.log.prepared.format import (
    COUNTS,
    DATASET,
    FORMAT_VERSION,
    LENGTHS,
    MANIFEST,
    SPLIT,
    VERSION,
    VOCABULARY,
    WEIGHTS,
    features,
    file_hash,
    fingerprint_of,
    manifest_hash,
    read_bytes,
    shard_name,
    write_bytes,
)
from keras_peterrec.log.prepared.partition import default_shards, find_inputs
from keras_peterrec.log.prepared.shards import in_order
from keras_peterrec.log.vocabulary import Vocabulary

DESCRIPTION = (
    "A log of events (user, item, timestamp), prepared for keras_peterrec: one record a user, the "
    "user's items in order of time. A user's shard is a hash of the id."
)


@dataclass(frozen=True)
class Plan:
    """What is prepared and how: equal plans give equal files, byte for byte.

    Args:
        inputs: list from `find_inputs`.
        min_count: int. Items with fewer training events are left out of the vocabulary.
        shards: int.
        columns, events, weight_column, drop_bad_rows: what is read of the inputs; see `read_log`.
    """

    inputs: list
    min_count: int
    shards: int
    columns: Any = None
    events: Any = None
    weight_column: str | None = None
    drop_bad_rows: bool = False

    @classmethod
    def of(
        cls,
        log: Any,
        min_count: int = 0,
        shards: int | None = None,
        columns: Any = None,
        events: Any = None,
        weight_column: str | None = None,
        drop_bad_rows: bool = False,
    ) -> "Plan":
        """The plan for a log; see `find_inputs`."""
        inputs = find_inputs(log, columns, events, weight_column)
        if isinstance(log, Log) and log.weights is not None:
            weight_column = WEIGHTS
        shards = shards or default_shards(inputs)
        return cls(inputs, min_count, shards, columns, events, weight_column, drop_bad_rows)

    @property
    def names(self) -> list[str]:
        """What messages call the inputs."""
        return [place.get("path", place.get("name")) for place in self.inputs]

    def content(self) -> dict:
        """What `prepared.json` says of it."""
        content = dataclasses.asdict(self)
        names = ("columns", "events", "weight_column", "drop_bad_rows")
        read = {name: content.pop(name) for name in names}
        return {"format_version": FORMAT_VERSION, **content, "read": read}


def write_vocabulary(folder: Any, items: pa.Table, min_count: int) -> None:
    """Writes the vocabulary and the items' counts.

    Args:
        folder: path.
        items: Table of the whole log's items, from `add_counts`.
        min_count: int.

    Raises:
        InputError: `min_count` leaves no item.
    """
    kept = items.filter(pc.greater_equal(items["training_events"], min_count))
    kept = kept.take(in_order(kept)).combine_chunks()
    if not len(kept):
        largest = max(items["training_events"].to_pylist(), default=0)
        raise InputError(
            "`min_count` should leave at least one item. "
            f"Received: `min_count` = {min_count}, the largest count is {largest}."
        )
    counts = np.stack([kept["events"].to_numpy(), kept["training_events"].to_numpy()], axis=1)
    buffer = io.BytesIO()
    np.save(buffer, counts.astype("<i8"))
    write_bytes(folder, COUNTS, buffer.getvalue())
    vocabulary = Vocabulary(kept["item_id"].to_pylist())
    with tempfile.TemporaryDirectory() as place:
        vocabulary.save(Path(place) / VOCABULARY)
        write_bytes(folder, VOCABULARY, (Path(place) / VOCABULARY).read_bytes())


def read_vocabulary(folder: Any) -> Vocabulary:
    """The Vocabulary of all items of a prepared log.

    Raises:
        InputError: the file is missing or damaged.
    """
    if "://" not in str(folder):
        return Vocabulary.load(Path(folder) / VOCABULARY)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / VOCABULARY).write_bytes(read_bytes(folder, VOCABULARY))
        return Vocabulary.load(Path(place) / VOCABULARY)


def finish(folder: Any, plan: Plan, shards: list, whole_timestamps: bool, rows: int) -> dict:
    """Writes all that is said of the shards; `prepared.json` comes last.

    Args:
        folder: path that has the shards and the vocabulary.
        plan: Plan.
        shards: list of dict from `write_records`, in order.
        whole_timestamps: bool.
        rows: int. Of the inputs, duplicates included.

    Returns:
        dict, the content of `prepared.json`.
    """
    _write_lengths(folder, [shard["lengths"] for shard in shards])
    shards = [{n: value for n, value in shard.items() if n != "lengths"} for shard in shards]
    weighted = plan.weight_column is not None
    _write_dataset_info(folder, shards, features(whole_timestamps, weighted))
    counts = np.load(io.BytesIO(read_bytes(folder, COUNTS)))
    # Not those of tensorflow-datasets, which writes them again; we do not read them.
    others = {name: _about(folder, name) for name in (VOCABULARY, COUNTS, LENGTHS)}
    hashes = [others[VOCABULARY]["sha256"], *(shard["sha256"] for shard in shards)]
    content = {
        **plan.content(),
        "fingerprint": fingerprint_of(hashes),
        "users": sum(shard["users"] for shard in shards),
        "items": len(counts),
        "items_only_held_out": int((counts[:, 1] == 0).sum()),
        "events": sum(shard["events"] for shard in shards),
        "rows": rows,
        "whole_timestamps": whole_timestamps,
        "weighted": weighted,
        "files": shards,
        "others": others,
    }
    sealed = {**content, "sha256": manifest_hash(json.loads(json.dumps(content)))}
    write_bytes(folder, MANIFEST, (json.dumps(sealed, indent=1) + "\n").encode())
    return content


def _about(folder, name):
    path = posixpath.join(str(folder), name)
    return {"bytes": len(read_bytes(folder, name)), "sha256": file_hash(path)}


def _write_lengths(folder, found):
    """A row for each shard and number of events: how many users have so many."""
    rows = [[np.full(len(values), n), values, users] for n, (values, users) in enumerate(found)]
    shard, length, users = np.concatenate(rows, axis=1).astype("<i4")
    buffer = io.BytesIO()
    np.savez(buffer, shard=shard, length=length, users=users)
    write_bytes(folder, LENGTHS, buffer.getvalue())


def _write_dataset_info(folder, shards, described):
    import tensorflow_datasets as tfds

    with tempfile.TemporaryDirectory() as place:  # which writes to remote folders in its own way
        template = tfds.core.ShardedFileTemplate(
            data_dir=place, dataset_name=DATASET, split=SPLIT, filetype_suffix="tfrecord"
        )
        split = tfds.core.SplitInfo(
            name=SPLIT,
            shard_lengths=[shard["users"] for shard in shards],
            num_bytes=sum(shard["bytes"] for shard in shards),
            filename_template=template,
        )
        (Path(place) / shard_name(0, len(shards))).touch()  # it looks for a file of this name
        tfds.folder_dataset.write_metadata(
            data_dir=place,
            features=described,
            split_infos=[split],
            filename_template=template,
            version=VERSION,
            check_data=False,
            description=DESCRIPTION,
            disable_shuffling=True,
        )
        for path in Path(place).glob("*.json"):
            write_bytes(folder, path.name, path.read_bytes())
