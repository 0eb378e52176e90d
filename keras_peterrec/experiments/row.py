"""One row of an experiment's table."""

import re
from dataclasses import dataclass, field

RUNS = ("transfer", "ridge", "multi_task")


@dataclass(frozen=True)
class Row:
    """What is run for every task and seed, and what the table calls it.

    Args:
        label: str.
        settings: dict. Arguments of the run, beside data, host, seed and `out`.
        run: str. One of `RUNS`. Defaults to `"transfer"`.
        objective: str. Of the host's pretraining. Defaults to `"causal"`.
    """

    label: str
    settings: dict = field(default_factory=dict)
    run: str = "transfer"
    objective: str = "causal"

    @property
    def folder(self):
        """The label as the name of a folder, and of a model."""
        return re.sub(r"[^a-z0-9.]+", "-", self.label.lower()).strip("-")
