"""One configuration of the training benchmark, measured by sides that take turns."""

import contextlib
import statistics
import tempfile
from pathlib import Path

import numpy as np
import psutil

from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.progress import line

# How many score matrices [N, V] a plain full softmax holds at once.
SCORE_MATRICES = 6


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
        found, failed = _take_turns(configuration, sides, rounds, steps)
    line("{loss}, {items:,} items".format(**configuration))
    for side, reason in failed.items():
        line(f"  {side}: not measured: {reason}")
    rows = []
    for side in sides if ours not in failed else ():
        if side not in failed:
            rows.append(_row(configuration, side, found[side], found[ours]))
            line(f"  {side}: {rows[-1]['step_ms']:.1f} ms")
    return rows, failed


def _take_turns(configuration, sides, rounds, steps):
    """What each side found, a dict, and why sides failed, by side."""
    ours, failed = next(iter(sides)), {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        batches = Path(folder) / "batches.npy"
        np.save(batches, made_batches(configuration))
        given = {**configuration, "batches": str(batches)}
        found = {
            name: _Side(command, {**given, "variant": variant}, Path(folder) / str(number), stack)
            for number, (name, (command, variant)) in enumerate(sides.items())
        }
        order = list(sides)
        turns = [(lambda side: side.run(steps), order[::direction]) for direction in (1, -1)]
        turns = [turns[number % 2] for number in range(rounds)]
        last = lambda side: side.finish(steps if side is found[ours] else 0)
        for work, names in [(_Side.start, order), *turns, (last, order)]:
            for name in names:
                try:
                    if name not in failed:
                        work(found[name])
                except WorkerError as error:
                    failed[name] = str(error)
                    if name == ours:  # that the others are compared with
                        return found, failed
    return found, failed


class _Side:
    """A side of a comparison: its process, and what that has found.

    Args:
        command: list of str. Of the worker.
        given: dict. The worker's settings.
        caches: path. For the compilers' caches, empty.
        stack: contextlib.ExitStack that ends the worker.
    """

    def __init__(self, command, given, caches, stack):
        self._begin = lambda: stack.enter_context(Worker(command, given, caches))
        self.turns, self.told = [], {"second_seconds": None, "parts": None}

    def start(self):
        self._worker = self._begin()
        self.ready = self._worker.ready
        self.told["start_seconds"] = self._worker.seconds

    def run(self, steps):
        self.turns.append(self._worker.ask(f"run {steps}"))

    def finish(self, traced_steps):
        """Starts once more, with the caches; before, a worker of ours says more of its step."""
        if traced_steps:
            self.told |= self._worker.ask("again") | self._worker.ask(f"parts {traced_steps}")
        self._worker.close()
        self.told["cached_seconds"] = self._begin().seconds


def _row(configuration, name, side, ours):
    medians, our_medians = (
        [statistics.median(turn["milliseconds"]) for turn in each.turns] for each in (side, ours)
    )
    times = [each for turn in side.turns for each in turn["milliseconds"]]
    step = statistics.median(times)
    return {
        **configuration,
        "side": name,
        "tokens": _tokens(configuration),
        "tokens_per_second": _tokens(configuration) / step * 1e3,
        "step_ms": step,
        "min_ms": min(times),
        "all_ms": times,
        # Above one: this side is slower than ours.
        "times_ours": statistics.median(mine / our for mine, our in zip(medians, our_medians)),
        "peak_bytes": side.turns[-1]["peak_bytes"],
        "start_bytes": side.ready["start_bytes"],
        **side.told,
        "loss_value": side.turns[-1]["loss"],
        "worker": side.ready["name"],
        "versions": side.ready.get("versions", {}),
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
