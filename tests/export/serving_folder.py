"""The folder `export/`, and a model with every signature that its how-to asks."""

import sys
from pathlib import Path

import tensorflow as tf

EXPORT = Path(__file__).parents[2] / "export"
sys.path.insert(0, str(EXPORT))  # its clients are scripts, not parts of the package

LOWEST = tf.float32.min


def save_model(folder):
    """Writes a SavedModel whose answers repeat the request, so that tests can tell them.

    `films` answers a history with `[history, ""]`, `spend` with the number of its items.
    """

    def films(history):
        return {"items": tf.stack([history, _empty(history)], 1), "scores": _scores(history)}

    def films_classify(inputs):
        history = tf.strings.reduce_join(_items(inputs), axis=-1, separator=" ")
        return {"classes": films(history)["items"], "scores": _scores(history)}

    def films_step(state_bytes, item, seen):
        return {**films(item), "state_bytes": tf.strings.join([state_bytes, item, seen])}

    def films_select(history, allow, deny, k, keep_seen):
        said = tf.strings.join([allow, deny, *map(tf.strings.as_string, (k, keep_seen))], "|")
        return {"items": tf.stack([history, said], 1), "scores": _scores(history)}

    def similar(items):
        return films(items)

    def mixed(history, task):
        return {"labels": tf.stack([task, history], 1), "scores": _scores(history)}

    def embed(history):
        return {"embedding": tf.fill([tf.size(history), 2], 0.25)}

    def known(history):
        events = tf.cast(tf.strings.split(history).row_lengths(), tf.int32)
        return {"known_events": events - 1, "events": events}

    def spend(history):
        return {"value": tf.cast(tf.strings.split(history).row_lengths(), tf.float32)}

    def spend_regress(inputs):
        return {"outputs": tf.cast(_items(inputs).row_lengths(), tf.float32)}

    signatures = {"serving_default": _concrete(films), "films": _concrete(films)}
    for function in (
        *(films_classify, films_step, films_select, similar, mixed, embed, known),
        *(spend, spend_regress),
    ):
        signatures[function.__name__] = _concrete(function)
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)


def _concrete(function):
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    dtypes = [tf.int32 if name in ("k", "keep_seen") else tf.string for name in names]
    specs = [tf.TensorSpec([None], dtype, name=name) for name, dtype in zip(names, dtypes)]
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def _items(inputs):
    return tf.io.parse_example(inputs, {"history": tf.io.RaggedFeature(tf.string)})["history"]


def _empty(history):
    return tf.fill(tf.shape(history), "")


def _scores(history):
    return tf.tile([[0.5, LOWEST]], [tf.size(history), 1])
