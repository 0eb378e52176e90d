"""SampledSoftmax estimates the full softmax; NegativeSampler draws by the law it corrects for."""

import math

import keras
import numpy as np
import numpy_reference as reference
import pytest
from autodiff import value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_cases import slow

from keras_peterrec.layers.sampled_softmax import NegativeSampler, SampledSoftmax

ITEMS = 30
COUNTS = np.arange(ITEMS)[::-1] // 3 + 1
LAWS = {
    "log_uniform": np.array([reference.log_uniform(item, ITEMS) for item in range(ITEMS)]),
    "uniform": np.full(ITEMS, 1 / ITEMS),
    "in_batch": COUNTS / COUNTS.sum(),
    "counts": COUNTS / COUNTS.sum(),
}
each = pytest.mark.parametrize("sampler", LAWS)


def make(sampler, negatives, seed=0):
    counts = COUNTS if sampler in ("in_batch", "counts") else None
    return SampledSoftmax(ITEMS, negatives, seed, sampler, counts)


def example(rows=None, seed=3):
    """States, targets (of which COUNTS are the counts, if all are taken), table."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(ITEMS), COUNTS))[:rows].astype("int32")
    states = rng.normal(0, 0.5, (len(targets), 4)).astype("float32")
    return states, targets, rng.normal(size=(ITEMS, 4)).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@settings(max_examples=12, deadline=None)
@given(
    sampler=st.sampled_from(sorted(LAWS)),
    targets=st.lists(st.integers(-1, ITEMS - 1), min_size=1, max_size=6),
    drawn=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_equals_the_formula_for_the_drawn_negatives(sampler, targets, drawn, seed):
    targets, drawn = np.array(targets), np.array(drawn)
    states, _, table = example(len(targets), seed)
    layer = make(sampler, len(drawn))
    losses = layer.row_losses(states, targets, table[targets], drawn, table[drawn])
    counted = targets >= 0
    expected = np.zeros(len(targets))
    expected[counted] = reference.sampled_softmax_loss(
        states[counted].astype("float64"),
        targets[counted],
        table.astype("float64"),
        drawn,
        LAWS[sampler],
    )
    np.testing.assert_allclose(numpy(losses), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "jit"),
    [
        *((sampler, False) for sampler in LAWS),
        ("log_uniform", True),
        ("in_batch", True),
        *slow(("uniform", True), ("counts", True)),
    ],
)
def test_gradients_equal_the_slopes_of_the_formula(sampler, jit):
    states, targets, table = example(6)
    targets[2] = -1
    drawn = np.array([3, targets[0], 0, 0, 29, 12])
    weights = np.arange(6.0).astype("float32")
    layer = make(sampler, len(drawn))

    def total(states, true_rows, negative_rows):
        losses = layer.row_losses(states, targets, true_rows, drawn, negative_rows)
        return keras.ops.sum(losses * weights)

    _, d_states, d_true, d_negative = value_and_gradients(
        total, states, table[targets], table[drawn], jit=jit
    )
    d_table = np.zeros_like(table)
    np.add.at(d_table, targets, d_true)
    np.add.at(d_table, drawn, d_negative)
    rng = np.random.default_rng(4)
    for _ in range(3):
        by_states, by_table = rng.normal(size=states.shape), rng.normal(size=table.shape)

        def moved(step):
            losses = reference.sampled_softmax_loss(
                states + step * by_states, targets, table + step * by_table, drawn, LAWS[sampler]
            )
            return losses[targets >= 0] @ weights[targets >= 0]

        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        found = (d_states * by_states).sum() + (d_table * by_table).sum()
        assert found == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("jit", [False, *slow(True)])
@each
def test_more_negatives_come_closer_to_the_full_softmax(sampler, jit):
    states, targets, table = example()

    def full(states, table):
        scores = keras.ops.matmul(states, keras.ops.transpose(table))
        return keras.ops.sum(
            keras.losses.sparse_categorical_crossentropy(targets, scores, from_logits=True)
        )

    wanted = value_and_gradients(full, states, table)
    errors = []
    for negatives in (30, 60_000):
        layer = make(sampler, negatives)
        found = value_and_gradients(
            lambda s, t: keras.ops.sum(layer(s, targets, t)), states, table, jit=jit
        )
        errors.append(
            [
                np.linalg.norm(ours - exact) / np.linalg.norm(exact)
                for ours, exact in zip(found, wanted, strict=True)
            ]
        )
    few, many = np.array(errors)
    assert (many < 0.03).all()  # on average 45 times less than `few`
    assert (many < few / 4)[1:].all()


@each
def test_a_negative_that_is_the_true_item_does_not_count(sampler):
    layer = make(sampler, 5)
    state, row = np.ones((1, 1), "float32"), np.ones((1, 1), "float32")
    hits = np.repeat(row, 5, axis=0) * 30
    target, other = np.array([7]), np.array([8])
    drawn = np.full(5, 7)
    assert numpy(layer.row_losses(state, target, row, drawn, hits))[0] == 0.0
    assert numpy(layer.row_losses(state, other, row, drawn, hits))[0] > 20


@each
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_its_losses_in_float32(sampler, dtype):
    states, targets, table = example()
    layer, negatives = make(sampler, 500), np.arange(500) % ITEMS
    rows = (table[targets], negatives, table[negatives])
    half = layer.row_losses(keras.ops.cast(states, dtype), targets, *rows)
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    np.testing.assert_allclose(
        numpy(half), numpy(layer.row_losses(states, targets, *rows)), rtol=0.01, atol=0.02
    )


def test_every_call_draws_anew_and_a_seed_repeats_the_draws():
    first, second = make("log_uniform", 20, seed=5), make("log_uniform", 20, seed=5)
    one, another = (numpy(first(*example())) for _ in range(2))
    assert not np.allclose(one, another)
    np.testing.assert_array_equal(numpy(second(*example())), one)


@each
def test_config_round_trip(sampler):
    layer = make(sampler, 20, seed=5)
    twin = SampledSoftmax.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    np.testing.assert_array_equal(numpy(layer(*example())), numpy(twin(*example())))


def test_losses_is_still_the_property_of_keras():
    layer = make("uniform", 20)
    layer(*example())
    assert layer.losses == []


def drawn_by(sampler, targets=(0,), seed=0):
    ids = sampler.draw(np.array(targets, "int32"), keras.random.SeedGenerator(seed))
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    return numpy(ids)


def expected_counts(sampler):
    """What the layer corrects the scores by, for every item."""
    logarithm = sampler.log_expected(np.arange(sampler.items))
    return np.exp(numpy(logarithm).astype("float64")) * np.ones(sampler.items)


def chi_square(found, expected):
    return ((found - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("items", [1, 2, 7, 40])
@pytest.mark.parametrize("law", ["log_uniform", "uniform"])
def test_draws_follow_the_expected_counts(law, items):
    sampler = NegativeSampler(items, 20_000, law)
    found = np.bincount(drawn_by(sampler), minlength=items)
    assert len(found) == items
    expected = expected_counts(sampler)
    assert expected.sum() == pytest.approx(20_000, rel=1e-4)
    assert chi_square(found, expected) < items + 5 * math.sqrt(2 * items)
    if law == "log_uniform":
        wanted = [20_000 * reference.log_uniform(item, items) for item in range(items)]
        np.testing.assert_allclose(expected, wanted, rtol=1e-4)


def test_the_log_uniform_law_holds_at_a_million_items():
    items, draws = 1_000_000, 2_000_000
    sampler = NegativeSampler(items, draws)
    drawn = drawn_by(sampler)
    bounds = np.unique(np.geomspace(1, items + 1, 60).astype(int))
    found, _ = np.histogram(drawn + 1, bounds)
    expected = draws * np.diff(np.log(bounds)) / math.log(items + 1)
    assert chi_square(found, expected) < len(found) + 5 * math.sqrt(2 * len(found))
    # Item by item: if some were missed and others doubled, more pairs would be equal.
    rare = drawn[drawn >= items // 2]
    alike = len(rare) - len(np.unique(rare))
    law = np.log1p(1 / np.arange(items // 2 + 1, items + 1)) / math.log(items + 1)
    expected = len(rare) - (1 - (1 - law / law.sum()) ** len(rare)).sum()
    assert abs(alike - expected) < 5 * math.sqrt(expected)


@pytest.mark.parametrize("items", [1000, 1_000_000, 5_000_000])
def test_every_item_has_its_share_of_the_unit_square(items):
    # The last of the equal parts, at evenly spaced places within it.
    places = np.arange(4_000_000, dtype="float32") / 4_000_000
    uniform = np.stack([np.full_like(places, 4095 / 4096), places])
    ids = numpy(NegativeSampler(items, 1)._log_uniform(uniform))
    inside = np.bincount(ids)[ids.min() + 1 : items]
    law = np.log1p(1 / np.arange(ids.min() + 2, items + 1))
    expected = len(places) * 4096 * law / math.log(items + 1)
    assert ids.max() == items - 1
    # Places, and offsets in float32, come in steps of at most 1 / 100 of an item.
    np.testing.assert_allclose(inside, expected[: len(inside)], rtol=0.03, atol=2)


def test_the_correction_is_exact_for_rare_items():
    # In float32, log((i + 2) / (i + 1)) is off by up to 6 % at a million.
    items, item = 3_000_000, 1_999_998
    found = float(NegativeSampler(items, 1).log_expected(np.array([item]))[0])
    assert found == pytest.approx(math.log(reference.log_uniform(item, items)), abs=1e-4)


def test_in_batch_draws_the_counted_targets_equally_often():
    targets = np.array([-1, 5, 5, 2, -1, 9, 5, 0, -1])
    found = np.bincount(drawn_by(NegativeSampler(10, 30_000, "in_batch"), targets), minlength=10)
    wanted = 30_000 * np.bincount(targets[targets >= 0], minlength=10) / 6
    assert not found[wanted == 0].any()
    assert chi_square(found[wanted > 0], wanted[wanted > 0]) < 25


def test_in_batch_without_a_target_draws_some_item():
    assert (drawn_by(NegativeSampler(10, 50, "in_batch"), [-1, -1]) >= 0).all()


def test_in_batch_expects_by_the_counts_or_else_by_rank():
    counted = NegativeSampler(4, 100, "in_batch", counts=[6, 3, 1, 0])
    np.testing.assert_allclose(expected_counts(counted), 100 * np.array([6, 3, 1, 1]) / 11, 1e-5)
    ranked = NegativeSampler(4, 100, "in_batch")
    np.testing.assert_array_equal(expected_counts(ranked), expected_counts(NegativeSampler(4, 100)))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 5), "`items` = 0"),
        ((5, -1), "`negatives` = -1"),
        ((5, 5, "popular"), "`sampler` should be one of .* Received: `sampler` = 'popular'"),
        ((5, 5, "in_batch", [1, 2]), r"`counts` should have shape \(5,\)"),
        ((2, 5, "uniform", [1, 2]), "be used with the samplers in_batch and counts only"),
        ((2, 5, "counts"), "`counts` should be given with the sampler counts"),
    ],
)
def test_arguments_out_of_range_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        NegativeSampler(*arguments)
