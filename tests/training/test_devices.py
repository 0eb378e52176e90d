"""Which rows each replica trains on, and which devices can be asked for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.packed_batches import NextItems, packed_batches
from keras_peterrec.training.devices import Devices


def parts_of(make_batches, workers, local=1, steps=5):
    """What `share` gives to each worker: `[workers][steps * local]` of rows."""
    parts = []
    for worker in range(workers):  # each in a process of its own, with its own batches
        context = SimpleNamespace(num_input_pipelines=workers, input_pipeline_id=worker)
        strategy = SimpleNamespace(
            num_replicas_in_sync=workers * local,
            cluster_resolver=None,
            distribute_datasets_from_function=lambda function: function(context),
        )
        part = Devices(strategy).share(make_batches())
        parts.append(list(part.take(steps * local).as_numpy_iterator()))
    return parts


def new_batches():
    items, starts = np.arange(4, 104), np.arange(0, 90, 3)
    batches = packed_batches(items, starts, starts + 3, NextItems(0.2), tokens=24, rows=6, seed=7)
    assert batches.cardinality() == 5
    return batches.repeat()


@pytest.mark.parametrize(("workers", "local"), [(1, 2), (3, 2), *slow((2, 1), (3, 1))])
def test_parts_are_the_global_batch_and_nothing_twice(workers, local):
    whole = list(new_batches().take(5).as_numpy_iterator())
    parts = parts_of(new_batches, workers, local)
    for step, (history, targets) in enumerate(whole):
        mine = [part[step * local + n] for part in parts for n in range(local)]
        assert all(len(rows) == 6 // (workers * local) for rows, _ in mine)
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in mine]), history)
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in mine]), targets)
    # In an epoch every target of the 30 windows is asked in one place, once.
    asked = np.concatenate([targets.ravel() for part in parts for _, targets in part])
    assert sorted(asked[asked > 0]) == list(range(5, 95))


def test_one_device_keeps_its_batches():
    batches = new_batches()
    assert Devices.open().share(batches) is batches


def test_batch_size_must_be_a_multiple_of_the_devices():
    devices = Devices(SimpleNamespace(num_replicas_in_sync=3, cluster_resolver=None))
    assert devices.check_batch_size(12, 16) == 12
    assert devices.check_batch_size(None, 16) == 18
    with pytest.raises(InputError, match="multiple of the 3 devices.*`batch_size` = 16"):
        devices.check_batch_size(16, 16)


@pytest.mark.parametrize("count", [0, -1, 1.5, "many"])
def test_the_count_of_devices_is_checked(count):
    with pytest.raises(InputError, match="`devices` should be a positive integer or 'all'"):
        Devices.open(count)


def test_more_devices_than_the_machine_has_is_an_error():
    with pytest.raises(InputError, match="`devices` should be at most the"):
        Devices.open(len(tf.config.list_logical_devices()) + 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("worker", "`TF_CONFIG` should be JSON"),
        ({"cluster": {"worker": ["a:1"]}}, "`TF_CONFIG` should be JSON"),
        (
            {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}},
            "`TF_CONFIG` should be JSON",
        ),
        (
            {"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}},
            "only tasks of the types chief and worker. Received: ps, worker",
        ),
    ],
)
def test_bad_tf_config_is_one_clear_line(config, message, monkeypatch):
    text = config if isinstance(config, str) else json.dumps(config)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=message) as caught:
        Devices.open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "index", "is_chief"),
    [("chief", 0, True), ("worker", 0, False), ("worker", 1, False)],
)
def test_chief_is_the_task_named_so(kind, index, is_chief):
    tasks = tf.train.ClusterSpec({"chief": ["a:1"], "worker": ["b:1", "c:1"]})
    resolver = SimpleNamespace(cluster_spec=lambda: tasks, task_type=kind, task_id=index)
    devices = Devices(SimpleNamespace(num_replicas_in_sync=3, cluster_resolver=resolver))
    assert (devices.workers, devices.is_chief) == (3, is_chief)
