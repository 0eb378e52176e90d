"""What a person sees while a command works: a line a stage on stderr, a live line on a terminal.

The environment variable `KERAS_PETERREC_PROGRESS` says how: `live` shows what is going on now,
`lines` prints only what is done, `off` prints nothing. Without it, a terminal is live and anything
else gets lines.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

HOW = "KERAS_PETERREC_PROGRESS"
_live = []  # what the terminal shows now; rich can show one thing at a time


def line(text: str) -> None:
    """Prints a line of progress."""
    if _how() != "off":
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def stage(what: str, brief: bool = False) -> Iterator[Callable[[str], None]]:
    """Says what the block does, and at its end what came of it and how long it took.

    Args:
        what: str. Such as `"reading clicks.csv"`.
        brief: bool. Whether only a terminal shows it, and only until it is done, as what
            happens again every epoch. Defaults to `False`.

    Yields:
        A function that takes what came of it, a text.

    Example:

    >>> with stage("reading clicks.csv") as found:
    ...     log = load_log("clicks.csv")
    ...     found(f"{len(log):,} events")
    reading clicks.csv ... 1,200,000 events, 3.1 s
    """
    results = []
    began = time.perf_counter()
    with live_line(f"{what} ..."):
        yield results.append
    if not brief:
        told = [*results, f"{time.perf_counter() - began:.1f} s"]
        line(f"{what} ... {', '.join(told)}")


@contextlib.contextmanager
def live_line(text: str) -> Iterator[None]:
    """Shows a line on the terminal as long as the block runs."""
    with _shown(lambda: _console().status(text, spinner="line")):
        yield


@contextlib.contextmanager
def bar(text: str, steps: int | None) -> Iterator[Callable[[], Any]]:
    """Shows on the terminal how many steps are done and the time left.

    Yields:
        A function without arguments, to call after each step.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with _shown(lambda: Progress(*columns, console=_console(), transient=True)) as shown:
        if shown is None:
            yield lambda: None
        else:
            task = shown.add_task(text, total=steps)
            yield lambda: shown.advance(task)


@contextlib.contextmanager
def _shown(make):
    """Shows what `make` returns, if this is a terminal that shows nothing else."""
    if _live or _how() != "live":
        yield None
        return
    with make() as shown:
        _live.append(shown)
        try:
            yield shown
        finally:
            _live.pop()


def _how():
    asked = os.environ.get(HOW)
    if asked in ("live", "lines", "off"):
        return asked
    return "live" if sys.stderr.isatty() else "lines"


def _console():
    """A console that prints names as they are: `[red]` and `:cat:` may be items or folders."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)
