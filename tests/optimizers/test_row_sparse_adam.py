"""RowSparseAdam: lazy Adam on the rows of a step, Keras elsewhere."""

import functools

import keras
import numpy as np
import numpy_reference as reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_peterrec import RowSparseAdam

ROWS, WIDTH = 7, 3
IDS = [3, 0, 3]
STEPS = ([3, 0, 3, 5], [0, 0, 0, 0], [6, 5, 3, 3], [1, 6, 1, 0])
# Every setting, as many of them together as Keras allows: it takes one way to clip.
SETTINGS = (
    {},
    {"clipnorm": 0.5, "weight_decay": 0.1},
    {"global_clipnorm": 0.5, "amsgrad": True},
    {"clipvalue": 0.3, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
)
SCALED = {"loss_scale_factor": 4.0, "amsgrad": True, "weight_decay": 0.1}


def table_of(rows=ROWS, seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")
    return keras.Variable(values, name="table")


def slices(ids, seed=0, factor=1.0, rows=ROWS):
    """A gradient of a row for each id."""
    values = factor * np.random.default_rng(seed).normal(size=(len(ids), WIDTH))
    return tf.IndexedSlices(
        tf.constant(values, "float32"), tf.constant(ids, "int32"), tf.constant([rows, WIDTH])
    )


def large_tensors(optimizer, variables, gradients, rows):
    """Names of the operations of a step that yield a tensor with an axis of `rows`."""
    optimizer.build(variables)
    step = tf.function(lambda *g: optimizer.apply(g, variables))
    graph = step.get_concrete_function(*gradients).graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return [
        f"{node.op} {node.name}"
        for node in nodes
        for shape in node.attr["_output_shapes"].list.shape
        if any(axis.size == rows for axis in shape.dim)
    ]


def moments_of(optimizer):
    """The variables m and v of an optimizer of one table, of this package or of Keras."""
    ends = "_momentum", "_velocity"
    return [next(v for v in optimizer.variables if v.path.endswith(end)) for end in ends]


def state_of(optimizer, table):
    """Table, m and v as float64."""
    return [np.asarray(x.numpy(), "float64") for x in (table, *moments_of(optimizer))]


def run(optimizer, table, steps, jit=None):
    optimizer.build([table])
    apply = lambda gradient: optimizer.apply([gradient], [table])
    if jit is not None:
        apply = tf.function(apply, jit_compile=jit)
    for seed, ids in enumerate(steps):
        apply(slices(ids, seed))
    return state_of(optimizer, table)


@given(
    steps=st.lists(
        st.lists(st.integers(0, ROWS - 1), min_size=0, max_size=6), min_size=1, max_size=4
    ),
    decay=st.sampled_from((None, 0.2)),
)
@settings(max_examples=10, deadline=None)
def test_is_the_formula(steps, decay):
    table = table_of()
    expected = table.numpy().astype("float64"), np.zeros((ROWS, WIDTH)), np.zeros((ROWS, WIDTH))
    for step, ids in enumerate(steps):
        gradients = slices(ids, step).values.numpy().astype("float64")
        expected = reference.lazy_adam_step(
            *expected, ids, gradients, step + 1, lr=0.1, decay=decay or 0.0
        )
    found = run(RowSparseAdam(0.1, weight_decay=decay), table, steps)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=5e-6)


@pytest.mark.parametrize("settings_", SETTINGS)
def test_equals_keras_where_every_row_is_touched(settings_):
    results = []
    for cls, sparse in ((RowSparseAdam, True), (keras.optimizers.Adam, False)):
        table, bias = table_of(), keras.Variable(np.ones(4, "float32"))
        optimizer = cls(0.1, **settings_)
        optimizer.build([table, bias])
        for seed in range(5):
            # Every row, some twice. Keras needs the sum: it squares repeats apart.
            gradient = slices([*range(ROWS), 4, 4, 0], seed)
            gradient = gradient if sparse else tf.convert_to_tensor(gradient)
            optimizer.apply([gradient, tf.range(4, dtype="float32")], [table, bias])
        results.append([*state_of(optimizer, table), bias.numpy()])
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("settings_", SETTINGS)
def test_dense_gradients_are_keras_to_the_bit(settings_):
    results = []
    for cls in (RowSparseAdam, keras.optimizers.Adam):
        table, optimizer = table_of(), cls(0.1, **settings_)
        for seed in range(4):
            optimizer.apply([tf.convert_to_tensor(slices(range(ROWS), seed))], [table])
        results.append(state_of(optimizer, table))
    np.testing.assert_array_equal(*results)


@functools.cache
def run_eagerly(**settings_):
    return run(RowSparseAdam(0.1, **settings_), table_of(), STEPS)


@pytest.mark.parametrize("settings_", (*SETTINGS, SCALED))
@pytest.mark.parametrize("jit", (False, True))
def test_compiled_equals_eager(settings_, jit):
    eager = run_eagerly(**settings_)
    traced = run(RowSparseAdam(0.1, **settings_), table_of(), STEPS, jit)
    for ours, theirs in zip(traced, eager):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings_", SETTINGS)
def test_a_step_for_tensorflow_alone_moves_the_rows_as_one_that_compiles(settings_):
    expected = run_eagerly(**settings_)
    found = run(RowSparseAdam(0.1, compilable=False, **settings_), table_of(), STEPS, False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit", (None, False, True))
def test_rows_not_touched_keep_every_bit(jit):
    table, optimizer = table_of(), RowSparseAdam(0.1, weight_decay=0.5, clipnorm=0.1)
    optimizer.build([table])
    for variable in moments_of(optimizer):
        variable.assign(np.random.default_rng(1).random((ROWS, WIDTH)))
    before = state_of(optimizer, table)
    after = run(optimizer, table, [[2, 5, 2]] * 3, jit)
    rest = [0, 1, 3, 4, 6]
    for old, new in zip(before, after):
        np.testing.assert_array_equal(new[rest], old[rest])
        assert (new[[2, 5]] != old[[2, 5]]).all()


@pytest.mark.parametrize("settings_", (*SETTINGS, SCALED))
def test_a_step_makes_nothing_as_large_as_the_table(settings_):
    optimizer = RowSparseAdam(0.1, **settings_)
    gradients = [slices([3, 3, 9], rows=977)]
    assert not large_tensors(optimizer, [table_of(977)], gradients, 977)


def test_a_step_of_keras_makes_something_as_large_as_the_table():
    """The check above sees what it looks for."""
    gradients = [slices([3, 3, 9], rows=977)]
    assert large_tensors(keras.optimizers.Adam(0.1), [table_of(977)], gradients, 977)


def test_unscales_the_loss():
    scaled, plain = RowSparseAdam(0.1, loss_scale_factor=8.0), RowSparseAdam(0.1)
    tables = table_of(), table_of()
    scaled.apply([slices([1, 1, 4], factor=8.0)], [tables[0]])
    plain.apply([slices([1, 1, 4])], [tables[1]])
    np.testing.assert_array_equal(*tables)
    assert scaled.loss_scale_factor == 8.0


def test_excluded_variables_do_not_decay():
    results = []
    for decay in (0.5, None):
        table, optimizer = table_of(), RowSparseAdam(0.1, weight_decay=decay)
        optimizer.exclude_from_weight_decay(var_names=["table"])
        results.append(run(optimizer, table, STEPS))
    np.testing.assert_array_equal(*results)


def test_average_of_the_weights_is_over_every_row():
    table, optimizer = table_of(), RowSparseAdam(0.1, use_ema=True, ema_momentum=0.9)
    average = table.numpy()
    for step, ids in enumerate(STEPS):
        optimizer.apply([slices(ids, step)], [table])
        average = 0.9 * average + 0.1 * table.numpy() if step else table.numpy()
    optimizer.finalize_variable_values([table])
    np.testing.assert_allclose(table, average, rtol=1e-5)


def test_refuses_gradient_accumulation():
    with pytest.raises(ValueError, match="Received: `gradient_accumulation_steps` = 2"):
        RowSparseAdam(gradient_accumulation_steps=2)


def test_config_round_trip():
    optimizer = RowSparseAdam(0.01, 0.8, 0.9, 1e-5, amsgrad=True, clipnorm=2.0, weight_decay=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is RowSparseAdam
    assert again.get_config() == {**optimizer.get_config(), "learning_rate": pytest.approx(0.01)}


def loss_scaled():
    """As `model.compile` wraps an optimizer under `mixed_float16`."""
    return keras.optimizers.LossScaleOptimizer(RowSparseAdam(0.1), 8.0, 2)


def test_a_step_that_is_not_finite_changes_no_row():
    table, optimizer = table_of(), loss_scaled()
    before = table.numpy()
    optimizer.apply([slices(IDS, factor=np.nan)], [table])
    np.testing.assert_array_equal(table, before)
    assert optimizer.iterations == 0


def test_loss_scaling_unscales():
    tables = table_of(), table_of()
    scaled, plain = loss_scaled(), RowSparseAdam(0.1)
    scaled.build([tables[0]])
    for seed in range(3):
        factor = float(scaled.scale_loss(1.0))
        scaled.apply([slices(IDS, seed, factor)], [tables[0]])
        plain.apply([slices(IDS, seed)], [tables[1]])
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-6)
