"""Names of the signatures that are not tasks, and of all signatures' inputs. Imports nothing."""

NEXT_ITEM = "serving_default"
EMBED = "embed"
SIMILAR = "similar"  # items like some items
MIXED = "mixed"  # rows of many tasks
KNOWN = "known"  # how many events of a history are known, and nothing else
INIT = "__saved_model_init_op"  # a server runs it when it loads a model; clients cannot ask it
# End the names of the signatures that read tf.Example, for the REST calls of these names.
CLASSIFY = "_classify"
REGRESS = "_regress"
STEP = "_step"  # ends the names of the signatures that take one event
SELECT = "_select"  # ends the names of the signatures that say what may be recommended
STATE = "state_bytes"  # servers write outputs whose names end in _bytes in base64

# Names that no task may have, and endings of such.
TAKEN = (NEXT_ITEM, EMBED, SIMILAR, MIXED, KNOWN)
ENDINGS = (CLASSIFY, REGRESS, STEP, SELECT)

# Outputs of every answer that has several: what REST writes as an object.
KNOWN_EVENTS, EVENTS = "known_events", "events"
COUNTS = (KNOWN_EVENTS, EVENTS)

K, KEEP_SEEN = "k", "keep_seen"
INTEGERS = (K, KEEP_SEEN)  # inputs that are int32 `[B]`; all others are strings `[B]`


def input_names(signature: str) -> tuple[str, ...]:
    """The names of a signature's inputs."""
    if signature.endswith((CLASSIFY, REGRESS)):
        return ("inputs",)
    if signature.endswith(STEP):
        return (STATE, "item", "seen")
    if signature.endswith(SELECT):
        return ("history", "allow", "deny", K, KEEP_SEEN)
    if signature == SIMILAR:
        return ("items",)
    return ("history", "task") if signature == MIXED else ("history",)
