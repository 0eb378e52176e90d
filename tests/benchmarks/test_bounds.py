"""What a training step must do at least, counted apart, and the worker that takes the time."""

import subprocess
import sys
from pathlib import Path

import bounds
import numpy as np
import pytest
from train_turns import made_batches

from keras_peterrec.benchmarks.worker import Worker, WorkerError
from keras_peterrec.network.convolution import ConvolutionNetwork

SMALL = {
    **{"items": 300, "hidden_dim": 6, "blocks": 2, "length": 7, "batch_size": 5, "negatives": 11},
    **{"loss": "backbone", "precision": "float32", "seed": 0},
}


def test_operations_are_those_of_every_kernel():
    backbone = ConvolutionNetwork(304, 6, dilations=(1, 4))
    kernels = sum(
        int(np.prod(convolution.kernel.shape))
        for block in backbone.blocks
        for convolution in block.convolutions
    )
    forward = 2 * 5 * 7 * kernels  # each position multiplies and adds each weight once
    assert bounds.operations(SMALL) == 3 * forward
    scores = 2 * 5 * 7 * 6
    assert bounds.operations({**SMALL, "loss": "sampled"}) == 3 * (forward + scores * 11)
    assert bounds.operations({**SMALL, "loss": "full"}) == 3 * (forward + scores * 300)


def test_bytes_grow_with_the_rows_of_a_step_and_not_with_the_table():
    few, many = (
        bounds.bytes_moved({**SMALL, "items": n, "loss": "sampled"}) for n in (10**4, 10**7)
    )
    assert few < many
    # At most every draw of the two tables is a row of its own.
    assert many - few < 4 * 9 * 6 * (2 * bounds.tokens(SMALL) + SMALL["negatives"])


def test_expected_rows_are_those_that_are_drawn():
    configuration = {**SMALL, "batch_size": 200}
    drawn = made_batches(configuration)[:, :, :-1]
    found = np.mean([len(np.unique(batch)) for batch in drawn])
    assert bounds.expected_rows(300, bounds.tokens(configuration)) == pytest.approx(found, rel=0.03)


def test_every_product_is_timed():
    seconds = bounds.product_seconds([(32, 12, 4), (12, 32, 4)], ["float32", "bfloat16"], repeats=1)
    assert len(seconds) == 2 and all(0 < value < 60 for value in seconds)


@pytest.mark.parametrize("variant", ["products", "square", "copy"])
def test_bounds_grow_with_the_step(variant, monkeypatch):
    monkeypatch.setattr(bounds, "product_seconds", lambda shapes, dtypes: [0.001] * len(shapes))
    monkeypatch.setattr(bounds, "copy_rate", lambda: 1e9)
    small, large = (
        bounds.bound_seconds({**SMALL, "loss": loss}, variant) for loss in ("backbone", "full")
    )
    assert 0 < small < large


def test_bound_of_the_products_is_their_time_for_every_convolution(monkeypatch):
    monkeypatch.setattr(bounds, "product_seconds", lambda shapes, dtypes: [0.001] * len(shapes))
    # Two convolutions a block, three products of a millisecond each.
    assert bounds.bound_seconds(SMALL, "products") == pytest.approx(0.003 * 4)


@pytest.mark.slow
def test_script_answers_as_a_worker():
    command = [sys.executable, Path(bounds.__file__)]
    with Worker(command, {**SMALL, "variant": "products"}) as worker:
        (milliseconds,) = worker.ask("run 3")["milliseconds"]
    assert milliseconds > 0
    with pytest.raises(WorkerError, match="the variant should be products, square or copy"):
        Worker(command, {**SMALL, "variant": None})


@pytest.mark.slow
def test_first_request_script_says_how_to_use_it():
    script = Path(bounds.__file__).with_name("first_request.py")
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--later" in done.stdout
