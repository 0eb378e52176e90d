"""Patches of the embedded items, before the first block."""

import functools

import keras
import numpy as np
import numpy_reference as reference
import pytest
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches.item_patches import ItemBottleneck, ItemLora, ItemLoraPatch
from keras_peterrec.patches.patch_layer import item_rows
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.strategies import build_task

CHANNELS, ITEMS, RANK = 8, 30, 3
NAMES = ("item_lora:3", "item_lora:3,rows=10", "item_bottleneck:3")
HISTORY = np.random.default_rng(0).integers(1, ITEMS, (4, 12))
HISTORY[0, :5] = 0


def make_task(patch, causal=True, seed=None, fields=None):
    """A task on a random host; its patches are random where a seed is given."""
    host = ConvolutionNetwork(ITEMS, CHANNELS, dilations=(1,), causal=causal, fields=fields)
    reference.randomise(host)
    task = build_task(host, LinearHead(2), "patch", patch)
    if seed is not None:
        for number, layer in enumerate(task.patched_host.patch_layers):
            reference.randomise(layer, seed + number)
    return task


made_task = functools.cache(make_task)  # for tests that do not change it


def expected_items(task, ids):
    """The embedded items as the patch of one method changes them, in NumPy."""
    items = reference.numbers(task.host.item_embedding.embeddings)[ids]
    (patch,) = task.patches["item_embedding"].values()
    weights = {name: reference.numbers(w) for name, w in patch.named_weights().items()}
    if "embeddings" not in weights:
        return items + reference.bottleneck(items, list(weights.values()))
    table = np.zeros((ITEMS, RANK))
    table[: len(weights["embeddings"])] = weights["embeddings"]
    return items + table[ids] @ weights["up_kernel"]


@pytest.mark.parametrize("name", NAMES)
def test_items_are_those_of_the_reference(name):
    task = made_task(name, True, seed=3)
    assert not any(patches for place, patches in task.patches.items() if place != "item_embedding")
    ids = np.arange(ITEMS)[np.newaxis]
    found, expected = task.patched_host.embed(ids), expected_items(task, ids)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("causal", [True, False])
def test_a_task_reads_the_changed_items(name, causal):
    """The same as a host whose table was changed, without patches."""
    task = made_task(name, causal, seed=3)
    other = make_task(None, causal)
    other.host.item_embedding.embeddings.assign(expected_items(task, np.arange(ITEMS)))
    other.task_token.token.assign(task.task_token.token)
    np.testing.assert_allclose(task.user_states(HISTORY), other.user_states(HISTORY), atol=1e-4)


@pytest.mark.parametrize("name", (*NAMES, "bottleneck:2+item_lora:2+item_bottleneck:2"))
def test_a_new_patch_changes_no_bit(name):
    task = make_task(name)
    bare = build_task(task.host, LinearHead(2), "head")
    bare.task_token.token.assign(task.task_token.token)
    assert np.array_equal(task.user_states(HISTORY), bare.user_states(HISTORY))


@pytest.mark.parametrize("name", NAMES)
def test_padding_stays_inert(name):
    task = made_task(name, True, seed=3)
    padded = np.pad(HISTORY, [[0, 0], [7, 0]])
    np.testing.assert_allclose(task(padded), task(HISTORY), atol=1e-4)


@pytest.mark.parametrize("name", ["item_lora:3,rows=10", "item_bottleneck:3", *slow("item_lora:3")])
def test_training_changes_the_patch_and_not_the_host(name):
    task = make_task(name)
    table = reference.numbers(task.host.item_embedding.embeddings)
    before = {path: reference.numbers(w) for path, w in task.task_weights().items()}
    task.compile("adam", loss="mse", run_eagerly=True)
    task.fit(HISTORY, np.ones((len(HISTORY), 2)), epochs=2, verbose=0)
    np.testing.assert_array_equal(task.host.item_embedding.embeddings, table)
    after = task.task_weights()
    assert all(np.any(before[path] != reference.numbers(weight)) for path, weight in after.items())


def test_only_the_rows_of_a_batch_are_trained():
    task = make_task("item_lora:3")
    task.compile("adam", loss="mse", run_eagerly=True)
    task.fit(np.array([[0, 7, 9]]), np.ones((1, 2)), epochs=2, verbose=0)
    table = reference.numbers(task.task_weights()["patches/item_embedding/rows/embeddings"])
    assert np.flatnonzero(table.any(axis=1)).tolist() == [7, 9]


def test_rows_that_a_table_does_not_have_are_zero():
    tables = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    ids, place = np.array([[4, 5], [0, 99]]), np.array([1, 0])
    np.testing.assert_array_equal(item_rows(tables[0], ids)[0, 0], tables[0, 4])
    of_tasks = np.asarray(item_rows(tables, ids, place))
    np.testing.assert_array_equal(of_tasks[:, 0], [tables[1, 4], tables[0, 0]])
    assert not of_tasks[:, 1].any()


def test_a_large_vocabulary_has_rows_of_its_most_frequent_items():
    host = ConvolutionNetwork(20_010, 4, dilations=(1,))
    rows = {
        name: build_task(host, LinearHead(2), "patch", name).patched_host.patch_layers[0].rows
        for name in ("item_lora", "item_lora:2,rows=99999", "item_lora:2,rows=7")
    }
    assert list(rows.values()) == [20_000, 20_010, 7]


def test_a_bottleneck_is_as_wide_as_one_in_a_block():
    host = ConvolutionNetwork(ITEMS, 16, dilations=(1,))
    task = build_task(host, LinearHead(2), "patch", "bottleneck+item_bottleneck")
    chains = [chain for sites in task.patches.values() for chain in sites.values()]
    assert {patch.width for chain in chains for patch in chain.patches} == {2}


def test_the_layer_survives_keras_serialisation():
    layer = ItemLoraPatch(5, 2, name="rows")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (twin.rows, twin.rank) == (5, 2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ItemLora(0), "`rank` should be a positive integer. Received: `rank` = 0."),
        (lambda: ItemLora(2, rows=0), "`rows` should be a positive integer. Received: `rows` = 0."),
        (lambda: ItemBottleneck(0), "`width` should be a positive integer. Received: `width` = 0."),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError) as info:
        make()
    assert str(info.value) == message


FIELDS = {"time": 6, "kind": 4}


def rows_of_events():
    draw, real = np.random.default_rng(2), HISTORY > 0
    fields = [draw.integers(0, size, HISTORY.shape) * real for size in FIELDS.values()]
    return np.stack([HISTORY, *fields], axis=-1)


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_patched_as_items_are(name):
    """The same as a host whose tables were all changed, without patches."""
    task, other, rows = (
        make_task(name, seed=3, fields=FIELDS),
        make_task(None, fields=FIELDS),
        rows_of_events(),
    )
    assert list(task.patches["item_embedding"]) == ["rows", "field_1", "field_2"]
    for site, table in other.host.tables.items():
        patch = task.patches["item_embedding"][site]
        ids = np.arange(table.input_dim)[np.newaxis]
        changed = patch(ids, task.host.tables[site](ids))
        assert np.abs(changed[0] - table.embeddings).max() > 1e-3
        table.embeddings.assign(changed[0])
    other.task_token.token.assign(task.task_token.token)
    np.testing.assert_allclose(task.user_states(rows), other.user_states(rows), atol=1e-4)
    # Ids alone tell no field, so no patch of a field acts.
    np.testing.assert_allclose(task.user_states(HISTORY), other.user_states(HISTORY), atol=1e-4)


def test_a_new_patch_of_fields_changes_no_bit():
    task, rows = make_task("bottleneck:2+item_lora:2", fields=FIELDS), rows_of_events()
    bare = build_task(task.host, LinearHead(2), "head")
    bare.task_token.token.assign(task.task_token.token)
    assert np.array_equal(task.user_states(rows), bare.user_states(rows))
