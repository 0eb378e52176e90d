"""What a training step must do, counted apart."""

import numpy as np
import pytest

from keras_peterrec.benchmarks.train_configuration import (
    FIRST_ITEM,
    TrainConfiguration,
    expected_rows,
)
from keras_peterrec.errors import InputError
from keras_peterrec.models.backbone import Backbone

SMALL = TrainConfiguration(
    items=300, hidden_dim=6, blocks=2, length=7, batch_size=5, negatives=11, loss="backbone"
)


def test_operations_are_those_of_every_kernel():
    backbone = Backbone(304, 6, dilations=(1, 4))
    kernels = sum(
        int(np.prod(convolution.kernel.shape))
        for block in backbone.blocks
        for convolution in block.convolutions
    )
    forward = 2 * 5 * 7 * kernels  # each position multiplies and adds each weight once
    assert SMALL.operations == 3 * forward
    scores = 2 * 5 * 7 * 6
    assert SMALL.replace(loss="sampled").operations == 3 * (forward + scores * 11)
    assert SMALL.replace(loss="full").operations == 3 * (forward + scores * 300)


def test_bytes_grow_with_the_rows_of_a_step_and_not_with_the_table():
    few, many = (SMALL.replace(items=n, loss="sampled").bytes_moved for n in (10**4, 10**7))
    assert few < many
    # At most every draw of the two tables is a row of its own.
    assert many - few < 4 * 9 * 6 * (2 * SMALL.tokens + SMALL.negatives)


def test_expected_rows_are_those_that_are_drawn():
    configuration = SMALL.replace(batch_size=200)
    drawn = configuration.batches()[:, :, :-1]
    found = np.mean([len(np.unique(batch)) for batch in drawn])
    assert expected_rows(300, configuration.tokens) == pytest.approx(found, rel=0.03)


def test_batches_are_constant_and_log_uniform():
    batches = SMALL.replace(batch_size=1000).batches()
    assert batches.shape == (8, 1000, 8)
    assert batches.min() == FIRST_ITEM and batches.max() < FIRST_ITEM + 300
    share = np.mean(batches == FIRST_ITEM + 2)
    assert share == pytest.approx(np.log(4 / 3) / np.log(301), rel=0.1)
    assert np.array_equal(batches, SMALL.replace(batch_size=1000).batches())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items": 0}, "`items` should be a positive integer"),
        ({"negatives": 1.5}, "`negatives` should be a positive integer"),
        ({"loss": "bpr"}, "`loss` should be one of backbone, sampled, full"),
        ({"precision": "float64"}, "`precision` should be one of"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        SMALL.replace(**change)
