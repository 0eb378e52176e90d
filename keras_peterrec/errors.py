"""The one exception for a user's mistake."""


class InputError(ValueError):
    """What a user gave cannot be used; the message is one clear line.

    The message names the argument, what is allowed and what came:
    "`k` should be a positive integer. Received: `k` = -1." The commands print
    it without a traceback and end with exit status 2.
    """
