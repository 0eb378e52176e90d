"""Settings: what they check, what a run records of them, and functions that take them."""

import inspect
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from bake_settings import BakeSettings

from keras_peterrec.errors import InputError, check_count
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.patches.lora import Lora
from keras_peterrec.settings import base
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.transfer import TransferSettings


def test_values_are_taken_as_given_or_by_default():
    settings = BakeSettings("rye", 2, icing="cocoa", layers=["jam", "cream"])
    assert (settings.flour, settings.eggs, settings.sugar) == ("rye", 2, 0.5)
    assert settings.layers == ("jam", "cream")  # a list becomes a tuple
    assert BakeSettings("rye", sugar=1) == BakeSettings("rye", sugar=1.0)
    with pytest.raises(AttributeError):
        settings.eggs = 4
    assert settings.replace(eggs=5).eggs == 5 and settings.eggs == 2
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_numbers_of_numpy_are_numbers():
    settings = BakeSettings("rye", eggs=np.int64(4), sugar=np.float32(0.25))
    assert (type(settings.eggs), type(settings.sugar)) == (int, float)
    assert json.loads(json.dumps(settings.recorded()))["eggs"] == 4
    with pytest.raises(InputError, match="`eggs` should be an integer"):
        BakeSettings("rye", eggs=np.float64(4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eggs": "3"}, "`eggs` should be an integer. Received: `eggs` = '3'."),
        ({"eggs": 3.0}, "`eggs` should be an integer. Received: `eggs` = 3.0."),
        ({"eggs": True}, "`eggs` should be an integer. Received: `eggs` = True."),
        ({"eggs": None}, "`eggs` should be an integer. Received: `eggs` = None."),
        ({"eggs": 0}, "`eggs` should be a positive integer. Received: `eggs` = 0."),
        ({"sugar": "a lot"}, "`sugar` should be a number. Received: `sugar` = 'a lot'."),
        ({"sugar": False}, "`sugar` should be a number. Received: `sugar` = False."),
        ({"sugar": math.nan}, "`sugar` should be above 0 and at most 1. Received: `sugar` = nan."),
        ({"icing": 7}, "`icing` should be a string. Received: `icing` = 7."),
        ({"icing": "rum"}, "`icing` should be one of lemon, cocoa. Received: `icing` = 'rum'."),
        ({"oven": "wood"}, "`oven` should be one of gas, electric. Received: `oven` = 'wood'."),
        ({"layers": "jam"}, "`layers` should be a list. Received: `layers` = 'jam'."),
        ({"sifted": 1}, "`sifted` should be True or False. Received: `sifted` = 1."),
        ({"icing": "lemon", "eggs": 1}, "`eggs` should be at least 2 with lemon."),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(given, message):
    with pytest.raises(InputError) as caught:
        BakeSettings("rye", **given)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    with pytest.raises(InputError):
        BakeSettings("rye").replace(**given)


CHECKS = {
    check_count: ([1, 10**9], [0, -1]),
    base.rate: ([0.0, 0.99], [-0.1, 1.0, math.nan]),
    base.fraction: ([1e-9, 1.0], [0.0, 1.1, math.nan]),
    base.positive_number: ([1e-9, 1e9], [0.0, -1.0, math.inf, math.nan]),
    base.not_negative: ([0.0, 1e9], [-1.0, math.inf, math.nan]),
    base.seed_number: ([0, 2**32 - 1], [-1, 2**32]),
    base.device_count: (["all", 1, 8], ["some", 0, -1, True, 1.5]),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_accept_what_they_say(check):
    good, bad = CHECKS[check]
    for value in good:
        check("x", value)
    for value in bad:
        with pytest.raises(InputError, match="^`x` should be .* Received: `x` = "):
            check("x", value)


def test_a_run_records_what_determines_its_result():
    recorded = BakeSettings(Path("a/rye.csv"), layers=("jam",), out="b").recorded()
    assert recorded == {
        "flour": "a/rye.csv",
        "eggs": 3,
        "sugar": 0.5,
        "icing": None,
        "oven": "gas",
        "layers": ["jam"],
        "sifted": True,
    }


def test_objects_are_recorded_by_their_names():
    log = Events.from_columns(["a", "b"], ["x", "y"], [1, 2], "clicks")
    labels = Labels.from_columns(["a", "b"], ["F", "M"], "gender")
    settings = TransferSettings("runs/host", log, "out", labels=labels, patch=Lora(4))
    recorded = json.loads(json.dumps(settings.recorded()))
    assert (recorded["log"], recorded["labels"], recorded["patch"]) == (
        "clicks",
        "gender",
        "lora:4",
    )


@takes(BakeSettings)
def bake(settings: BakeSettings) -> list:
    """Bakes a cake.

    Returns:
        list of what is in it.

    Raises:
        InputError: it cannot be baked.
    """
    return [settings.flour, settings.eggs, settings.icing]


def test_a_function_takes_the_settings_as_its_arguments():
    assert bake("rye", 2, icing="lemon") == ["rye", 2, "lemon"]
    assert bake.with_settings(BakeSettings("oat")) == ["oat", 3, None]
    for arguments, named in (((), {}), (("rye",), {"salt": 1}), (("rye",), {"flour": "oat"})):
        with pytest.raises(TypeError):
            bake(*arguments, **named)
    with pytest.raises(InputError, match="`eggs` should be a positive integer"):
        bake("rye", 0)


def test_the_function_tells_its_arguments():
    assert bake.__name__ == "bake" and bake.__module__ == __name__
    parameters = inspect.signature(bake).parameters
    assert list(parameters)[:3] == ["flour", "eggs", "sugar"]
    assert parameters["flour"].default is inspect.Parameter.empty
    assert (parameters["eggs"].default, parameters["eggs"].annotation) == (3, int)
    assert inspect.signature(bake).return_annotation is list
    text = inspect.getdoc(bake)
    assert text.startswith("Bakes a cake.\n\nArgs:\n    flour: What it is made of.\n")
    assert "    eggs: int. How many. Defaults to `3`.\n" in text
    assert "    sifted: bool. Whether the flour is sifted. Defaults to `True`." in text
    assert text.index("Args:") < text.index("Returns:") < text.index("Raises:")
