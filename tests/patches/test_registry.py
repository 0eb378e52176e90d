"""Patch methods by name, and their settings as JSON."""

import dataclasses
import json

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.patches import registry
from keras_peterrec.patches.affine_methods import BiasTuning, Ia3, NormTuning, ScaleShift
from keras_peterrec.patches.affine_patch import AffinePatch
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.compacter import Compacter
from keras_peterrec.patches.lora import Lora
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.registry import (
    get_patch,
    patch_from_config,
    patch_to_config,
    register_patch_method,
    short_name,
)
from keras_peterrec.patches.soft_tokens import SoftTokens
from keras_peterrec.patches.stack import Stack
from keras_peterrec.transfer.task_model import TaskModel


@dataclasses.dataclass(frozen=True)
class Gain(PatchMethod):
    """A method of a user's own: one factor for each channel of every branch."""

    rate: float = 1.0

    def patches_of(self, block, index, dtype):
        return {"activation_2": AffinePatch(shift=False, name="gain", dtype=dtype)}


METHODS = {
    "bottleneck": Bottleneck(),
    "bottleneck:8": Bottleneck(8),
    "compacter:12": Compacter(12),
    "lora:2": Lora(2),
    "ia3": Ia3(),
    "scale_shift": ScaleShift(),
    "bias": BiasTuning(),
    "norm": NormTuning(),
    "tokens:3": SoftTokens(3),
    "lora:2+norm+tokens:2": Stack([Lora(2), NormTuning(), SoftTokens(2)]),
}
OTHERS = [
    Bottleneck(3, "serial_single", True, blocks=(1, 2)),
    Bottleneck((2, 4), blocks=(3, 5)),
    Stack([Stack([Lora(1), BiasTuning()]), Bottleneck(3)], blocks=(2,)),
]


@pytest.fixture
def own_methods(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_a_name_is_taken_once(own_methods):
    register_patch_method("gain", Gain)
    with pytest.raises(InputError, match="not registered yet, .* Received: 'gain'"):
        register_patch_method("gain", Bottleneck)
    for taken in ("bottleneck", "stack"):  # the latter by what short names put together
        with pytest.raises(InputError, match=f"Received: '{taken}'"):
            register_patch_method(taken, Gain)
    assert type(patch_from_config({"method": "bottleneck", "width": 2})) is Bottleneck
    assert type(patch_from_config({"method": "gain"})) is Gain


@pytest.mark.parametrize("name", ["", "a:b", "a+b"])
def test_a_name_that_short_names_could_not_hold_is_refused(name, own_methods):
    with pytest.raises(InputError, match="without : and "):
        register_patch_method(name, Gain)


@pytest.mark.parametrize("settings", [object, Gain(), None, int])
def test_only_patch_methods_can_be_registered(settings, own_methods):
    with pytest.raises(InputError, match="subclass of PatchMethod. Received: "):
        register_patch_method("other", settings)


@pytest.mark.parametrize("settings", [*METHODS.values(), *OTHERS, None], ids=str)
def test_settings_survive_json(settings):
    config = json.loads(json.dumps(patch_to_config(settings)))
    assert patch_from_config(config) == settings


@pytest.mark.parametrize("name", METHODS)
def test_short_names_there_and_back(name):
    assert get_patch(name) == METHODS[name]
    assert get_patch(METHODS[name]) is METHODS[name]
    assert short_name(METHODS[name]) == name


def test_a_short_name_tells_what_it_has_no_room_for():
    assert short_name(Bottleneck(8, "serial")) == "bottleneck:8(insertion=serial)"
    assert short_name(Bottleneck((2, 4), blocks=(3, 5))) == "bottleneck:2/4(blocks=(3, 5))"


@pytest.mark.parametrize(
    "name, part",
    [
        ("lorra", "should be one of bottleneck, .*Received: `patch` = 'lorra'"),
        ("lora:2+lorra", "Received: `patch` = 'lora:2.lorra'"),
        ("lora:", "a positive integer after lora:"),
        ("lora:-2", "a positive integer after lora:"),
        ("lora:two", "a positive integer after lora:"),
        ("lora:0", "`rank` should be a positive integer"),
        ("ia3:4", "'ia3' should have no number"),
        ("", "Received: `patch` = ''"),
        (8, "a short name or a PatchMethod. Received: 8"),
    ],
)
def test_a_bad_short_name_is_refused_in_one_line(name, part):
    with pytest.raises(InputError, match=part) as info:
        get_patch(name)
    assert "\n" not in str(info.value)


def test_a_registered_method_works_everywhere(own_methods, tmp_path):
    register_patch_method("gain", Gain)
    assert patch_to_config(Gain(2.0)) == {"method": "gain", "blocks": None, "rate": 2.0}
    assert patch_from_config(patch_to_config(Gain(2.0))) == Gain(2.0)
    assert get_patch("gain+lora:1") == Stack([Gain(), Lora(1)])
    host = Backbone(10, hidden_dim=4, dilations=(1, 4))
    task = TaskModel(host, ClassifierHead(2), "gain")
    assert [path for path in task.task_weights() if "patches" in path] == [
        "patches/block_1/activation_2/scale",
        "patches/block_2/activation_2/scale",
    ]


def test_one_that_is_not_registered_cannot_be_written():
    with pytest.raises(InputError, match="`patch` should be of a method that is registered"):
        patch_to_config(Gain())


def test_reading_does_not_change_the_config():
    config = {"method": "bottleneck", "width": 2}
    patch_from_config(config)
    assert config == {"method": "bottleneck", "width": 2}


@pytest.mark.parametrize("config", [{}, {"method": "lorra"}, {"width": 2}])
def test_an_unknown_method_is_refused(config):
    with pytest.raises(InputError, match="`method` should be one of .*bottleneck.*Received: "):
        patch_from_config(config)
