"""Recommendations from what a request allows, and items like others, against NumPy."""

import numpy as np
import pytest
from serving_samples import (
    HISTORIES,
    assert_same,
    counts,
    filled,
    make_host,
    make_task,
    padded,
    problems,
    without_counts,
)

from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.serving.exported_model import ExportedModel
from keras_peterrec.serving.verify.export_folder import ExportFolder

pytestmark = pytest.mark.usefixtures("unasked")

K = 10


def selected(exported, name, history, allow="", deny="", k=0, keep_seen=False):
    """What the task's own scores answer to one request."""
    host = exported.host
    if name == "serving_default":
        items = host.vocabulary.items
        scores = np.array(host.next_item_scores(padded(host, history, host.next_item_length)))
    else:
        task = exported.tasks[name]
        items = task.kind.targets.items
        scores = np.array(task.model(padded(host, history, host.history_length(task.model))))
    hidden = np.isin(items, deny.split())
    if allow.split():
        hidden |= ~np.isin(items, allow.split())
    if not keep_seen:
        hidden |= np.isin(items, history.split())
    scores[:, hidden] = -np.inf
    places = min(K, len(items))
    scores = np.pad(scores, [(0, 0), (0, 1)], constant_values=-np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :places]
    best[:, (k or places) :] = len(items)
    return filled(np.append(items, "")[best], np.take_along_axis(scores, best, axis=1))


REQUESTS = [
    {},
    {"keep_seen": True},
    {"allow": "s1 s5 t3 nobody", "k": 2},
    {"allow": "nobody"},
    {"deny": "t0 t1 s2 nobody", "k": 100},
    {"allow": "s0 s1 s5", "deny": "s5", "keep_seen": True, "k": 5},
]


@pytest.mark.parametrize("name", ["serving_default", "films", "tuned"])
def test_a_batch_of_different_requests(exported, name):
    """Each row is answered as if it were alone, with what it asks for itself."""
    columns = {
        key: [request.get(key, default) for request in REQUESTS]
        for key, default in {"allow": "", "deny": "", "k": 0, "keep_seen": False}.items()
    }
    rows = [selected(exported, name, h, **r) for h, r in zip(HISTORIES, REQUESTS, strict=True)]
    wanted = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    wanted |= counts(exported.host, HISTORIES)
    assert_same(exported.model.select(name, HISTORIES, **columns), wanted)
    for history, request, row in zip(HISTORIES, REQUESTS, rows):
        assert_same(exported.model.select(name, [history], **request), row)


def test_without_a_wish_it_is_the_tasks_own_answer(exported):
    for name in ("serving_default", "films"):
        answer = exported.model.select(name, HISTORIES)
        assert_same(answer, exported.model.predict(name, HISTORIES))


def test_rows_say_only_what_they_ask_for(causal_export):
    select = causal_export.model.select
    rows = [{"history": "s1 s2"}, {"history": "s3", "k": 2, "keep_seen": True, "deny": "t0"}]
    wanted = select("films", ["s1 s2", "s3"], deny=["", "t0"], k=[0, 2], keep_seen=[False, True])
    assert_same(select("films", rows), wanted)
    for row in ({"k": 2}, {"history": "s1", "size": 3}, "s1"):
        with pytest.raises(InputError, match="`histories` should be dicts with `history` and"):
            select("films", [{"history": "s1"}, row])


def test_who_asks_wrongly_is_told(causal_export):
    select = causal_export.model.select
    with pytest.raises(InputError, match="`task` should be one that recommends: films, serving_d"):
        select("spend", ["s1"])
    with pytest.raises(InputError, match="`k` should be one value, or one for each history. Rece"):
        select("films", ["s1", "s2"], k=[1])
    with pytest.raises(InputError, match="`k` should be at least 0. Received: `k` = -1"):
        select("films", ["s1"], k=-1)
    with pytest.raises(InputError, match="`keep_seen` should be True or False. Received"):
        select("films", ["s1"], keep_seen=["yes"])
    with pytest.raises(InputError, match="`allow` should be a string of item ids for all"):
        select("films", ["s1"], allow=[1])


def similar(host, text):
    items, known = host.vocabulary.items, text.split()
    table = np.asarray(host.pretrainer.item_table)
    units = table / np.linalg.norm(table, axis=1, keepdims=True)
    query = units[[list(items).index(item) for item in known if item in items]].sum(axis=0)
    size = np.linalg.norm(query)
    scores = units @ (query / (size or 1.0))
    scores[np.isin(items, known) | (size == 0)] = -np.inf
    best = np.argsort(-scores, kind="stable")[:K]
    return filled(items[best][None], scores[best][None])


def test_similar_items(exported):
    texts = ["s3", "s3 s9 nobody s3", "", "nobody", "  t0\ts1 "]
    rows = [similar(exported.host, text) for text in texts]
    wanted = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    answer = exported.model.similar(texts)
    assert_same(answer, wanted)
    assert (answer["items"][2:4] == "").all()
    assert "s3" not in answer["items"][:2] and answer["scores"][0, 0] < 1


@pytest.mark.slow
def test_recommendations_that_repeat(tmp_path):
    """A task that keeps seen items is answered so everywhere, and a host as well."""
    host = make_host()
    tasks = {"food": make_task(host), "films": make_task(host, seed=2)}
    host.keep_seen = tasks["food"].kind.keep_seen = True
    export(host, tasks, tmp_path / "1", k=100, incremental=True)
    model = ExportedModel(tmp_path / "1")
    assert model.description["keep_seen"] == ["food", "serving_default"]
    history = ["s1 s2"]
    for name, kept in (("food", True), ("serving_default", True), ("films", False)):
        answer = model.predict(name, history)
        assert (len({"s1", "s2"} & set(answer["items"][0])) == 2) == kept
        assert_same(model.select(name, history), answer)  # as the task does, unless it is said
        assert_same(model.select(name, history, keep_seen=kept), answer)
        other = model.select(name, history, keep_seen=not kept)["items"][0]
        assert (len({"s1", "s2"} & set(other)) == 2) != kept
    # A client may send the history with each step: it is left out where the task leaves it out.
    for name in tasks:
        state = model.step(name, ["s1"])["state_bytes"]
        stepped = model.step(name, ["s2"], list(state), history)
        del stepped["state_bytes"]
        assert_same(without_counts(stepped), model.predict(name, history))
    assert problems(tmp_path / "1") == []


def test_inputs_are_strings_and_integers_that_a_server_can_batch(causal_export):
    signature = ExportFolder(causal_export.out).signature_defs["films_select"]
    found = {
        key: (info.dtype, [d.size for d in info.tensor_shape.dim])
        for key, info in signature.inputs.items()
    }
    string, integer = (7, [-1]), (3, [-1])
    assert found == {
        **dict.fromkeys(["history", "allow", "deny"], string),
        **dict.fromkeys(["k", "keep_seen"], integer),
    }
