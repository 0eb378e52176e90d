"""Values of settings in short names, such as the `1/2/4` of `convolution:dilations=1/2/4`."""

from typing import Any

_WORDS = {"true": True, "false": False, "none": None}


def read_value(text: str) -> Any:
    """A number, `True`, `False`, `None`, a tuple of values joined by `/`, or else the text itself.

    Example:

    >>> read_value("1/2"), read_value("0.5"), read_value("none"), read_value("serial")
    ((1, 2), 0.5, None, 'serial')
    """
    if "/" in text:
        return tuple(read_value(part) for part in text.split("/") if part)
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def write_value(value: Any) -> str:
    """A value as `read_value` reads it."""
    if isinstance(value, tuple):
        # Of one value, the / says that it is a sequence.
        return "/".join(map(write_value, value)) + ("/" if len(value) < 2 else "")
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("e+", "e")  # 1e+20: a + would begin another method


def is_number(text: str) -> bool:
    """Whether a text begins as a number, or a tuple of them, does."""
    return text[:1] in set("-./0123456789")
