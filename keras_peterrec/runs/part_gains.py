"""What the network and the linear part add to each other's answers."""

from typing import Any

from keras_peterrec import progress
from keras_peterrec.metrics.measured import Measured

NETWORK, LINEAR = "network", "linear part"
CLEAR = 1.645  # standard errors of a mean difference: 95 of 100 differences by chance are smaller


def say_what_parts_add(result: dict, parts: dict, metric: Any, asked: str = "here") -> None:
    """Says in a line, and under `parts` of a result, what each part adds to the other alone.

    Where the sum is not clearly better than the linear part alone, a second line says that the
    network was not worth its time.

    Args:
        result: dict, as `metrics.json` will hold it; changed.
        parts: dict from `NETWORK` and `LINEAR` to the test metrics of that part alone.
        metric: Metric that decides.
        asked: str. For what the network bought nothing, if it did. Defaults to `"here"`.
    """
    both = result["metrics"]["test"]
    values = {name: found[metric.name] for name, found in parts.items()}
    result["parts"] = {f"{name} alone": {metric.name: value} for name, value in values.items()}
    lines = []
    for name, other in ((NETWORK, LINEAR), (LINEAR, NETWORK)):
        share = _gain(both[metric.name], values[other], metric)
        result["parts"][f"{name} adds"] = share
        lines.append(f"the {name} adds {'all of it' if share is None else f'{share:+.1%}'}")
    shown = ", ".join(f"{name} alone {value:.4f}" for name, value in values.items())
    progress.line(f"{metric.name} {both[metric.name]:.4f} on test: {'; '.join(lines)} ({shown})")
    if not _clearly_better(both, parts[LINEAR], metric):
        seconds = result["seconds"]["fit"]
        result["parts"]["network worth its time"] = False
        progress.line(
            "the linear part alone is as good as the sum within noise: the network's "
            f"{seconds:.0f} s of training bought nothing {asked}"
        )


def _gain(value, other, metric):
    """How much better a value is than another, as a share of it; `None` where that is 0."""
    if not other:
        return None
    share = (value - other) / abs(other)
    return round(share if metric.higher_is_better else -share, 4)


def _clearly_better(both, linear, metric):
    """Whether a user's mean difference is above 0 by more than chance; else by the metric alone."""
    gain, error = both.gain_over(linear, metric)
    return gain > CLEAR * error


def can_be_compared(*measured: Any) -> bool:
    """Whether metrics know what each row adds to them; those of a kind of one's own may not."""
    return all(isinstance(found, Measured) for found in measured)
