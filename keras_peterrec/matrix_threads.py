"""How many threads a linear algebra library takes for one product or one system."""

import functools
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> Any:
    """A context in which linear algebra takes one thread.

    The threads of a library wait for each other by spinning. On small matrices, beside other
    threads of ours and beside another process, that takes many times as long as one thread needs.
    """
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries():
    # To find them takes 40 ms, as long as many a ranking, and it finds what is loaded. SciPy has a
    # library of its own.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()
