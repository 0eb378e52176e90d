"""The kind that recommends: its rows, loss and metrics."""

from types import SimpleNamespace

import numpy as np
import numpy_reference as reference
import pytest

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart, LinearScores
from keras_peterrec.log.event_split import TEST, TRAIN, VALIDATION
from keras_peterrec.log.events import Events
from keras_peterrec.log.read_log import read_log
from keras_peterrec.log.sources.simulated_shop import simulate_shop
from keras_peterrec.log.user_splits import split_users
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.network.convolution import ConvolutionNetwork
from keras_peterrec.runs.task_parts import in_passes, on_states
from keras_peterrec.settings.transfer import SplitSettings
from keras_peterrec.tasks import recommendation
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.tasks.recommendation import Recommendation
from keras_peterrec.tasks.task_data import PartWeights
from keras_peterrec.transfer.strategies import build_task

WHOLE = SplitSettings(cut_history=False)


@pytest.fixture(scope="module")
def data(source, simulated):
    return Recommendation.make_data(source, simulated.domain("target"), 20)


@pytest.mark.parametrize(("more", "kind"), [(0.0, "bce"), (0.1, "softmax")])
def test_loss_is_chosen_by_the_targets_of_a_row(more, kind, source, simulated, monkeypatch):
    data = Recommendation.make_data(source, simulated.domain("target"), 20, WHOLE)
    targets = data.splits[TRAIN].answers.lengths.mean()
    assert targets > 1.5
    monkeypatch.setattr(recommendation, "MANY_TARGETS", targets + more)
    loss = data.loss()
    assert loss.kind == kind and loss.events_per_row == pytest.approx(targets)
    assert data.loss("bpr").kind == "bpr"  # what is asked for is taken


def test_targets_are_all_items_by_their_training_counts(data, simulated):
    log = simulated.domain("target")
    assert set(data.kind.labels) == set(log.item_ids)
    trained = split_users(log.user_ids)[log.users] == TRAIN
    counts = {item: (log.items[trained] == place).sum() for place, item in enumerate(log.item_ids)}
    found = [counts[item] for item in data.kind.labels]
    assert found == sorted(found, reverse=True) == data.counts.tolist()
    assert data.summary()["target_items"] == len(log.item_ids)
    assert data.summary()["target_events"] == len(log)


def test_filtered_metrics_are_those_of_a_loop_over_events(data, simulated):
    """Every target of a test user is ranked among all items but the user's other ones."""
    log, labels = simulated.domain("target"), data.kind.labels
    random = np.random.default_rng(0)
    users = random.normal(size=(len(data.splits[TEST]), 8)).astype("float32")
    head = data.kind.new_head()
    head.build(users.shape)
    head.item_table.assign(random.normal(size=head.item_table.shape))
    scores = np.asarray(head(users), "float64")
    known = {}
    for user, item in zip(log.user_ids[log.users], log.item_ids[log.items]):
        known.setdefault(user, set()).add(labels.index(item))
    ranks = []
    for row, (user, answers) in enumerate(
        zip(data.splits[TEST].user_ids, data.splits[TEST].answers)
    ):
        for target in answers:
            others = [n for n in range(len(labels)) if n not in known[user]]
            ranks.append(1 + (scores[row, others] >= scores[row, target]).sum())
    ranks = np.array(ranks)
    found = data.measure_users(users, head, TEST, sampled=True)
    for k in (5, 10, 20):
        hit = ranks <= k
        assert found[f"filtered_hr@{k}"] == pytest.approx(hit.mean())
        assert found[f"filtered_mrr@{k}"] == pytest.approx((hit / ranks).mean())
        assert found[f"filtered_ndcg@{k}"] == pytest.approx((hit / np.log2(ranks + 1)).mean())
    # There are fewer than 99 negatives here: all of them are drawn, some more than once.
    assert found["sampled_hr@5"] <= found["filtered_hr@5"]
    baseline = data.baseline(TEST)
    assert baseline["name"] == "popularity" and baseline["test"].keys() == found.keys()


def test_recommends_the_best_items_that_are_not_excluded(tmp_path):
    kind = Recommendation(Vocabulary(["a", "b", "c", "d"], special_ids=False))
    scores = np.array([[0.1, 0.4, 0.3, 0.2], [0.5, 0.5, 0.5, 0.5]], "float32")
    items, best = kind.recommend(scores, 2, ItemFilters.of([[], []]))
    assert items.tolist() == [["b", "c"], ["a", "b"]]
    np.testing.assert_array_equal(best, [scores[0, [1, 2]], [0.5, 0.5]])
    items, _ = kind.recommend(scores, 2, ItemFilters.of([[], []], deny=[["b", "unheard-of"], []]))
    assert items[0].tolist() == ["c", "d"]
    saved = kind.save(tmp_path)
    assert Recommendation.load(saved, tmp_path).labels == kind.labels
    assert [file.name for file in tmp_path.iterdir()] == list(kind.files)


def test_histories_that_come_after_all_targets_are_said(source, simulated, capsys):
    log = simulated.domain("target")
    early = Events.from_columns(
        log.user_ids[log.users], log.item_ids[log.items], log.timestamps // 10, "t"
    )
    Recommendation.make_data(source, early, 20)
    assert "come before all of their user's history" in capsys.readouterr().err
    Recommendation.make_data(source, early, 20, WHOLE)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("passes", [True, False])
def test_one_user_with_ten_thousand_targets_trains_beside_the_others(passes, source):
    """All targets of a history are positives of one row; memory is by events, not by the widest."""
    users = np.concatenate([source.user_ids[:60], np.repeat(source.user_ids[60], 10_000)])
    items = np.concatenate([np.arange(60), np.arange(10_000)]).astype(str)
    log = Events.from_columns(users.tolist(), items.tolist(), list(range(len(users))))
    seed = next(n for n in range(9) if split_users([source.user_ids[60]], n)[0] == TRAIN)
    data = Recommendation.make_data(source, log, 12, SplitSettings(cut_history=False, seed=seed))
    train = data.splits[TRAIN]
    assert train.answers.lengths.max() == 10_000 and len(train) < 61
    assert train.answers.items.nbytes < 100_000
    method = "patch" if passes else "head"
    task = build_task(ConvolutionNetwork(70, 8, (1,), causal=passes), data.new_head(), method)
    parts = in_passes(task, data, 16, 0, 0.3) if passes else on_states(task, data, 16, 0)
    parts.model.compile("adam", loss=data.loss("bce"), run_eagerly=True)
    before = float(np.mean(task.head.item_table))
    parts.model.fit(parts.batches.take(2), verbose=0)
    assert np.isfinite(task.head.item_table).all() and np.mean(task.head.item_table) != before


@pytest.mark.parametrize("causal", [True, False])
def test_users_of_passes_are_those_of_rows(causal, source, simulated, monkeypatch):
    """Histories of 16 events, of which a task reads 12: some are longer than a stretch."""
    data = Recommendation.make_data(source, simulated.domain("target"), 12)
    host = ConvolutionNetwork(len(simulated.domain("source").item_ids) + 4, 8, (1,), causal=causal)
    task = build_task(host, data.new_head(), history_length=12, window=6)
    reference.randomise(task)
    read = []
    for part in (TRAIN, TEST):
        read.append(data.reach(task, part))
        passes = data.users(task, part)
        with monkeypatch.context() as patch:
            patch.setattr(type(task), "reach", lambda *_: None)
            rows = data.users(task, part)
        np.testing.assert_allclose(passes, rows, atol=1e-4, rtol=1e-4)
    assert read == ([6, 6] if causal else [None, None])


def test_histories_with_one_row_each_are_read_in_passes_as_well(source, simulated):
    data = Recommendation.make_data(source, simulated.domain("target"), 12, WHOLE)
    task = build_task(ConvolutionNetwork(70, 8, (1,)), data.new_head())
    assert data.reach(task, TRAIN) == task.reach(12) == 6


@pytest.mark.parametrize("knows", ["network", "linear", "both"])
def test_the_linear_part_is_added_as_far_as_it_helps(knows, data, monkeypatch):
    random, labels = np.random.default_rng(0), len(data.kind.labels)
    split = data.splits[VALIDATION]
    truths = np.zeros((len(split), labels))
    truths[split.answers.rows, split.answers.items] = 1.0
    users = random.normal(size=(len(split), labels)).astype("float32")
    users += 3 * truths * (knows != "linear")
    linear = random.normal(size=truths.shape) + 3 * truths * (knows != "network")
    part = LinearPart(Bag(), np.ones((3, labels), "float32"), np.zeros(labels, "float32"))
    scores = LinearScores(np.eye(len(linear)), linear, np.zeros(labels))
    monkeypatch.setattr(data, "linear_scores", lambda *_: scores)
    model = SimpleNamespace(
        head=SimpleNamespace(item_table=np.eye(labels, dtype="float32")), linear=None
    )
    weights = data.part_weights(users, model.head, scores)
    weight = weights.linear
    data.join(model, part, weights)
    alone = [data._ranked(users, np.eye(labels), VALIDATION, linear=None)["ndcg@10"]]
    alone.append(data.measure_linear(part, VALIDATION)["ndcg@10"])
    found = data.measure_users(users, model.head, VALIDATION, linear=scores.moved(weight))
    assert found["ndcg@10"] >= alone[0]
    assert found["ndcg@10"] >= 0.97 * alone[1]
    if knows == "both":
        assert found["ndcg@10"] > max(alone) + 0.02
    assert (model.linear is None) == (weight == 0)
    if weight:
        np.testing.assert_array_equal(model.linear.table, part.table)
        assert model.linear.weight == weight
    assert data.part_weights(users, model.head) == PartWeights(1.0, 0.0)
    assert data.measure_sum(users, model.head, scores) == pytest.approx(dict(found))


def test_the_linear_part_of_a_task_beats_popularity(data, simulated):
    linear = data.fit_linear(60)
    found = data.measure_linear(linear, TEST, sampled=True)
    baseline = data.baseline(TEST)["test"]
    assert found.keys() == baseline.keys() and found["ndcg@10"] > baseline["ndcg@10"]
    # The same by hand: each target among all items but the user's other ones.
    split = data.splits[TEST]
    scores, hits = data.linear_scores(linear, TEST).all(), []
    for row, (user, answers) in enumerate(zip(split.user_ids, split.answers)):
        known = data.known[int(data.known.index([user])[0])]
        for target in answers:
            others = np.setdiff1d(np.arange(scores.shape[1]), known)
            hits.append(np.sum(scores[row, others] >= scores[row, target]) < 10)
    assert found["filtered_hr@10"] == pytest.approx(np.mean(hits))


@pytest.fixture(scope="module")
def purchases():
    """Which item a user buys next, given what was viewed before, in a shop."""
    shop = simulate_shop(users=600, items=60, seed=3)
    views, buys = (read_log(shop, events=kind) for kind in ("view", "buy"))
    vocabulary = Vocabulary.from_counts(views.item_ids, np.bincount(views.items))
    return Recommendation.make_data(views.encode(vocabulary), buys, 20)


def test_purchases_of_what_was_just_viewed_are_found_by_the_last_item(purchases):
    (found,) = purchases.more_baselines(TEST)
    assert found["name"] == "last item and successors"
    popularity = purchases.baseline(TEST)["test"]
    assert found["test"]["ndcg@10"] > 0.9 > 2 * popularity["ndcg@10"]
    assert found["test"].keys() == popularity.keys()
    assert found["test"]["sampled_ndcg@5"] >= found["test"]["filtered_ndcg@5"] - 0.01


def test_targets_that_the_source_has_not_are_ranked_by_what_followed_the_last_item(data):
    (found,) = data.more_baselines(TEST)
    train, test = data.splits[TRAIN], data.splits[TEST]
    size = len(data.kind.labels)
    followed = np.zeros((2_000, size))
    for start, stop, answers in zip(train.starts, train.stops, train.answers):
        for target in answers if stop > start else []:
            followed[data.source.items[stop - 1], target] += 1
    gains = []
    for user, start, stop, answers in zip(test.user_ids, test.starts, test.stops, test.answers):
        own = set(data.known[data.known.index([user])[0]].tolist())
        scores = [(0, n) for n in data.counts]
        if stop > start:
            scores = list(zip(followed[data.source.items[stop - 1]], data.counts))
        for target in answers:
            others = {*range(size)} - own
            rank = 1 + sum(scores[n] >= scores[target] for n in others)
            gains.append((rank <= 10) / np.log2(rank + 1))
    assert found["test"]["filtered_ndcg@10"] == pytest.approx(np.mean(gains))
