"""Attention and a network of a user's own do what the convolution does, and keep its promises."""

import itertools
import json

import numpy as np
import pytest
from gated_sum import GatedSum
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import predict, running
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.sources import load_log
from keras_peterrec.network import registry
from keras_peterrec.network.attention import AttentionNetwork
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.network.registry import register_network
from keras_peterrec.patches.short_names import get_patch
from keras_peterrec.runs.evaluate import evaluate
from keras_peterrec.runs.export import export as export_runs
from keras_peterrec.runs.host_life import new_pretrainer
from keras_peterrec.runs.pretrain import pretrain
from keras_peterrec.runs.transfer import transfer
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify.export_folder import ExportFolder
from keras_peterrec.serving.verify.verify_export import checks
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.settings.tune import TunePretrainSettings
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.combined_tasks import merge_task
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.incremental_task import IncrementalTask
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

HISTORY = st.lists(st.integers(2, 19), min_size=1, max_size=8)
PATCHES = ("bottleneck:2,serial", "bottleneck:2,serial_single", "lora:2", "scale_shift+item_lora:2")
# For the other insertions and for norms, which not every network has.
OTHER_PATCHES = ("bottleneck:2,parallel", "bottleneck:2,parallel_after_activation", "norm")
# What a task of each network is made of, so that both ways to fold one into a host are there.
TRAINED = {"gated_sum": "lora:2", "attention": "scale_shift"}


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_NETWORKS", dict(registry._NETWORKS))
        register_network("gated_sum", GatedSum)
        yield


def filled(layer, seed=0):
    random = np.random.default_rng(seed)
    for weight in layer.weights:
        if "seed" not in weight.name:
            weight.assign(random.normal(0.1, 0.4, weight.shape))
    return layer


NETWORKS = {
    "gated_sum": filled(GatedSum(20, hidden_dim=8)),
    "attention": filled(AttentionNetwork(20, hidden_dim=8, blocks=2, window=4)),
}
each = pytest.mark.parametrize("name", list(NETWORKS))


def states_of(ids, name):
    return np.asarray(NETWORKS[name](np.asarray(ids, "int32")))


@each
@settings(max_examples=6, deadline=None)
@given(one=HISTORY, other=HISTORY, padding=st.integers(1, 9))
def test_padding_is_inert_and_a_border(name, one, other, padding):
    alone = states_of([one], name)[0]
    row = states_of([[0] * padding + other + [0] + one], name)[0]
    np.testing.assert_allclose(row[-len(one) :], alone, atol=1e-5)
    assert not row[:padding].any()


@each
@settings(max_examples=6, deadline=None)
@given(history=HISTORY, later=HISTORY)
def test_a_state_knows_no_future(name, history, later):
    before = states_of([history + [5] * len(later)], name)[0, : len(history)]
    np.testing.assert_array_equal(states_of([history + later], name)[0, : len(history)], before)


@pytest.mark.parametrize(
    "name, patch",
    [*itertools.product(NETWORKS, PATCHES), *(("attention", patch) for patch in OTHER_PATCHES)],
)
def test_a_fresh_patch_changes_no_bit_and_a_trained_one_does(name, patch):
    ids = np.array([[0, 0, 4, 9, 5], [4, 5, 6, 7, 12]])
    head = build_task(NETWORKS[name], LinearHead(3), "head")
    task = build_task(NETWORKS[name], LinearHead(3), "patch", patch)
    users = np.asarray(task.user_states(ids))
    assert users.tobytes() == np.asarray(head.user_states(ids)).tobytes()
    for layer in task.patched_host.patch_layers:
        filled(layer)
    assert np.abs(np.asarray(task.user_states(ids)) - users).max() > 1e-3


@pytest.mark.parametrize("patch", [None, PATCHES[-1], *slow(*PATCHES[:-1])])
@each
def test_events_one_by_one_are_the_whole_history(name, patch):
    model = build_task(NETWORKS[name], LinearHead(3), "patch" if patch else "head", patch)
    for layer in (model.head, *model.patched_host.patch_layers):
        filled(layer)
    task, history = IncrementalTask(model), np.random.default_rng(1).integers(2, 20, (3, 9))
    state = task.start(3)
    for length in range(1, history.shape[1] + 1):
        state, scores = task.step(state, history[:, length - 1])
        expected = np.asarray(model(history[:, :length]))
        np.testing.assert_allclose(np.asarray(scores), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(task.read(history)), np.asarray(state), atol=1e-5)


def test_what_a_network_does_not_have_is_refused():
    with pytest.raises(InputError, match="`patch` should be a method that finds sites in the host"):
        build_task(NETWORKS["gated_sum"], LinearHead(3), "patch", "norm")
    for taken in ("gated_sum", "gated:sum"):
        with pytest.raises(InputError, match=f"`name` should be new, .* `name` = '{taken}'"):
            register_network(taken, GatedSum)
    with pytest.raises(InputError, match="`network` should be a subclass of Network"):
        register_network("list", list)
    assert build_task(NETWORKS["gated_sum"], LinearHead(3)).reach(99) is None


def made(network, blocks=2):
    settings = PretrainSettings("log.csv", "out", network=network, hidden_dim=8, blocks=blocks)
    return new_pretrainer(settings.sized(0, 0), 20).backbone


def test_a_network_has_options_of_its_own():
    attention = made("attention:heads=4, window=5")
    assert (attention.heads, attention.window, len(attention.blocks)) == (4, 5, 2)
    assert made("convolution:dilations=1/2/4,kernel_size=5").dilations == (1, 2, 4)
    assert type(made("gated_sum")) is GatedSum


@pytest.mark.parametrize("network, blocks", [("convolution", 8), ("attention:heads=1", 4)])
def test_a_network_has_as_many_blocks_as_suit_it(network, blocks):
    assert len(made(network, blocks=None).blocks) == blocks
    assert TunePretrainSettings("log.csv", "out", network=network).given("blocks") == blocks


@pytest.mark.parametrize(
    "network, problem",
    [
        ("perceptron:heads=2", "should be one of convolution, .*perceptron"),
        ("attention:heds=2", "after attention: some of heads=..., window=..., each once. .*heds"),
        ("attention:heads=2,heads=2", "each once. Received: 'attention:heads=2,heads=2'"),
        ("attention:", "should have after attention: some of"),
        ("attention:blocks=2", "should have after attention: some of"),
        ("gated_sum:heads=2", "should have after gated_sum: nothing. Received"),
    ],
)
def test_options_that_a_network_has_not_are_refused_at_once(network, problem):
    with pytest.raises(InputError, match=problem):
        PretrainSettings("log.csv", "out", network=network)


def test_values_that_an_option_cannot_have_are_refused_by_the_network():
    with pytest.raises(InputError, match="`heads` should be a positive integer. .*'two'"):
        made("attention:heads=two")


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    return request.param


@pytest.fixture(scope="module")
def runs(registered, network, tmp_path_factory):
    """A host and a task, made by the commands."""
    folder = tmp_path_factory.mktemp("runs")
    log, quick = "simulated/source", {"epochs": 1, "baselines": False, "linear": False}
    small = {"hidden_dim": 8, "blocks": 1, "max_length": 10, "steps_per_epoch": 20}
    pretrain(log, folder / "host", network=network, **small, **quick)
    before = (folder / "host" / "weights.npz").read_bytes()
    target = {"target": "simulated/target", "patch": TRAINED[network]}
    with pytest.MonkeyPatch.context() as patch:  # so few steps hardly beat noise
        patch.setattr("keras_peterrec.runs.task_training.why_head_is_all", lambda *_: None)
        transfer(folder / "host", log, folder / "shop", **target, **quick)
    assert (folder / "host" / "weights.npz").read_bytes() == before
    return folder


def test_a_host_names_its_network(runs, network):
    saved = json.loads((runs / "host" / "host.json").read_text())["network"]
    assert saved["name"] == network and saved["settings"]["blocks"] == 1
    assert type(Host.load(runs / "host").backbone) is type(NETWORKS[network])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_NETWORKS", {"convolution": ConvolutionNetwork})
        with pytest.raises(InputError, match=f"registered first .* Received: .*'{network}'"):
            Host.load(runs / "host")


def test_it_is_measured_as_it_was_trained(runs):
    written = json.loads((runs / "shop" / "metrics.json").read_text())["metrics"]["test"]
    assert evaluate(runs / "shop")["metrics"]["test"] == pytest.approx(written, abs=1e-5)


@pytest.mark.slow
def test_it_is_served_as_it_was_trained(runs, tmp_path):
    out, host = tmp_path / "peterrec" / "1", Host.load(runs / "host")
    export_runs(host=runs / "host", task=(runs / "shop",), out=out, incremental=True)
    folder = ExportFolder(out)
    assert [problem for check in checks().values() for problem in check(folder)] == []
    task, model = Task.load(runs / "shop", host), ExportedModel(out)
    log = load_log("simulated/source")
    events = [str(log.item_ids[item]) for item in log.items[:9]]
    items, scores = task.recommend([" ".join(events)], k=5)
    answer = model.predict("shop", [" ".join(events)])
    assert list(answer["items"][0][:5]) == list(items[0])
    np.testing.assert_allclose(answer["scores"][0][:5], scores[0], atol=1e-4)
    states = None
    for number, event in enumerate(events, 1):
        step = model.step("shop", [event], states, [" ".join(events[:number])])
        states = list(step["state_bytes"])
    np.testing.assert_allclose(step["scores"][0][:5], scores[0], atol=1e-4)
    with running(model_base_path=str(out.parent)) as server:
        body = {"signature_name": "shop", "instances": [{"history": " ".join(events)}]}
        status, said = predict(server.port, "peterrec", body)
    assert status == 200 and said["predictions"][0]["items"][:5] == list(items[0])


def test_tasks_of_it_are_mixed_and_merged(runs, network):
    host = Host.load(runs / "host")
    task = Task.load(runs / "shop", host)
    filled(task.model.patched_host.patch_layers[0])
    ids = np.array([[0, 0, 4, 9, 5], [4, 5, 6, 7, 12]])
    expected = task.scores(ids)
    np.testing.assert_allclose(merge_task(task).scores(ids), expected, atol=1e-4)
    mixed = MixedTasks.of_tasks({"shop": task}).scores(ids, ["shop", "shop"])
    np.testing.assert_allclose(mixed, expected, atol=1e-4)
    assert get_patch(TRAINED[network]).merges(host.backbone, task.model.patches)
