"""How fast training is, and how much memory it takes; loads no TensorFlow itself."""

import sys
import tempfile
from pathlib import Path

from keras_peterrec.benchmarks.machine import describe_machine, memory_bandwidth, memory_bytes
from keras_peterrec.benchmarks.measurement import Side, measure
from keras_peterrec.benchmarks.new_folder import check_new_folder
from keras_peterrec.benchmarks.sweep import parse_sweeps, sweep_configurations
from keras_peterrec.benchmarks.train_configuration import LOSSES, TrainConfiguration
from keras_peterrec.benchmarks.train_report import write_report
from keras_peterrec.benchmarks.worker import WorkerError
from keras_peterrec.errors import InputError

OURS = [sys.executable, "-m", "keras_peterrec.benchmarks.train_worker"]
# What a plain full softmax holds at once, in score matrices [N, V].
SCORE_MATRICES = 6


def benchmark_train(
    out=None,
    sweep=(),
    loss=LOSSES,
    reference=None,
    reference_variant=(None,),
    reference_python=sys.executable,
    rounds=5,
    steps=5,
    **settings,
):
    """Measures training steps, alone or beside a reference, and reports them.

    Each side of each configuration is a process of its own; they take turns, `steps`
    steps in each of `rounds` rounds, and never run at once.

    Args:
        out: path of a new folder for `metrics.json`, `table.md`, `table.csv` and
            `plot.png`, or `None`.
        sweep: list of str, `"NAME"` or `"NAME=a,b,c"` with the name of a setting
            (`items`, `length`, `batch`, `channels`) and its values; see `sweep`.
        loss: list of str. `"backbone"`, `"sampled"`, `"full"`. Defaults to all.
        reference: path of a script that answers as a worker, or `None`.
        reference_variant: list of str, of which each is measured as a side of its own.
        reference_python: path of the Python that runs it. Defaults to this one.
        rounds: int. Defaults to `5`.
        steps: int. Defaults to `5`.
        **settings: Of the reference configuration; see `TrainConfiguration`.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument cannot be used, or nothing could be measured.
    """
    _check(out, reference, rounds, steps)
    base = TrainConfiguration(**settings)
    configurations = sweep_configurations(base, parse_sweeps(sweep), loss)
    machine = {**describe_machine(), "copy_bytes_per_second": memory_bandwidth()}
    sides = [Side("keras_peterrec", OURS, None)]
    if reference is not None:
        command = [reference_python, Path(reference).resolve()]
        sides += [Side(Path(reference).stem, command, name) for name in reference_variant]
    rows, skipped = [], []
    for name, configuration in configurations:
        _measure_one(name, configuration, sides, rounds, steps, rows, skipped)
    if not rows:
        raise InputError(f"nothing could be measured: {skipped[0]['reason']}")
    result = {
        "command": "benchmark train",
        "settings": {
            **base.__dict__,
            "sweep": list(sweep),
            "loss": list(loss),
            "rounds": rounds,
            "steps": steps,
            "reference": None if reference is None else str(reference),
        },
        "machine": machine,
        "rows": rows,
        "skipped": skipped,
    }
    if out is not None:
        write_report(result, Path(out))
    return result


def _measure_one(name, configuration, sides, rounds, steps, rows, skipped):
    """Adds the rows of a configuration, a side each, or why there is none."""

    def skip(side, reason):
        skipped.append({"sweep": name, **configuration.__dict__, "side": side, "reason": reason})
        print(f"  {side}: not measured: {reason}", file=sys.stderr)

    print(
        f"{name}: {configuration.items:,} items, C {configuration.hidden_dim}, "
        f"{configuration.batch_size} x {configuration.length}, {configuration.loss}",
        file=sys.stderr,
    )
    if configuration.loss == "full":
        needed = SCORE_MATRICES * 4 * configuration.tokens * configuration.items
        if needed > memory_bytes():
            skip("all", f"the scores of a full softmax would take {needed / 2**30:.0f} GiB")
            return
    with tempfile.TemporaryDirectory() as folder:
        try:
            measured = measure(configuration, sides, rounds, steps, Path(folder), skip)
        except WorkerError as error:
            skip("keras_peterrec", str(error))
            return
    for row in measured:
        print(f"  {row['side']}: {row['step_ms']['median']:.1f} ms", file=sys.stderr)
        rows.append({"sweep": name, **row})


def _check(out, reference, rounds, steps):
    for name, value in (("rounds", rounds), ("steps", steps)):
        if not isinstance(value, int) or value < 1:
            raise InputError(
                f"`{name}` should be a positive integer. Received: `{name}` = {value!r}."
            )
    if reference is not None and not Path(reference).is_file():
        raise InputError(
            f"`reference` should be a script that answers as a worker. Received: {reference!r}."
        )
    if out is not None:
        check_new_folder(out)
