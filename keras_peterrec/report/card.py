"""Model cards of exports and hosts, in Hugging Face's format: YAML, then text in Markdown.

They say what `report` says, in short. An export's goes beside the SavedModel as
`assets.extra/README.md`, a host's into its preset.

Source: https://huggingface.co/docs/hub/model-cards and the specification of its metadata,
https://github.com/huggingface/hub-docs/blob/main/modelcard.md (`model-index`).
"""

import html
import json
import re
from typing import Any

from keras_peterrec.report.told import telling_history, what_may_be_told

_SOME_TIME = 1_700_003_600  # of a question, in an example
# The Hub's names of tasks for ours; one of our own kinds goes by its own name.
HOST_TASK = "next-item-recommendation"
OF_HOST = "next item"
# What Markdown would take for markup: a `_` inside a word is none.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#>+-]")


def model_card(name: str, description: dict, runs: dict) -> str:
    """The text of a card.

    Args:
        name: str. Of the model.
        description: dict, as `assets.extra/peterrec.json` has it.
        runs: dict from signature to what `gather` says of its run; `serving_default` is the host.
            Signatures whose run is not known are listed without metrics.
    """
    return f"---\n{_metadata(name, runs)}---\n\n{_text(name, description, runs)}"


def host_card(name: str, description: dict, run: dict | None) -> str:
    """The text of the card of a host that is handed to others.

    Args:
        name: str. Of the host.
        description: dict of `items`, `network` (of which class), `channels`, `events` (how many of
            a history it reads) and `reads` (columns of an event beside the item).
        run: dict, what `gather` says of the run that made it, or `None` where that is not known.
    """
    runs = {} if run is None else {OF_HOST: run}
    columns = ", ".join(map(_code, description["reads"]))
    text = [
        f"# {_plain(name)}",
        "",
        "A host of [keras_peterrec](https://arxiv.org/abs/2001.04253): one network for behaviour "
        "logs, on which small patches learn tasks such as recommendation in another shop, age or "
        "churn. "
        f"{_plain(description['network'])} with {description['channels']} channels; it knows "
        f"{description['items']:,} items and reads the last {description['events']} events of a "
        f"history{', their item and ' + columns if columns else ''}.",
        "",
        "```python",
        "from keras_peterrec import Host",
        "",
        'host = Host.from_preset("path/to/this/folder")  # or "hf://user/name"',
        'items, scores = host.recommend(["i1 i2 i3"], k=5)',
        "```",
        "",
    ]
    if run is not None:
        text += _about(OF_HOST, run)
    return f"---\n{_metadata(name, runs)}---\n\n" + "\n".join([*text, *_limits({})])


def _metadata(name, runs):
    results = [_indexed(signature, run) for signature, run in runs.items()]
    metrics = sorted({metric["type"] for result in results for metric in result["metrics"]})
    metadata = {
        "tags": ["recommender-system", "tensorflow", "transfer-learning", "keras-peterrec"],
        "metrics": metrics,
        "model-index": [{"name": name, "results": results}],
    }
    if not metrics:
        del metadata["metrics"], metadata["model-index"]
    return "".join(yaml_lines(metadata))


def _indexed(signature, run):
    """A result of `model-index`: task, data set and test metrics."""
    kind = run["kind"] or HOST_TASK
    settings = run["settings"]
    data = settings.get("target") or settings.get("labels") or settings["log"]
    column = settings.get("column")
    return {
        "task": {"type": kind, "name": OF_HOST if run["kind"] is None else signature},
        "dataset": {
            "type": str(data),
            "name": f"{data} ({column})" if column else str(data),
            "split": "test",
        },
        "metrics": [
            {"type": metric, "name": f"test {metric}", "value": round(value, 6)}
            for metric, value in run["metrics"]["test"].items()
            if value is not None
        ],
    }


def _text(name, description, runs):
    lines = [
        f"# {_plain(name)}",
        "",
        "A SavedModel of [keras_peterrec](https://arxiv.org/abs/2001.04253): one network for "
        "behaviour logs (the host), and a small patch of it for every task. It reads a history of "
        "item ids and answers through one signature for each task.",
        "",
        *_signatures(description),
        "`history` is one string a user: item ids separated by spaces.",
        "",
        *_what_is_read(description, runs),
        "```python",
        "import tensorflow as tf",
        "",
        'model = tf.saved_model.load("path/to/this/version")',
        'answer = model.signatures["serving_default"](history=tf.constant(["i1 i2 i3"]))',
        "```",
        "",
    ]
    for signature, run in runs.items():
        lines += _about(signature, run)
    return "\n".join([*lines, *_limits(description)])


def _signatures(description):
    lines = [
        "## Signatures",
        "",
        "| signature | kind | unit of its answers |",
        "|---|---|---|",
        f"| `serving_default` | {OF_HOST} | score |",
    ]
    lines += [
        f"| {_code(task)} | {_plain(of['kind'])} | {of['unit']} |"
        for task, of in sorted(description["tasks"].items())
    ]
    if description.get("mixed"):
        lines += ["", f"`mixed` answers for {', '.join(map(_plain, description['mixed']))}."]
    return [*lines, ""]


def _limits(description):
    lines = ["## Limits", ""]
    if added := description.get("added_items"):
        lines.append(
            f"- {added:,} of its items were added after training. Their vectors are predicted from "
            "what they are called; nobody had clicked them."
        )
    lines += [
        "- It knows the items and the users' habits of the logs above; an item that the host does "
        "not know is left out of a history.",
        "- Metrics are those of held-out users or events of the same logs, at the same time; they "
        "say nothing of later or other users.",
        "- A profile that is guessed from behaviour may be wrong for a person and may be "
        "sensitive: ask whether it should be guessed at all.",
        "",
    ]
    return lines


def _what_is_read(description, runs):
    """What is read beside the items: of events, of items and of users."""
    read = [f"- {_plain(sentence)}" for sentence in what_may_be_told(description)]
    of_items = runs.get("serving_default", {}).get("settings", {}).get("item_fields")
    if of_items:
        names = [of_items] if isinstance(of_items, str) else of_items
        read.append(
            f"- The host was trained with {_plain(', '.join(names))} of its items; a request does "
            "not tell them."
        )
    if not read:
        return []
    told = telling_history(description, "i1 i2", _SOME_TIME)
    shown = [] if told is None else ["All of it may be left out, or told:", "", _code(told), ""]
    return ["What is read beside the items:", "", *read, "", *shown]


def _about(signature, run):
    metric, test = run["decides"]["name"], run["metrics"]["test"]
    settings, data = run["settings"], run["data"]
    lines = [f"## {_code(signature)}", ""]
    source = f"the log {_code(settings['log'])}"
    trained = settings.get("target") or settings.get("labels")
    if trained is not None:
        column = f", column {_code(settings['column'])}" if settings.get("column") else ""
        source += f" with {_code(trained)}{column}"
    asked = f" to predict events of {_code(settings['predict'])}" if settings.get("predict") else ""
    lines.append(f"Trained on {source}{asked}, {data['users']:,} users. Test metrics:")
    names = [_plain(baseline["name"]) for baseline in run["baselines"]]
    lines += [
        "",
        f"| metric | test | 95 % | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for name, value in test.items():
        if value is None:
            continue
        low_high = run["intervals"].get(name)
        interval = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
        others = [baseline["test"].get(name) for baseline in run["baselines"]]
        shown = ["" if other is None else f"{other:.4f}" for other in others]
        marked = f"**{_plain(name)}**" if name == metric else _plain(name)
        lines.append(f"| {marked} | {value:.4f} | {interval} | {' | '.join(shown)} |")
    lines += ["", f"{_code(metric)} decided when training stopped."]
    if run["advice"]:
        lines += ["", _plain(run["advice"]) + "."]
    for found in run["views"].get("groups", []):
        lines += [
            "",
            f"{_plain(metric)} by {_plain(found['by'])}:",
            "",
            "| group | users | value |",
            "|---|---|---|",
        ]
        lines += [
            f"| {_plain(g['group'])} | {g['users']:,} | {g['value']:.4f} |" for g in found["groups"]
        ]
    if calibration := run["views"].get("calibration"):
        lines += ["", f"Mean distance of probabilities and shares: {calibration['error']:.3f}."]
    lines += ["", "````bash", *(line.replace("```", "") for line in run["commands"]), "````", ""]
    return lines


def _plain(text):
    """A name from the data as Markdown shows it: no markup, no HTML and no cell of its own."""
    return _MARKUP.sub(r"\\\g<0>", html.escape(_one_line(text), quote=False))


def _code(text):
    """A name from the data as code, in a table too."""
    return "`" + _one_line(text).replace("`", "'").replace("|", r"\|") + "`"


def _one_line(text):
    return " ".join(str(text).split())


def yaml_lines(value: Any, indent: str = "") -> list[str]:
    """The lines of a dict or list as YAML in block style; scalars are written as JSON.

    JSON's scalars are YAML's as well, so no text can be taken for anything else.
    """
    lines = []
    pairs = value.items() if isinstance(value, dict) else ((None, part) for part in value)
    for key, part in pairs:
        start = f"{indent}-" if key is None else f"{indent}{key}:"
        if isinstance(part, (dict, list)) and part:
            inner = yaml_lines(part, indent + "  ")
            if key is None:  # a list's element begins in the line of its dash
                inner[0] = f"{indent}- {inner[0].lstrip()}"
            else:
                lines.append(start + "\n")
            lines += inner
        else:
            lines.append(f"{start} {json.dumps(part, ensure_ascii=False)}\n")
    return lines
