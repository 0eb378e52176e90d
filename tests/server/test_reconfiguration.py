"""A new configuration while requests are answered: none of them is refused on the way."""

import asyncio
import shutil

import pytest

from keras_peterrec.server.errors import ServingError
from keras_peterrec.server.model_config import ModelConfig
from keras_peterrec.server.model_versions import ModelVersions
from keras_peterrec.server.models import Models


class Scene:
    """A model `m` with empty versions in two folders; notes which of them answers meanwhile.

    A folder that is named in `bad` cannot be loaded.
    """

    def __init__(self, tmp_path):
        self.path = tmp_path
        for name in ("a/1", "a/2", "a/3", "b/1"):
            (tmp_path / name).mkdir(parents=True)
        self.bad, self.closed, self.meanwhile = set(), [], []

    def load(self, path, number, name):
        self.meanwhile.append(self.answers())
        folder = str(path.relative_to(self.path))
        if folder in self.bad:
            raise RuntimeError("bad")
        return Version(self, folder)

    def answers(self):
        """Folders of the newest version and of the label's."""
        return self.find(), self.find(label="stable")

    def find(self, **which):
        try:
            return self.models.find("m", **which).folder
        except ServingError as error:
            return error.http

    def config(self, base, versions, label=None):
        return {
            "m": ModelConfig(
                "m",
                str(self.path / base),
                "specific",
                versions=versions,
                labels={"stable": label} if label else {},
            )
        }

    def run(self, first, then):
        """Starts with a configuration; `then` is a coroutine function."""

        async def work():
            self.models = Models(
                first, lambda config: ModelVersions(config, self.load, lambda _: None)
            )
            await self.models.start()
            self.meanwhile.clear()
            await then(self.models)
            self.models.close()

        asyncio.run(work())


class Version:
    def __init__(self, scene, folder):
        self.scene, self.folder = scene, folder

    def when_idle(self, call):
        call()

    def close(self):
        self.scene.closed.append(self.folder)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_a_label_moves_once_its_version_answers(scene):
    async def then(models):
        await models.replace(scene.config("a", (2,), 2))
        assert scene.answers() == ("a/2", "a/2")

    scene.run(scene.config("a", (1,), 1), then)
    assert scene.meanwhile == [("a/1", "a/1")]  # while version 2 was loaded
    assert scene.closed == ["a/1", "a/2"]


def test_a_label_of_a_version_that_fails_stays_where_it_was(scene):
    scene.bad.add("a/3")

    async def then(models):
        for versions in ((3,), (2, 3)):  # version 2 answers, but the label is not meant for it
            with pytest.raises(ServingError, match="assign label to version 3 of model m"):
                await models.replace(scene.config("a", versions, 3))
        assert scene.answers() == ("a/2", "a/1") and scene.closed == []
        scene.bad.clear()
        (scene.path / "a/3/new").touch()
        await models.refresh()
        assert scene.answers() == ("a/3", "a/3")

    scene.run(scene.config("a", (1,), 1), then)
    assert set(scene.meanwhile) == {("a/1", "a/1"), ("a/2", "a/1")}
    assert scene.closed[0] == "a/1"


def test_a_new_label_is_unknown_until_its_version_answers(scene):
    scene.bad.add("a/2")

    async def then(models):
        with pytest.raises(ServingError, match="assign label"):
            await models.replace(scene.config("a", (1, 2), 2))
        assert scene.answers() == ("a/1", 400)

    scene.run(scene.config("a", (1,)), then)


@pytest.mark.parametrize("versions, label", [((1,), 1), ((1, 9), 9)])
def test_a_model_of_another_folder_waits_until_it_can_answer(scene, versions, label):
    scene.bad.add("b/1")

    async def then(models):
        for _ in range(2):  # as a file that is read again; what failed is not tried again
            with pytest.raises(ServingError):
                await models.replace(scene.config("b", versions, label))
            assert scene.answers() == ("a/1", "a/1")
        assert scene.meanwhile == [("a/1", "a/1")]
        scene.bad.clear()
        (scene.path / "b/1/new").touch()
        await models.refresh()
        assert scene.answers() == (("b/1", "b/1") if label == 1 else ("a/1", "a/1"))
        if label == 9:
            shutil.copytree(scene.path / "b/1", scene.path / "b/9")
            await models.refresh()
            assert scene.answers() == ("b/9", "b/9")

    scene.run(scene.config("a", (1,), 1), then)
    assert set(scene.meanwhile) == {("a/1", "a/1")}
    assert scene.closed[0] == "a/1"


def test_a_replacement_that_is_no_longer_wanted_is_dropped(scene):
    scene.bad.add("b/1")

    async def then(models):
        for base in ("b", "a", "b"):
            if base == "b":
                with pytest.raises(ServingError, match="m"):
                    await models.replace(scene.config("b", (1,), 1))
            else:
                await models.replace(scene.config("a", (2,), 2))
        other = {"n": ModelConfig("n", str(scene.path / "a"))}
        await models.replace(other)
        assert scene.answers() == (404, 404)
        scene.bad.clear()
        (scene.path / "b/1/new").touch()
        await models.refresh()
        assert scene.answers() == (404, 404)

    scene.run(scene.config("a", (1,), 1), then)
