"""Rows that a signature can be asked with, whatever it reads."""

import tensorflow as tf

from keras_peterrec.serving.signature_names import CLASSIFY, STATE, input_names


def sample_rows(signature, histories, tasks=("",)):
    """What each input of a signature could be.

    Args:
        signature: str, its name.
        histories: list of str, item ids separated by white space.
        tasks: sequence of str, tasks that rows may name. Defaults to none that there is.

    Returns:
        dict from input name to list of str or bytes; one may be longer than another.
    """
    if signature.endswith(CLASSIFY):
        return {"inputs": [_example(history) for history in histories]}
    rows = {
        "history": histories,
        "task": list(tasks),
        STATE: ["" for _ in histories],  # new users
        "item": [(history.split() or [""])[-1] for history in histories],
        "seen": histories,
    }
    return {name: rows[name] for name in input_names(signature)}


def _example(history):
    """A serialized `tf.Example` of one history."""
    items = tf.train.BytesList(value=[item.encode() for item in history.split()])
    features = tf.train.Features(feature={"history": tf.train.Feature(bytes_list=items)})
    return tf.train.Example(features=features).SerializeToString()
