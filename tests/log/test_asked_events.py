"""Which events are to be predicted, and how a log is split then."""

import numpy as np
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log.events import Events
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.seen_items import share_of_repeats
from keras_peterrec.log.splits import EVERYTHING, LAST, AskedEvents, Periods, count_split
from keras_peterrec.log.vocabulary import Vocabulary
from keras_peterrec.runs.prepare import prepare

BUYS = AskedEvents.parse("kind=buy, gift")
TIMES = Periods("time:60", (40, 60))


def shop(seed=0, users=40):
    """Users with 1 to 9 events at times up to 100."""
    draw, rows = np.random.default_rng(seed), []
    for user in range(users):
        for time in np.sort(draw.choice(100, draw.integers(1, 10), replace=False)):
            kind = draw.choice(np.array(["view", "buy", "gift", None], object))
            rows.append((f"u{user}", f"i{draw.integers(9)}", int(time), kind))
    users, items, times, kinds = map(list, zip(*rows))
    return Events.from_columns(users, items, times, fields={"kind": kinds})


def expected(kinds, times, split):
    """Trained, validation and test of one user, event by event."""
    asked = [n for n, kind in enumerate(kinds) if kind in ("buy", "gift") and n > 0]
    if split == EVERYTHING:
        return len(kinds), -1, -1
    if split == LAST:
        return (asked[-2], *asked[-2:]) if len(asked) > 1 else (len(kinds), -1, -1)
    validation = [n for n in asked if 40 <= times[n] < 60]
    test = [n for n in asked if times[n] >= 60]
    return sum(times < 40), *(found[0] if found else -1 for found in (validation, test))


@pytest.mark.parametrize("periods", [Periods(LAST), Periods(EVERYTHING), TIMES], ids=str)
def test_the_last_of_the_asked_events_are_held_out(periods):
    log = shop().asking(BUYS)
    split, kinds = periods.events(log), log.fields["kind"].texts()
    found = zip(split.trained, split.validation, split.test)
    for user, of_user in enumerate(found):
        part = slice(log.offsets[user], log.offsets[user + 1])
        assert of_user == expected(kinds[part], log.timestamps[part], periods.split), user
    if periods.split == LAST:
        vocabulary = Vocabulary(log.item_ids)
        events = log.encode(vocabulary)
        np.testing.assert_array_equal(events.split.test, split.test)
        _, stops, _ = events.held_out("test")
        assert events.asked[stops].all() and set(kinds[stops]) == {"buy", "gift"}
        assert set(kinds[events.predicted]) == {"buy", "gift"}


def test_where_all_are_asked_the_split_is_the_usual_one():
    log = shop()
    kinds = sorted({kind for kind in log.fields["kind"].texts() if kind})
    log.fields["kind"].codes.setflags(write=True)
    log.fields["kind"].codes[:] = 0
    asked = log.asking(AskedEvents("kind", tuple(kinds)))
    one, other = Periods(LAST).events(log), Periods(LAST).events(asked)
    for name in ("trained", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_prepared_log_asks_for_the_same(tmp_path):
    log = shop(users=60)
    prepare(log, tmp_path / "log", shards=3)
    prepared, asked = PreparedLog(tmp_path / "log").asking(BUYS), log.asking(BUYS)
    assert prepared.weighted and prepared.kept_split(LAST) is None
    assert prepared.fingerprint() == PreparedLog(tmp_path / "log").fingerprint()
    assert asked.fingerprint() == log.fingerprint()
    counts = [count_split(each) for each in (prepared, asked)]
    assert counts[0].targets == counts[1].targets
    assert counts[0].target_weight == counts[1].target_weight > 0
    by_item = [dict(zip(each.item_ids, c.counts)) for each, c in zip((prepared, asked), counts)]
    assert by_item[0] == by_item[1]
    events = prepared.read(range(3), fields=False)
    assert events.asked.sum() == asked.asked.sum()
    assert not log.weighted and log.asking(None).asked is None


def test_weights_count_those_alone():
    columns = ["a", "a", "a", "b"], ["x", "y", "z", "x"], [1, 2, 3, 4]
    fields = {"kind": ["buy", "view", "buy", "buy"]}
    log = Events.from_columns(*columns, weights=[2.0, 3.0, 4.0, 0.0], fields=fields)
    assert log.asking(AskedEvents.parse("kind=buy")).target_weights.tolist() == [2, 0, 4, 0]
    plain = Events.from_columns(*columns, fields=fields)
    assert plain.asking(AskedEvents.parse("kind=buy")).target_weights.tolist() == [1, 0, 1, 1]


def test_only_what_is_asked_says_whether_items_are_repeated():
    columns = ["a"] * 6 + ["b"], ["x", "x", "x", "y", "z", "y", "x"], list(range(7))
    kinds = ["view", "view", "buy", "buy", "view", "view", "buy"]
    log = Events.from_columns(*columns, fields={"kind": kinds})
    everything = Periods(EVERYTHING)
    for asked, share in ((None, 3 / 5), (AskedEvents.parse("kind=buy"), 1 / 2)):
        log = log.asking(asked)
        events = log.encode(Vocabulary(log.item_ids), split=everything.events(log))
        assert share_of_repeats(events) == share


@pytest.mark.parametrize("text", ["buy", "=buy", "kind=", "kind=buy,", 3])
def test_other_forms_are_refused(text):
    with pytest.raises(InputError, match="`predict` should be a column and its values, such as"):
        AskedEvents.parse(text)


def test_a_log_without_them_is_refused():
    with pytest.raises(InputError, match="`log` should have the column 'type'"):
        shop().asking(AskedEvents.parse("type=buy"))
    with pytest.raises(InputError, match="`log` should have users with at least two of the events"):
        count_split(shop().asking(AskedEvents.parse("kind=sold")))
