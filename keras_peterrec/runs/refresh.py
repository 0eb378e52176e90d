"""From a host and new events to a host that knows them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_json
from keras_peterrec.linear.linear_part import LinearPart
from keras_peterrec.log.event_split import TEST
from keras_peterrec.log.events import Events
from keras_peterrec.log.item_features import ItemFeatures, read_items
from keras_peterrec.log.moments import is_moment
from keras_peterrec.log.sources import load_log
from keras_peterrec.log.splits import EVERYTHING, count_split
from keras_peterrec.runs.host_life import HostLife, origin
from keras_peterrec.runs.life import live
from keras_peterrec.runs.next_item import NextItemEvaluation
from keras_peterrec.runs.pretraining_log import PretrainingLog, log_summary
from keras_peterrec.runs.run_folder import finish_elsewhere
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.pretrain import RefreshSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.grown_host import grow_host, grown_vocabulary
from keras_peterrec.transfer.host import Host
from keras_peterrec.types import Json

# A log with less than this share of the host's events, or of a user's, holds new events only.
LEAST_SHARE = 0.5


@takes(RefreshSettings)
def refresh(settings: RefreshSettings) -> Json:
    """Trains a host further on new events, and saves it as a new run folder.

    Items keep their ids, and new ones come after them; their vectors start at the mean of those of
    the items clicked beside them and of what the columns of an `items` table say. All is then
    trained with a small learning rate, and early stopping counts the start. The network reads the
    histories that the log has: of the new events alone, or better of all.

    The linear part is fitted to the log, anew or held to the host's own, whichever is better on the
    validation events. With `keep_host_items` the vectors of new items alone are trained, so that
    the host's tasks are tasks of the new host, with the same answers.

    Returns:
        dict, the content of `metrics.json`, with the host as it was among the baselines.

    Raises:
        InputError: an argument, the host or the log cannot be used.
    """
    began = command_began()
    if (finished := finish_elsewhere(settings)) is not None:
        return finished
    devices = Devices.open(settings.devices)
    with progress.stage(f"loading {settings.host}"):
        host = Host.load(settings.host)
    reading = {**settings.reading, "weight_column": settings.weight_column}
    log = load_log(settings.log, **reading, fields=host.columns or None).asking(host.asked)
    features = None
    if settings.items is not None:
        features = read_items(settings.items, settings.columns, settings.drop_bad_rows)
    growth = Growth(host, log, settings, devices, features)
    fingerprints = [log.fingerprint(), host.fingerprint()]
    if features is not None:
        fingerprints.append(features.fingerprint())
    with seeded(settings.seed):
        return live(GrownHost(settings, devices, fingerprints, began, growth))


class GrownHost(HostLife):
    """A host that is trained further, with new items.

    Args:
        settings, devices, fingerprints, began: see `HostLife`.
    """

    goes_on = True

    def __init__(
        self, settings: Any, devices: Devices, fingerprints: Any, began: float, growth: "Growth"
    ) -> None:
        how = settings.for_host(growth.known)
        super().__init__(settings, devices, fingerprints, began, how)
        self.growth = growth
        self.counted = count_split(growth.log, settings.split)
        growth.check(self.counted.counts)

    def say(self) -> None:
        _say_what_it_knows(self.growth.known, self.settings)
        _say_if_it_is_new_events_alone(self.growth.log, self.settings)

    def begin(self, everything: bool = False) -> None:
        known, log = self.growth.known, self.growth.log
        counted = count_split(log, EVERYTHING) if everything else self.counted
        self.host, self.log = self.growth.host(counted, everything)
        self.earlier = _earlier_linear(known, len(self.log.counts))
        if not everything:
            self.more_described = {"parent": known.fingerprint()}
            before = self.devices.on_chief(lambda: _measure_before(known, log, counted.periods))
            self.more_baselines = [{"name": "host before", "test": before}]


@dataclass(frozen=True)
class Growth:
    """A host, a log of new events, and how the two come together.

    Args:
        known: Host as it was.
    """

    known: Host
    log: Events
    settings: RefreshSettings
    devices: Devices
    features: ItemFeatures | None

    def check(self, trained: Any) -> None:
        """Raises InputError if nothing would be trained."""
        vocabulary, _ = self._vocabulary(trained)
        if self.settings.keep_host_items and len(vocabulary) == len(self.known.vocabulary):
            raise InputError(
                "`keep_host_items` should be left out where the log has no new items: it trains "
                f"these alone. Received: {len(self.log.item_ids)} items, all known."
            )

    def host(self, counted: Any, final: bool = False) -> tuple[Host, PretrainingLog]:
        """The host with new items, not trained yet, and the PretrainingLog in its ids."""
        settings, known = self.settings, self.known
        vocabulary, counts = self._vocabulary(counted.counts)
        sequences = self.log.encode(vocabulary, split=counted.periods.events(self.log))
        with self.devices.scope():
            grown = grow_host(known, vocabulary, counts, sequences, settings.seed, self.features)
        grown.origin = origin(settings, final, parent=known.fingerprint())
        items = len(known.vocabulary.items)
        if settings.keep_host_items:
            grown.pretrainer.train_only_new_items(items)
            grown.compatible_with = {known.fingerprint(): items, **known.compatible_with}
        new = len(vocabulary.items) - items
        if self.devices.is_chief and not final:
            progress.line(f"{new:,} new items after the {items:,} of the host")
        summary = {**log_summary(self.log, counted.counts), "new_items": new}
        log = PretrainingLog(sequences, vocabulary, counts, summary).deciding(known.keep_seen)
        return grown, log.reading(known.fields)

    def _vocabulary(self, trained):
        known = self.known.vocabulary
        return grown_vocabulary(known, self.log.item_ids, trained, self.settings.min_count)


def _say_what_it_knows(host, settings):
    if host.origin.get("final") and not is_moment(settings.split):
        progress.line(
            "the host was trained on everything (--final): where the log holds its events again, "
            "metrics are too good; --split time:MOMENT asks for what came later"
        )


def _say_if_it_is_new_events_alone(log, settings):
    """Says so where the log has far fewer events than the host was trained on."""
    file = Path(settings.host) / "metrics.json"
    if not file.is_file():  # a host that was copied alone
        return
    before = read_json(file, "host").get("data", {})
    events, users = before.get("events", 0), before.get("users", 0)
    a_user, usual = len(log) / len(log.user_ids), events / max(users, 1)
    if min(len(log) / max(events, 1), a_user / max(usual, 1e-9)) >= LEAST_SHARE:
        return
    progress.line(
        f"the log has {len(log):,} events of {len(log.user_ids):,} users ({a_user:.1f} each), and "
        f"the host was trained on {events:,} of {users:,} ({usual:.1f} each): it may forget what "
        "the log lacks. On MovieLens-1M new events alone were worse than no refresh (NDCG@10 .150 "
        "and .160), and all events until now better (.168): give all events until now"
    )


def _measure_before(host, log, periods):
    """Test metrics of the host as it was: an item that it does not know is a miss."""
    sequences = log.encode(host.vocabulary, split=periods.events(log))
    with progress.stage("measuring the host as it was"):
        asked = TEST, host.keep_seen
        evaluation = NextItemEvaluation(sequences, host.max_length, *asked, fields=host.fields)
        return evaluation.measure(host.pretrainer, both=True)


def _earlier_linear(host, items):
    """The host's linear part for more items, of which it says nothing; `None` without one."""
    if host.pretrainer.linear is None:
        return None
    part = host.pretrainer.linear.part().of_items()
    if part.is_sparse:
        return None
    table = np.zeros((items, items), "float32")
    table[: len(part.table), : part.outputs] = part.table
    return LinearPart(part.bag, table, np.zeros(items, "float32"))
