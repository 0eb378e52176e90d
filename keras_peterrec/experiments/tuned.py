"""What a search for settings has found: table, picture, HParams, and whether it is noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from keras_peterrec.experiments.differences import paired_differences
from keras_peterrec.experiments.tables import markdown_table
from keras_peterrec.files.atomic_write import write_text
from keras_peterrec.files.json_file import read_json
from keras_peterrec.printing import people_console, print_table
from keras_peterrec.report.kept_rows import RUN, VALIDATION_USERS, read_test_users
from keras_peterrec.report.plot_style import metric_axis, panels, save, style
from keras_peterrec.report.tensorboard import write_trials
from keras_peterrec.settings.tune import Searched
from keras_peterrec.tasks.task_kind import Metric
from keras_peterrec.types import Json

PICTURE = "tuning.png"


def finished(trials: Sequence[Json]) -> list[Json]:
    """The trials that came to their end."""
    return [trial for trial in trials if trial["state"] == "done"]


def best_of(trials: Sequence[Json]) -> Json | None:
    """The best trial on validation, the first of equal ones; `None` where none is finished."""
    best = None
    for trial in finished(trials):
        if best is None or Metric(**trial["decides"]).is_better(trial["value"], best["value"]):
            best = trial
    return best


def named(trial: Json) -> str:
    """What a trial changes, as a line."""
    changed = [f"{name} {_text(value)}" for name, value in trial["changed"].items()]
    return ", ".join(changed) or "the settings as given"


def report(settings: Any, space: Sequence[Searched], trials: list[Json], folder: Path) -> Json:
    """Writes the table, the picture and HParams; returns the content of `metrics.json`.

    One trial at least is finished; all lie in `folder`.
    """
    best, first = best_of(trials), trials[0]
    assert best is not None
    metric = Metric(**best["decides"])
    measured = read_json(folder / best["folder"] / "metrics.json", "out")
    difference = _difference(folder, best, first, metric)
    names = [searched.name for searched in space]
    header, rows = _table(trials, names, metric, best)
    advice = _advice(best, first, difference, metric)
    text = f"# {settings.command}\n\n{markdown_table(header, rows)}\n\n{advice}\n"
    write_text(folder / "table.md", text)
    _draw(folder / PICTURE, settings.command, space, finished(trials), metric)
    shown = {
        f"trial-{trial['number']:03d}": (
            trial["settings"],
            {f"validation/{metric.name}": trial["value"]},
        )
        for trial in finished(trials)
    }
    write_trials(folder / "logs", shown)
    return {
        "command": settings.command,
        "settings": settings.recorded(),
        "out": str(folder),
        "decides": best["decides"],
        "best": {
            **best,
            "validation": measured["metrics"]["validation"],
            "test": measured["metrics"]["test"],
            "intervals": measured.get("intervals", {}).get("test", {}),
        },
        "difference": difference,
        "advice": advice,
        "trials": trials,
        "plots": [PICTURE],
        "seconds": {"total": round(sum(trial["seconds"] for trial in trials), 1)},
    }


def show(result: Json) -> None:
    """Prints the trials and what the best of them is worth."""
    console = people_console()
    best, metric = result["best"], Metric(**result["decides"])
    names = list(result["trials"][0]["settings"])
    header, rows = _table(result["trials"], names, metric, best)
    title = f"{result['command']}: {len(rows)} trials, {result['seconds']['total']:.0f} s"
    print_table(console, title, header[:1], header[1:], rows)
    console.print(result["advice"])
    interval = best["intervals"].get(metric.name)
    spread = "" if interval is None else " [{:.4f}, {:.4f}]".format(*interval)
    console.print(f"test {metric.name} of the best: {best['test'][metric.name]:.4f}{spread}")
    console.print(f"its run: {result['out']}/best; table, picture and all trials: {result['out']}")


def _difference(folder, best, first, metric):
    """How much better the best is than the settings as given on the same validation users."""
    if best is first or first["state"] != "done":
        return None
    read = lambda trial: read_test_users(folder / trial["folder"], VALIDATION_USERS).get(RUN)
    sums = {("best", "validation", 0): read(best), ("given", "validation", 0): read(first)}
    if None in sums.values():  # it was stopped when these were written
        return None
    cells = paired_differences(sums, "given", metric)
    return {name: cells[0][name] for name in ("difference", "low", "high")} if cells else None


def _advice(best, first, difference, metric):
    if best is first:
        return "The settings as given are the best: nothing that was tried is better."
    told = f"Trial {best['number']} is the best: {named(best)}."
    if difference is None:
        return told
    low, high = difference["low"], difference["high"]
    beats = low > 0 if metric.higher_is_better else high < 0
    compared = "{difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(**difference)
    compared = f"validation {metric.name} {compared} (95 %)"
    if beats:
        return f"{told} It beats the settings as given: {compared}."
    return f"{told} But that is within noise, so the settings as given do as well: {compared}."


def _table(trials, names, metric, best):
    """Header and rows of texts."""
    header = ["trial", *names, f"validation {metric.name}", "seconds"]
    rows = [
        [
            f"{trial['number']}{' best' if trial['number'] == best['number'] else ''}",
            *(_text(trial["settings"][name]) for name in names),
            f"{trial['value']:.4f}" if trial["state"] == "done" else "failed",
            f"{trial['seconds']:.0f}",
        ]
        for trial in trials
    ]
    return header, rows


def _text(value):
    if value is None:
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _draw(path, title, space, trials, metric):
    """Validation after each trial, and against each setting."""
    figure, axes = panels(["trial", *(searched.name for searched in space)])
    values = [trial["value"] for trial in trials]
    pick = max if metric.higher_is_better else min
    numbers = [trial["number"] for trial in trials]
    best = [pick(values[: place + 1]) for place in range(len(values))]
    [line] = axes[0].plot(numbers, best, color="#555555", lw=1, drawstyle="steps-post")
    line.set_label("the best so far")
    look = {**style(0), "linestyle": "none", "markersize": 4}
    handles = [line]
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    of_settings = [_places(axis, searched, trials) for axis, searched in zip(axes[1:], space)]
    for axis, places in zip(axes, [numbers, *of_settings]):
        [dots] = axis.plot(places, values, label="trial", **look)
        if numbers[0] == 0:
            [first] = axis.plot(places[0], values[0], label="as given", **{**look, **_FIRST})
        metric_axis(axis, metric, "validation")
    handles += [dots, first] if numbers[0] == 0 else [dots]
    save(figure, path, title, handles)


def _places(axis, searched, trials):
    """Where each trial stands on the axis of a setting, which is prepared for it."""
    given = [trial["settings"][searched.name] for trial in trials]
    if searched.values is None and None not in given:
        if searched.is_log:
            axis.set_xscale("log")
        return given
    names = list(dict.fromkeys(_text(value) for value in (*(searched.values or ()), *given)))
    turned = {"rotation": 30, "ha": "right"} if max(map(len, names)) > 8 else {}
    axis.set_xticks(range(len(names)), names, fontsize=7, **turned)
    return [names.index(_text(value)) for value in given]


_FIRST = {"color": "#D55E00", "marker": "s", "markersize": 6}
