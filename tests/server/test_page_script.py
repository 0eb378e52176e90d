"""What the page shows, run by Node.js in a document of a few lines."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from keras_peterrec.server import browser_page

DOCUMENT = """
class Element {
  constructor(tag) { Object.assign(this, {tag, children: [], options: [], style: {}, value: ""}); }
  append(...nodes) {
    for (const node of nodes) {
      node.parent = this;
      this.children.push(node);
      if (node.tag === "option") this.options.push(node);
    }
  }
  replaceChildren(...nodes) { this.children = []; this.options = []; this.append(...nodes); }
  replaceWith(node) { this.parent.children[this.parent.children.indexOf(this)] = node; }
  setAttribute() {}
  focus() {}
  text() { return [this.textContent, ...this.children.map(child => child.text())].flat()
    .filter(text => text !== undefined); }
  widths() { return [this.style.width, ...this.children.map(child => child.widths())].flat()
    .filter(width => width !== undefined); }
}
const elements = {};
globalThis.document = {
  getElementById: id => elements[id] ??= new Element(id), createElement: tag => new Element(tag)};
globalThis.location = {hash: HASH, pathname: "/"};
const requests = [];
globalThis.window = {history: {replaceState() {}}};
document.getElementById("model").value = "peterrec";
const replies = {"tasks.json": {models: {peterrec: {version: 3, tasks: TASKS, examples: [],
  known: KNOWN, ...MORE}}},
  "titles.json": TITLES};
globalThis.fetch = async (path, request) => {
  const asked = request && JSON.parse(request.body);
  if (asked) requests.push(asked);
  return {ok: true, json: async () => replies[path]
    ?? {predictions: [ANSWERS[asked.signature_name]]}};
};
setTimeout(() => MORE.telling && elements.telling.onclick(), 50);
setTimeout(() => console.log(JSON.stringify({requests,
  known: elements.known.textContent, tells: elements.tells.text(), told: elements.told.hidden,
  history: elements.history.value, sections: elements.answers.children.map(
  section => [section.text(), section.widths()])})), 100);
"""


def run(tasks, answers, titles, link="#history=a+b", known=False, **more):
    """What the page asks, and title, texts and widths of bars of each section of the answers."""
    html = Path(browser_page.__file__).with_name("page.html").read_text(encoding="utf-8")
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL)[1]
    given = f"const TASKS = {json.dumps(tasks)}, HASH = {json.dumps(link)};\n"
    given += f"const KNOWN = {json.dumps(known)}, MORE = {json.dumps(more)};\n"
    given += f"const ANSWERS = {json.dumps(answers)}, TITLES = {json.dumps(titles)};\n"
    program = given + DOCUMENT + "eval(" + json.dumps(script) + ");"
    found = subprocess.run(
        ["node", "-"], input=program, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(found.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_each_unit_is_shown_as_a_person_reads_it():
    units = {
        "serving_default": "score",
        "full": "score",
        "gender": "probability",
        "topics": "probability",
        "spend": "number",
        "growth": "number",
    }
    answers = {
        "serving_default": {"items": ["i1", "i2", ""], "scores": [3.14159, -0.5, 0]},
        "full": {"items": ["", ""], "scores": [0, 0]},
        "gender": {"classes": ["F", "i1"], "scores": [0.7534, 0.2466]},
        "topics": {"labels": ["sport", "news"], "scores": [0.91, 0.5]},
        "spend": 12345.678,
        "growth": -0.0123456,
    }
    logits = "scores (logits): the higher, the better; they are no probabilities"
    sure = "probabilities"
    tasks = {name: {"unit": unit} for name, unit in units.items()}
    assert run(tasks, answers, {"i1": "One, two", "F": "not a film"})["sections"] == [
        [["next item", logits, "One, two", " i1", "3.142", "i2", "-0.5"], []],
        [["full", logits, "Nothing is left to recommend."], []],
        [["gender", sure, "F", "75.3 %", "i1", "24.7 %"], ["75.33999999999999%", "24.66%"]],
        [["topics", sure, "sport", "91.0 %", "news", "50.0 %"], ["91%", "50%"]],
        [["spend", "12,346"], []],
        [["growth", "-0.01235"], []],
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_what_may_be_recommended_is_asked_of_those_who_recommend():
    tasks = {"films": {"unit": "score", "selects": True}, "spend": {"unit": "number"}}
    answers = {"films": {"items": ["i1"], "scores": [1]}, "spend": 2}
    answers["films_select"] = {"items": ["i9"], "scores": [1]}
    found = run(tasks, answers, {}, "#history=a+b&deny=i1+i2&k=3&keep_seen=1")
    row = {"history": "a b", "allow": "", "deny": "i1 i2", "k": 3, "keep_seen": 1}
    assert found["requests"] == [
        {"signature_name": "films_select", "instances": [row]},
        {"signature_name": "spend", "instances": ["a b"]},
    ]
    assert "i9" in found["sections"][0][0]
    assert run(tasks, answers, {})["requests"] == [
        {"signature_name": name, "instances": ["a b"]} for name in tasks
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize(
    ("history", "counts", "said"),
    [
        ("a b c", (1, 3), "1 of 3 items is known"),
        ("a b", (2, 2), "2 of 2 items are known"),
        ("a", (0, 1), "0 of 1 items are known; the answers are those of an empty history"),
        ("a, b", (1, 2), "1 of 2 items is known; put spaces, not commas, between items"),
    ],
)
def test_how_many_items_are_known_is_told_beside_answers_of_every_kind(history, counts, said):
    tasks = {"films": {"unit": "score"}, "spend": {"unit": "number"}}
    known, events = counts
    answers = {
        "films": {"events": events, "items": ["i1"], "known_events": known, "scores": [1]},
        "spend": 2,
        "known": {"events": events, "known_events": known},
    }
    link = f"#history={history.replace(' ', '+')}"
    found = run(tasks, answers, {}, link, known=True)
    assert found["known"] == said
    assert found["sections"][0][0][-2:] == ["i1", "1"] and found["sections"][1][0] == ["spend", "2"]
    assert not run(tasks, answers, {}, link)["known"]  # of an export of before


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_what_a_history_may_tell_is_listed_with_an_example():
    tasks, answers = {"spend": {"unit": "number"}}, {"spend": 2}
    more = {"told": ["spend reads of the user: plan (gold)."], "telling": "i1@9 @12;plan=gold"}
    found = run(tasks, answers, {}, **more)
    assert (found["tells"], found["told"]) == (more["told"], False)
    assert found["history"] == more["telling"]
    assert found["requests"][-1]["instances"] == [more["telling"]]
    found = run(tasks, answers, {})
    assert (found["tells"], found["told"]) == ([], True)
