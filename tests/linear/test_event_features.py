"""The fields of events in the linear part, against its definition event by event."""

import keras
import numpy as np
import pytest
import scipy.sparse
from linear_samples import OUTPUTS

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.item_regression import ItemRegression
from keras_peterrec.linear.label_regression import LabelRegression
from keras_peterrec.linear.linear_part import LinearPart, Rows
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.field_kinds import VALUE_STEPS, Categories, Numbers, TimeUntilNext
from keras_peterrec.transfer.mixed_linear import MixedLinear

ITEMS = 6
KINDS, TOWNS = ["view", "cart", "buy"], [f"t{n}" for n in range(25)]
FIELDS = EventFields(
    [
        TimeUntilNext(),
        Categories("kind", KINDS),
        Numbers("price", [1.0, 2.0], unit=2.0),
        Categories("town", TOWNS),
    ]
)
# Rows of the table: kinds, buckets, towns, the price, the price by kind, items.
KIND, BUCKET, TOWN, PRICE, PRICE_OF = 0, 3, 6, 31, 32
FIRST_ITEM_ROW = 35
BAGS = [Bag(), Bag(fade=2.0, events=4), Bag(power=0.5)]
each_bag = pytest.mark.parametrize("bag", BAGS, ids=str)


def random_rows(count, seed=0):
    """Rows of events as `EventFields.rows` makes them: some items unknown, some fields not told."""
    draw = np.random.default_rng(seed)
    numbers = [draw.integers(0, size, count) for size in (5, 4, 4, 26)]
    steps = np.where(numbers[2] > 0, draw.integers(-9_000, 9_000, count), 0)
    return np.stack([draw.choice([1, *range(4, ITEMS + 4)], count), *numbers, steps], axis=1)


def vector_of(rows, bag):
    """x of one history, as the docstrings of Bag and EventFeatures say it."""
    x, total = np.zeros(FIRST_ITEM_ROW + ITEMS), 0.0
    known = [row for row in rows if row[0] >= 4][::-1][: bag.events]
    for back, (item, _, kind, bucket, town, steps) in enumerate(known):
        weight = 1.0 if bag.fade is None else 1 / (1 + back / bag.fade)
        total += weight
        x[FIRST_ITEM_ROW + item - 4] += weight
        for number, first in ((kind, KIND), (bucket, BUCKET), (town, TOWN)):
            if number:
                x[first + number - 1] += weight
        x[PRICE] += weight * steps / VALUE_STEPS
        if kind:
            x[PRICE_OF + kind - 1] += weight * steps / VALUE_STEPS
    return x / total**bag.power if known else x


def histories(seed=0, users=9, longest=7):
    draw = np.random.default_rng(seed)
    lengths = np.append(0, draw.integers(0, longest + 1, users - 1))
    rows = random_rows(lengths.sum(), seed)
    return rows, np.cumsum(lengths) - lengths, np.cumsum(lengths)


def part_of(bag, outputs=OUTPUTS, sparse=False, seed=0):
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(FIRST_ITEM_ROW + ITEMS, outputs)).astype("float32")
    if sparse:
        table = scipy.sparse.csr_matrix(table * (draw.random(table.shape) < 0.5))
    bias = draw.normal(size=outputs).astype("float32")
    return LinearPart(bag, table, bias, weight=0.7, features=EventFeatures.of(FIELDS))


def scores_of(part, rows):
    table = part.table.toarray() if part.is_sparse else part.table
    return part.weight * (vector_of(rows, part.bag) @ table.astype("float64") + part.bias)


def padded(rows, starts, stops, width=8):
    batch = np.zeros((len(starts), width, rows.shape[1]), "int32")
    for row, start, stop in zip(batch, starts, stops):
        row[width - (stop - start) :] = rows[start:stop]
    return batch


@pytest.mark.parametrize("sparse", [False, True])
@each_bag
def test_scores_are_the_formulas(bag, sparse):
    part, (rows, starts, stops) = part_of(bag, sparse=sparse), histories()
    expected = [scores_of(part, rows[a:b]) for a, b in zip(starts, stops)]
    np.testing.assert_allclose(part.scores(rows, starts, stops).all(), expected, atol=1e-4)
    layer = LinearTable.of_part(part)
    batch = padded(rows, starts, stops)
    np.testing.assert_allclose(layer(batch), expected, atol=1e-4)
    assert layer.part().features == part.features and layer.items == ITEMS
    twin = LinearTable.from_config(layer.get_config())
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(batch), layer(batch))
    # Where nothing but the items is told, that is all that counts.
    untold = np.concatenate([batch[..., :1], np.zeros_like(batch[..., 1:])], axis=-1)
    np.testing.assert_allclose(layer(batch[..., 0]), layer(untold), atol=1e-5)
    of_items = part.scores(rows[:, 0], starts, stops).all()
    np.testing.assert_allclose(of_items, layer(untold), atol=1e-4)


def test_a_host_without_fields_has_no_features():
    assert EventFeatures.of(EventFields()) == EventFeatures.of(EventFields([TimeUntilNext()])) == ()
    assert EventFeatures.of(FIELDS.of_tasks) == EventFeatures.of(FIELDS)
    assert EventFeatures.of(FIELDS).rows == FIRST_ITEM_ROW


@each_bag
def test_the_regression_to_items_is_the_ridge_of_the_definition(bag):
    rows, starts, stops = histories(seed=1, users=20)
    draw = np.random.default_rng(2)
    cuts = [(a, draw.integers(a, b + 1)) for a, b in zip(starts, stops) for _ in range(3)]
    starts, stops = np.array(cuts).T
    targets = draw.integers(0, OUTPUTS, len(starts))
    features = EventFeatures.of(FIELDS)
    counted = features.matrix(rows, ITEMS)
    given = Rows(rows[:, 0], starts, stops, np.arange(len(starts) + 1), targets, counted=counted)
    regression = ItemRegression(bag, given, ITEMS, OUTPUTS, features)
    x = np.array([vector_of(rows[a:b], bag) for a, b in zip(starts, stops)])
    y = np.eye(OUTPUTS)[targets]
    np.testing.assert_allclose(regression.gram, x.T @ x, atol=1e-3)
    part = regression.solve(5.0)
    expected = np.linalg.solve(x.T @ x + 5.0 * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(part.table, expected, atol=1e-3)
    copied = expected.copy()
    copied[FIRST_ITEM_ROW + np.array([0, 2, 5]), [0, 3, 1]] += 0.4
    same = np.array([0, -1, 3, -1, -1, 1])
    np.testing.assert_allclose(part.copying(0.4, same).table, copied, atol=1e-3)
    assert part.chosen["fields"] and part.features == features
    found = part.scores(rows, starts, stops).all()
    np.testing.assert_allclose(found, x @ expected, atol=1e-3)


def test_the_regression_to_a_number_is_the_ridge_of_the_definition():
    rows, starts, stops = histories(seed=3, users=30)
    features, bag = EventFeatures.of(FIELDS), BAGS[2]
    y = np.random.default_rng(4).normal(size=(30, 1))
    loss = lambda outputs: (np.sum((outputs - y) ** 2, axis=1) / 2, outputs - y)
    given = bag, rows[:, 0], starts, stops, ITEMS, np.zeros(1), loss
    read = {"features": features, "counted": features.matrix(rows, ITEMS)}
    part = LabelRegression(*given, **read).solve(2.0)
    x = np.array([vector_of(rows[a:b], bag) for a, b in zip(starts, stops)])
    x = np.concatenate([x, np.ones((30, 1))], axis=1)
    penalty = 2.0 * np.diag([*np.ones(x.shape[1] - 1), 0.0])
    expected = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    np.testing.assert_allclose(part.scores(rows, starts, stops).all(), x @ expected, atol=1e-2)


@pytest.mark.parametrize("sparse", [False, True])
def test_mixed_tasks_may_read_fields_or_not(sparse):
    rows, starts, stops = histories(seed=5)
    reading = [part_of(BAGS[1], 3, sparse, 1), part_of(BAGS[2], 4, False, 2)]
    parts = [*reading, part_of(BAGS[1], 3, sparse, 3).of_items(), None]
    layers = [None if part is None else LinearTable.of_part(part) for part in parts]
    outputs = [3, 4, 3, 2]
    mixed = MixedLinear(layers, outputs)
    batch = padded(rows, starts, stops)
    for place, layer in enumerate(layers):
        found = np.asarray(mixed(batch, np.full(len(batch), place)))
        found = found[:, mixed.starts[place] :][:, : outputs[place]] + mixed.biases[place]
        expected = np.zeros((len(batch), 2)) if layer is None else np.asarray(layer(batch))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_more_items_come_after_those_of_the_table():
    """So a table grows at its end, whatever is read beside the items."""
    part, (rows, starts, stops) = part_of(BAGS[0]), histories()
    layer = LinearTable.of_part(part)
    grown = LinearTable(**{**part.config(), "items": ITEMS + 3})
    grown.table.assign(np.pad(part.table, ((0, 3), (0, 0))))
    grown.bias.assign(part.bias)
    batch = padded(rows, starts, stops)
    np.testing.assert_allclose(grown(batch), layer(batch), atol=1e-5)
    assert keras.backend.standardize_dtype(grown(batch).dtype) == "float32"
