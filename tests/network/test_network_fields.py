"""A network with fields of events: the promises of one that reads items alone."""

import numpy as np
import pytest
from one_step import check_step

from keras_peterrec.log.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.models.pretrainer import CausalPretrainer, MaskedPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork

FIELDS = {"time": 6, "kind": 4}


@pytest.fixture(scope="module", params=[True, False], ids=["causal", "bidirectional"])
def network(request):
    network = ConvolutionNetwork(20, 8, blocks=1, causal=request.param, fields=FIELDS)
    draw = np.random.default_rng(1)
    for weight in network.weights:
        if "seed" not in weight.name:
            weight.assign(draw.normal(0.1, 0.4, weight.shape))
    return network


def rows_of(seed=0, rows=3, length=7):
    draw = np.random.default_rng(seed)
    sizes = (20, *FIELDS.values())
    low = (4, 0, 0)
    columns = [draw.integers(a, b, (rows, length)) for a, b in zip(low, sizes)]
    return np.stack(columns, -1).astype("int32")


def test_an_event_is_the_sum_of_its_tables(network):
    rows, tables = rows_of(), [np.asarray(t.embeddings) for t in network.field_tables]
    expected = np.asarray(network.item_embedding.embeddings)[rows[..., 0]]
    for column, table in enumerate(tables, 1):
        expected = expected + np.where(rows[..., column, None] > 0, table[rows[..., column]], 0)
    np.testing.assert_allclose(np.asarray(network.embed(rows)), expected, atol=1e-6)


def test_what_is_not_told_adds_nothing(network):
    rows = rows_of()
    rows[..., 1:] = 0
    ids = np.asarray(network(rows[..., 0]))
    assert np.asarray(network(rows)).tobytes() == ids.tobytes()
    rows[..., 1] = 3
    assert np.abs(np.asarray(network(rows)) - ids).max() > 1e-3


def test_padding_is_inert_and_a_state_knows_no_future(network):
    rows = rows_of()
    states = np.asarray(network(rows))
    padded = np.pad(rows, [(0, 0), (3, 0), (0, 0)])
    np.testing.assert_allclose(np.asarray(network(padded))[:, 3:], states, atol=1e-5)
    if network.causal:
        changed = rows.copy()
        changed[:, 4:] = rows_of(seed=5)[:, 4:]
        np.testing.assert_array_equal(np.asarray(network(changed))[:, :4], states[:, :4])


def test_the_moment_of_the_question_changes_the_user(network):
    pretrainer = (CausalPretrainer if network.causal else MaskedPretrainer)(network)
    rows = rows_of()
    users = np.asarray(pretrainer.user_states(rows))
    assert users.shape == (3, 8)
    later = rows.copy()
    later[:, -1, 1] = rows[:, -1, 1] % 5 + 1
    assert np.abs(np.asarray(pretrainer.user_states(later)) - users).max() > 1e-3
    empty = np.zeros((1, 2, 3), "int32")
    nobody = np.asarray(pretrainer.user_states(empty[..., 0]))
    np.testing.assert_array_equal(np.asarray(pretrainer.user_states(empty)), nobody)


def test_a_micro_batched_step_is_keras_own(network):
    pretrainer = (CausalPretrainer if network.causal else MaskedPretrainer)(network.copy())
    check_step(pretrainer, rows_of(), rows_of(seed=2)[..., 0])
    for before, after in zip(network.field_tables, pretrainer.backbone.field_tables):
        assert np.abs(np.asarray(after.embeddings) - np.asarray(before.embeddings)).max() > 1e-5


def test_batches_carry_the_fields_of_their_events(network):
    rows = rows_of(rows=1, length=60)[0]
    rows[:, 1] = np.arange(60) % 5 + 1  # tells where an event is from
    make = NextItems() if network.causal else HiddenItems(20)
    batches = packed_batches(rows, [0, 30], [29, 59], make, tokens=30, seed=1)
    seen = 0
    for history, targets in batches:
        assert history.shape == (*targets.shape, 3)
        for event, target in zip(history.numpy()[0], targets.numpy()[0]):
            if not event[0]:
                assert not event.any()
                continue
            seen += 1
            places = np.flatnonzero((rows[:, 1:] == event[1:]).all(axis=1))
            assert len(places)
            if network.causal and target:
                assert target in rows[places + 1 - (places == 59), 0]
    assert seen >= 58
