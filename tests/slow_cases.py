"""Cases of `parametrize` that `make test-all` alone runs."""

import pytest


def slow(*cases):
    """The cases, marked `slow`: a default case beside them shows already what they show.

    Args:
        cases: values, or tuples of them where `parametrize` has several names.
    """
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]
