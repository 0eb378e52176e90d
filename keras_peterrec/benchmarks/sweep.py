"""Which configurations a benchmark goes through."""

from keras_peterrec.errors import InputError

# By the name of a sweep: the setting that it changes and its values.
SWEEPS = {
    "items": ("items", (10_000, 50_000, 1_000_000)),
    "length": ("length", (64, 512, 4_096)),
    "batch": ("batch_size", (32, 128, 512)),
    "channels": ("hidden_dim", (32, 64, 128, 256)),
}


def parse_sweeps(texts):
    """Reads sweeps such as `items` or `items=10000,50000`.

    Args:
        texts: list of str.

    Returns:
        dict of tuples of int by name of the sweep.

    Raises:
        InputError: there is no such sweep, or a value is no positive integer.
    """
    sweeps = {}
    for text in texts:
        name, given, values = text.partition("=")
        if name not in SWEEPS:
            raise InputError(
                f"`sweep` should be one of {', '.join(SWEEPS)}. Received: `sweep` = {name!r}."
            )
        try:
            sweeps[name] = tuple(map(int, values.split(","))) if given else SWEEPS[name][1]
        except ValueError:
            raise InputError(
                f"`sweep` should be a name or name=integers, such as {name}=10,20. "
                f"Received: `sweep` = {text!r}."
            ) from None
    return sweeps


def sweep_configurations(base, sweeps, losses):
    """The configurations of all sweeps, or the reference configuration alone.

    Over the length, the batch changes so that every step has the same number of tokens:
    that of the reference configuration, rounded up to whole rows of the greatest length.

    Args:
        base: TrainConfiguration.
        sweeps: dict, as from `parse_sweeps`.
        losses: list of str.

    Returns:
        list of (name of the sweep, TrainConfiguration); the name is "reference" where
        there is no sweep.
    """
    found = []
    for name, values in sweeps.items():
        for value in values:
            changed = base.replace(**{SWEEPS[name][0]: value})
            if name == "length":
                tokens = -(-base.tokens // max(values)) * max(values)
                changed = changed.replace(batch_size=max(1, round(tokens / value)))
            found.append((name, changed))
    found = found or [("reference", base)]
    return [(name, each.replace(loss=loss)) for name, each in found for loss in losses]
