"""How soon training starts, how fast it is and how much memory it takes, beside a reference.

    python tests/benchmarks/train.py [--sweep items] [--reference SCRIPT]

Loads no TensorFlow itself: every side is a process of its own.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from train_turns import measure

from keras_peterrec.benchmarks.report import Line, Table, describe_machine, write_report
from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.errors import InputError, check_count
from keras_peterrec.files.atomic_write import check_new_folder, save_figure
from keras_peterrec.progress import line
from keras_peterrec.settings.base import (
    Settings,
    not_negative,
    seed_number,
    setting,
)
from keras_peterrec.settings.parser import CommandParser, add_arguments, make_settings

LOSSES = ("backbone", "sampled", "full")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

OURS = "keras_peterrec"
START = str(Path(__file__).with_name("start_worker.py"))
WORKER = [sys.executable, START, "train_worker"]
LOOPS = [sys.executable, START, "loop_worker"]
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
NOTES = """\
Each side is a process of its own; they take turns. `times ours`: the step of a side divided by
ours, the median over the rounds. `peak`: the most resident memory; `at start`: that before the
model was built. `start s`: from the start of the process to the end of its first step, with empty
caches of the compilers; `cached s`: the same in a second process, with what the first has left
there; `second s`: building a second model of the same form in one process, and its first step.

Parts of a step by TensorFlow's profiler, in milliseconds of the step without it. Operations that
run at once share the time. `products`: those of convolutions and softmax. `norms`: with ReLUs.
`taps`: what else blocks do, as laying taps side by side and masking. `tables`: reading rows, and
gradients of rows. `idle`: no operation runs.
"""
LEFT_OUT = "Not measured: {items:,} items, {loss}, {side}: {reason}.\n"


def _losses(name, values):
    for value in values:
        if value not in LOSSES:
            raise InputError(
                f"`{name}` should be one of {', '.join(LOSSES)}. Received: `{name}` = {value!r}."
            )


def _script(name, value):
    if not Path(value).is_file():
        raise InputError(
            f"`{name}` should be a script that answers as a worker. "
            f"Received: `{name}` = {str(value)!r}."
        )


@dataclass(frozen=True)
class TrainBenchmarkSettings(Settings):
    """What is trained and compared."""

    command: ClassVar[str] = "benchmark train"

    out: Any = setting(
        None,
        "new folder for the tables, metrics.json and the plot",
        check=check_new_folder,
        recorded=False,
    )
    sweep: tuple[str, ...] = setting(
        (),
        "items, length, batch or channels, and the values to measure; may be repeated "
        "(default: no sweep, one configuration)",
        metavar="NAME[=A,B,C]",
    )
    loss: tuple[str, ...] = setting(
        LOSSES,
        "backbone (no output loss), sampled or full; may be repeated (default: all)",
        check=_losses,
        metavar="NAME",
    )
    reference: Any = setting(
        None,
        "script to compare with, such as tests/benchmarks/torch_reference.py",
        check=_script,
        metavar="PATH",
    )
    reference_variant: tuple[str, ...] = setting(
        (), "word that the script is given; each is measured as a side of its own", metavar="NAME"
    )
    reference_python: Any = setting(
        None, "Python that runs the script (default: this one)", metavar="PATH"
    )
    items: int = setting(50_000, "items V", check=check_count)
    hidden_dim: int = setting(64, "channels C of the network", check=check_count)
    blocks: int = setting(8, "residual blocks", check=check_count)
    length: int = setting(50, "positions L of a row", check=check_count)
    batch_size: int = setting(128, "rows B of a batch", check=check_count)
    negatives: int = setting(1_000, "negatives S of the sampled loss", check=check_count)
    precision: str = setting("float32", "Keras' dtype policy", choices=PRECISIONS)
    rounds: int = setting(5, "turns of each side", check=check_count)
    steps: int = setting(5, "timed steps of a turn", check=check_count)
    models: int = setting(
        5,
        "task models trained one after the other, to see what memory stays of each; below 2 or "
        "with a sweep: not measured",
        check=not_negative,
    )
    log: Any = setting(
        None,
        "log whose epoch in `pretrain` is measured, such as movielens-100k/source (default: none)",
    )
    max_length: int = setting(
        100, "with a log: events of a history, as in `pretrain`", check=check_count
    )
    seed: int = setting(0, "of weights and batches", check=seed_number)


def benchmark_train(settings: TrainBenchmarkSettings) -> dict:
    """Measures the start, steps, memory and an epoch of training, and reports them.

    Steps and their start stand beside those of a reference, if there is one.

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
        "loops": measure_loops(settings),
        "skipped": skipped,
    }
    if settings.out is not None:
        left_out = [LEFT_OUT.format(**each) for each in skipped]
        notes = "\n".join([NOTES, *left_out])
        write_report(result, settings.out, _tables(result), notes, _plot_columns(rows))
        if bars := _bars(rows):
            save_bars(Path(settings.out) / "parts.png", bars)
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
            check_count(name, value)
            changed = {**base, name: value}
            if name == "length":
                tokens = settings.batch_size * settings.length
                tokens = -(-tokens // max(values)) * max(values)
                changed["batch_size"] = max(1, round(tokens / value))
            found.append((sweep, changed))
    found = found or [("none", base)]
    return [(sweep, {**each, "loss": loss}) for sweep, each in found for loss in settings.loss]


def measure_loops(settings):
    """What is measured once and not for each configuration, each by a process of its own.

    Args:
        settings: TrainBenchmarkSettings.

    Returns:
        list of dict: memory that stays of a model, if there is no sweep, and an epoch, if there is
        a log. Each has `what`, and `reason` if it could not be measured.
    """
    given, asked = settings.recorded(), []
    if settings.models > 1 and not settings.sweep:
        asked.append(("models of one form", "models same"))
        asked.append(("models of different forms", "models different"))
    if settings.log is not None:
        asked.append((f"an epoch of {settings.log}", "epoch"))
    found = []
    for what, request in asked:
        with tempfile.TemporaryDirectory() as caches:
            # Where compiled programs are kept, downloaded logs are as well. An epoch needs those;
            # many models would fill the user's cache.
            caches = None if request == "epoch" else caches
            try:
                with Worker(LOOPS, given, caches) as worker:
                    answer = worker.ask(request)
            except WorkerError as error:
                answer = {"reason": str(error)}
        if resident := answer.get("resident_bytes"):
            # The first leaves what all share: what TensorFlow and the compiler keep.
            answer["bytes_a_model"] = (resident[-1] - resident[0]) / (len(resident) - 1)
        found.append({"what": what, **answer})
        line(f"{what}: {_told(found[-1])}")
    return found


def _told(loop):
    if "reason" in loop:
        return f"not measured: {loop['reason']}"
    if "seconds" in loop:
        return "{seconds:.1f} s, {steps:,} steps, {events:,} events".format(**loop)
    resident = [number / 2**20 for number in loop["resident_bytes"]]
    text = "{:,.1f} MiB a model, {:,.0f} after the first of {}, {:,.0f} after the last"
    return text.format(loop["bytes_a_model"] / 2**20, resident[0], len(resident), resident[-1])


def show(result):
    """Prints a result as tables."""
    print("\n".join(map(str, _tables(result))))


def _tables(result):
    mebibytes = lambda name: lambda row: f"{row[name] / 2**20:,.0f}"
    seconds = lambda name: lambda row: "" if row[name] is None else f"{row[name]:.1f}"
    configuration = {
        "sweep": "{sweep}",
        "items": "{items:,}",
        "C": "{hidden_dim}",
        "B x L": "{batch_size} x {length}",
        "loss": "{loss}",
    }
    steps = {
        **configuration,
        "side": "{side}",
        "step ms": "{step_ms:.1f}",
        "min ms": "{min_ms:.1f}",
        "tokens/s": "{tokens_per_second:,.0f}",
        "times ours": "{times_ours:.2f}",
        "peak MiB": mebibytes("peak_bytes"),
        "at start": mebibytes("start_bytes"),
        "start s": seconds("start_seconds"),
        "cached s": seconds("cached_seconds"),
        "second s": seconds("second_seconds"),
    }
    rows = [row for row in result["rows"] if row["parts"]]
    part = lambda name: lambda row: f"{row['parts'][name] * row['step_ms']:.1f}"
    parts = configuration | {name: part(name) for name in (rows[0]["parts"] if rows else ())}
    tables = [
        Table("Training steps", result["rows"], steps),
        Table("Parts of our step, ms", rows, parts),
        Table("Longer loops of ours", result["loops"], {"what": "{what}", "measured": _told}),
    ]
    return [table for table in tables if table.rows]


def _bars(rows):
    """Milliseconds of the parts of our step, `{configuration: {part: number}}`."""
    bars = {}
    for row in rows:
        if row["parts"]:
            setting = SWEEPS[row["sweep"]][0] if row["sweep"] in SWEEPS else None
            label = row["loss"] if setting is None else f"{setting} {row[setting]:,}, {row['loss']}"
            bars[label] = {part: share * row["step_ms"] for part, share in row["parts"].items()}
    return bars


def save_bars(path, bars):
    """Draws the parts of our step as stacked bars, `bars` as of `_bars`."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.5 + 0.4 * len(bars)))
    axis, parts = figure.subplots(), list(next(iter(bars.values())))
    for number, part in enumerate(parts):
        lengths = [bar[part] for bar in bars.values()]
        starts = [sum(list(bar.values())[:number]) for bar in bars.values()]
        colour = colormaps["cividis"](number / (len(parts) - 1))
        axis.barh(list(bars), lengths, left=starts, color=colour, edgecolor="white", label=part)
    axis.invert_yaxis()
    axis.set_xlabel("ms of a step")
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    save_figure(figure, path)


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
            for label, value in measures.items() if mine else ():
                xs, ys = [row[setting] for row in mine], [value(row) for row in mine]
                column[label].append(Line(f"{side} {loss}", xs, ys, *style))
    return columns


def main(words=None):
    """Measures what the command line asks for, and prints it."""
    # Only here: what TensorFlow is not needed for is asked of a log before anything starts.
    from keras_peterrec.runs.early_checks import check_places

    parser = CommandParser("train.py", description=__doc__, argument_default=argparse.SUPPRESS)
    add_arguments(parser, TrainBenchmarkSettings)
    try:
        settings = make_settings(TrainBenchmarkSettings, vars(parser.parse_args(words)))
        check_places(settings)
        show(benchmark_train(settings))
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
