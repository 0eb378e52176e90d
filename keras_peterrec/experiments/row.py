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
        """What is run, as the name of a folder and of a model: the same in all plans."""
        settings = {"method": None, **self.settings}
        method = settings.pop("method")
        parts = [self.run if method is None else method]
        parts += [] if self.objective == "causal" else [self.objective]
        parts += [f"{name} {value}" for name, value in sorted(settings.items())]
        return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")
