"""Is every weight stored once?"""

import hashlib
import re

import numpy as np
import tensorflow as tf

# A task of a method that trains a copy of the host brings that copy, parts of which
# training may have left as they were.
_OWN_HOST = re.compile(r"weights/tasks\.S.+\.Shost\.S")
_FEWEST = 64  # numbers; fewer may well be alike by chance


def check_weights(folder):
    """Weights that are stored more than once, a list of str."""
    reader = tf.train.load_checkpoint(str(folder.path / "variables" / "variables"))
    named = {}
    for key, shape in sorted(reader.get_variable_to_shape_map().items()):
        if _OWN_HOST.match(key) or np.prod(shape) < _FEWEST:
            continue
        value = np.asarray(reader.get_tensor(key))
        # All zeros or all ones is how a bias or a scale begins.
        if value.dtype.kind != "f" or (value == value.flat[0]).all():
            continue
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        named.setdefault((digest, value.shape), []).append(_readable(key))
    return [f"stored more than once: {', '.join(keys)}" for keys in named.values() if len(keys) > 1]


def _readable(key):
    return key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace(".S", "/")
