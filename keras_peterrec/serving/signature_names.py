"""Names of an export's signatures besides the tasks', and of their inputs; imports nothing."""

NEXT_ITEM = "serving_default"
EMBED = "embed"
MIXED = "mixed"  # rows of many tasks
CLASSIFY = "_classify"  # ends the names of the signatures that read tf.Example
STEP = "_step"  # ends the names of those that take in one event
STATE = "state_bytes"  # a name that ends so is written in base64 by a server


def input_names(signature):
    """What a signature reads, each a string `[B]`."""
    if signature.endswith(CLASSIFY):
        return ("inputs",)
    if signature.endswith(STEP):
        return (STATE, "item", "seen")
    return ("history", "task") if signature == MIXED else ("history",)
