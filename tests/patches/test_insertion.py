"""The table of insertions, and the settings that read it."""

import dataclasses

import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.layers.sites import SITES
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.patches.bottleneck import Bottleneck
from keras_peterrec.patches.insertion import INSERTIONS, get_insertion


def test_the_four_insertions_of_the_paper():
    assert {name: (one.sites, one.parallel) for name, one in INSERTIONS.items()} == {
        "serial": (("convolution_1", "convolution_2"), False),
        "serial_single": (("activation_2",), False),
        "parallel": (("convolution_1", "convolution_2"), True),
        "parallel_after_activation": (("activation_1", "activation_2"), True),
    }
    assert all(set(one.sites) <= set(SITES) for one in INSERTIONS.values())


def test_an_unknown_insertion_is_refused_with_the_known_ones():
    expected = (
        "`insertion` should be one of serial, serial_single, parallel, "
        "parallel_after_activation. Received: `insertion` = 'paralel'."
    )
    for refuse in (get_insertion, lambda name: Bottleneck(insertion=name)):
        with pytest.raises(InputError) as info:
            refuse("paralel")
        assert str(info.value) == expected


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_makes_a_patch_for_each_site(insertion):
    patches = Bottleneck(3, insertion, inner_skip=True).make_patches(block=None, index=1)
    assert tuple(patches) == INSERTIONS[insertion].sites
    for site, patch in patches.items():
        assert patch.name == site and patch.bottleneck == 3 and patch.inner_skip
        assert patch.parallel == INSERTIONS[insertion].parallel
    assert len({id(patch) for patch in patches.values()}) == len(patches)


def test_settings_are_frozen_and_replaced_by_copies():
    settings = Bottleneck(width=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.width = 4
    assert settings.replace(insertion="serial") == Bottleneck(8, "serial")
    assert settings == Bottleneck(8, "parallel", False)
    with pytest.raises(InputError):
        settings.replace(width=0)


@pytest.mark.parametrize("hidden_dim, width", [(64, 8), (16, 2), (4, 1)])
def test_width_defaults_to_an_eighth_of_the_host(hidden_dim, width):
    host = Backbone(10, hidden_dim, dilations=(1,))
    assert Bottleneck().for_host(host).width == width
    assert Bottleneck(5).for_host(host).width == 5
