"""The module that becomes a SavedModel: weights, tables and signatures."""

from pathlib import Path

import tensorflow as tf

from keras_peterrec.data.preprocessing import left_pad, split_history
from keras_peterrec.serving.item_table import ItemTable
from keras_peterrec.serving.mixed_signature import MixedSignature
from keras_peterrec.serving.signature_names import CLASSIFY, EMBED, MIXED, NEXT_ITEM, STEP
from keras_peterrec.serving.step_signature import step_signature
from keras_peterrec.transfer.host import backbone_weights


class ServingModule(tf.Module):
    """The host and its tasks as functions of raw histories.

    Every signature in this table takes one input `history`, string `[B]`: item ids separated by
    white space.

    | signature | outputs |
    |---|---|
    | `serving_default` | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | `embed` | `embedding`, float32 `[B, C]`, the user's state |
    | a recommendation | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | a classification | `classes`, string `[B, n]`; `scores`, float32 `[B, n]` |
    | several labels | `labels`, string `[B, n]`; `scores`, float32 `[B, n]` |
    | a regression | `value`, float32 `[B]` |

    `serving_default` gives the next items of the source log. Items come best first, without those
    of the history. Classes and labels are all n of them, by falling probability, and their scores
    are the probabilities.

    All but `embed` also answer a server's `:classify` or, for a regression, `:regress`, under their
    name with `_classify` or `_regress` behind it. The input there is `inputs`, string `[B]`: a
    serialized `tf.Example` with a list `history` of item ids, of any length in each row. The
    outputs are `classes` and `scores`, whether items, classes or labels are meant, or `outputs`,
    float32 `[B]`.

    With `incremental`, every task also answers one event at a time, under its name with `_step`
    behind it: see `step_signature`. The tasks of `mixed` share one signature `mixed`, which reads
    the task of each row: see `MixedSignature`.

    The module holds the weights as raw variables, each once, by path. It holds no Keras objects:
    saved with them, every weight would be written twice, or TensorFlow Serving would not find it.

    Args:
        host: Host.
        tasks: dict from name to Task.
        k: int. Items of an answer.
        folder: path of an existing folder for the vocabularies' text files.
        incremental: bool. Defaults to `False`.
        mixed: MixedTasks on `host`. Defaults to `None`.

    Example:

    >>> served = ServingModule(host, {"films": task}, 10, folder)
    >>> tf.saved_model.save(served, "export/peterrec/1", signatures=served.functions)
    """

    def __init__(self, host, tasks, k, folder, incremental=False, mixed=None):
        super().__init__(name="peterrec")
        folder = Path(folder)
        source = ItemTable(host.vocabulary, folder / "vocabulary.txt")
        answers = {name: task.kind.export_answers(name, folder, k) for name, task in tasks.items()}
        self.functions = _of_histories(host, source, tasks, answers, k)
        self.functions[NEXT_ITEM + CLASSIFY] = _from_examples(
            self.functions[NEXT_ITEM],
            lambda answer: {"classes": answer["items"], "scores": answer["scores"]},
        )
        for name, task in tasks.items():
            answered = _from_examples(self.functions[name], answers[name].examples)
            self.functions[name + task.kind.example_suffix] = answered
        for name, task in tasks.items() if incremental else ():
            self.functions[name + STEP] = step_signature(host, source, task, answers[name].answer)
        tables = {"source": source}
        tables |= {f"tasks/{n}": a.table for n, a in answers.items() if a.table is not None}
        named = _named_weights(host, tasks)
        if mixed is not None:
            signature = MixedSignature(host, source, mixed, k, folder)
            self.functions[MIXED] = signature.function
            tables[MIXED] = signature.tables
            named.update({f"{MIXED}/{path}": w for path, w in signature.weights.items()})
        self.tables = tables  # assigned once, as tf.Module wants it
        self.weights = _captured_weights(self.functions.values(), named)


def _of_histories(host, source, tasks, answers, k):
    """The functions that read histories, `{signature: concrete function}`."""
    functions = {NEXT_ITEM: _next_item(host, source, k), EMBED: _embed(host, source)}
    for name, task in tasks.items():
        functions[name] = _answer(host, source, task, answers[name].answer)
    spec = tf.TensorSpec([None], tf.string, name="history")
    return {
        name: tf.function(function, autograph=False).get_concrete_function(spec)
        for name, function in functions.items()
    }


def _padded(history, source, max_length):
    return left_pad(split_history(history, source.ids), max_length)  # [B, L]


def _next_item(host, source, k):
    def next_item(history):
        scores = host.next_item_scores(_padded(history, source, host.next_item_length))
        return source.best_unseen(scores, history, k)

    return next_item


def _embed(host, source):
    def embed(history):
        user = host.pretrainer.user_states(_padded(history, source, host.max_length))
        return {"embedding": tf.cast(user, tf.float32)}  # REST cannot write half precision

    return embed


def _answer(host, source, task, answer):
    length = host.history_length(task.model)

    def of_history(history):
        scores = task.model(_padded(history, source, length), training=False)
        return answer(scores, history)

    return of_history


def _from_examples(answer, outputs):
    """The same answers for serialized `tf.Example`, by calling `answer`, not a copy of it.

    Args:
        answer: concrete function of histories.
        outputs: Callable from its answer to what `:classify` or `:regress` gives.
    """

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def from_examples(inputs):
        rows = tf.io.parse_example(inputs, {"history": tf.io.RaggedFeature(tf.string)})
        # A list of items becomes the one string that every signature reads.
        history = tf.strings.reduce_join(rows["history"], axis=-1, separator=" ")
        return outputs(answer(history))

    return from_examples.get_concrete_function()


def _named_weights(host, tasks):
    """The raw variables of the host and the tasks, `{path: tf.Variable}`."""
    named = {f"host/{path}": w for path, w in backbone_weights(host.backbone).items()}
    if not host.pretrainer.tied:
        named["host/output_table/embeddings"] = host.pretrainer.output_table.embeddings
    if host.pretrainer.linear is not None:
        of_linear = host.pretrainer.linear.named_weights()
        named.update({f"host/{path}": weight for path, weight in of_linear.items()})
    for name, task in tasks.items():
        own = task.model.task_weights()
        if task.model.host is not host.backbone:
            own |= {f"host/{p}": w for p, w in backbone_weights(task.model.host).items()}
        named.update({f"tasks/{name}/{path}": weight for path, weight in own.items()})
    return {path: weight.value for path, weight in named.items()}


def _captured_weights(signatures, named):
    """The raw variables that the signatures read, each once, `{path: tf.Variable}`."""
    paths = {id(weight): path for path, weight in named.items()}
    captured = {id(v): v for signature in signatures for v in signature.variables}
    # A layer from elsewhere may read a variable that has no path here; it has to be saved too.
    return {paths.get(key, f"other/{n}"): v for n, (key, v) in enumerate(captured.items())}
