"""NumPy work on all processors."""

import os
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

MOST_THREADS = 16  # each holds buffers of its own


def thread_count():
    """Processors this process may use, at most `MOST_THREADS`."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(MOST_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def thread_map(function, jobs):
    """Calls a function for each job, several at a time.

    NumPy lets go of the interpreter within its loops. A matrix product then uses one
    processor, or its library's threads and ours would wait for each other.

    Args:
        function: Callable of one job; what it returns is dropped.
        jobs: list.
    """
    count = min(thread_count(), len(jobs))
    if count <= 1:
        for job in jobs:
            function(job)
        return
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count) as pool:
        for _ in pool.map(function, jobs):
            pass
