"""Prepared logs by `tfds.load`, with our builder."""

import pytest
import tensorflow_datasets as tfds
from prepared_samples import sample_columns

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.prepared.tfds_builder import LogConfig, PeterrecLog
from keras_peterrec.log.sources import load_log
from keras_peterrec.runs.prepare import prepare


def test_a_named_log_is_a_dataset_and_a_log_of_ours(tmp_path):
    users = tfds.load("peterrec_log/simulated.source", split="users", data_dir=tmp_path)
    log = load_log("simulated/source")
    assert sorted(u["user_id"].decode() for u in tfds.as_numpy(users)) == sorted(log.user_ids)
    [folder] = (tmp_path / "peterrec_log" / "simulated.source").iterdir()
    found = PreparedLog(folder)
    assert len(found.log()) == len(log)
    prepare("simulated/source", tmp_path / "ours")
    assert found.fingerprint() == PreparedLog(tmp_path / "ours").fingerprint()
    builder = tfds.builder_from_directory(folder)
    assert builder.info.config_name == "simulated.source"
    assert "in order of time" in builder.info.features["items"].doc.desc
    # Every domain of every source is there.
    assert {"movielens-1m.source", "movielens-100k.source"} <= set(PeterrecLog.builder_configs)


def test_a_log_of_ones_own(tmp_path):
    users, items, times = sample_columns()
    halves = Events.from_columns(users, items, times + 0.5)
    config = LogConfig(name="halves", log=halves, shards=2, whole_timestamps=False)
    found = tfds.load(
        "peterrec_log", split="users", data_dir=tmp_path, builder_kwargs={"config": config}
    )
    first = next(iter(tfds.as_numpy(found)))
    assert set(first["timestamps"] % 1) == {0.5}
    wrong = LogConfig(name="wrong", log=halves, shards=2)
    with pytest.raises(InputError, match="`whole_timestamps` should say"):
        tfds.load("peterrec_log", data_dir=tmp_path, builder_kwargs={"config": wrong})
