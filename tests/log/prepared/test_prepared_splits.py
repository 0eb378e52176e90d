"""Splits of a prepared log, counted shard by shard: as those of a log in memory."""

import numpy as np
import pytest
from prepared_samples import contents, prepared, sample_columns
from slow_cases import slow

from keras_peterrec.errors import InputError
from keras_peterrec.log import splits
from keras_peterrec.log.event_split import all_events
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.finishing import Plan
from keras_peterrec.log.prepared.in_process import prepare_in_process
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.splits import count_split, find_periods, target_weight
from keras_peterrec.log.vocabulary import counted_vocabulary
from keras_peterrec.runs.pretraining_log import encode_log


@pytest.fixture(scope="module", params=[0.37, *slow(1)], ids=["fractions", "whole times"])
def sample(request, tmp_path_factory):
    users, items, times = sample_columns()
    times = 100 + times * request.param
    return prepared(tmp_path_factory.mktemp("split") / "out", (users, items, times), shards=4)


@pytest.mark.parametrize("bins", [2**20, 3])
def test_a_split_by_time_is_that_of_memory(sample, monkeypatch, bins):
    found, log = sample
    monkeypatch.setattr(splits, "BINS", bins)
    moment = float(np.quantile(log.timestamps, 0.8))
    wanted = find_periods(log, f"time:{moment}").events(log)
    ours = count_split(found, f"time:{moment}")
    sequences, vocabulary, counts = encode_log(log, split=f"time:{moment}")
    assert np.repeat(ours.trained, ours.users).sum() == wanted.trained.sum()
    assert np.array_equal(np.sort(np.repeat(ours.trained, ours.users)), np.sort(wanted.trained))
    kept, kept_counts, ids = counted_vocabulary(found.item_ids, ours.counts, 1)
    assert kept.items.tolist() == vocabulary.items.tolist()
    assert kept_counts.tolist() == counts.tolist()
    read = found.read(range(4), times=True)
    all_of_it = read.renumbered(ids, ours.periods.events(read))
    assert all_of_it.items.tolist() == sequences.items.tolist()
    for name in ("trained", "validation", "test"):
        assert np.array_equal(getattr(all_of_it.split, name), getattr(wanted, name)), name
    assert find_periods(found, f"time:{moment}") == ours.periods


def test_everything_counts_all_events(sample):
    found, log = sample
    _, vocabulary, counts = encode_log(log, split="everything")
    assert counts.sum() == len(log)
    ours = count_split(found, "everything").counts
    kept, kept_counts, _ = counted_vocabulary(found.item_ids, ours, 1)
    assert kept.items.tolist() == vocabulary.items.tolist()
    assert kept_counts.tolist() == counts.tolist()


def test_items_of_equal_counts_are_in_order_of_their_names(sample):
    found, _ = sample
    counts = np.ones(len(found.counts), "int64")
    assert counted_vocabulary(found.item_ids, counts, 1)[0].items.tolist() == sorted(
        found.items.items
    )


def test_a_split_is_kept_in_the_folder(tmp_path, monkeypatch):
    found, log = prepared(tmp_path / "out", shards=3)
    before = contents(tmp_path / "out")
    found.keep_split("time:30")
    kept = tmp_path / "out" / "split-30.npz"
    ours = count_split(found, "time:30")
    assert {*contents(tmp_path / "out")} - {*before} == {"split-30.npz"}
    content = kept.read_bytes()
    kept.unlink()
    wanted = count_split(found, "time:30")
    for name in ("counts", "shard", "trained", "users"):
        assert np.array_equal(getattr(ours, name), getattr(wanted, name)), name
    kept.write_bytes(content)
    monkeypatch.setattr(PreparedLog, "read", lambda *a, **k: pytest.fail("counted again"))
    assert count_split(found, "time:30").periods.bounds == ours.periods.bounds


def test_weights_of_targets_are_added_up(tmp_path):
    columns = sample_columns()
    log = Events.from_columns(*columns, weights=[0.1 * (n % 9) for n in range(3_000)])
    prepare_in_process(log, Plan.of(log, shards=4), tmp_path / "out")
    found = PreparedLog(tmp_path / "out")
    in_order = log.encode(found.items).weights
    assert found.log().weights.tolist() == in_order.tolist()
    wanted = {
        "last": find_periods(log, "last").events(log),
        "everything": all_events(log.lengths),
        "time:30": find_periods(log, "time:30").events(log),
    }
    for name, split in wanted.items():
        sequences = log.encode(found.items, split=split)
        total = target_weight(sequences.weights, sequences.offsets, split.trained)
        ours = count_split(found, name)
        assert ours.target_weight == pytest.approx(total)
        assert ours.targets == np.maximum(split.trained - 1, 0).sum()


@pytest.mark.parametrize("moment", [50, 100, 1_000])
def test_a_moment_that_leaves_a_part_empty_is_refused(sample, moment):
    found, _ = sample
    with pytest.raises(InputError, match="`split` should leave events"):
        count_split(found, f"time:{moment}")
