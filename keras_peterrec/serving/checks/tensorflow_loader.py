"""Loads a SavedModel in a process that has TensorFlow and neither Keras nor this library.

Run as `python tensorflow_loader.py VERSION_DIRECTORY < requests.json`; see
`keras_peterrec.serving.checks.loaders` for what goes in and out.
"""

import base64
import json
import sys


def main():
    """Answers the requests on stdin."""
    sys.modules["keras_peterrec"] = sys.modules["keras"] = None  # neither can be imported now
    import tensorflow as tf

    model = tf.saved_model.load(sys.argv[1])
    answers = []
    for request in json.load(sys.stdin):
        batch = {
            name: tf.constant([base64.b64decode(text) for text in rows], tf.string)
            for name, rows in request["batch"].items()
        }
        answer = model.signatures[request["signature"]](**batch)
        answers.append({key: _plain(value.numpy()) for key, value in answer.items()})
    print(json.dumps(answers))


def _plain(array):
    return {"shape": list(array.shape), "values": [_value(value) for value in array.flat]}


def _value(value):
    return base64.b64encode(value).decode() if isinstance(value, bytes) else float(value)


if __name__ == "__main__":
    main()
