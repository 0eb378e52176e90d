"""Batches that stream from a prepared log: those of memory, and every event once a pass."""

import itertools

import numpy as np
import pytest
from prepared_samples import prepared
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log.packed_batches import HiddenItems, NextItems, packed_batches
from keras_peterrec.log.streamed_batches import StreamedBatches
from keras_peterrec.log.vocabulary import counted_vocabulary
from keras_peterrec.runs.pretraining_log import encode_log
from keras_peterrec.training.seeds import seeded

SEED = 3


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    found, log = prepared(tmp_path_factory.mktemp("streamed") / "out", shards=6)
    return found, *encode_log(log)


def streamed(sample, make_batch=None, **options):
    options = {"tokens": 200, "rows": 2, "seed": SEED, **options}
    ids = counted_vocabulary(sample[0].item_ids, sample[0].counts, 1)[2]
    return StreamedBatches(sample[0], ids, make_batch or NextItems(), **options)


def arrays(batches):
    return [tuple(part.numpy() for part in batch) for batch in batches]


def equal(ours, theirs):
    assert len(ours) == len(theirs)
    return all(np.array_equal(a, b) for x, y in zip(ours, theirs) for a, b in zip(x, y))


def targets(batches):
    """How often each id is a target."""
    return np.bincount(np.concatenate([t.ravel() for _, t in batches]), minlength=70)[4:]


@pytest.mark.parametrize(("window", "hides"), [(None, False), (9, True)])
def test_a_log_of_one_chunk_gives_the_batches_of_memory(sample, window, hides):
    _, sequences, vocabulary, _ = sample
    make = HiddenItems(len(vocabulary)) if hides else NextItems(0.1)
    windows = sequences.training_windows(window or 10**6)
    with seeded(SEED):
        memory = packed_batches(sequences.items, *windows, make, 200, 2, SEED)
        ours = streamed(sample, make, window=window)
        assert len(ours.chunks) == 1 and ours.steps == int(memory.cardinality())
        passes = arrays(memory.repeat(3))
        assert equal(arrays(ours.from_step(0).take(3 * ours.steps)), passes)
        assert ours.element_spec[0].shape == passes[0][0].shape


def test_every_event_is_a_target_once_a_pass_and_passes_differ(sample):
    _, _, vocabulary, counts = sample
    ours = streamed(sample, chunk_events=600)
    assert len(ours.chunks) == 5 and sorted(itertools.chain(*ours.chunks)) == list(range(6))
    found = arrays(ours.from_step(0).take(2 * ours.steps))
    first, second = found[: ours.steps], found[ours.steps :]
    # All but each user's first event is a target; item counts of a pass follow from those of all.
    assert np.array_equal(targets(first), targets(second))
    assert (counts - targets(first)[: len(counts)] >= 0).all()
    assert counts.sum() - targets(first).sum() == sample[0].user_count
    assert not equal(first, second)
    assert equal(first, arrays(ours.from_step(0).take(ours.steps)))


@pytest.mark.parametrize("begin", [40, *slow(1, 7)])
def test_it_goes_on_in_the_middle_of_a_pass(sample, begin):
    ours = streamed(sample, NextItems(0.1), chunk_events=600)
    whole = arrays(ours.from_step(0).take(begin + 5))
    assert equal(arrays(ours.from_step(begin).take(5)), whole[begin:])


def test_workers_share_the_shards_and_agree_on_the_steps(sample):
    _, _, _, counts = sample
    workers = [
        streamed(sample, chunk_events=600, worker=w, workers=2, tokens=100, rows=1)
        for w in range(2)
    ]
    chunks = itertools.chain.from_iterable(w.chunks for w in workers)
    assert sorted(itertools.chain(*chunks)) == list(range(6))
    assert workers[0].steps == workers[1].steps and workers[0].width == workers[1].width
    found = [arrays(w.from_step(0).take(w.steps)) for w in workers]
    both = sum(targets(batches) for batches in found)
    assert counts.sum() - both.sum() == sample[0].user_count
    assert (both[: len(counts)] <= counts).all()


def test_rare_items_are_unknown_where_the_vocabulary_ends(sample):
    prepared_log = sample[0]
    vocabulary, _, ids = counted_vocabulary(prepared_log.item_ids, prepared_log.counts, 50)
    ours = StreamedBatches(prepared_log, ids, tokens=200)
    found = arrays(ours.from_step(0).take(ours.steps))
    assert max(history.max() for history, _ in found) == len(vocabulary) - 1
    assert any((history == 1).any() for history, _ in found)


def test_more_workers_than_shards_are_refused(sample):
    with pytest.raises(InputError, match="a shard for each of 7 workers"):
        streamed(sample, workers=7)
