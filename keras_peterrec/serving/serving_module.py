"""The module that becomes a SavedModel: weights, tables and signatures."""

import functools
from collections.abc import Collection, Mapping
from pathlib import Path

import tensorflow as tf

from keras_peterrec.log.event_text import EventReader, UserReader
from keras_peterrec.log.item_table import ItemTable, hidden_items
from keras_peterrec.log.preprocessing import event_counts, left_pad
from keras_peterrec.serving.mixed_signature import MixedSignature
from keras_peterrec.serving.signature_names import (
    CLASSIFY,
    COUNTS,
    EMBED,
    KNOWN,
    MIXED,
    NEXT_ITEM,
    SELECT,
    SIMILAR,
    STEP,
)
from keras_peterrec.serving.signatures import concrete
from keras_peterrec.serving.similar_items import SimilarItems
from keras_peterrec.serving.step_signature import step_signature
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.transfer.task import Task
from keras_peterrec.types import AnyPath


class ServingModule(tf.Module):
    """The host and its tasks as functions of raw histories.

    Every signature in this table takes one input `history`, string `[B]`: events separated by white
    space, each an item's id, perhaps with its time and fields as in `i9@1700000000;price=12.5`, and
    perhaps a last one without an item, as in `@1700003600;plan=gold`, for the time of the question
    and what is known of the user; see `log/event_text.py`. What is not read is ignored.

    | signature | outputs |
    |---|---|
    | `serving_default` | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | `embed` | `embedding`, float32 `[B, C]`, the user's state |
    | a recommendation | `items`, string `[B, k]`; `scores`, float32 `[B, k]` |
    | a classification | `classes`, string `[B, n]`; `scores`, float32 `[B, n]` |
    | several labels | `labels`, string `[B, n]`; `scores`, float32 `[B, n]` |
    | a regression | `value`, float32 `[B]` |
    | `known` | `known_events` and `events`, int32 `[B]` |

    `serving_default` gives the next items of the source log. Items come best first, without those
    of the history. Classes and labels are all n of them, by falling probability, and their scores
    are the probabilities.

    `events` says how many events a history has, `known_events` how many of them are of items that
    the host knows; it ignores the others, so that a history of unknown items gets the answer of an
    empty one. Every answer of several outputs has both beside it. An answer of one output, which
    REST writes as a bare value, and those to a server's `:classify` and `:regress`, whose outputs
    are fixed, have not: `known` gives them for any history.

    `serving_default` and recommendations also answer requests that say what may be recommended,
    under their name with `_select` behind it, from `history`, `allow` and `deny`, string `[B]`,
    and `k` and `keep_seen`, int32 `[B]`: see `ItemTable.selected`. `similar` gives the items that
    are most like some items: see `SimilarItems`.

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
        k: items of an answer.
        folder: an existing folder for the vocabularies' text files.
        titles: of items. Answers then give titles as well.
        hidden: items that may not be shown, which a text file lists; see `ItemTable.hide`. `None`
            for no such file.

    Example:

    >>> served = ServingModule(host, {"films": task}, 10, folder)
    >>> tf.saved_model.save(served, "export/peterrec/1", signatures=served.functions)
    """

    def __init__(
        self,
        host: Host,
        tasks: dict[str, Task],
        k: int,
        folder: AnyPath,
        incremental: bool = False,
        mixed: MixedTasks | None = None,
        titles: Mapping[str, str] | None = None,
        hidden: Collection[str] | None = None,
    ) -> None:
        super().__init__(name="peterrec")
        folder = Path(folder)
        source = ItemTable(host.vocabulary, folder / "vocabulary.txt")
        answers = {name: task.kind.export_answers(name, folder, k) for name, task in tasks.items()}
        shown = [source, *(a.table for a in answers.values() if isinstance(a.table, ItemTable))]
        self.hidden = None if hidden is None else hidden_items(hidden, folder)
        for table in shown:
            if titles is not None:
                table.add_titles(titles)
            if hidden is not None:
                table.hide(self.hidden)
        read = EventReader(source.ids, host.fields)
        of_tasks, read_task = _task_readers(host, source, tasks)
        read_user = {n: UserReader(t.user_fields) for n, t in tasks.items() if len(t.user_fields)}
        traced = _traced(read)
        readers = traced, of_tasks, read_user
        self.functions = _of_histories(host, source, tasks, answers, k, readers)
        similar = SimilarItems(host, source, k)
        self.functions[SIMILAR] = similar.function
        self.functions[KNOWN] = concrete(lambda history: event_counts(traced(history).ids), KNOWN)
        self.functions[NEXT_ITEM + CLASSIFY] = _from_examples(
            self.functions[NEXT_ITEM],
            lambda answer: {"classes": answer["items"], "scores": answer["scores"]},
        )
        for name, task in tasks.items():
            answered = _from_examples(self.functions[name], answers[name].examples)
            self.functions[name + task.kind.example_suffix] = answered
        for name, task in tasks.items() if incremental else ():
            reads = of_tasks[name], read_user.get(name)
            self.functions[name + STEP] = step_signature(host, *reads, task, answers[name].answer)
        tables = {"source": source, "readers": [read, *read_task, *read_user.values()]}
        tables |= {f"tasks/{n}": a.table for n, a in answers.items() if a.table is not None}
        named = _named_weights(host, tasks) | {"similar/lengths": similar.lengths}
        if mixed is not None:
            signature = MixedSignature(host, source, mixed, k, folder, self.hidden)
            self.functions[MIXED] = signature.function
            tables[MIXED] = signature.tables
            named.update({f"{MIXED}/{path}": w for path, w in signature.weights.items()})
        self.tables = tables  # assigned once, as tf.Module wants it
        self.weights = _captured_weights(self.functions.values(), named)


def _task_readers(host, source, tasks):
    """What reads each task's events, traced, `{name: Callable}`, and the EventReaders behind.

    Nearly all tasks read the same of an event, and share one.
    """
    readers, traced, of_tasks = [], {}, {}
    for name, task in tasks.items():
        _, fields = host.how_tasks_read(task.model)
        said = repr(fields.to_config())
        if said not in traced:
            readers.append(EventReader(source.ids, fields))
            traced[said] = _traced(readers[-1])
        of_tasks[name] = traced[said]
    return of_tasks, readers


def _of_histories(host, source, tasks, answers, k, readers):
    """The functions that read histories, `{signature: concrete function}`."""
    read, of_tasks, read_user = readers
    keeps = host.keep_seen
    scores_of = {NEXT_ITEM: _scores(host.next_item_scores, read, host.next_item_length)}
    answer_of = {NEXT_ITEM: lambda scores, seen: source.best(scores, seen, k, keeps)}
    select_of = {NEXT_ITEM: lambda scores, *request: source.selected(scores, k, keeps, *request)}
    for name, task in tasks.items():
        scores = functools.partial(task.model, training=False)
        length = host.history_length(task.model)
        scores_of[name] = _scores(scores, of_tasks[name], length, read_user.get(name))
        answer_of[name], select_of[name] = answers[name].answer, answers[name].select
    functions, selects = {NEXT_ITEM: None, EMBED: concrete(_embed(host, read), EMBED)}, {}
    for name, scores in scores_of.items():
        select = select_of[name]
        if select is not None:
            # Traced once for both signatures: a network is thousands of operations.
            scores = concrete(scores, name)
            selects[name + SELECT] = concrete(_selected(scores, select), name + SELECT)
        functions[name] = concrete(_answered(scores, answer_of[name]), name)
    return functions | selects


def _traced(reader):
    """The reader as a function that is traced once for all signatures that call it."""
    spec = tf.TensorSpec([None], tf.string)
    traced = tf.function(reader.__call__, input_signature=[spec], autograph=False)
    return lambda history: traced(history)


def _embed(host, reader):
    def embed(history):
        user = host.pretrainer.user_states(left_pad(reader(history).rows, host.max_length))
        return {"embedding": tf.cast(user, tf.float32)}  # REST cannot write half precision

    return embed


def _scores(scores_of, reader, length, read_user=None):
    """A function from histories to their scores, their items and their counts of events."""

    def of_history(history):
        items, ids, rows = reader(history)
        inputs = left_pad(rows, length)
        if read_user is not None:
            inputs = {"history": inputs, "told": read_user(history)}
        return scores_of(inputs), items, event_counts(ids)

    return of_history


def _answered(scores_of, answer):
    def of_history(history):
        scores, items, counts = scores_of(history)
        answered = answer(scores, items)
        # REST writes a single output as a bare value: another one would change its form.
        return answered | counts if len(answered) > 1 else answered

    return of_history


def _selected(scores_of, select):
    def of_request(history, allow, deny, k, keep_seen):
        scores, items, counts = scores_of(history)
        return select(scores, items, allow, deny, k, keep_seen) | counts

    return of_request


def _from_examples(answer, outputs):
    """The same answers for serialized `tf.Example`, by calling `answer`, not a copy of it.

    `outputs` makes of its answer what `:classify` or `:regress` gives.
    """

    def from_examples(inputs):
        rows = tf.io.parse_example(inputs, {"history": tf.io.RaggedFeature(tf.string)})
        # A list of items becomes the one string that every signature reads.
        history = tf.strings.reduce_join(rows["history"], axis=-1, separator=" ")
        named = {key: value for key, value in answer(history).items() if key not in COUNTS}
        return outputs(named)

    return concrete(from_examples, CLASSIFY)  # or REGRESS, whose input is the same


def _named_weights(host, tasks):
    """The raw variables of the host and the tasks, `{path: tf.Variable}`."""
    named = {f"host/{path}": w for path, w in host.backbone.named_weights().items()}
    if not host.pretrainer.tied:
        named["host/output_table/embeddings"] = host.pretrainer.output_table.embeddings
    if host.pretrainer.linear is not None:
        of_linear = host.pretrainer.linear.named_weights()
        named.update({f"host/{path}": weight for path, weight in of_linear.items()})
    for name, task in tasks.items():
        own = task.model.task_weights()
        if task.model.host is not host.backbone:
            own |= {f"host/{p}": w for p, w in task.model.host.named_weights().items()}
        named.update({f"tasks/{name}/{path}": weight for path, weight in own.items()})
    return {path: weight.value for path, weight in named.items()}


def _captured_weights(signatures, named):
    """The raw variables that the signatures read, each once, `{path: tf.Variable}`."""
    paths = {id(weight): path for path, weight in named.items()}
    captured = {id(v): v for signature in signatures for v in signature.variables}
    # A layer from elsewhere may read a variable that has no path here; it has to be saved too.
    return {paths.get(key, f"other/{n}"): v for n, (key, v) in enumerate(captured.items())}
