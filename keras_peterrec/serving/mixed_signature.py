"""Many tasks behind one signature: each row names its task."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_peterrec.log.event_text import EventReader, UserReader
from keras_peterrec.log.id_text import has_separator, written
from keras_peterrec.log.item_table import NO_ITEM, NO_SCORE, ItemTable, are_among, listed
from keras_peterrec.log.preprocessing import event_counts, left_pad
from keras_peterrec.serving.signature_names import MIXED
from keras_peterrec.serving.signatures import concrete
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.mixed_tasks import MixedTasks
from keras_peterrec.types import AnyPath


class MixedSignature:
    """A function of histories and of the task of each.

    | input | |
    |---|---|
    | `history` | string `[B]`, item ids separated by white space |
    | `task` | string `[B]`, a task's name |

    | output | |
    |---|---|
    | `labels` | string `[B, n]`, items, classes or labels |
    | `scores` | float32 `[B, n]`, highest first; of classes and labels, their probabilities |
    | `known_events`, `events` | int32 `[B]`, as of every signature; see `ServingModule` |

    Items of the history are left out unless the task keeps them. A regression's label is the name
    of its column and its score the number. n is the largest of k and the tasks' numbers of labels;
    what is left over, and all of an unknown task, is `""` with the lowest float32. The host's
    network runs once for the batch; see `MixedTasks`. A row pays for its own task's head only.

    Args:
        source: ItemTable of the source log.
        mixed: MixedTasks on `host`.
        k: items of an answer.
        folder: an existing folder for the text files of tasks and labels.
        hidden: table of `hidden_items`, which recommendations leave out.

    Attributes:
        function: the concrete function.
        tables: dict of the lookup tables that it reads.
        weights: dict from path to the raw variables that it reads, without the host's.
    """

    def __init__(
        self,
        host: Host,
        source: ItemTable,
        mixed: MixedTasks,
        k: int,
        folder: AnyPath,
        hidden: Any = None,
    ) -> None:
        self._source, self._mixed = source, mixed
        recommends = any(kind.recommends for kind in mixed.kinds)
        self._hidden = hidden if recommends else None
        self._history_length, fields = host.how_tasks_read(mixed)
        self._read = EventReader(source.ids, fields)
        self._read_user = {id(of): UserReader(of) for of in mixed.user_fields if len(of)}
        self._hides_seen = np.array([not kind.keep_seen for kind in mixed.kinds])
        # What a kind makes of its scores is the same for all of its tasks.
        self._classes = list(dict.fromkeys(type(kind) for kind in mixed.kinds))
        self._class_of = np.array(
            [self._classes.index(type(kind)) for kind in mixed.kinds], "int32"
        )
        self._counts = np.array([len(kind.labels) for kind in mixed.kinds], "int32")
        self._starts = np.cumsum([0, *self._counts[:-1]]).astype("int32")
        self._most = np.array([kind.mixed_count(k) for kind in mixed.kinds], "int32")
        self._width = int(self._most.max())
        # One table of all heads; a row reads the part of its task.
        rows = [kind.score_rows(head) for kind, head in zip(mixed.kinds, mixed.heads)]
        biases = [bias for _, bias in rows]
        if mixed.linear is not None:
            self._scales = np.array([kind.score_scale for kind in mixed.kinds], "float32")
            scaled = zip(biases, self._scales, mixed.linear.biases)
            biases = [bias + scale * more for bias, scale, more in scaled]
        self._table = tf.Variable(np.concatenate([table for table, _ in rows]))
        self._bias = tf.Variable(np.concatenate(biases).astype("float32"))
        self.tables = {**_tables(mixed, Path(folder)), "reader": self._read}
        self.tables["user_readers"] = list(self._read_user.values())
        self.weights = {
            **{path: weight.value for path, weight in mixed.stacked_weights().items()},
            **{path: weight.value for path, weight in mixed.linear_weights().items()},
            "heads/table": self._table,
            "heads/bias": self._bias,
        }
        if self._hidden is not None:
            items, item_of = _items_of_rows(mixed.kinds)
            self._item_of, self._items = tf.Variable(item_of), len(items)
            self.weights["heads/items"] = self._item_of
            _write_lines(Path(folder) / "mixed_items.txt", items)
            self.tables["items"] = _table(Path(folder) / "mixed_items.txt", tf.string, tf.int64, -1)
        self.function = concrete(self._answer, MIXED)

    def _answer(self, history, task):
        place = tf.cast(self.tables["places"].lookup(task), tf.int32)
        places = tf.maximum(place, 0)
        items, events, rows = self._read(history)
        rows_read = left_pad(rows, self._history_length)
        told = self._mixed.told(places, lambda fields: self._read_user[id(fields)](history))
        inputs = {"history": rows_read, "place": places}
        inputs |= {} if told is None else {"told": told}
        users = tf.cast(self._mixed(inputs), tf.float32)
        rows = users, places, self._seen(items, places)
        if self._mixed.linear is not None:
            rows += (self._mixed.linear_scores(rows_read, places, told),)
        blocked = None
        if self._hidden is not None:
            # Looked up once, however many rows and tasks there are.
            blocked = are_among(self.tables["items"].lookup(listed(self._hidden)), self._items + 1)
        scores, best = tf.map_fn(
            lambda row: self._best(row, blocked),
            rows,
            fn_output_signature=(
                tf.TensorSpec([self._width], tf.float32),
                tf.TensorSpec([self._width], tf.int64),
            ),
        )
        labels = tf.strings.regex_replace(self.tables["labels"].lookup(best), "^[0-9]+\t", "")
        answered = (place >= 0)[:, tf.newaxis] & (scores > NO_SCORE)
        return {
            "labels": tf.where(answered, labels, NO_ITEM),
            "scores": tf.where(answered, scores, NO_SCORE),
            **event_counts(events),
        }

    def _seen(self, items, place):
        """For each item of a history its row in the heads' table, ragged `[B, (n)]`; -1 if none."""
        whose = tf.strings.as_string(tf.gather(place, items.value_rowids()))
        lines = tf.strings.join([whose, items.values], separator="\t")
        return items.with_values(self.tables["rows"].lookup(lines))

    def _best(self, row, blocked):
        """The scores of a row's best labels and their rows in the heads' table, `[n]` each."""
        user, place, seen, *linear = row
        start, count = tf.gather(self._starts, place), tf.gather(self._counts, place)
        part = slice(start, start + count)
        scores = tf.linalg.matvec(self._table[part], user) + self._bias[part]
        if linear:
            first = tf.gather(self._mixed.linear.starts, place)
            own = linear[0][first : first + count]
            scores += tf.gather(self._scales, place) * own
        inside = tf.boolean_mask(seen, seen >= 0) - tf.cast(start, tf.int64)
        hidden = tf.fill(tf.shape(inside), NO_SCORE)
        hidden = tf.tensor_scatter_nd_update(scores, inside[:, tf.newaxis], hidden)
        scores = tf.where(tf.gather(self._hides_seen, place), hidden, scores)
        if blocked is not None:
            scores = tf.where(tf.gather(blocked, self._item_of[part]), NO_SCORE, scores)
        scores = tf.switch_case(
            tf.gather(self._class_of, place),
            [lambda kind=kind: kind.mixed_scores(scores) for kind in self._classes],
        )
        room = tf.fill([self._width], NO_SCORE)
        best, columns = tf.math.top_k(tf.concat([scores, room], 0), self._width)
        most = tf.gather(self._most, place)
        best = tf.where(tf.range(self._width) < most, best, NO_SCORE)
        return best, tf.cast(start + columns, tf.int64)


def _items_of_rows(kinds):
    """All items that tasks recommend, as a history has them, and which of them each row is of.

    The rows are those of the heads' table. One of another label has the number after the last item.
    """
    recommend = [kind.recommends for kind in kinds]
    labels = [map(written, kind.labels) for kind, items in zip(kinds, recommend) if items]
    place = {item: n for n, item in enumerate(dict.fromkeys(chain(*labels)))}
    rows = [
        place[written(label)] if items else len(place)
        for kind, items in zip(kinds, recommend)
        for label in kind.labels
    ]
    return list(place), np.array(rows, "int64")


def _tables(mixed, folder):
    """Lookup tables: task to its place, label to its row in the heads' table, and back."""
    tasks, labels = folder / "mixed_tasks.txt", folder / "mixed_labels.txt"
    _write_lines(tasks, mixed.places_of)
    # Several tasks may have the same label, so a line starts with the task's place.
    named = [(n, label) for n, kind in enumerate(mixed.kinds) for label in kind.labels]
    _write_lines(labels, (f"{n}\t{label}" for n, label in named))
    seen = labels
    items = [label for kind in mixed.kinds if kind.recommends for label in kind.labels]
    if has_separator(items):  # a history has them encoded, an answer as they are
        seen = folder / "mixed_labels_as_written.txt"
        _write_lines(seen, (f"{n}\t{written(label)}" for n, label in named))
    return {
        "places": _table(tasks, tf.string, tf.int64, -1),
        "rows": _table(seen, tf.string, tf.int64, -1),
        "labels": _table(labels, tf.int64, tf.string, NO_ITEM),
    }


def _write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _table(path, key, value, default):
    index = {
        tf.string: tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64: tf.lookup.TextFileIndex.LINE_NUMBER,
    }
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(str(path), key, index[key], value, index[value]), default
    )
