"""Settings as runs record and check them."""

from keras_peterrec.data.labels import Labels
from keras_peterrec.data.log import Log
from keras_peterrec.errors import InputError

_POSITIVE = (
    "hidden_dim",
    "blocks",
    "max_length",
    "epochs",
    "batch_size",
    "bottleneck",
    "min_count",
    "k",
)
_RATES = ("dropout", "unknown_rate")


def name_of(data):
    """What `run.json` calls a log or labels given as an object or by a path."""
    if isinstance(data, Log):
        return data.name
    if isinstance(data, Labels):
        return data.column
    return None if data is None else str(data)


def check_settings(settings):
    """Refuses numbers out of range, one line each; `None` is for a default."""
    for name in _POSITIVE:
        value = settings.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(
                f"`{name}` should be a positive integer. Received: `{name}` = {value!r}."
            )
    for name in _RATES:
        value = settings.get(name)
        if value is not None and not 0.0 <= value < 1.0:
            raise InputError(
                f"`{name}` should be a rate from 0 up to but not 1. Received: `{name}` = {value!r}."
            )
    seed = settings.get("seed")
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**32):
        raise InputError(
            f"`seed` should be an integer from 0 to {2**32 - 1}. Received: `seed` = {seed!r}."
        )
    rate = settings.get("learning_rate")
    if rate is not None and not 0.0 < rate < float("inf"):
        raise InputError(
            f"`learning_rate` should be a positive number. Received: `learning_rate` = {rate!r}."
        )
