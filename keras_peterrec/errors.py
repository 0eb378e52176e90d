"""The exceptions for a user's mistakes."""


class InputError(ValueError):
    """What a user gave cannot be used; the message is one clear line.

    The message names the argument, what is allowed and what came:
    "`k` should be a positive integer. Received: `k` = -1." The commands print
    it without a traceback and end with exit status 2.
    """


class Misfit(InputError):
    """What was asked is allowed, but does not go with this data or this host.

    Too few users for a split, a factor that does not divide the channels. An experiment
    leaves such a run out and says so; any other InputError ends it.
    """
