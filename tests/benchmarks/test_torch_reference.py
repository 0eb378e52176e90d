"""The reference in PyTorch computes what our model computes."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch_reference  # noqa: E402
from numpy_reference import (  # noqa: E402
    block_weights,
    final_norm_weights,
    numbers,
    randomise,
    sampled_softmax_loss,
)
from train_turns import made_batches  # noqa: E402
from train_worker import Steps, build_model  # noqa: E402

from keras_peterrec.benchmarks.worker import Worker  # noqa: E402

SMALL = {
    **{"items": 40, "hidden_dim": 8, "blocks": 2, "length": 9, "batch_size": 4, "negatives": 12},
    **{"loss": "full", "precision": "float32", "seed": 0},
}
VARIANTS = ("eager", "eager-conv1d", "eager-dense", "eager-sparse")


@pytest.fixture
def rows():
    """Ids `[B, L + 1]`, two rows of them padded on the left."""
    ids = made_batches(SMALL)[0]
    ids[1, :3] = ids[2, :6] = 0
    return ids


def pair(configuration, variant):
    """Our model with random weights, and the reference with the same."""
    model = randomise(build_model(configuration), scale=0.3)
    reference = torch_reference.Reference({**configuration, "variant": variant})
    reference.load(
        numbers(model.backbone.item_embedding.embeddings),
        [block_weights(block) for block in model.backbone.blocks],
        final_norm_weights(model.backbone),
        None if model.tied else numbers(model.item_table),
    )
    return model, reference


def loss_of(reference, rows, drawn=None):
    history, targets = torch.tensor(rows[:, :-1]), torch.tensor(rows[:, 1:])
    return reference.loss(history, targets, drawn).item()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("loss", ["backbone", "full"])
def test_loss_is_ours(loss, variant, rows):
    model, reference = pair({**SMALL, "loss": loss}, variant)
    ours = model.test_on_batch(rows[:, :-1], rows[:, 1:])
    assert loss_of(reference, rows) == pytest.approx(float(ours), rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sampled_loss_is_that_of_our_states(variant, rows):
    model, reference = pair({**SMALL, "loss": "sampled"}, variant)
    drawn = [0, 0, 1, 3, 7, 20, 39]
    states = keras.ops.convert_to_numpy(model(rows[:, :-1])).reshape(-1, 8)
    targets = rows[:, 1:].reshape(-1) - 4
    counted = targets >= 0
    expected = sampled_softmax_loss(
        states[counted], targets[counted], numbers(model.item_table), drawn
    ).mean()
    found = loss_of(reference, rows, torch.tensor(drawn))
    assert found == pytest.approx(expected, rel=1e-4)


def test_negatives_are_log_uniform():
    drawn = torch_reference.draw(200_000, 40).numpy()
    share = np.bincount(drawn, minlength=40) / len(drawn)
    item = np.arange(40)
    assert share == pytest.approx(np.log((item + 2) / (item + 1)) / np.log(41), abs=0.004)


@pytest.mark.parametrize("variant", VARIANTS)
def test_three_steps_are_ours(variant, rows):
    model, reference = pair(SMALL, variant)
    steps = Steps(model, rows[np.newaxis])
    history, targets = torch.tensor(rows[:, :-1]), torch.tensor(rows[:, 1:])
    theirs = []
    for _ in range(3):
        theirs.append(reference.step(history, targets))
        ours = steps.step()  # the mean of the steps so far
        assert np.mean(theirs) == pytest.approx(ours, rel=1e-4)
    assert theirs[2] < theirs[0]


def test_script_answers_as_a_worker(tmp_path):
    configuration = {**SMALL, "loss": "sampled"}
    np.save(tmp_path / "batches.npy", made_batches(configuration))
    settings = {**configuration, "batches": str(tmp_path / "batches.npy")}
    script = Path(torch_reference.__file__)
    with Worker([sys.executable, script], {**settings, "variant": "eager"}) as worker:
        assert worker.ready["versions"] == {"torch": torch.__version__}
        answer = worker.ask("run 3")
    assert len(answer["milliseconds"]) == 3
    assert answer["peak_bytes"] > worker.ready["start_bytes"] > 0
    assert 0 < answer["loss"] < 2 * np.log(40)
