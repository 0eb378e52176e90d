"""`benchmark train`: how fast training steps are, and how much memory they take.

Loads no TensorFlow itself: every side is a process of its own.
"""

import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil

from keras_peterrec.benchmarks.report import Line, Table, describe_machine, write_report
from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.data.vocabulary import FIRST_ITEM
from keras_peterrec.errors import InputError
from keras_peterrec.settings.base import positive_integer, takes
from keras_peterrec.settings.benchmark import LOSSES, TrainBenchmarkSettings

OURS = "keras_peterrec"
WORKER = [sys.executable, "-m", "keras_peterrec.benchmarks.train_worker"]
# The setting that a sweep changes, and its values.
SWEEPS = {
    "items": ("items", (10_000, 50_000, 1_000_000)),
    "length": ("length", (64, 512, 4_096)),
    "batch": ("batch_size", (32, 128, 512)),
    "channels": ("hidden_dim", (32, 64, 128, 256)),
}
# What a worker is told, besides the loss.
CONFIGURATION = (
    *("items", "hidden_dim", "blocks", "length", "batch_size"),
    *("negatives", "precision", "seed"),
)
# How many score matrices [N, V] a plain full softmax holds at once.
SCORE_MATRICES = 6
NOTES = """\
Each side is a process of its own; they take turns. `times ours`: the step of a side divided by
ours, the median over the rounds. `peak`: the most resident memory; `at start`: that before the
model was built. `first s`: building and the first steps, which compile.
"""
LEFT_OUT = "Not measured: {items:,} items, {loss}, {side}: {reason}.\n"


@takes(TrainBenchmarkSettings)
def benchmark_train(settings: TrainBenchmarkSettings) -> dict:
    """Measures training steps, alone or beside a reference, and reports them.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: a sweep cannot be used, or nothing could be measured.
    """
    sides = {OURS: (WORKER, None)}
    if settings.reference is not None:
        script = Path(settings.reference).resolve()
        command = [settings.reference_python or sys.executable, script]
        for variant in settings.reference_variant or (None,):
            sides[script.stem if variant is None else f"{script.stem} {variant}"] = command, variant
    rows, skipped = [], []
    for sweep, configuration in configurations(settings):
        found, failed = measure(configuration, sides, settings.rounds, settings.steps)
        rows += [{"sweep": sweep, **row} for row in found]
        for side, reason in failed.items():
            skipped.append({"sweep": sweep, **configuration, "side": side, "reason": reason})
    if not rows:
        raise InputError(f"nothing could be measured: {skipped[0]['reason']}")
    result = {
        "command": settings.command,
        "settings": settings.recorded(),
        "machine": describe_machine(),
        "rows": rows,
        "skipped": skipped,
    }
    if settings.out is not None:
        left_out = [LEFT_OUT.format(**each) for each in skipped]
        notes = "\n".join([NOTES, *left_out])
        write_report(result, settings.out, [_table(result)], notes, _plot_columns(rows))
    return result


def configurations(settings):
    """The configurations of all sweeps, or the one of the settings where there is no sweep.

    In a sweep over the length the batch changes as well, so that every step has the same number
    of tokens: that of the settings, rounded up to whole rows of the greatest length.

    Args:
        settings: TrainBenchmarkSettings.

    Returns:
        list of (name of the sweep or "none", dict for the workers).

    Raises:
        InputError: there is no such sweep, or a value is not a positive integer.
    """
    base = {name: getattr(settings, name) for name in CONFIGURATION}
    found = []
    for text in settings.sweep:
        sweep, given, values = text.partition("=")
        if sweep not in SWEEPS:
            raise InputError(
                f"`sweep` should be one of {', '.join(SWEEPS)}. Received: `sweep` = {sweep!r}."
            )
        name, usual = SWEEPS[sweep]
        try:
            values = [int(each) for each in values.split(",")] if given else usual
        except ValueError:
            raise InputError(
                f"`sweep` should be a name or name=integers, such as {sweep}=10,20. "
                f"Received: `sweep` = {text!r}."
            ) from None
        for value in values:
            positive_integer(name, value)
            changed = {**base, name: value}
            if name == "length":
                tokens = settings.batch_size * settings.length
                tokens = -(-tokens // max(values)) * max(values)
                changed["batch_size"] = max(1, round(tokens / value))
            found.append((sweep, changed))
    found = found or [("none", base)]
    return [(sweep, {**each, "loss": loss}) for sweep, each in found for loss in settings.loss]


def measure(configuration, sides, rounds, steps):
    """Measures one configuration; the sides take turns and never run at once.

    Args:
        configuration: dict, as from `configurations`.
        sides: dict from name to (command of the worker, variant); ours comes first.
        rounds: int. In every other round the order is reversed.
        steps: int. Timed steps of a turn.

    Returns:
        list of dict, a row for each side, and a dict from a side that failed to the reason. If
        ours fails, there are no rows.
    """
    ours = next(iter(sides))
    needed = SCORE_MATRICES * 4 * _tokens(configuration) * configuration["items"]
    if configuration["loss"] == "full" and needed > psutil.virtual_memory().total:
        failed = {ours: f"the scores of a full softmax would take {needed / 2**30:.0f} GiB"}
    else:
        answers, failed = _take_turns(configuration, sides, rounds, steps)
    print("{loss}, {items:,} items".format(**configuration), file=sys.stderr)
    for side, reason in failed.items():
        print(f"  {side}: not measured: {reason}", file=sys.stderr)
    rows = []
    for side in sides if ours not in failed else ():
        if side not in failed:
            rows.append(_row(configuration, side, answers[side], answers[ours]))
            print(f"  {side}: {rows[-1]['step_ms']:.1f} ms", file=sys.stderr, flush=True)
    return rows, failed


def _take_turns(configuration, sides, rounds, steps):
    """What each side answered, first when it was ready, and why sides failed, by side."""
    workers, answers, failed = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        batches = Path(folder) / "batches.npy"
        np.save(batches, made_batches(configuration))
        given = {**configuration, "batches": str(batches)}
        for number in range(1 + rounds):
            order = list(sides.items())
            for side, (command, variant) in order if number < 2 or number % 2 else order[::-1]:
                if side in failed:
                    continue
                try:
                    if number:
                        answers[side].append(workers[side].ask(f"run {steps}"))
                    else:
                        worker = Worker(command, {**given, "variant": variant})
                        workers[side] = stack.enter_context(worker)
                        answers[side] = [worker.ready]
                except WorkerError as error:
                    failed[side] = str(error)
                    if side == order[0][0]:  # ours, that the others are compared with
                        return answers, failed
    return answers, failed


def _row(configuration, side, answers, our_answers):
    ready, *turns = answers
    medians, ours = (
        [statistics.median(turn["milliseconds"]) for turn in each[1:]]
        for each in (answers, our_answers)
    )
    times = [each for turn in turns for each in turn["milliseconds"]]
    step = statistics.median(times)
    return {
        **configuration,
        "side": side,
        "tokens": _tokens(configuration),
        "tokens_per_second": _tokens(configuration) / step * 1e3,
        "step_ms": step,
        "min_ms": min(times),
        "all_ms": times,
        # Above one: this side is slower than ours.
        "times_ours": statistics.median(mine / our for mine, our in zip(medians, ours)),
        "peak_bytes": turns[-1]["peak_bytes"],
        "start_bytes": ready["start_bytes"],
        "first_seconds": ready["first_seconds"],
        "loss_value": turns[-1]["loss"],
        "worker": ready["name"],
        "versions": ready.get("versions", {}),
    }


def _tokens(configuration):
    return configuration["batch_size"] * configuration["length"]


def made_batches(configuration, count=8):
    """Ids `[count, B, L + 1]`, int64; a row is a history and, shifted by one, its targets.

    Items follow the log-uniform law, which sampled softmax assumes and real logs come close to.
    Nothing is padding.
    """
    shape = count, configuration["batch_size"], configuration["length"] + 1
    uniform = np.random.default_rng(configuration["seed"]).random(shape)
    items = np.exp(uniform * np.log(configuration["items"] + 1)).astype("int64") - 1
    return np.clip(items, 0, configuration["items"] - 1) + FIRST_ITEM


def show(result):
    """Prints a result as a table."""
    print(_table(result))


def _table(result):
    columns = {
        "sweep": "{sweep}",
        "items": "{items:,}",
        "C": "{hidden_dim}",
        "B x L": "{batch_size} x {length}",
        "loss": "{loss}",
        "side": "{side}",
        "step ms": "{step_ms:.1f}",
        "min ms": "{min_ms:.1f}",
        "tokens/s": "{tokens_per_second:,.0f}",
        "times ours": "{times_ours:.2f}",
        "peak MiB": lambda row: f"{row['peak_bytes'] / 2**20:,.0f}",
        "at start": lambda row: f"{row['start_bytes'] / 2**20:,.0f}",
        "first s": "{first_seconds:.1f}",
    }
    return Table("Training steps", result["rows"], columns)


def _plot_columns(rows):
    """A column for each sweep, speed above and memory below; a line for each side and loss.

    Without a sweep the losses stand on the x axis.
    """
    measures = {
        "tokens a second": lambda row: row["tokens_per_second"],
        "peak memory, GiB": lambda row: row["peak_bytes"] / 2**30,
    }
    sides = list(dict.fromkeys(row["side"] for row in rows))
    columns = {}
    for sweep in dict.fromkeys(row["sweep"] for row in rows):
        setting = SWEEPS[sweep][0] if sweep in SWEEPS else "loss"
        column = columns[setting] = {label: [] for label in measures}
        groups = [(side, loss) for side in sides for loss in (LOSSES if sweep in SWEEPS else [""])]
        for side, loss in groups:
            mine = [row for row in rows if (row["sweep"], row["side"]) == (sweep, side)]
            mine = [row for row in mine if loss in ("", row["loss"])]
            style = (sides.index(side), LOSSES.index(loss) if loss else 0)
            for label, measure in measures.items() if mine else ():
                xs, ys = [row[setting] for row in mine], [measure(row) for row in mine]
                column[label].append(Line(f"{side} {loss}", xs, ys, *style))
    return columns
