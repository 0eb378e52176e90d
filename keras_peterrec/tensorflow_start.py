"""TensorFlow without its start-up chatter."""

import os
import sys


def load_tensorflow():
    """Imports TensorFlow without its start-up chatter, which no setting silences.

    A failing import still raises, and what TensorFlow says later is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
