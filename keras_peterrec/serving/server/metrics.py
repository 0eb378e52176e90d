"""Counts and latencies in Prometheus' text format, under TensorFlow Serving's names."""

import contextlib
from bisect import bisect_left

_PREFIX = ":tensorflow:serving:"
# In microseconds.
BUCKETS = [10 * 1.8**n for n in range(33)]
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Metrics:
    """Counters and histograms; they belong to one thread.

    Example:

    >>> metrics = Metrics()
    >>> metrics.count("request_count", model_name="peterrec", status="OK")
    >>> metrics.page()
    '# TYPE :tensorflow:serving:request_count counter\\n...'
    """

    def __init__(self):
        self._counters = {}
        self._histograms = {}

    @contextlib.contextmanager
    def paused(self):
        """Counts and observes nothing meanwhile."""
        before = self._counters, self._histograms
        self._counters, self._histograms = {}, {}
        try:
            yield
        finally:
            self._counters, self._histograms = before

    def count(self, name, amount=1, **labels):
        """Adds to a counter."""
        values = self._counters.setdefault(name, {})
        key = tuple(labels.items())
        values[key] = values.get(key, 0) + amount

    def observe(self, name, value, **labels):
        """Adds a value to a histogram; latencies are in microseconds."""
        values = self._histograms.setdefault(name, {})
        key = tuple(labels.items())
        counts = values.get(key)
        if counts is None:
            counts = values[key] = [0] * (len(BUCKETS) + 1) + [0.0]
        counts[bisect_left(BUCKETS, value)] += 1
        counts[-1] += value

    def total(self, name):
        """The sum of a counter over its labels."""
        return sum(self._counters.get(name, {}).values())

    def page(self):
        """All of them, as Prometheus reads them."""
        lines = []
        for name, values in sorted(self._counters.items()):
            lines.append(f"# TYPE {_PREFIX}{name} counter")
            lines += [f"{_PREFIX}{name}{_labels(key)} {n}" for key, n in values.items()]
        for name, values in sorted(self._histograms.items()):
            lines.append(f"# TYPE {_PREFIX}{name} histogram")
            for key, (*counts, total) in values.items():
                lines += _histogram(_PREFIX + name, key, counts, total)
        return "\n".join(lines) + "\n"


def _histogram(name, key, counts, total):
    running = 0
    for bound, count in zip([*(f"{bound:g}" for bound in BUCKETS), "+Inf"], counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels((*key, ('le', bound)))} {running}"
    yield f"{name}_sum{_labels(key)} {total:.17g}"
    yield f"{name}_count{_labels(key)} {running}"


def _labels(key):
    if not key:
        return ""
    inner = ",".join(f'{name}="{str(value).translate(_ESCAPES)}"' for name, value in key)
    return f"{{{inner}}}"
