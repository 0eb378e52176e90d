"""Names of the signatures that are not tasks, and of all signatures' inputs. Imports nothing."""

NEXT_ITEM = "serving_default"
EMBED = "embed"
MIXED = "mixed"  # rows of many tasks
# End the names of the signatures that read tf.Example, for the REST calls of these names.
CLASSIFY = "_classify"
REGRESS = "_regress"
STEP = "_step"  # ends the names of the signatures that take one event
STATE = "state_bytes"  # servers write outputs whose names end in _bytes in base64


def input_names(signature):
    """The names of a signature's inputs, each a string `[B]`."""
    if signature.endswith((CLASSIFY, REGRESS)):
        return ("inputs",)
    if signature.endswith(STEP):
        return (STATE, "item", "seen")
    return ("history", "task") if signature == MIXED else ("history",)
