"""How many bytes many requests may hold together."""

import contextlib

from keras_peterrec.serving.server.errors import UNAVAILABLE, ServingError

# What each may hold in any case: a few that are large must not keep all others out.
SMALL = 1 << 16


class ByteBudget:
    """Counts the bytes that requests hold, and refuses one that would make them too many.

    One that holds little, or alone, is never refused: there are other limits for these.

    Args:
        limit: int.
        message: str. What who is refused is told.

    Example:

    >>> with budget.share() as hold:
    ...     hold(len(body))
    """

    def __init__(self, limit, message):
        self.limit = limit
        self.message = message
        self.held = 0

    @contextlib.contextmanager
    def share(self):
        """Gives a function that takes so many bytes more, all of which are given back at the end.

        Raises:
            ServingError: by that function; others hold too much.
        """
        own = 0

        def hold(size):
            nonlocal own
            if own + size > SMALL and self.held > own and self.held + size > self.limit:
                raise ServingError(UNAVAILABLE, self.message)
            own += size
            self.held += size

        try:
            yield hold
        finally:
            self.held -= own
