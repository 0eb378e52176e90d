"""`predict`: an export asked from Python and from the command line, and how answers are printed."""

import json

import numpy as np
import pytest
from commands import run_here
from serving_samples import CLASSES, HISTORIES, NAMES, TOPICS

from keras_peterrec.errors import InputError
from keras_peterrec.printing import print_answers
from keras_peterrec.runs.predict import predict

pytestmark = pytest.mark.usefixtures("loaded_once")


def test_answers_of_every_kind(causal_export):
    answers = predict(causal_export.out, HISTORIES, NAMES)
    assert list(answers) == NAMES
    for name, by_history in answers.items():
        assert list(by_history) == HISTORIES
        wanted = causal_export.model.predict(name, HISTORIES)
        for row, answer in enumerate(by_history.values()):
            assert json.loads(json.dumps(answer)) == {
                output: values[row].tolist() for output, values in wanted.items()
            }


def test_command(causal_export):
    words = ("predict", "--model", causal_export.out, "--history", "s1 s2")
    done = run_here(*words, "--task", "spend", "--task", "topics", "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    wanted = causal_export.model.predict("spend", ["s1 s2"])["value"]
    np.testing.assert_allclose(answers["spend"]["s1 s2"]["value"], wanted[0], rtol=1e-6)
    assert set(answers["topics"]["s1 s2"]["labels"]) == set(TOPICS)
    done = run_here(*words, "--task", "spend", "--task", "topics", "--task", "age-group.v2")
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown[0] == ["spend", "'s1", "s2':", f"{wanted[0]:.6g}"]
    assert "labels" in done.stdout and "classes" in done.stdout
    assert all(label in done.stdout for label in (*TOPICS, *CLASSES))


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"value": 1234.5}, "spend  'a b': 1234.5"),
        ({"value": 41.234565734863281}, "spend  'a b': 41.2346"),
        ({"value": 2.5e-07}, "spend  'a b': 2.5e-07"),
        ({"embedding": [0.25, -1.0, 0.333333343267]}, "spend  'a b': 0.25 -1 0.333333"),
    ],
)
def test_numbers_are_printed_in_a_line(answer, shown, capsys):
    print_answers({"spend": {"a b": answer}})
    assert capsys.readouterr().out == shown + "\n"


def test_a_table_names_what_the_scores_are_of(capsys):
    print_answers({"[films]": {"": {"items": ["[red] :cat: one", "two"], "scores": [0.5, -1.25]}}})
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == "[films]  ''"  # ids are no markup
    assert "items" in lines[1] and "score" in lines[1]
    assert "[red] :cat: one" in lines[3] and "0.5000" in lines[3] and "-1.2500" in lines[4]


def test_mistakes_are_refused(causal_export, tmp_path):
    with pytest.raises(InputError, match="`task` should be one of age-group.v2, embed"):
        predict(causal_export.out, ["s1"], ["nope"])
    with pytest.raises(InputError, match="`model` should be a version directory"):
        predict(tmp_path, ["s1"])
