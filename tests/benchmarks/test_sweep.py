"""Sweeps of the training benchmark."""

import pytest

from keras_peterrec.benchmarks.sweep import parse_sweeps, sweep_configurations
from keras_peterrec.benchmarks.train_configuration import TrainConfiguration
from keras_peterrec.errors import InputError


def test_no_sweep_is_the_reference_configuration_with_every_loss():
    found = sweep_configurations(TrainConfiguration(), {}, ["backbone", "full"])
    assert [(name, each.loss, each.items) for name, each in found] == [
        ("reference", "backbone", 50_000),
        ("reference", "full", 50_000),
    ]


def test_sweeps_change_one_setting_each():
    sweeps = parse_sweeps(["items", "channels=16,24"])
    found = sweep_configurations(TrainConfiguration(), sweeps, ["sampled"])
    assert [(name, each.items, each.hidden_dim) for name, each in found] == [
        ("items", 10_000, 64),
        ("items", 50_000, 64),
        ("items", 1_000_000, 64),
        ("channels", 50_000, 16),
        ("channels", 50_000, 24),
    ]


def test_lengths_are_compared_at_the_same_tokens():
    found = sweep_configurations(TrainConfiguration(), parse_sweeps(["length"]), ["sampled"])
    assert [(each.length, each.batch_size) for _, each in found] == [
        (64, 128),
        (512, 16),
        (4096, 2),
    ]
    assert {each.tokens for _, each in found} == {8192}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads", "`sweep` should be one of items, length, batch, channels"),
        ("items=many", "name=integers"),
        ("items=", "name=integers"),
    ],
)
def test_unknown_sweeps_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_sweeps([text])


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="`items` should be a positive integer"):
        sweep_configurations(TrainConfiguration(), parse_sweeps(["items=10,-3"]), ["full"])
    with pytest.raises(InputError, match="`length` should be a positive integer"):
        sweep_configurations(TrainConfiguration(), parse_sweeps(["length=0,8"]), ["full"])
