"""A loop over stacked blocks computes what the blocks compute one by one."""

import keras
import numpy as np
import pytest

from keras_peterrec.network.convolution import ConvolutionNetwork

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("loops are for TensorFlow's graphs", allow_module_level=True)

from keras_peterrec.network.block_loop import BlockStacks, looping  # noqa: E402
from keras_peterrec.patches.registry import get_patch  # noqa: E402
from keras_peterrec.tasks.heads import LinearHead  # noqa: E402
from keras_peterrec.transfer.strategies import build_task  # noqa: E402

# Several histories in the first row.
HISTORY = np.random.default_rng(0).integers(4, 30, (3, 24)).astype("int32")
HISTORY[0, [5, 6, 15]] = 0
HISTORY[1, :9] = 0


def make_host(dilations=(1, 4) * 2, **settings):
    host = ConvolutionNetwork(30, hidden_dim=8, dilations=dilations, **settings)
    draw = np.random.default_rng(1)
    for weight in host.weights:
        if weight.name != "seed_generator_state":
            weight.assign(draw.normal(size=weight.shape) * 0.3)
    return host


def while_loops(graph):
    return [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dilations", [(1, 4, 1, 4), (2, 1, 3), (1, 1)])
def test_states_are_those_of_the_blocks(causal, dilations):
    host = make_host(dilations, causal=causal)

    @tf.function(input_signature=[tf.TensorSpec(HISTORY.shape, tf.int32)])
    def looped(history):
        with looping():
            return host.states(history)

    assert len(while_loops(looped.get_concrete_function().graph)) == 1
    np.testing.assert_allclose(looped(HISTORY), host.states(HISTORY), atol=1e-5)


def test_graphs_have_no_loop_unless_it_is_asked_for():
    host = make_host()
    graph = tf.function(host.states).get_concrete_function(HISTORY).graph
    assert not while_loops(graph)


@pytest.mark.parametrize(
    "patch, period",
    [
        ("bottleneck:2", 1),
        ("bottleneck:2,serial_single", 1),
        ("compacter", 1),
        ("scale_shift", 1),
        ("lora:2", 1),
        ("bottleneck:2+lora:2", 1),
        ("bottleneck:2+item_lora:2", 1),
        (get_patch("bottleneck").replace(width=(2, 3, 2, 3)), 2),
        (get_patch("bottleneck").replace(width=(2, 3, 4, 5)), None),
        (get_patch("bottleneck").replace(width=2, blocks=(3, 4)), None),
    ],
)
def test_blocks_share_a_body_where_their_patches_have_one_form(patch, period):
    task = build_task(make_host(), LinearHead(3), "patch", patch)
    for weight in task.trainable_weights:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape) * 0.3)
    stacks = task.weight_stacks()
    assert (stacks and stacks.period) == period

    @tf.function
    def looped(history):
        with looping():
            return task(history)

    np.testing.assert_allclose(looped(HISTORY[1:]), task(HISTORY[1:]), atol=1e-5)


def test_a_patch_of_a_form_that_is_not_known_stops_the_loop():
    task = build_task(make_host(), LinearHead(3), "patch", "scale_shift")
    next(iter(task.patches["block_2"].values())).factor = 2.0
    assert task.weight_stacks() is None


def test_every_block_draws_its_own_dropout_once():
    host = make_host(dropout=0.5)
    before = [v.numpy() for v in host.variables if v.name == "seed_generator_state"]

    @tf.function
    def looped(history):
        with looping():
            return host.states(history, training=True)

    first = looped(tf.constant(HISTORY))
    after = [v.numpy() for v in host.variables if v.name == "seed_generator_state"]
    assert [(a - b).tolist() for a, b in zip(after, before)] == [[0, 1]] * len(before)
    for variable, value in zip(
        [v for v in host.variables if v.name == "seed_generator_state"], before
    ):
        variable.assign(value)
    np.testing.assert_allclose(first, host.states(HISTORY, training=True), atol=1e-5)


def test_stacks_hold_every_weight_of_the_blocks_once():
    host = make_host()
    stacks = BlockStacks.of([(block, {}) for block in host.blocks])
    held = [variable for group in stacks.groups for variable in group]
    weights = [weight for block in host.blocks for weight in block.weights]
    assert sorted(map(id, held)) == sorted(map(id, weights))
    assert {len(group) for group in stacks.groups} == {len(host.blocks)}
