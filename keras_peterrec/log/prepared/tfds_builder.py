"""Prepared logs as a dataset of tensorflow-datasets: `tfds.load("peterrec_log/...")`.

Importing this module registers the dataset, as it does for `tfds build`:

    tfds build --imports keras_peterrec.log.prepared.tfds_builder peterrec_log/movielens-1m.source

A folder that the command `prepare` has written needs none of this:
`tfds.builder_from_directory("data/clicks")`.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from keras_peterrec.errors import InputError
from keras_peterrec.log.prepared.finishing import DESCRIPTION, Plan
from keras_peterrec.log.prepared.format import DATASET, SPLIT, VERSION, features
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.log.read_log import Reading
from keras_peterrec.log.sources import is_named, load_log, log_names
from keras_peterrec.log.table_files import is_table


@dataclasses.dataclass
class LogConfig(tfds.core.BuilderConfig):
    """Which log a `PeterrecLog` prepares, and how; see `prepare` for the arguments.

    The log is by default that which the name of the config says, such as `"movielens-1m.source"`.
    """

    log: Any = None
    min_count: int = 0
    shards: int | None = None
    whole_timestamps: bool = True
    weight_column: str | None = None


class PeterrecLog(FileReaderBuilder):
    """A log of events, one record a user; what is prepared is also a `--log` of every command.

    Example:

    >>> users = tfds.load("peterrec_log/simulated.source", split="users")
    >>> clicks = LogConfig(name="clicks", log="clicks/*.parquet")
    >>> users = tfds.load("peterrec_log", split="users", builder_kwargs={"config": clicks})
    """

    name = DATASET
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        LogConfig(name=name.replace("/", "."), description=f"The log {name}.", log=name)
        for name in log_names()
    ]

    def _info(self):
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=DESCRIPTION,
            features=features(config.whole_timestamps, config.weight_column is not None),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager, download_config=None):
        config, folder = self.builder_config, Path(self.data_dir)
        log, weight_column = config.log, config.weight_column
        if is_named(log) or is_table(log):
            log = load_log(log, weight_column=weight_column)
        reading = Reading(weight_column=weight_column)
        plan = Plan.of(log, config.min_count, config.shards, reading)
        prepared = prepare_in_process(log, plan, folder / "prepared")
        if prepared["whole_timestamps"] != config.whole_timestamps:
            raise InputError(
                "`whole_timestamps` should say whether all timestamps of the log are integers. "
                f"Received: `whole_timestamps` = {config.whole_timestamps}."
            )
        for path in (folder / "prepared").iterdir():
            os.replace(path, folder / path.name)
        (folder / "prepared").rmdir()
        split = tfds.core.SplitInfo(
            name=SPLIT,
            shard_lengths=[file["users"] for file in prepared["files"]],
            num_bytes=sum(file["bytes"] for file in prepared["files"]),
            filename_template=self._get_filename_template(split_name=SPLIT),
        )
        self.info.set_splits(tfds.core.splits.SplitDict([split]))
