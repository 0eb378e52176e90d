"""Ranks that are measured are places in what the export answers to the same rows."""

import numpy as np
import pytest
from serving_samples import randomise

from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

pytestmark = pytest.mark.usefixtures("unasked")


@pytest.fixture(scope="module")
def logs():
    """Views of 40 users, again and again, and purchases of the same items between them."""
    random = np.random.default_rng(0)
    users, times = np.repeat(np.arange(40), 12), np.tile(np.arange(12), 40)
    names = [f"u{n}" for n in users]
    viewed, bought = ([f"i{n}" for n in random.integers(0, 12, len(users))] for _ in range(2))
    few = np.flatnonzero(random.random(len(users)) < 0.3)
    buys = [names[n] for n in few], [bought[n] for n in few], (2 * times[few] + 1).tolist()
    return Events.from_columns(names, viewed, (2 * times).tolist()), Events.from_columns(*buys)


def texts_of(source, starts, stops):
    """Histories as a client sends them."""
    names = source.vocabulary.decode(source.items)
    return [" ".join(names[start:stop]) for start, stop in zip(starts, stops)]


def places_of(answers, truths):
    """The place of the best of some items in an answer, or infinity."""
    places = [place for place, item in enumerate(answers, 1) if item in truths]
    return min(places, default=np.inf)


def test_ranks_that_are_measured_are_places_in_answers(logs, tmp_path):
    views, buys = logs
    pretrainer = CausalPretrainer(ConvolutionNetwork(16, 8, dilations=(1,)), tied=True)
    randomise(pretrainer, 0)
    host = Host(pretrainer, Vocabulary([f"i{n}" for n in range(12)]), max_length=20)
    source = views.encode(host.vocabulary)
    data, tasks = {}, {}
    for name, keep_seen in (("new", False), ("again", True)):
        settings = SplitSettings(keep_seen=keep_seen)
        data[name] = Recommendation.make_data(source, buys, 20, settings)
        model = build_task(host.backbone, data[name].new_head(), **host.task_settings())
        randomise(model.head, 1)
        tasks[name] = Task(model, "patch", data[name].kind, host=host)
    export(host, tasks, tmp_path / "1", k=12)
    exported = ExportedModel(tmp_path / "1")
    for name in tasks:
        split, found = data[name].splits[TEST], data[name].measure(tasks[name].model, TEST)
        truths = [set(data[name].kind.targets.decode(items)) for items in split.answers]
        requests = texts_of(source, split.starts, split.stops)
        answers = exported.predict(name, requests)["items"]
        items, scores = tasks[name].recommend(requests, k=12)
        assert np.where(np.isfinite(scores), items, "").tolist() == answers.tolist()
        places = np.array([places_of(*row) for row in zip(answers, truths)])
        assert np.isinf(places).any() == (name == "new")
        assert found["mrr@20"] == pytest.approx(np.mean(1 / places))
        assert found["hr@5"] == pytest.approx(np.mean(places <= 5))
    starts, stops, asked = source.held_out(TEST)
    truths = [{item} for item in host.vocabulary.decode(asked)]
    answers = exported.predict("serving_default", texts_of(source, starts, stops))["items"]
    places = np.array([places_of(*row) for row in zip(answers, truths)])
    found = NextItemEvaluation(source, 20, TEST, host.keep_seen).measure(pretrainer)
    assert np.isinf(places).any() and found["mrr@20"] == pytest.approx(np.mean(1 / places))
