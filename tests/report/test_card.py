"""The model card: metadata that reads back, in the Hub's form, and text without single users."""

import json
import re

from keras_peterrec.report.card import model_card, yaml_lines

RUN = {
    "kind": "classification",
    "decides": {"name": "log_loss", "higher_is_better": False},
    "settings": {"log": "clicks.csv", "labels": "users.csv", "column": "gender"},
    "data": {"users": 1200},
    "metrics": {"test": {"log_loss": 0.25, "auc": 0.9}},
    "intervals": {"log_loss": [0.2, 0.3]},
    "baselines": [{"name": "majority", "test": {"log_loss": 0.69}}],
    "advice": None,
    "views": {"groups": [{"by": "events", "groups": [{"group": "1", "users": 2, "value": 0.1}]}]},
    "commands": ["keras-peterrec transfer --out x"],
}
DESCRIPTION = {"k": 10, "tasks": {"gender": {"kind": "classification", "unit": "probability"}}}


def read_block(lines, at=0):
    """A reader of YAML's block style with JSON scalars, which is what a card needs of it."""
    indent = len(lines[at]) - len(lines[at].lstrip())
    is_list = lines[at].lstrip().startswith("- ")
    found = [] if is_list else {}
    while at < len(lines):
        line = lines[at]
        depth = len(line) - len(line.lstrip())
        if depth < indent or (depth == indent and line.lstrip().startswith("- ") != is_list):
            break
        text = line.lstrip()
        if is_list:
            inner = text[2:]
            if inner.startswith('"') or inner[0].isdigit():
                found.append(json.loads(inner))
                at += 1
                continue
            lines = [*lines[:at], " " * (indent + 2) + inner, *lines[at + 1 :]]
            value, at = read_block(lines, at)
            found.append(value)
            continue
        key, _, rest = text.partition(":")
        if rest.strip():
            found[key] = json.loads(rest)
            at += 1
        else:
            found[key], at = read_block(lines, at + 1)
    return found, at


def metadata_of(card):
    _, front, text = card.split("---\n", 2)
    return read_block(front.splitlines())[0], text


def test_metadata_has_every_test_metric_in_the_hubs_form():
    found, text = metadata_of(model_card("peterrec", DESCRIPTION, {"gender": RUN}))
    [model] = found["model-index"]
    [result] = model["results"]
    assert model["name"] == "peterrec"
    assert result["task"] == {"type": "classification", "name": "gender"}
    assert result["dataset"]["type"] == "users.csv" and result["dataset"]["split"] == "test"
    assert {m["type"]: m["value"] for m in result["metrics"]} == {"log_loss": 0.25, "auc": 0.9}
    assert found["metrics"] == ["auc", "log_loss"]
    for shown in ("0.2000 to 0.3000", "0.6900", "1,200 users", "keras-peterrec transfer", "| 1 |"):
        assert shown in text


def test_names_cannot_break_the_metadata():
    settings = {"log": 'a: "b"\n- c', "target": "x: [y] # z"}
    run = {**RUN, "settings": settings, "kind": None}
    found, _ = metadata_of(model_card("no", DESCRIPTION, {"serving_default": run}))
    assert found["model-index"][0]["results"][0]["dataset"]["type"] == "x: [y] # z"


def test_names_cannot_break_the_page():
    """Labels, columns and paths come from data; the Hub renders Markdown and some HTML."""
    evil = "<img src=x onerror=alert(1)>|`[a](javascript:b)`\n# big *b*"
    groups = [{"by": evil, "groups": [{"group": evil, "users": 2, "value": 0.1}]}]
    run = {
        **RUN,
        "settings": {"log": evil, "labels": evil, "column": evil},
        "baselines": [{"name": evil, "test": {"log_loss": 0.69}}],
        "views": {"groups": groups},
        "commands": ["keras-peterrec --out '```\n<b>'"],
    }
    described = {**DESCRIPTION, "mixed": [evil]}
    _, text = metadata_of(model_card(evil, described, {"gender": run}))
    outside = re.sub(
        r"(?s)````bash.*?````|```python.*?```|`[^`\n]*`", "", re.sub(r"\\\W", "", text)
    )
    assert "<" not in outside and "](" not in outside.replace("](https://arxiv.org", "")
    assert not any(line.startswith("# big") for line in text.splitlines())
    for line in text.splitlines():
        if line.startswith("| 2") or ("&lt;img" in line and line.startswith("|")):
            cells = re.sub(r"\\\|", "", line).strip("| ").split(" | ")
            assert len(cells) in (3, 4)


def test_without_runs_a_card_lists_the_signatures():
    found, text = metadata_of(model_card("peterrec", {**DESCRIPTION, "mixed": ["a"]}, {}))
    assert "model-index" not in found and "`gender` | classification" in text
    assert "`mixed` answers for a." in text


def test_yaml_of_nested_lists():
    value = {"a": [{"b": [1, "2"], "c": {"d": None}}, {"b": ["x"]}], "e": True}
    assert read_block("".join(yaml_lines(value)).splitlines())[0] == value


def test_what_is_read_beside_the_items_is_told_with_an_example():
    plan = {"kind": "categories", "name": "plan", "values": ["a b", "free", "x", "y"]}
    price = {"kind": "numbers", "name": "price", "edges": [1.0, 2.5]}
    tasks = {"gender": {**DESCRIPTION["tasks"]["gender"], "user_fields": [plan]}}
    fields = [{"kind": "time", "name": "time"}, price]
    host = {**RUN, "settings": {**RUN["settings"], "item_fields": ["genre"]}}
    card = model_card("p", {"fields": fields, "tasks": tasks}, {"serving_default": host})
    assert "- The next item reads when events were and when is asked" in card
    assert "- All answers read of an event: price (a number)." in card
    assert "- gender reads of the user: plan (a b, free, x, ...)." in card
    assert "- The host was trained with genre of its items" in card
    assert "i2@1700000000;price=2.5 @1700003600;plan=a%20b`" in card
    assert "What is read" not in model_card("p", DESCRIPTION, {"gender": RUN})
