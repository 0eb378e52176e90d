"""One task of an experiment: where its histories and its answers are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskSource:
    """What `transfer` needs to know of a task, besides its method.

    Args:
        name: str.
        source: str. Name of the source log of its host, in its `Dataset`.
        log: str. The log with the histories; see `load_log`.
        target: str or `None`. The target log, to recommend in it; or
        labels: str or `None`. The labels, to classify.
        column: str or `None`. Column of `labels`.
        cut_history: bool. `False` where the clocks of log and target differ.
    """

    name: str
    source: str
    log: str
    target: str | None = None
    labels: str | None = None
    column: str | None = None
    cut_history: bool = True

    @property
    def kind(self):
        """`"recommend"` or `"classify"`."""
        return "recommend" if self.target is not None else "classify"

    @property
    def folder(self):
        """The task and how its histories are read, as the name of a folder."""
        whole = self.kind == "recommend" and not self.cut_history
        return f"{self.name}-whole-histories" if whole else self.name

    @property
    def arguments(self):
        """The arguments of `transfer` and `ridge` that name the data."""
        if self.kind == "recommend":
            return {"log": self.log, "target": self.target, "cut_history": self.cut_history}
        return {"log": self.log, "labels": self.labels, "column": self.column}
