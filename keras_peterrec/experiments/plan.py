"""An experiment as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What an experiment compares, and which pictures show it.

    Args:
        name: str.
        title: str. One line, for the table and the help.
        rows: tuple of Row.
        plots: tuple of str, names of `PLOTS` in `experiments.plots`.
        source: str. What of the paper it repeats.
    """

    name: str
    title: str
    rows: tuple
    plots: tuple
    source: str
