"""Patch methods by name, and their settings as JSON."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec.errors import InputError
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.patches import registry
from keras_peterrec.patches.affine import AffinePatch, BiasTuning, Ia3, NormTuning, ScaleShift
from keras_peterrec.patches.bottleneck import INSERTIONS, Bottleneck
from keras_peterrec.patches.compacter import Compacter
from keras_peterrec.patches.item_patches import ItemBottleneck, ItemLora
from keras_peterrec.patches.lora import Lora
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.short_names import (
    get_patch,
    patch_from_config,
    register_patch_method,
)
from keras_peterrec.patches.stack import Stack
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.transfer.parameters import patch_table
from keras_peterrec.transfer.task_model import TaskModel


@dataclasses.dataclass(frozen=True)
class Gain(PatchMethod):
    """A method of a user's own: one factor for each channel of every branch."""

    rate: float = 1.0

    def patches_of(self, sites, index, dtype):
        ends = [name for name, site in sites.items() if site.kind == "branch"]
        return {name: AffinePatch(shift=False, name="gain", dtype=dtype) for name in ends}


METHODS = {
    "bottleneck": Bottleneck(),
    "bottleneck:8": Bottleneck(8),
    "compacter:12": Compacter(12),
    "lora:2": Lora(2),
    "ia3": Ia3(),
    "scale_shift": ScaleShift(),
    "bias": BiasTuning(),
    "norm": NormTuning(),
    "lora:2+norm+ia3": Stack([Lora(2), NormTuning(), Ia3()]),
    "bottleneck:8,serial,inner_skip": Bottleneck(8, "serial", True),
    "bottleneck:2/4,blocks=3/5": Bottleneck((2, 4), blocks=(3, 5)),
    "bottleneck:2,serial,blocks=1/": Bottleneck(2, "serial", blocks=1),
    "bottleneck:serial_single": Bottleneck(insertion="serial_single"),
    "compacter:8,parallel_after_activation,factor=2": Compacter(
        8, "parallel_after_activation", factor=2
    ),
    "ia3:blocks=7/": Ia3(blocks=(7,)),
    "(lora:2+norm):blocks=1/2": Stack([Lora(2), NormTuning()], blocks=(1, 2)),
    "(lora:1+bias)+bottleneck:3": Stack([Stack([Lora(1), BiasTuning()]), Bottleneck(3)]),
}


@pytest.fixture
def own_methods():
    before = dict(registry.METHODS)
    yield
    registry.METHODS.clear()
    registry.METHODS.update(before)


def test_a_name_is_taken_once(own_methods):
    register_patch_method("gain", Gain)
    with pytest.raises(InputError, match="should be new, .* Received: `name` = 'gain'"):
        register_patch_method("gain", Bottleneck)
    for taken in ("bottleneck", "stack"):  # the latter by what short names put together
        with pytest.raises(InputError, match=f"Received: `name` = '{taken}'"):
            register_patch_method(taken, Gain)
    assert type(patch_from_config({"method": "bottleneck", "width": 2})) is Bottleneck
    assert type(patch_from_config({"method": "gain"})) is Gain


@pytest.mark.parametrize("name", ["", *(f"a{character}b" for character in ":+,=()")])
def test_a_name_that_short_names_could_not_hold_is_refused(name, own_methods):
    with pytest.raises(InputError, match=r"without any of :\+,="):
        register_patch_method(name, Gain)


@pytest.mark.parametrize("settings", [object, Gain(), None, int])
def test_only_patch_methods_can_be_registered(settings, own_methods):
    with pytest.raises(InputError, match="subclass of PatchMethod. Received: "):
        register_patch_method("other", settings)


@pytest.mark.parametrize("settings", METHODS.values(), ids=str)
def test_settings_survive_json(settings):
    config = json.loads(json.dumps(settings.to_config()))
    assert patch_from_config(config) == settings


@pytest.mark.parametrize("name", METHODS)
def test_short_names_there_and_back(name):
    assert get_patch(name) == METHODS[name]
    assert get_patch(METHODS[name]) is METHODS[name]
    assert METHODS[name].short_name == name


@pytest.mark.parametrize(
    "name, method",
    [
        (" lora:2 + norm ", Stack([Lora(2), NormTuning()])),
        ("bottleneck: serial , 8", Bottleneck(8, "serial")),
        ("bottleneck:width=8,insertion=serial,inner_skip=true", Bottleneck(8, "serial", True)),
        ("lora:2,blocks=7", Lora(2, blocks=(7,))),
        ("(lora:2):blocks=7", Lora(2, blocks=(7,))),
        ("bottleneck:inner_skip=false", Bottleneck()),
    ],
)
def test_a_short_name_can_be_written_in_more_than_one_way(name, method):
    assert get_patch(name) == method


@dataclasses.dataclass(frozen=True)
class Many(PatchMethod):
    """A method of a user's own, with settings of every type."""

    rate: float = 0.5
    off: bool = True
    on: bool = False
    label: str | None = "a"
    sizes: tuple = ()


positive = st.integers(1, 99)
blocks = st.none() | st.lists(positive, unique=True, max_size=4).map(tuple)
widths = st.none() | positive | st.lists(positive, max_size=3).map(tuple)
insertions = st.sampled_from(list(INSERTIONS))
SINGLE = st.one_of(
    st.builds(Bottleneck, widths, insertions, st.booleans(), blocks=blocks),
    st.builds(Compacter, widths, insertions, st.booleans(), positive, blocks=blocks),
    st.builds(Lora, positive, blocks=blocks),
    st.builds(ItemLora, positive, positive, blocks=blocks),
    st.builds(ItemBottleneck, st.none() | positive, blocks=blocks),
    *(st.builds(method, blocks=blocks) for method in (Ia3, ScaleShift, BiasTuning, NormTuning)),
    st.builds(
        Many,
        st.floats(allow_nan=False),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["a", "b_c", None]),
        st.lists(st.integers() | st.floats(allow_nan=False), max_size=3).map(tuple),
        blocks=blocks,
    ),
)


def stacks_of(methods):
    return st.builds(Stack, st.lists(methods, min_size=2, max_size=3), blocks=blocks)


@settings(max_examples=80, deadline=None)
@given(method=st.recursive(SINGLE, stacks_of, max_leaves=5))
def test_a_short_name_holds_every_setting(method):
    registry.METHODS["many"] = Many
    try:
        assert get_patch(method.short_name) == method
    finally:
        del registry.METHODS["many"]


@pytest.mark.parametrize(
    "name, part",
    [
        ("lorra", "should be one of bottleneck, .*Received: `patch` = 'lorra'"),
        ("lora:2+lorra", "Received: `patch` = 'lora:2.lorra'"),
        ("lora:", r"after lora: some of a number \(rank\), blocks=..., each once. Received: ''"),
        ("lora:two", "after lora: some of .* Received: 'two' in 'lora:two'"),
        ("lora:2,3", "each once. Received: '3'"),
        ("lora:-2", "`rank` should be a positive integer. Received: `rank` = -2"),
        ("lora:0", "`rank` should be a positive integer"),
        ("lora:1.5", "`rank` should be a positive integer. Received: `rank` = 1.5"),
        ("ia3:4", "after ia3: some of blocks=..., each once. Received: '4'"),
        ("bottleneck:8,seriel", "serial, serial_single, .* inner_skip, blocks=.*'seriel'"),
        ("bottleneck:inner_skip=3", "Received: 'inner_skip=3'"),
        ("bottleneck:blocks", "Received: 'blocks'"),
        ("bottleneck:insertion=seriel", "`insertion` should be one of"),
        ("stack:methods=lora", "should be one of bottleneck"),
        ("(lora+norm):methods=2", "Received: 'methods=2'"),
        ("(lora+norm", "brackets in pairs"),
        ("lora)+(norm", "brackets in pairs"),
        ("(lora+norm)norm", "should have : or . after a bracket"),
        ("lora+", "should be one of bottleneck"),
        ("", "Received: `patch` = ''"),
        (8, "a short name or a PatchMethod. Received: `patch` = 8"),
    ],
)
def test_a_bad_short_name_is_refused_in_one_line(name, part):
    with pytest.raises(InputError, match=part) as info:
        get_patch(name)
    assert "\n" not in str(info.value)


class HadamardPatch(PatchLayer):
    """`outputs * (1 + w)`."""

    fold_kinds = ("linear",)

    def build(self, inputs_shape, outputs_shape):
        self.add_weight(name="change", shape=outputs_shape[-1:], initializer="zeros")

    def apply(self, weights, inputs, outputs, seen=None):
        return outputs * (1 + weights["change"])

    def fold(self, weights, layer):
        return {name: value * (1 + weights["change"]) for name, value in layer.items()}


@dataclasses.dataclass(frozen=True)
class Hadamard(PatchMethod):
    """A method of a user's own, with a layer of its own: all that there is to write."""

    def patches_of(self, sites, index, dtype):
        maps = [name for name, site in sites.items() if site.kind == "linear"]
        return {name: HadamardPatch(name=name, dtype=dtype) for name in maps}


def test_a_method_of_ones_own_is_a_class_and_a_line(own_methods):
    register_patch_method("hadamard", Hadamard)
    host = ConvolutionNetwork(10, hidden_dim=4, dilations=(1, 4))
    task = TaskModel(host, LinearHead(2), "hadamard+lora:1")
    weights = [weight for path, weight in task.task_weights().items() if "change" in path]
    assert len(weights) == 4  # two linear maps in each block
    twin = TaskModel.from_config(task.get_config())
    assert twin.patch == Stack([Hadamard(), Lora(1)])
    assert [row["merges"] for row in patch_table(host, [Hadamard()])] == [True]
    history = np.array([[4, 5, 6]])
    before = np.asarray(task(history))
    for weight in weights:
        weight.assign([0.5, -0.5, 1.0, 2.0])  # equal ones would be normalised away
    assert np.abs(np.asarray(task(history)) - before).max() > 1e-5


def test_a_registered_method_has_a_short_name_and_a_config(own_methods):
    register_patch_method("gain", Gain)
    assert Gain(2.0).to_config() == {"method": "gain", "blocks": None, "rate": 2.0}
    assert patch_from_config(Gain(2.0).to_config()) == Gain(2.0)
    assert get_patch("gain+lora:1") == Stack([Gain(), Lora(1)])


def test_one_that_is_not_registered_cannot_be_written():
    with pytest.raises(InputError, match="`patch` should be of a registered method"):
        Gain().to_config()


def test_reading_does_not_change_the_config():
    config = {"method": "bottleneck", "width": 2}
    patch_from_config(config)
    assert patch_from_config(None) is None
    assert config == {"method": "bottleneck", "width": 2}


@pytest.mark.parametrize("config", [{}, {"method": "lorra"}, {"width": 2}])
def test_an_unknown_method_is_refused(config):
    with pytest.raises(InputError, match="`method` should be one of .*bottleneck.*Received: "):
        patch_from_config(config)
