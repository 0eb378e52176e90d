"""Latencies in a few numbers."""

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def summarize_latencies(seconds):
    """Percentiles by nearest rank, in milliseconds.

    Args:
        seconds: list of float.

    Returns:
        dict of `p50`, `p90`, `p99` and `max`; None each where there are no latencies.
    """
    ordered = sorted(seconds)
    if not ordered:
        return dict.fromkeys(_SHARES)
    last = len(ordered) - 1
    return {
        name: 1e3 * ordered[min(last, int(share * len(ordered)))] for name, share in _SHARES.items()
    }
