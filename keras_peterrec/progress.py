"""What a person sees while a command works: a line a stage on stderr, a live line on a terminal.

A stage that takes longer than two seconds also says how far it is, after growing pauses. Whoever
goes through something long within a stage says so by `each` and `part`; outside of a stage these
print nothing, so that a function of ours that others call is silent.

The environment variable `KERAS_PETERREC_PROGRESS` says how: `live` shows what is going on now,
`lines` prints lines only, `off` prints nothing. Without it, a terminal is live and anything else
gets lines.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

HOW = "KERAS_PETERREC_PROGRESS"
# Seconds until a stage says how far it is; longer for what every epoch repeats, since an epoch ends
# in a line of its own. Each pause is twice the one before it, up to the longest.
FIRST_PAUSE, REPEATED_PAUSE, LONGEST_PAUSE = 2.0, 10.0, 30.0
_live = []  # what the terminal shows now; rich can show one thing at a time
_stages: list = []  # those that have begun, the innermost last
# Held while a stage begins or ends, and while one speaks: else a stage that has just found that it
# is the innermost could speak after one within it has begun.
_turn = threading.Lock()


def line(text: str) -> None:
    """Prints a line of progress."""
    if _how() != "off":
        # At once: a stage speaks from a thread of its own.
        print(f"{text}\n", end="", file=sys.stderr, flush=True)


def is_off() -> bool:
    """Whether nothing is to be printed, for libraries that print by themselves."""
    return _how() == "off"


@contextlib.contextmanager
def stage(
    what: str, brief: bool = False, repeated: bool = False
) -> Iterator[Callable[[str], None]]:
    """Says what the block does, and at its end what came of it and how long it took.

    It yields a function that takes what came of it, a text. A `brief` one leaves no line when it is
    done, but a long one says how far it is even so. A `repeated` one every epoch does again.

    Example:

    >>> with stage("reading clicks.csv") as found:
    ...     log = load_log("clicks.csv")
    ...     found(f"{len(log):,} events")
    reading clicks.csv ... 1,200,000 events, 3.1 s
    """
    results = []
    begun = _Stage(f"{what} ...")
    with _shown(lambda: _console().status(begun, spinner="line")), begun.telling(repeated):
        yield results.append
    if not brief:
        parts = [*results, f"{time.perf_counter() - begun.began:.1f} s"]
        line(f"{what} ... {', '.join(parts)}")


def part(text: str) -> None:
    """Says which part of the stage goes on now, such as `"the signature films"`."""
    if _stages:
        _stages[-1].part, _stages[-1].done = text, ""


def each(
    steps: Iterable[T], what: str, total: float | None = None, size: Callable = lambda step: 1
) -> Iterator[T]:
    """Goes through the steps of something long, and tells the stage how far it is.

    `size` says of a step how much of `total` it is; `total` is the number of steps unless given.

    Example:

    >>> with stage("measuring test users"):
    ...     for batch in each(batches, "asking the network"):
    ...         ask(batch)
    measuring test users ... asking the network 34 %, 2 s
    """
    if not _stages:
        yield from steps
        return
    within = _stages[-1]
    total = total or len(steps)  # type: ignore[arg-type]
    done, before = 0, within.done
    try:
        within.done = f"{what} 0 %"
        for step in steps:
            yield step
            done += size(step)
            within.done = f"{what} {min(1.0, done / total):.0%}".replace("%", " %")
    finally:
        within.done = before


@contextlib.contextmanager
def bar(text: str, steps: int | None, repeated: bool = False) -> Iterator[Callable[[], Any]]:
    """Shows on the terminal how many steps are done and the time left; lines say so sometimes.

    It yields a function to call after each step. A `repeated` one every epoch does again.
    """
    begun = _Stage(f"{text} ...")
    with _shown(_bar) as shown, begun.telling(repeated):
        task = None if shown is None else shown.add_task(text, total=steps)
        done = 0

        def advance():
            nonlocal done
            done += 1
            begun.done = f"{done:,}" + ("" if steps is None else f" of {steps:,}")
            if shown is not None:
                shown.advance(task)

        yield advance


class _Stage:
    """A stage that has begun, and how far it is."""

    def __init__(self, what):
        self.what = what
        self.part = self.done = ""
        self.began = time.perf_counter()

    def __str__(self):
        parts = [": ".join(filter(None, (self.part, self.done)))]
        seconds = time.perf_counter() - self.began
        parts += [f"{seconds:.0f} s"] if seconds >= 1.0 else []
        return f"{self.what} {', '.join(filter(None, parts))}".rstrip()

    def __rich__(self):  # a terminal asks again several times a second
        from rich.text import Text

        return Text(str(self))

    @contextlib.contextmanager
    def telling(self, repeated):
        """Lines of how far it is, as long as the block runs, from a thread of its own.

        So what cannot be divided is not silent either.
        """
        over, pause = threading.Event(), REPEATED_PAUSE if repeated else FIRST_PAUSE
        teller = threading.Thread(target=self._tell, args=(pause, over), daemon=True)
        speaks = _how() == "lines"
        self.began = time.perf_counter()
        with _turn:
            _stages.append(self)
        try:
            if speaks:
                teller.start()
            yield
        finally:
            with _turn:
                _stages.remove(self)
            over.set()
            if speaks:
                teller.join()

    def _tell(self, pause, over):
        while not over.wait(pause):
            with _turn:
                if _stages[-1:] == [self]:  # else a stage within it speaks
                    line(str(self))
            pause = min(2.0 * pause, LONGEST_PAUSE)


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


def _bar():
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=_console(), transient=True)


def _how():
    asked = os.environ.get(HOW)
    if asked in ("live", "lines", "off"):
        return asked
    return "live" if sys.stderr.isatty() else "lines"


def _console():
    """A console that prints names as they are: `[red]` and `:cat:` may be items or folders."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)
