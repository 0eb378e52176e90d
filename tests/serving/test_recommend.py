"""`recommend` is one call: a task, a host, mixed tasks and their export answer it alike."""

from functools import partial

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from serving_samples import LONGER, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.transfer.mixed_tasks import MixedTasks

KNOWN = ["s0", "s1", "s2", "s3", "t0", "t1"]  # items of the log, some of them targets
ITEMS = [*KNOWN, "t9", "nobody"]  # a target that the log does not have, and no item at all
FORMS = ("strings", "lists", "table", "rows")
lists_of = lambda items: st.lists(st.sampled_from(items), max_size=5)


@pytest.fixture(scope="module")
def calls(causal_export):
    """Who answers for a task and for the next item."""
    films, model = causal_export.tasks["films"], causal_export.model
    mixed = MixedTasks.of_tasks({"films": films})
    return {
        "films": {
            "task": films.recommend,
            "mixed": partial(mixed.recommend, task="films"),
            "export": partial(model.recommend, task="films"),
        },
        "next item": {"task": causal_export.host.recommend, "export": model.recommend},
    }


def in_form(histories, form, vocabulary):
    """Lists of ids as another form of histories."""
    if form == "strings":
        return [" ".join(items) for items in histories]
    if form == "lists":
        return histories
    if form == "rows":
        rows = np.zeros((len(histories), 6), "int64")
        for row, items in zip(rows, histories):
            row[len(row) - len(items) :] = vocabulary.encode(items)
        return rows
    events = [(u, item, t) for u, items in enumerate(histories) for t, item in enumerate(items)]
    return dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*events))))


# Not shrunk: an example takes a tenth of a second.
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_all_answer_the_same_call_alike(calls, causal_export, data):
    form = data.draw(st.sampled_from(FORMS))
    # Rows are of known items, and a table has no user without events.
    one = lists_of(KNOWN if form == "rows" else ITEMS).filter(lambda h: h or form != "table")
    histories = data.draw(st.lists(one, min_size=1, max_size=3))
    each = st.lists(lists_of(ITEMS), min_size=len(histories), max_size=len(histories))
    filters = st.one_of(lists_of(ITEMS).map(" ".join), each)
    asked = {
        "k": data.draw(st.integers(1, 10)),
        "allow": data.draw(filters),
        "deny": data.draw(filters),
        "keep_seen": data.draw(st.sampled_from([None, True, False])),
    }
    told = in_form(histories, form, causal_export.host.vocabulary)
    for answers in calls.values():
        items, scores = answers["task"](histories, **asked)
        assert items.shape == scores.shape == (len(histories), asked["k"])
        for row, (of_row, history) in enumerate(zip(items, histories)):
            named = [item for item in of_row if item]
            denied, allowed = (
                value.split() if isinstance(value, str) else value[row]
                for value in (asked["deny"], asked["allow"])
            )
            assert not {*named} & {*denied} and {*named} <= {*(allowed or named)}
            assert asked["keep_seen"] or not {*named} & {*history}
        for answer in answers.values():
            found, their_scores = answer(told, **asked)
            np.testing.assert_array_equal(found, items)
            np.testing.assert_allclose(their_scores, scores, rtol=1e-5, atol=1e-5)


def test_rows_may_name_different_tasks_and_wishes(causal_export):
    topics = make_task(causal_export.host, "multilabel", **LONGER)
    tasks = {"films": causal_export.tasks["films"], "topics": topics}
    mixed = MixedTasks.of_tasks(tasks)
    items, _ = mixed.recommend(["s1", "s1"], 3, task=["films", "films"], keep_seen=[True, False])
    alone = [tasks["films"].recommend(["s1"], 3, keep_seen=keep)[0][0] for keep in (True, False)]
    np.testing.assert_array_equal(items, alone)
    with pytest.raises(InputError, match="`task` should be of the kind recommendation to recomm"):
        mixed.recommend(["s1", "s1"], task=["films", "topics"])
    with pytest.raises(
        InputError, match="`tasks` should be of films, topics. Received: `tasks` = 'x'"
    ):
        mixed.recommend(["s1"], task="x")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"allow": ["s1"]}, "`allow` should be a string of item ids for all histories, or"),
        ({"deny": 3}, "`deny` should be a string of item ids for all histories, or"),
        ({"keep_seen": "yes"}, "`keep_seen` should be "),
        ({"k": 0}, "`k` should be a positive integer. Received: `k` = 0"),
    ],
)
def test_who_asks_wrongly_is_told_alike(calls, asked, message):
    for answers in calls.values():
        for answer in answers.values():
            with pytest.raises(InputError, match=message):
                answer(["s1", "s2"], **asked)


def test_an_export_answers_with_as_many_items_as_it_was_made_for(causal_export):
    with pytest.raises(InputError, match="`k` should be at most 10, as many items as the model"):
        causal_export.model.recommend(["s1"], 11)


def test_a_host_answers_a_large_table_in_parts(causal_export, monkeypatch):
    host, asked = causal_export.host, []
    scores_of = host.next_item_scores

    def scores(ids):
        asked.append(len(ids))
        return scores_of(ids)

    monkeypatch.setattr(host, "next_item_scores", scores)
    histories = [f"s{n % 9}" for n in range(2_500)]
    items, scores_of_best = host.recommend(histories, k=3, deny=["s1"] * 2_500)
    assert sum(asked) == 2_500 and max(asked) <= 1_024
    assert items.shape == scores_of_best.shape == (2_500, 3) and "s1" not in items
    np.testing.assert_array_equal(items[2_493:], items[:7])  # of equal histories in other parts
    assert host.recommend([], k=3)[0].shape == (0, 3)
