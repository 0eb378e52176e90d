"""A version's folder in place of the base folder, and commas in a history."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.server.inference import Inference
from keras_peterrec.server.model_config import SPECIFIC, model_configs
from keras_peterrec.settings.serve import ServeSettings


def configs(path):
    return model_configs(ServeSettings(path))["peterrec"]


def test_a_version_folder_is_that_version_of_its_base_folder(tmp_path):
    version = tmp_path / "7"
    version.mkdir()
    plain = configs(tmp_path)
    assert (plain.base_path, plain.policy) == (str(tmp_path), "latest")
    (version / "saved_model.pb").touch()
    one = configs(version)
    assert (one.base_path, one.policy, one.versions) == (str(tmp_path), SPECIFIC, (7,))
    assert one.candidates([6, 7, 8]) == [7]
    version.rename(tmp_path / "mine")
    with pytest.raises(InputError, match="one version whose name is a number"):
        configs(tmp_path / "mine")


class Signature(SimpleNamespace):
    __hash__ = object.__hash__

    def check(self, inputs):
        pass


def test_commas_in_a_history_are_told_once():
    said = []

    async def run(signature, inputs):
        return inputs

    inference = Inference(SimpleNamespace(run=run), ServeSettings("x"), said.append)
    films = Signature(name="films", model="peterrec", texts=["history"], count_places=())

    def ask(*histories):
        rows = np.array([history.encode() for history in histories], object)
        return asyncio.run(inference.predict(films, {"history": rows}))

    assert ask("i1 i2", "")["history"].tolist() == [b"i1 i2", b""]
    assert not said
    ask("i1 i2", "i1,i2")
    ask("i3,i4")
    assert said == [
        "peterrec films: the history 'i1,i2' is one item with commas in it; between items stand "
        "spaces: 'i1 i2'"
    ]
