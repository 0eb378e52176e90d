"""Tables of what is imported when it is used, so that reading a table is cheap."""

import importlib
from typing import Any


def imported(entry: Any) -> Any:
    """What `"module:name"` of this package stands for; anything else is returned as it is.

    Example:

    >>> imported("errors:InputError").__name__
    'InputError'
    """
    if not isinstance(entry, str):
        return entry
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(f"keras_peterrec.{module}"), name)
