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

from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.format import (
    COUNTS,
    DATASET,
    FORMAT_VERSION,
    LENGTHS,
    MANIFEST,
    SPLIT,
    VERSION,
    VOCABULARY,
    features,
    file_hash,
    fingerprint_of,
    manifest_hash,
    read_bytes,
    shard_name,
    write_bytes,
)
from keras_peterrec.log.prepared.partition import default_shards, find_inputs
from keras_peterrec.log.read_log import Reading
from keras_peterrec.log.vocabulary import Vocabulary, order_by_counts
from keras_peterrec.types import AnyPath

DESCRIPTION = (
    "A log of events (user, item, timestamp), prepared for keras_peterrec: one record a user, the "
    "user's items in order of time. A user's shard is a hash of the id."
)


@dataclass(frozen=True)
class Plan:
    """What is prepared and how: equal plans give equal files, byte for byte.

    Args:
        inputs: list from `find_inputs`.
        min_count: items with fewer training events are left out of the vocabulary.
        reading: what is read of the inputs.
        weighted: whether events have weights.
        fields: columns that the events carry as they are.
    """

    inputs: list
    min_count: int
    shards: int
    reading: Reading
    weighted: bool = False
    fields: tuple = ()

    @classmethod
    def of(
        cls,
        log: Any,
        min_count: int = 0,
        shards: int | None = None,
        reading: Reading = Reading(),
    ) -> "Plan":
        """The plan for a log; see `find_inputs`."""
        inputs = find_inputs(log, reading)
        weighted, fields = reading.weight_column is not None, as_fields(reading.fields)
        if isinstance(log, Events):
            weighted, fields = log.weighted, tuple(log.fields)
        shards = shards or default_shards(inputs)
        return cls(inputs, min_count, shards, reading, weighted, fields)

    @property
    def names(self) -> list[str]:
        """What messages call the inputs."""
        return [place.get("path", place.get("name")) for place in self.inputs]

    def content(self) -> dict:
        """What `prepared.json` says of it."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}


def write_vocabulary(folder: AnyPath, items: pa.Table, min_count: int) -> None:
    """Writes the vocabulary and the items' counts, from the whole log's table of `add_counts`.

    Raises:
        InputError: `min_count` leaves no item.
    """
    order = order_by_counts(items["item_id"], items["training_events"].to_numpy(), min_count)
    kept = items.take(pa.array(order)).combine_chunks()
    counts = np.stack([kept["events"].to_numpy(), kept["training_events"].to_numpy()], axis=1)
    buffer = io.BytesIO()
    np.save(buffer, counts.astype("<i8"))
    write_bytes(folder, COUNTS, buffer.getvalue())
    vocabulary = Vocabulary(kept["item_id"].to_pylist())
    with tempfile.TemporaryDirectory() as place:
        vocabulary.save(Path(place) / VOCABULARY)
        write_bytes(folder, VOCABULARY, (Path(place) / VOCABULARY).read_bytes())


def read_vocabulary(folder: AnyPath) -> Vocabulary:
    """The Vocabulary of all items of a prepared log; InputError if it is missing or damaged."""
    if "://" not in str(folder):
        return Vocabulary.load(Path(folder) / VOCABULARY)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / VOCABULARY).write_bytes(read_bytes(folder, VOCABULARY))
        return Vocabulary.load(Path(place) / VOCABULARY)


def finish(folder: AnyPath, plan: Plan, shards: list, whole_timestamps: bool, rows: int) -> dict:
    """Writes all that is said of the shards; `prepared.json`, which is returned, comes last.

    The folder has the shards, of which `shards` are what `write_records` returned, in order, and
    the vocabulary. `rows` are those of the inputs, duplicates included.
    """
    _write_lengths(folder, [shard["lengths"] for shard in shards])
    shards = [{n: value for n, value in shard.items() if n != "lengths"} for shard in shards]
    _write_dataset_info(folder, shards, features(whole_timestamps, plan.weighted, plan.fields))
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
