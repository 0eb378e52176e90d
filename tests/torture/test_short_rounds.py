"""A few seconds of each driver of this folder; `make torture` runs them for hours."""

import random

import damaged_inputs
import killed_commands
import pytest
from small_job import Ended, write_logs


def test_damage_is_the_same_for_the_same_seed_and_changes_something():
    data = b"user_id,item_id,timestamp\nann,i1,5\nbob,i2,6\n" * 5
    found = [damaged_inputs.damage(data, random.Random(seed)) for seed in range(60)]
    assert found == [damaged_inputs.damage(data, random.Random(seed)) for seed in range(60)]
    assert damaged_inputs.damage(b"", random.Random(0))  # of an empty file as well
    assert len(set(found)) > 40 and sum(one != data for one in found) > 50


def test_damaged_logs_and_settings_are_read_or_refused_in_one_line(tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    write_logs(samples)
    damaged_inputs.copy_tables(samples)
    readers = damaged_inputs.Readers(samples)
    for kind in ("csv", "parquet", "jsonl", "labels", "json", "toml", "paper"):
        for seed in range(12):
            ended = damaged_inputs.read_one(readers, kind, seed, tmp_path / "x")
            assert ended["verdict"] in ("read", "refused"), ended


@pytest.mark.slow
def test_a_killed_command_ends_as_an_undisturbed_one(tmp_path):
    count = killed_commands.torture(1, 0, ["clicks"], tmp_path)
    assert count["kills"] == 1
    assert not count["different"] and not count["left over"] and not count["refused"]


@pytest.mark.parametrize(
    ("status", "error", "is_one_line"),
    [
        (2, "keras-peterrec: error: no space is left", True),
        (2, "Traceback (most recent call last): error: x", False),
        (1, "keras-peterrec: error: x", False),
        (-11, "", False),
    ],
)
def test_what_counts_as_one_line(status, error, is_one_line):
    assert Ended(status, error, 1.0).is_one_line is is_one_line
