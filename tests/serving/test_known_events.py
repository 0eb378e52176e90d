"""How many events of a history an export knows, beside every answer."""

import numpy as np
import pyarrow as pa
import pytest
from commands import run_here
from serving_samples import HISTORIES, NAMES, assert_same, make_host, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.transfer.mixed_tasks import MixedTasks

pytestmark = pytest.mark.usefixtures("loaded_once")

SINGLE = {"embed": "embedding", "spend": "value"}  # outputs that REST writes as bare values


def counted(histories, items):
    """Known events and events of raw histories, without TensorFlow."""
    words = [history.split() for history in histories]
    known = [sum(word in items for word in row) for row in words]
    return {"known_events": known, "events": [len(row) for row in words]}


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_says_how_many_events_are_known(causal_export, name):
    items = set(causal_export.host.vocabulary.items)
    answer = causal_export.model.predict(name, HISTORIES)
    for output, wanted in counted(HISTORIES, items).items():
        assert answer[output].dtype == "int32" and answer[output].tolist() == wanted


def test_titles_lost_zeros_and_commas_are_seen_to_be_unknown(causal_export):
    answer = causal_export.model.predict("films", ["Toy Story (1995)", "1 4 7", "s1,s2,s3", "s1 x"])
    assert answer["known_events"].tolist() == [0, 0, 0, 1]
    assert answer["events"].tolist() == [3, 3, 1, 2]


def test_a_bare_answer_stays_bare_and_known_is_beside_it(causal_export):
    folder = causal_export.folder
    for name, output in SINGLE.items():
        assert list(folder.signature_defs[name].outputs) == [output]
    for name in ("films_classify", "spend_regress"):
        assert not {"known_events", "events"} & set(folder.signature_defs[name].outputs)
    assert set(folder.answer("known", history=[b"s1 x"])) == {"known_events", "events"}
    assert "known" not in causal_export.model.signatures  # which lists what can be predicted


def test_answers_to_requests_say_it_as_well(causal_export):
    model = causal_export.model
    selected = model.select("films", ["s1 x s2", ""], deny="s4")
    assert selected["known_events"].tolist() == [2, 0] and selected["events"].tolist() == [3, 0]
    similar = model.similar(["s1 x", "s2"])
    assert similar["known_events"].tolist() == [1, 1] and similar["events"].tolist() == [2, 1]


def test_steps_and_mixed_rows_say_it_as_well(stepping_export):
    model = stepping_export.model
    step = model.step("spend", ["s1", "unheard-of", "", " s2 "])
    assert step["known_events"].tolist() == [1, 0, 0, 1]
    assert step["events"].tolist() == [1, 1, 0, 1]
    rows = model.mixed(["s1 x", "s2", ""], ["age", "nobody's", "age"])
    assert rows["known_events"].tolist() == [1, 1, 0] and rows["events"].tolist() == [2, 1, 0]


def test_predict_says_it_in_a_line(causal_export):
    words = ("predict", "--model", causal_export.out, "--task", "spend", "films")
    done = run_here(*words, "--history", "s1 x y", "s1 s2", "a b", "x")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "known" in line]
    assert said == [
        "history 's1 x y': 1 of 3 items is known",
        "history 'a b': 0 of 2 items are known; the answer is that of an empty history",
        "history 'x': 0 of 1 items are known; the answer is that of an empty history",
    ]


def test_counts_do_not_hide_that_rows_are_alike(causal_export):
    answers = causal_export.model.predict("films", ["x y", ""])
    np.testing.assert_array_equal(*answers["items"])
    assert answers["events"].tolist() == [2, 0]


TASKS = ("films", "age-group.v2", "tuned", "topics", "spend")
TABLE = {
    "user_id": ["u1", "u2", "u1", "u1", "u2"],
    "item_id": ["s5", "nobody", "s9", "t0", "s1"],
    "timestamp": [2, 2, 3, 1, 1],
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_in_memory_answers_as_its_export_does(causal_export, name):
    task, model = causal_export.tasks[name], causal_export.model
    for given in (HISTORIES, [history.split() for history in HISTORIES], pa.table(TABLE)):
        answer, wanted = task.predict(given), model.predict(name, given)
        assert list(answer) == list(wanted)
        assert_same(answer, wanted)
    assert answer["user_id"].tolist() == ["u1", "u2"] == wanted["user_id"].tolist()
    assert answer["known_events"].tolist() == [3, 1] and answer["events"].tolist() == [3, 2]


@pytest.mark.slow
def test_a_tasks_other_answers_take_the_same_forms(causal_export):
    films, age, spend = (causal_export.tasks[name] for name in ("films", "age-group.v2", "spend"))
    ids = np.array([[0, 0, *causal_export.host.vocabulary.encode(["s5", "t0"])]])
    for given in ("s5 t0", ["s5 t0"], [["s5", "t0"]], [["s5", "x", "t0"]]):
        np.testing.assert_array_equal(films.recommend(given, k=5)[0], films.recommend(ids, k=5)[0])
        np.testing.assert_allclose(age.probabilities(given), age.probabilities(ids), atol=1e-6)
        np.testing.assert_allclose(spend.values(given), spend.values(ids), rtol=1e-5)
        mixed = MixedTasks.of_tasks({"age": age})
        np.testing.assert_allclose(*(mixed.scores(h, ["age"])[0] for h in (given, ids)), atol=1e-5)
        scores = (np.asarray(causal_export.host.next_item_scores(h)) for h in (given, ids))
        np.testing.assert_allclose(*scores, atol=1e-5)
    for refuse in (age.probabilities, films.predict, causal_export.host.next_item_scores):
        with pytest.raises(InputError, match="a string of item ids for each user"):
            refuse([[1.5]])
    with pytest.raises(InputError, match="`tasks` should be one for each history. Received: 2 for"):
        mixed.scores(["s1"], ["age", "age"])


def test_integers_are_row_numbers_for_an_export_as_well(causal_export):
    predict = causal_export.model.predict
    assert_same(predict("films", [[0, 4, 5]]), predict("films", ["s0 s1"]))
    with pytest.raises(InputError, match="row numbers of the vocabulary, from 0 to 99.*Received:"):
        predict("films", [[100]])


def test_digits_are_ids():
    """Not row numbers: "4" is the id of another item than the fifth row's."""
    host = make_host()
    host.vocabulary = Vocabulary([f"{n:03d}" for n in range(96)])
    task = make_task(host, "classification")
    rows = host.vocabulary.encode(["001", "004"])[None]
    for given in ([["001", "004"]], ["001 004"]):
        found = task.probabilities(given)
        np.testing.assert_array_equal(found, task.probabilities(rows))
        assert np.abs(found - task.probabilities([[1, 4]])).max() > 1e-4
