"""What a host is measured on is what it answers: with or without the items of the history."""

import numpy as np
import numpy_reference as reference
import pytest
import scipy.sparse

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.read_log import read_log
from keras_peterrec.log.seen_items import share_of_repeats, what_is_seen
from keras_peterrec.log.sources.simulated_shop import simulate_shop
from keras_peterrec.log.vocabulary import Vocabulary, number_of
from keras_peterrec.models.pretrainer import CausalPretrainer
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.host_linear import keeps_seen, rule_baselines
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.transfer.host import Host

VOCABULARY = Vocabulary([f"item{n}" for n in range(12)])


@pytest.fixture(scope="module")
def log():
    """40 users of 4 to 9 events, of 12 items that they click again and again."""
    random = np.random.default_rng(0)
    lengths = random.integers(4, 10, 40)
    users, items = np.repeat(np.arange(40), lengths), random.integers(0, 12, lengths.sum())
    names = [VOCABULARY.items[item] for item in items]
    return Events.from_columns([f"u{n}" for n in users], names, list(range(len(users))))


def test_the_share_of_repeats_is_that_of_a_loop_over_training_events(log):
    sequences = log.encode(VOCABULARY)
    asked = [
        (item, before)
        for user in range(sequences.user_count)
        for n, item in enumerate(sequences[user][:-2].tolist())
        if (before := sequences[user][:n].tolist())
    ]
    share = share_of_repeats(sequences)
    assert share == pytest.approx(np.mean([item in before for item, before in asked]))
    assert 0.1 < share < 0.5
    told = PretrainingLog.of(log, 1).deciding(False)
    assert told.keep_seen is told.summary["keep_seen"] is False
    assert told.summary["truths_in_history"] == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("repeats", [0.0, 0.08, 0.2])
def test_seen_items_are_kept_where_more_is_found_with_them(repeats):
    """In a shop where one view of twelve repeats another, which is less than a tenth."""
    views = read_log(simulate_shop(users=800, repeats=repeats), events="view")
    log = PretrainingLog.of(views, 1)
    assert share_of_repeats(log.sequences) == pytest.approx(repeats, abs=0.02)
    assert keeps_seen(log) == (repeats > 0)


def test_what_was_decided_is_a_line_that_names_the_other_option():
    said = what_is_seen({"truths_in_history": 0.312, "keep_seen": True})
    assert said == (
        "31.2% of the targets are in the history: seen items are kept; "
        "--no-keep-seen leaves them out"
    )
    said = what_is_seen({"truths_in_history": 0.031, "keep_seen": False})
    assert said.endswith("seen items are left out; --keep-seen keeps them")
    assert what_is_seen({"truths_in_history": 0.0, "keep_seen": False}) is None


@pytest.mark.parametrize("keep_seen", [False, True])
def test_ranks_are_places_in_what_the_host_answers(keep_seen, log):
    pretrainer = CausalPretrainer(ConvolutionNetwork(16, hidden_dim=8, dilations=(1,)), tied=True)
    host = Host(reference.randomise(pretrainer), VOCABULARY, max_length=6, keep_seen=keep_seen)
    sequences = log.encode(host.vocabulary)
    evaluation = NextItemEvaluation(sequences, host.max_length, TEST, host.keep_seen)
    found = evaluation.measure(host.pretrainer, both=True)
    hits, places = [], []
    for start, stop, target in zip(*sequences.held_out(TEST)):
        history = sequences.items[start:stop]
        [scores] = np.asarray(host.next_item_scores(history[None, -host.max_length :]))
        answers = [4 + item for item in np.argsort(-scores) if keep_seen or 4 + item not in history]
        places.append(1 + answers.index(target) if target in answers else np.inf)
        hits.append(places[-1] <= 5)
    assert found["hr@5"] == pytest.approx(np.mean(hits))
    assert found["mrr@20"] == pytest.approx(np.mean(1 / np.array(places)))
    assert (found["hr@20"] == 1.0) == keep_seen  # of 12 items all are answered, unless taken out
    served = "repeat_" if keep_seen else "new_"
    assert found[f"{served}ndcg@10"] == found["ndcg@10"]
    assert found["new_hr@20"] < found["repeat_hr@20"] == 1.0


@pytest.mark.parametrize("popularity", [0.0, 0.7])
@pytest.mark.parametrize("keep_seen", [False, True])
def test_a_sparse_linear_part_is_chosen_by_what_is_served(keep_seen, popularity, log):
    sequences = log.encode(VOCABULARY)
    evaluation = NextItemEvaluation(sequences, 6, TEST, keep_seen)
    random = np.random.default_rng(1)
    table = random.normal(size=(12, 12)).astype("float32") * (random.random((12, 12)) < 0.7)
    table = np.abs(table) if not popularity else table
    bias = popularity * (1 + random.permutation(12).astype("float32"))
    part = LinearPart(Bag(2.0), scipy.sparse.csr_matrix(table), bias)
    found = evaluation.linear_gains(part, "mrr@5").mean()
    assert 0.05 < found < 0.9
    assert found == pytest.approx(evaluation.measure_linear(part)["mrr@5"])
    dense = LinearPart(part.bag, table, part.bias)
    assert found == pytest.approx(evaluation.linear_gains(dense, "mrr@5").mean())


def test_rules_by_counts_are_measured_where_they_can_answer():
    shop = read_log(simulate_shop(users=80, items=30), events="view")
    latest = float(np.quantile(shop.timestamps, 0.8))
    log = PretrainingLog.of(shop, 1, f"time:{latest}")
    asked = log.sequences, 20, TEST
    kept, new = (NextItemEvaluation(*asked, keep_seen=kept) for kept in (True, False))
    rules = {rule["name"]: rule["test"] for rule in rule_baselines(*_counted(log), kept, True)}
    assert list(rules) == ["last item and successors", "items of the history", "recent popularity"]
    # A shop's users come back to what they had; without it, nothing but popularity is left.
    assert rules["items of the history"]["ndcg@10"] > 2 * rules["recent popularity"]["ndcg@10"]
    assert (
        rules["items of the history"]["new_ndcg@10"] == kept.popularity(log.counts)["new_ndcg@10"]
    )
    trained = log.sequences.places < np.repeat(log.sequences.split.trained, log.sequences.lengths)
    times = log.sequences.timestamps
    recent = log.sequences.items[trained & (times >= np.quantile(times[trained], 0.9))]
    counts = np.bincount(number_of(recent), minlength=len(log.counts))
    assert rules["recent popularity"] == kept.popularity(counts)
    assert len(rule_baselines(*_counted(log), new)) == 1


def _counted(log):
    return log.sequences, log.counts
