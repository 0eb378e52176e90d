"""Recommendations are measured by the rule that they are served by, on views and purchases."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.event_split import TEST, TRAIN
from keras_peterrec.log.events import Events
from keras_peterrec.log.seen_items import are_seen
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.settings.transfer import SplitSettings, TaskSettings
from keras_peterrec.tasks.recommendation import Recommendation

KEPT = pytest.mark.parametrize("keep_seen", [False, True])


def shop(seed=0, users=60, items=12, views=8, own=0.9):
    """Views, and after every second one a purchase, with a chance `own` of the item just viewed.

    Some users buy two items at one moment, and one of the items is never viewed.
    """
    random = np.random.default_rng(seed)
    viewed = random.integers(0, items, (users, views))
    names = np.repeat([f"u{n}" for n in range(users)], views)
    times = np.tile(np.arange(views) * 2, users)
    log = Events.from_columns(names.tolist(), [f"i{n}" for n in viewed.reshape(-1)], times.tolist())
    again = random.random(viewed.size) < own
    bought = np.where(again, viewed.reshape(-1), random.integers(0, items + 1, viewed.size))
    rows = np.flatnonzero((np.arange(viewed.size) % 2 == 1) | (random.random(viewed.size) < 0.1))
    rows = np.concatenate([rows, rows[random.random(len(rows)) < 0.3]])  # the same twice, or two
    bought = np.append(bought, random.integers(0, items + 1, len(rows)))
    column = np.concatenate([rows[: len(rows) // 2], np.arange(len(rows) // 2, len(rows))])
    items_bought = [f"i{n}" for n in np.where(column < viewed.size, bought[column], bought[rows])]
    buys = Events.from_columns(names[rows].tolist(), items_bought, (times[rows] + 1).tolist())
    return log, buys


def make_data(log, buys, known=None, **settings):
    """The RecommendationData of a host that knows some of the items; all by default."""
    vocabulary = Vocabulary(known or sorted(set(log.item_ids)))
    source = log.encode(vocabulary, known_only=True)
    return Recommendation.make_data(source, buys, 20, SplitSettings(**settings))


def copying(data):
    """A linear part that answers with the last items of the history."""
    known, targets = data.source.vocabulary.items, data.kind.targets
    table = np.zeros((len(known), len(targets)), "float32")
    table[np.arange(len(table)), targets.encode(known)] = 1.0
    return LinearPart(Bag(0.1), table, np.zeros(len(targets), "float32"))


def test_a_purchase_of_what_was_just_viewed_is_measured_as_it_is_served():
    log, buys = shop(own=1.0)
    data = make_data(log, buys)
    assert data.truths_in_history > 0.5 and data.kind.keep_seen
    (line,) = data.doubts()
    assert line.endswith("seen items are kept; --no-keep-seen leaves them out")
    assert data.measure_linear(copying(data), TEST)["ndcg@10"] > 0.8
    hidden = make_data(log, buys, keep_seen=False)
    assert not hidden.kind.keep_seen and hidden.doubts() == []
    found = hidden.measure_linear(copying(hidden), TEST, sampled=True)
    # What was just viewed is never answered; papers look for it nevertheless.
    assert found["ndcg@10"] < 0.3 < 0.8 < found["filtered_ndcg@10"]
    baseline = hidden.baseline(TEST)["test"]
    assert baseline.keys() == found.keys() and baseline["hr@10"] < 0.5


def test_few_purchases_of_what_was_viewed_are_reason_enough_to_answer_it():
    """Where others have no order, to which leaving them out could give anything."""
    data = make_data(*shop(users=400, items=60, own=0.08))
    assert 0.05 < data.truths_in_history < 0.2 and data.kind.keep_seen


def requests(log, buys, data):
    """Each test user's requests: items of the history before each moment, and what was bought then.

    A moment ends with the next event that the host knows.
    """
    known = set(data.source.vocabulary.items)
    rows = {}
    for user in dict.fromkeys(data.splits[TEST].user_ids):
        views, bought = (
            sorted(
                (time, n, item)
                for n, (who, item, time) in enumerate(
                    zip(part.user_ids[part.users], part.item_ids[part.items], part.timestamps)
                )
                if who == user
            )
            for part in (log, buys)
        )
        for time, _, item in bought:
            before = [view for at, _, view in views if at < time]
            seen, truths = rows.setdefault(
                (user, sum(view in known for view in before)), (set(before), set())
            )
            truths.add(item)
    return list(rows.values())


@KEPT
@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_places_in_what_a_server_would_answer(seed, keep_seen):
    """Items that the host does not know are hidden too, and nothing that comes later."""
    log, buys = shop(seed)
    data = make_data(log, buys, [f"i{n}" for n in range(9)], keep_seen=keep_seen)
    labels = data.kind.labels
    users = np.random.default_rng(seed).normal(size=(len(data.splits[TEST]), 8)).astype("float32")
    head = data.kind.new_head()
    head.build(users.shape)
    head.item_table.assign(np.random.default_rng(9).normal(size=head.item_table.shape))
    scores = np.asarray(head(users), "float64")
    found = data.measure_users(users, head, TEST, sampled=True)
    asked = requests(log, buys, data)
    assert len(asked) == len(scores) and max(len(truths) for _, truths in asked) > 1
    gains = {"hr@5": [], "mrr@5": [], "ndcg@5": []}
    for row, (seen, truths) in zip(scores, asked):
        hidden = set() if keep_seen else seen
        answers = [labels[n] for n in np.argsort(-row) if labels[n] not in hidden][:5]
        places = [n + 1 for n, item in enumerate(answers) if item in truths]
        gains["hr@5"].append(bool(places))
        gains["mrr@5"].append(1 / places[0] if places else 0.0)
        ideal = sum(1 / np.log2(n + 2) for n in range(min(5, len(truths))))
        gains["ndcg@5"].append(sum(1 / np.log2(n + 1) for n in places) / ideal)
    assert {name: found[name] for name in gains} == {
        name: pytest.approx(np.mean(parts)) for name, parts in gains.items()
    }
    low, high = found.intervals()["ndcg@5"]
    assert low < found["ndcg@5"] < high and "filtered_ndcg@10" in found.intervals()
    # What a report shows are such answers.
    lists = found.details.arrays()["lists"]
    for answered, (seen, _) in zip(lists, asked):
        assert keep_seen or not {labels[n] for n in answered[:3]} & seen


def test_the_share_is_that_of_the_training_truths_in_the_history_before_them():
    log, buys = shop(3, own=0.5)
    data = make_data(log, buys)
    train = data.splits[TRAIN]
    seen = are_seen(data.history, train.seen, train.answers)
    of_rows = np.split(seen, train.answers.offsets[1:-1])
    for row, (start, stop) in enumerate(train.seen):
        before = data.history.items[start:stop].tolist()
        assert of_rows[row].tolist() == [item in before for item in train.answers[row]]
    assert data.summary()["truths_in_history"] == pytest.approx(np.mean(seen), abs=1e-6)
    apart = Events.from_columns(
        buys.user_ids[buys.users], [f"t{n}" for n in buys.items], buys.timestamps
    )
    data = make_data(log, apart)
    assert data.truths_in_history == 0.0 and not data.kind.keep_seen and data.doubts() == []


def test_whole_histories_hide_all_that_a_user_views():
    log, buys = shop()
    data = make_data(log, buys, cut_history=False, keep_seen=False)
    for (start, stop), user in zip(data.splits[TEST].seen, data.splits[TEST].user_ids):
        viewed = set(log.item_ids[log.items[log.user_ids[log.users] == user]])
        items = set(data.kind.targets.decode(data.history.items[start:stop]))
        assert items == viewed & set(buys.item_ids)


def test_a_bundle_keeps_what_was_decided(tmp_path):
    kind = Recommendation(Vocabulary(["a", "b"], special_ids=False), keep_seen=True)
    assert Recommendation.load(kind.save(tmp_path), tmp_path).keep_seen
    data = make_data(*shop())
    data.answer_as(Recommendation(data.kind.targets, keep_seen=False))
    assert data.summary()["keep_seen"] is False


def test_labels_take_no_keep_seen():
    with pytest.raises(InputError, match="`keep_seen` should be left out without `target`"):
        TaskSettings(labels="users.csv", column="age", keep_seen=True)
