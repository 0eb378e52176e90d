"""Patch methods by name, and their settings as JSON."""

import dataclasses
import json

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.patches import registry
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.registry import (
    patch_from_config,
    patch_to_config,
    register_patch_method,
)


@dataclasses.dataclass(frozen=True)
class Scale:
    rate: float = 1.0


@pytest.fixture
def own_methods(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_a_name_is_taken_once(own_methods):
    register_patch_method("scale", Scale)
    with pytest.raises(InputError, match="not registered yet. Received: 'scale'"):
        register_patch_method("scale", Bottleneck)
    with pytest.raises(InputError, match="'bottleneck'"):
        register_patch_method("bottleneck", Scale)
    assert type(patch_from_config({"method": "bottleneck", "width": 2})) is Bottleneck
    assert type(patch_from_config({"method": "scale"})) is Scale


@pytest.mark.parametrize("settings", [Bottleneck(), Bottleneck(3, "serial_single", True), None])
def test_settings_survive_json(settings):
    config = json.loads(json.dumps(patch_to_config(settings)))
    assert patch_from_config(config) == settings


def test_a_registered_method_survives_json_and_is_not_mistaken(own_methods):
    register_patch_method("scale", Scale)
    assert patch_to_config(Scale(2.0)) == {"method": "scale", "rate": 2.0}
    assert patch_from_config(patch_to_config(Scale(2.0))) == Scale(2.0)
    assert patch_to_config(Bottleneck())["method"] == "bottleneck"


def test_reading_does_not_change_the_config():
    config = {"method": "bottleneck", "width": 2}
    patch_from_config(config)
    assert config == {"method": "bottleneck", "width": 2}


@pytest.mark.parametrize("config", [{}, {"method": "lorra"}, {"width": 2}])
def test_an_unknown_method_is_refused(config):
    with pytest.raises(InputError, match="`method` should be one of .*bottleneck.*Received: "):
        patch_from_config(config)
