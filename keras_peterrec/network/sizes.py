"""How large a network is, by name, and how much its training hides: what suits a log."""

AUTO, BASE = "auto", "base"
# Channels of each size. Of how many blocks, each network says itself.
CHANNELS = {"small": 32, BASE: 64, "large": 128}
# `large` found more on logs with a million events and with 378,000, some 200 for each item, and no
# more than `base` on one with 100,000 events, nor on a shop with 16 for each item
# (notebooks/results.md, "Sizes"). What the convolution gains was not measured.
LARGE_FROM, LARGE_FROM_EACH = 300_000, 50
# More dropout found more on three shops with 11 to 13 events for each item, for the two of them
# that are told apart, and less on a log with 58; between these nothing was measured.
DROPOUT, SPARSE_DROPOUT, SPARSE_BELOW = 0.3, 0.5, 20


def size_for(events: int, items: int) -> str:
    """The size that suits a log with so many events of so many items.

    Example:

    >>> size_for(1_000_000, items=3_700), size_for(1_000_000, items=100_000)
    ('large', 'base')
    """
    return "large" if events >= max(LARGE_FROM, LARGE_FROM_EACH * items) else BASE


def channels_of(size: str, events: int, items: int) -> int:
    """The channels C of a network of a size, `"auto"` included, for such a log."""
    return CHANNELS[size_for(events, items) if size == AUTO else size]


def dropout_for(events: int, items: int) -> float:
    """The rate of dropout that suits such a log.

    Example:

    >>> dropout_for(100_000, items=1_700), dropout_for(150_000, items=12_000)
    (0.3, 0.5)
    """
    return SPARSE_DROPOUT if events < SPARSE_BELOW * items else DROPOUT
