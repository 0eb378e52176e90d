"""Names of an export's signatures besides the tasks'; imports nothing."""

NEXT_ITEM = "serving_default"
EMBED = "embed"
CLASSIFY = "_classify"  # ends the names of the signatures that read tf.Example
