"""What a SavedModel is made of: weights, tables and signatures."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_peterrec.data.preprocessing import left_pad, split_history
from keras_peterrec.serving.catalogue import Catalogue
from keras_peterrec.serving.mixed_signature import MixedSignature
from keras_peterrec.serving.signature_names import CLASSIFY, EMBED, MIXED, NEXT_ITEM, STEP
from keras_peterrec.serving.step_signature import step_signature
from keras_peterrec.transfer.host import backbone_weights


class ServedModel(tf.Module):
    """The host and its tasks as functions of raw histories.

    Every signature of this table takes one input `history`, string `[B]`: item ids
    separated by white space.

    | signature | outputs |
    |---|---|
    | `serving_default` | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | `embed` | `embedding`, float32 `[B, C]`, the user's state |
    | a recommendation | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | a classification | `classes`, string `[B, n]`; `scores`, float32 `[B, n]` |

    `serving_default` gives the next items of the source log. Items come best first,
    without those of the history; classes are all n of them, by falling probability,
    and their scores are the probabilities.

    All but `embed` answer a server's `:classify` as well, under their name with
    `_classify` behind it: its input `inputs`, string `[B]`, holds serialized
    `tf.Example` with a list `history` of item ids, of any length in each row; its
    outputs are `classes` and `scores` whether items or classes are meant.

    If `incremental`, every task answers one event at a time as well, under its name with
    `_step` behind it: see `step_signature`. Tasks of `mixed` share one signature `mixed`,
    which reads the task of each row: see `MixedSignature`.

    The weights are held as raw variables, each once, by path. Keras objects are
    not held: saved with them, every weight would be written twice, or not be
    found by TensorFlow Serving.

    Args:
        host: Host.
        tasks: dict from name to Task.
        k: int. Items of an answer.
        folder: path of an existing folder for the vocabularies' text files.
        incremental: bool. Defaults to `False`.
        mixed: MixedTasks on `host`. Defaults to `None`.

    Example:

    >>> served = ServedModel(host, {"films": task}, 10, folder)
    >>> tf.saved_model.save(served, "export/peterrec/1", signatures=served.functions)
    """

    def __init__(self, host, tasks, k, folder, incremental=False, mixed=None):
        super().__init__(name="peterrec")
        source = Catalogue(host.vocabulary, Path(folder) / "vocabulary.txt")
        targets = {
            name: Catalogue(task.targets, Path(folder) / f"{name}_targets.txt")
            for name, task in tasks.items()
            if task.kind == "recommend"
        }
        self.functions = _of_histories(host, source, tasks, targets, k)
        for name in (NEXT_ITEM, *tasks):
            self.functions[name + CLASSIFY] = _from_examples(self.functions[name])
        for name, task in tasks.items() if incremental else ():
            step = step_signature(host, source, task, targets.get(name), k)
            self.functions[name + STEP] = step
        self.catalogues = {"source": source, **{f"tasks/{n}": c for n, c in targets.items()}}
        named = _named_weights(host, tasks)
        if mixed is not None:
            signature = MixedSignature(host, source, mixed, k, folder)
            self.functions[MIXED] = signature.function
            self.catalogues[MIXED] = signature.tables
            named.update({f"{MIXED}/{path}": w for path, w in signature.weights.items()})
        self.weights = _captured_weights(self.functions.values(), named)


def _of_histories(host, source, tasks, targets, k):
    """The functions of histories alone, `{signature: concrete function}`."""
    functions = {NEXT_ITEM: _next_item(host, source, k), EMBED: _embed(host, source)}
    for name, task in tasks.items():
        if task.kind == "recommend":
            functions[name] = _recommend(host, source, task, targets[name], k)
        else:
            functions[name] = _classify(host, source, task)
    spec = tf.TensorSpec([None], tf.string, name="history")
    return {
        name: tf.function(function, autograph=False).get_concrete_function(spec)
        for name, function in functions.items()
    }


def _padded(history, source, max_length):
    return left_pad(split_history(history, source.ids), max_length)  # [B, L]


def _next_item(host, source, k):
    def next_item(history):
        user = host.pretrainer.user_states(_padded(history, source, host.max_length))
        table = keras.ops.convert_to_tensor(host.pretrainer.item_table)
        # As `Pretrainer.next_item_scores`, without transposing a large table.
        scores = tf.matmul(tf.cast(user, tf.float32), tf.cast(table, tf.float32), transpose_b=True)
        return source.best_unseen(scores, history, k)

    return next_item


def _embed(host, source):
    def embed(history):
        user = host.pretrainer.user_states(_padded(history, source, host.max_length))
        return {"embedding": tf.cast(user, tf.float32)}  # REST cannot print halves

    return embed


def _recommend(host, source, task, targets, k):
    length = host.history_length(task.model)

    def recommend(history):
        scores = task.model(_padded(history, source, length), training=False)
        return targets.best_unseen(scores, history, k)

    return recommend


def _classify(host, source, task):
    length = host.history_length(task.model)

    def classify(history):
        logits = task.model(_padded(history, source, length), training=False)
        scores, order = tf.math.top_k(tf.nn.softmax(logits), len(task.classes))
        return {"classes": tf.gather(tf.constant(task.classes), order), "scores": scores}

    return classify


def _from_examples(answer):
    """The same answers for serialized `tf.Example`, by calling `answer`, not a copy of it."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def from_examples(inputs):
        rows = tf.io.parse_example(inputs, {"history": tf.io.RaggedFeature(tf.string)})
        # A list of items becomes the one string that every signature reads.
        outputs = answer(tf.strings.reduce_join(rows["history"], axis=-1, separator=" "))
        labels = outputs["items" if "items" in outputs else "classes"]
        return {"classes": labels, "scores": outputs["scores"]}

    return from_examples.get_concrete_function()


def _named_weights(host, tasks):
    """The raw variables of the host and the tasks, `{path: tf.Variable}`."""
    named = {f"host/{path}": w for path, w in backbone_weights(host.backbone).items()}
    if not host.pretrainer.tied:
        named["host/output_table/embeddings"] = host.pretrainer.output_table.embeddings
    for name, task in tasks.items():
        own = task.model.task_weights()
        if task.model.host is not host.backbone:
            own |= {f"host/{p}": w for p, w in backbone_weights(task.model.host).items()}
        named.update({f"tasks/{name}/{path}": weight for path, weight in own.items()})
    return {path: weight.value for path, weight in named.items()}


def _captured_weights(signatures, named):
    """Those raw variables that the signatures read, each once, `{path: tf.Variable}`."""
    paths = {id(weight): path for path, weight in named.items()}
    captured = {id(v): v for signature in signatures for v in signature.variables}
    # A layer made elsewhere may read what has no path; it is saved all the same.
    return {paths.get(key, f"other/{n}"): v for n, (key, v) in enumerate(captured.items())}
