"""The report: one HTML page with its style and its charts inside, and no script.

It reads top to bottom with headings, every chart has a description and its numbers stand in a
table, and it prints.
"""

from html import escape
from typing import Any

from keras_peterrec.report import charts
from keras_peterrec.report.kept_rows import marked_truth

ENDS = {  # `stopped` of `metrics.json`, in words
    "patience": "early stopping, since no epoch was better any more",
    "gain": "early stopping, since epochs brought too little",
    "finish": "--finish",
    "epochs": "the limit of epochs",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 3rem; border-bottom: 2px solid #1a1a1a; }
h3 { margin-top: 2rem; }
a { color: #0b4f8a; }
table { border-collapse: collapse; margin: 0.75rem 0; font-size: 0.9rem; display: block;
  overflow-x: auto; }
caption, figcaption { text-align: left; color: #444; font-size: 0.85rem; margin-bottom: 0.3rem; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25rem 0.7rem 0.25rem 0; text-align: left;
  vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
svg { max-width: 100%; height: auto; }
pre { background: #f3f3f3; padding: 0.8rem; overflow-x: auto; white-space: pre-wrap; }
.advice { border-left: 4px solid #d55e00; padding-left: 0.8rem; }
@media print {
  body { margin: 0; max-width: none; font-size: 11pt; }
  section.run { break-before: page; }
  figure, tr, pre { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
# The words for what `data` of `metrics.json` counts; anything else is shown under its own name.
WORDS = {
    "users": "users",
    "items": "items",
    "events": "events",
    "items_only_held_out": "items only in held-out events, unknown to the host",
    "users_train_validation_test": "users: training, validation, test",
    "users_without_history": "users left out, without a history",
    "known_events": "share of the histories' events whose items the host knows",
    "rows_with_empty_history": "rows with an empty history",
    "target_items": "target items",
    "target_events": "target events",
    "truths_in_history": "share of the training targets that lie in the history before them",
    "keep_seen": "whether items of the history are answered",
}


def page(runs: list) -> str:
    """The page about runs.

    Args:
        runs: list of dict, of `gather`.

    Returns:
        str, HTML.
    """
    title = runs[0]["name"] if len(runs) == 1 else f"{len(runs)} runs"
    body = [f"<h1>keras_peterrec: {escape(title)}</h1>"]
    if len(runs) > 1:
        body.append(_index(runs))
    body += [_section(run, number) for number, run in enumerate(runs)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _index(runs):
    rows = []
    for number, run in enumerate(runs):
        metric = run["decides"]["name"]
        best = _best_baseline(run)
        rows.append(
            [
                _Html(f'<a href="#run-{number}">{escape(run["name"])}</a>'),
                run["kind"] or "host",
                _method(run["settings"]),
                metric,
                run["metrics"]["test"][metric],
                _interval(run["intervals"].get(metric)),
                "" if best is None else f"{best[0]} {_number(best[1])}",
                "" if best is None else _verdict(run, *best),
                (run["parameters"] or {}).get("trainable"),
                f"{(run['seconds'] or {}).get('total', 0):,.0f}",
            ]
        )
    header = ["run", "kind", "method", "metric", "test", "95 %", "best baseline", ""]
    caption = (
        "Test users, by the deciding metric. A run equals a baseline where the interval of the "
        "difference holds 0."
    )
    table = _table([*header, "trained", "seconds"], rows, caption)
    return f'<nav aria-label="Runs">{table}</nav>'


def _method(settings):
    """Such as `patch bottleneck:8`, or what a host learned from."""
    names = (settings.get(name) for name in ("method", "patch", "objective"))
    return " ".join(str(name) for name in names if name)


def _section(run, number):
    name = f"run{number}"  # of the figures
    parts = [
        _trained_on(run),
        _result(run, name),
        _training(run, name),
        *(_group(found, run, f"{name}-{n}") for n, found in enumerate(_views(run, "groups", []))),
        _labels(run, name),
        _numbers(run, name),
        _recommendations(run),
        _examples(run),
        _costs(run),
        _again(run),
    ]
    what = f"a {run['kind']} task" if run["kind"] else "a host"
    heading = f"<h2>{escape(run['name'])}: {escape(what)}</h2>"
    body = "\n".join(part for part in parts if part)
    return f'<section class="run" id="run-{number}">\n{heading}\n{body}\n</section>'


def _trained_on(run):
    settings, data = run["settings"], run["data"]
    places = ("host", "log", "target", "labels", "column", "method", "patch", "objective")
    rows = [(name, settings[name]) for name in places if settings.get(name) is not None]
    for name, value in data.items():
        if name != "fingerprint" and not (isinstance(value, list) and len(value) > 12):
            shown = ", ".join(map(_cell_text, value)) if isinstance(value, list) else value
            rows.append((WORDS.get(name, name.replace("_", " ")), shown))
    rows.append(("seed", run["seed"]))
    return "<h3>What was trained on what</h3>" + _table(["", ""], rows, head=False)


def _result(run, name):
    test, intervals = run["metrics"]["test"], run["intervals"]
    header = ["metric", "validation", "test", "95 %", *(b["name"] for b in run["baselines"])]
    validation = run["metrics"].get("validation", {})
    rows = [
        [metric, validation.get(metric), value, _interval(intervals.get(metric))]
        + [baseline["test"].get(metric) for baseline in run["baselines"]]
        for metric, value in test.items()
    ]
    advice = f'<p class="advice">{escape(run["advice"])}</p>' if run["advice"] else ""
    caption = "Intervals are those of a bootstrap over test users; baselines on the same users."
    caption += _verdicts(run)
    chart = _figure(charts.comparison(run), f"{name}-comparison")
    return f"<h3>Result</h3>{advice}{chart}{_table(header, rows, caption)}"


def _training(run, name):
    history, monitor = run["history"], f"val_{run['decides']['name']}"
    if monitor not in history:
        return ""
    best = run["best_epoch"] or 0
    ended = ENDS.get(run["stopped"], "")
    words = f"{run['epochs']} epochs, the best is {best or 'the start'}; ended by {ended}."
    if run["linear"]:
        words += " The curves are those of the network alone: the linear part is added at the end."
    chart = _figure(charts.curves(history, monitor, best), f"{name}-curves")
    return f"<h3>Training</h3><p>{escape(words)}</p>{chart}"


def _group(found, run, name):
    if not found["groups"]:
        return ""
    baselines = list(found["groups"][0]["baselines"])
    rows = [
        [g["group"], g["users"], g["rows"], g["value"], _interval(g["interval"])]
        + [g["baselines"][baseline] for baseline in baselines]
        for g in found["groups"]
    ]
    header = [found["by"], "users", "rows", run["decides"]["name"], "95 %", *baselines]
    chart = _figure(charts.groups(found, run["decides"]), f"{name}-groups")
    return f"<h3>By {escape(found['by'])}</h3>{chart}{_table(header, rows)}"


def _labels(run, name):
    by_label = _views(run, "by_label")
    if not by_label:
        return ""
    header = [key.replace("_", " ") for key in by_label[0]]
    rows = [list(label.values()) for label in by_label]
    table = _table(header, rows, "Test users; the most frequent labels first.")
    figures = []
    if confusion := _views(run, "confusion"):
        figures.append(_figure(charts.confusion(confusion), f"{name}-confusion"))
    figures.append(_figure(charts.precision_recall(_views(run, "curves")), f"{name}-precision"))
    calibration = _views(run, "calibration")
    rows = [[b["probability"], b["share"], b["count"]] for b in calibration["bins"]]
    bins = _table(["probability given, mean", "share that was true", "answers"], rows)
    said = f"Mean distance of probability and share: {calibration['error']:.3f}."
    return (
        f"<h3>By label</h3>{table}{''.join(figures)}<h3>Calibration</h3><p>{said}</p>"
        + _figure(charts.reliability(calibration), f"{name}-reliability")
        + bins
    )


def _numbers(run, name):
    view = _views(run, "numbers")
    if not view:
        return ""
    rows = [[f"{float(q):.0%} of the errors are below", v] for q, v in _quantiles(view)]
    table = _table(["", ""], [["mean error", view["bias"]], *rows], head=False)
    return f"<h3>Numbers</h3>{_figure(charts.numbers(view), f'{name}-numbers')}{table}"


def _quantiles(found):
    return found["error_quantiles"].items()


def _recommendations(run):
    view = _views(run, "recommendations")
    if not view:
        return ""
    most = view["share_of_the_ten_most_recommended"]
    words = (
        f"The best {view['k']} items of {view['lists']:,} test histories: "
        f"{view['items_recommended']:,} of {view['items']:,} items are recommended "
        f"(coverage {view['coverage']:.1%}); the ten most recommended make up {most:.1%}. Novelty "
        "is the mean of -log2 of an item's share of the training events: 1 more is half as popular."
    )
    novelty = [[name, value] for name, value in view["novelty"].items()]
    shares = view["popularity_shares"]
    rows = [
        [group, *(f"{shares[who][n]:.1%}" for who in ("recommended", "taken by test users"))]
        for n, group in enumerate(shares["groups"])
    ]
    caption = "Each of the first three groups has a third of the training events."
    return (
        f"<h3>Coverage and novelty</h3><p>{escape(words)}</p>"
        + _table(["items", "novelty"], novelty)
        + _table(["items by popularity", "recommended", "taken by test users"], rows, caption)
    )


def _examples(run):
    if not run["examples"]:
        return ""
    rows = []
    for example in run["examples"]:
        right = set(example["truth"])
        answers = [
            (f"<strong>{escape(n)}</strong> (right)" if n in right else escape(n)) + f" {score:.3g}"
            for n, score in example["answer"]
        ]
        rows.append(
            [
                example["user"],
                example["events"],
                ", ".join(example["history"]),
                ", ".join(marked_truth(example)),
                _Html(", ".join(answers)),
            ]
        )
    header = ["user", "events", "last events", "truth", "answer, best first"]
    return "<h3>Examples</h3>" + _table(header, rows, "Some test users.")


def _costs(run):
    parameters, seconds = run["parameters"] or {}, run["seconds"] or {}
    words = {"share": "trained, of what full fine-tuning would train"}
    rows = [
        [words.get(name, f"parameters: {name.replace('_', ' ')}"), _share(name, value)]
        for name, value in parameters.items()
    ]
    names = {
        "first_step": "until the first step ended",
        "fit": "of fitting",
        "best": "of fitting until the best epoch",
        "total": "in all",
    }
    rows += [[f"seconds {names.get(n, n)}", f"{s:,.1f}"] for n, s in seconds.items() if s]
    if run["linear"]:
        settings = {name: value for name, value in run["linear"].items() if value is not None}
        rows.append(["linear part", ", ".join(f"{n} {v:g}" for n, v in settings.items())])
    return "<h3>Size and time</h3>" + _table(["", ""], rows, head=False)


def _share(name, value):
    return f"{value:.2%}" if name == "share" else value


def _again(run):
    changed = [
        [name, value if not isinstance(value, (dict, list)) else str(value)]
        for name, value in run["settings"].items()
        if value is not None
    ]
    lines = escape("\n".join(run["commands"]))
    return (
        f"<h3>To make it again</h3><pre><code>{lines}</code></pre>"
        f"<details><summary>All settings</summary>{_table(['setting', 'value'], changed)}</details>"
    )


# Pieces of HTML.


class _Html(str):
    """Text that is HTML already."""


def _views(run, name, default=None):
    return run["views"].get(name, default)


def _figure(drawn, name):
    figure, words = drawn
    described = charts.svg(figure, name).replace(
        "<svg ", f'<svg role="img" aria-label="{escape(words)}" ', 1
    )
    return f"<figure>{described}<figcaption>{escape(words)}</figcaption></figure>"


def _table(header, rows, caption="", head=True):
    """A table; a column of numbers stands on the right."""
    if not rows:
        return ""
    right = [n > 0 and all(_is_number(row[n]) for row in rows) for n in range(len(rows[0]))]
    marks = [' class="number"' if of_column else "" for of_column in right]
    lines = [f"<caption>{escape(caption)}</caption>"] if caption else []
    if head:
        cells = "".join(
            f'<th scope="col"{mark}>{escape(str(name))}</th>' for name, mark in zip(header, marks)
        )
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    body = []
    for row in rows:
        first, *others = (_cell(value) for value in row)
        cells = "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(others, marks[1:]))
        body.append(f'<tr><th scope="row"{marks[0]}>{first}</th>{cells}</tr>')
    return f"<table>{''.join(lines)}<tbody>{''.join(body)}</tbody></table>"


def _is_number(value):
    if isinstance(value, (_Html, bool)):
        return False
    return not isinstance(value, str) or value == "" or value[0] in "[0123456789"


def _cell(value):
    return value if isinstance(value, _Html) else escape(_cell_text(value))


def _cell_text(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return _number(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _number(value: Any) -> str:
    return f"{value:.4f}" if abs(value) < 1_000 else f"{value:,.1f}"


def _interval(ends):
    return "" if ends is None else f"[{_number(ends[0])}, {_number(ends[1])}]"


def _verdict(run, name, value):
    """Whether a run beats, equals or loses to a baseline, by the interval over test users."""
    metric = run["decides"]["name"]
    low, high = _views(run, "against", {}).get(name) or _distance(run["intervals"], metric, value)
    if not run["decides"]["higher_is_better"]:
        low, high = -high, -low
    return "beats it" if low > 0 else "loses" if high < 0 else "equals it"


def _distance(intervals, metric, value):
    """Where a run kept no rows: the interval of its own metric, less the baseline's value."""
    low, high = intervals.get(metric, (value, value))
    return low - value, high - value


def _verdicts(run):
    """The same of every baseline, as a sentence."""
    metric = run["decides"]["name"]
    baselines = [(b["name"], b["test"].get(metric)) for b in run["baselines"]]
    words = [f"{n}: {_verdict(run, n, value)}" for n, value in baselines if value is not None]
    return f" By {metric} the run against each: {'; '.join(words)}." if words else ""


def _best_baseline(run):
    metric, higher = run["decides"]["name"], run["decides"]["higher_is_better"]
    baselines = [(b["name"], b["test"].get(metric)) for b in run["baselines"]]
    baselines = [(name, value) for name, value in baselines if value is not None]
    return (max if higher else min)(baselines, key=lambda pair: pair[1], default=None)
