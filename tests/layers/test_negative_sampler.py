"""NegativeSampler: what is drawn follows the law that is corrected for."""

import math

import keras
import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.layers.negative_sampler import NegativeSampler


def drawn_by(sampler, targets=(0,), seed=0):
    ids = sampler.draw(np.array(targets, "int32"), keras.random.SeedGenerator(seed))
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    return keras.ops.convert_to_numpy(ids)


def expected_counts(sampler):
    """What the layer corrects by, for every item."""
    logarithm = sampler.log_expected(np.arange(sampler.items))
    return np.exp(keras.ops.convert_to_numpy(logarithm).astype("float64")) * np.ones(sampler.items)


def chi_square(found, expected):
    return ((found - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("items", [1, 2, 7, 40])
@pytest.mark.parametrize("law", ["log_uniform", "uniform"])
def test_draws_what_it_expects(law, items):
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
    # Item by item: were some missed and others doubled, more pairs would be alike.
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
    ids = keras.ops.convert_to_numpy(NegativeSampler(items, 1)._log_uniform(uniform))
    inside = np.bincount(ids)[ids.min() + 1 : items]
    law = np.log1p(1 / np.arange(ids.min() + 2, items + 1))
    expected = len(places) * 4096 * law / math.log(items + 1)
    assert ids.max() == items - 1
    # Steps of places, and in float32 of offsets, are 1 / 100 of an item and less.
    np.testing.assert_allclose(inside, expected[: len(inside)], rtol=0.03, atol=2)


def test_the_correction_is_exact_for_rare_items():
    # In float32, log((i + 2) / (i + 1)) is off by up to 6 % at a million.
    items, item = 3_000_000, 1_999_998
    found = float(NegativeSampler(items, 1).log_expected(np.array([item]))[0])
    assert found == pytest.approx(math.log(reference.log_uniform(item, items)), abs=1e-4)


def test_in_batch_draws_the_counted_targets_alike_often():
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
        ((5, 5, "in_batch", [1, 2]), r"`counts` should have the shape \(5,\)"),
        ((2, 5, "uniform", [1, 2]), "go with the sampler in_batch"),
    ],
)
def test_refuses_what_is_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        NegativeSampler(*arguments)
