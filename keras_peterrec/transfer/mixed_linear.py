"""The linear parts of many tasks, for rows that each have a task of their own."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import scipy.sparse
from keras import ops

from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.linear.linear_table import LinearTable, bag_weights, with_told
from keras_peterrec.log.vocabulary import item_ids, number_of
from keras_peterrec.types import Tensor


class MixedLinear(keras.layers.Layer):
    """Many LinearTables as a few large ones: one product for all tasks of about the same size.

    Dense tables whose widths round up to the same power of two lie below each other in one table,
    and all sparse ones in another. So the graph does not grow with the number of tasks. A row
    reads its own task's part of one of them. Where some read fields of events, or times between
    them, all do; the others say nothing of them.

    Args:
        parts: One for each task, not all of them `None`. The features that each reads are the first
            of those of the one that reads most.
        outputs: How many scores each task has.

    Call arguments: `history`, `[B, L]` or `[B, L, 1 + F + V]`, padded on the left; `place`, `[B]`,
    the task of each row; `told`, `[B, G]`, what columns say of the users, numbered as each row's
    own task does, or `None`. The answer is float32 `[B, W]`: the scores of a row whose task is t
    lie in `starts[t] : starts[t] + outputs[t]`, without the `biases[t]`.
    """

    def __init__(self, parts: Sequence[LinearTable | None], outputs: Sequence[int]) -> None:
        super().__init__(name="mixed_linear", trainable=False, dtype="float32")
        given = [part for part in parts if part is not None]
        bags = [given[0].bag if part is None else part.bag for part in parts]
        self.rates = np.array([bag.rate for bag in bags], "float32")
        self.powers = np.array([bag.power for bag in bags], "float32")
        self.events = np.array([bag.events for bag in bags], "float32")
        self.longest = max(part.bag.events for part in given)
        self.biases = [
            np.zeros(count, "float32") if part is None else part.part().folded().bias
            for part, count in zip(parts, outputs)
        ]
        self.groups = np.full(len(parts), -1, "int32")
        self.shifts = np.zeros(len(parts), "int32")
        self.starts = np.zeros(len(parts), "int32")
        self.user_values = np.array([0 if p is None else p.user_values for p in parts], "int32")
        self.features = max((part.features for part in given), key=len)
        self.tables, width = [], 0
        for number, places in enumerate(_groups(parts)):
            table = _together([parts[place] for place in places], self.features)
            self.tables.append(table)
            self.groups[places] = number
            rows = [self.user_values[n] + self.features.rows + given[0].items for n in places]
            self.shifts[places] = np.append(0, np.cumsum(rows)[:-1])
            self.starts[places] = width
            width += table.outputs
        # A task without a linear part reads zeros, from behind the others' scores.
        without = [count for part, count in zip(parts, outputs) if part is None]
        self.starts[self.groups < 0] = width
        self.zeros = max(without, default=0)
        self.built = True

    def call(self, history: Tensor, place: Tensor, told: Tensor | None = None) -> Tensor:
        def of_rows(values):
            return ops.expand_dims(ops.take(values, place, axis=0), 1)

        history = ops.cast(history, "int32")
        bags = of_rows(self.rates), of_rows(self.powers), of_rows(self.events)
        ids, before = item_ids(history), of_rows(self.user_values)
        weights = bag_weights(ids, *bags)
        items = ops.maximum(number_of(ids), 0) + (before + self.features.rows)
        if self.features and len(history.shape) == 3:
            items, weights = self.features.spread(history, items, weights, before)
        if told is not None:
            items, weights = with_told(items, weights, told)
        items += of_rows(self.shifts)
        scores = []
        for number, table in enumerate(self.tables):
            mine = ops.cast(of_rows(self.groups) == number, "float32")
            scores.append(table.scores(items, weights * mine))
        if self.zeros:
            scores.append(ops.zeros((ops.shape(history)[0], self.zeros), "float32"))
        return ops.concatenate(scores, axis=1)

    def named_weights(self) -> dict[str, Any]:
        """The tables' weights by path, but for the biases, `{"linear_0/table": variable}`."""
        return {
            f"linear_{number}/{weight.name}": weight
            for number, table in enumerate(self.tables)
            for weight in table.weights
            if weight is not table.bias
        }


def _groups(parts):
    """The places of the tasks whose tables go together, a list for each group."""
    groups = {}
    for place, part in enumerate(parts):
        if part is not None:
            width = 0 if part.entries else 1 << (part.outputs - 1).bit_length()
            groups.setdefault(width, []).append(place)
    return list(groups.values())


def _together(layers, features):
    """One LinearTable with the tables of several below each other, each with rows for features."""
    parts = [layer.part().folded().reading(features) for layer in layers]
    width = max(part.outputs for part in parts)
    if layers[0].entries:
        tables = [part.table.copy() for part in parts]
        for table in tables:
            table.resize(table.shape[0], width)
        table = scipy.sparse.vstack(tables, format="csr")
    else:
        table = np.concatenate(
            [np.pad(part.table, [(0, 0), (0, width - part.outputs)]) for part in parts]
        )
    return LinearTable.of_part(LinearPart(parts[0].bag, table, np.zeros(width, "float32")))
