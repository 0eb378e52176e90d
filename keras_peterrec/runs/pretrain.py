"""From a log to a host."""

from collections.abc import Callable

from keras_peterrec import progress
from keras_peterrec.errors import InputError
from keras_peterrec.log.column_names import as_fields
from keras_peterrec.log.event_fields import find_fields
from keras_peterrec.log.item_fields import read_item_fields
from keras_peterrec.log.prepared.beam import new_pipeline
from keras_peterrec.log.prepared.format import is_prepared
from keras_peterrec.log.prepared.reading import PreparedLog
from keras_peterrec.log.splits import AskedEvents
from keras_peterrec.log.vocabulary import FIRST_ITEM
from keras_peterrec.network.sizes import AUTO, DROPOUT, SPARSE_BELOW, size_for
from keras_peterrec.runs.host_life import HostLife, new_pretrainer, origin
from keras_peterrec.runs.host_linear import keeps_seen, say_if_nothing_is_counted
from keras_peterrec.runs.life import live
from keras_peterrec.runs.pretraining_log import PretrainingLog
from keras_peterrec.runs.run_folder import finish_elsewhere
from keras_peterrec.runs.task_data import open_source
from keras_peterrec.settings.base import takes
from keras_peterrec.settings.pretrain import PretrainSettings
from keras_peterrec.tensorflow_start import command_began
from keras_peterrec.training.devices import Devices
from keras_peterrec.training.seeds import seeded
from keras_peterrec.transfer.host import Host
from keras_peterrec.types import Json


@takes(PretrainSettings)
def pretrain(settings: PretrainSettings) -> Json:
    """Pretrains a host on a log, without labels, and saves it as a run folder.

    The last event of every user is kept for the test and the last but one for
    validation, which also says when to stop; `split` may name a moment instead. With
    `final`, a second host is then trained on all events, for as long as was best, and
    saved in place of the measured one, whose metrics are kept. The same call on an
    interrupted folder goes on; on a finished one it returns what was found.

    Returns:
        dict, the content of `metrics.json`.

    Raises:
        InputError: an argument or the log cannot be used.
    """
    began = command_began()
    if (finished := finish_elsewhere(settings)) is not None:
        return finished
    devices = Devices.open(settings.devices)
    if ":" in settings.network:  # with options, which the network itself checks
        new_pretrainer(settings.sized(0, 0), FIRST_ITEM)
    _check_runner(settings)
    more = {"weight_column": settings.weight_column, "fields": _columns(settings) or None}
    source = open_source(settings.log, **settings.reading, **more)
    if settings.predict is not None:
        source = source.asking(AskedEvents.parse(settings.predict))
    log = PretrainingLog.of(source, settings.min_count, settings.split)
    log = log.deciding(keeps_seen(log) if settings.keep_seen is None else settings.keep_seen)
    log = log.reading(find_fields(log.sequences, as_fields(settings.fields), settings.times))
    everything = lambda: PretrainingLog.of_all(source, settings.min_count).reading(log.fields)
    new_host = NewHost(settings, devices, log, everything, began)
    with seeded(settings.seed):
        return live(new_host)


class NewHost(HostLife):
    """A new host.

    Args:
        everything: Callable that returns the PretrainingLog of all events.
        settings, devices, began: see `HostLife`.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        devices: Devices,
        log: PretrainingLog,
        everything: Callable[[], PretrainingLog],
        began: float,
    ) -> None:
        fingerprints, self.item_fields = log.summary["fingerprint"], None
        if settings.items is not None:
            self.item_fields = _read_item_fields(settings, log.vocabulary)
            fingerprints = [fingerprints, self.item_fields.fingerprint()]
        # The same for a second host, of all events, which may be a few more.
        how = settings.sized(*_size_of(log))
        super().__init__(settings, devices, fingerprints, began, how)
        self.more_described |= {"hidden_dim": how.hidden_dim, "dropout": how.dropout}
        if self.item_fields is not None:
            self.more_described["item_fields"] = self.item_fields.names
        self.log, self._everything = log, everything
        self.keep_seen = log.keep_seen

    def say(self) -> None:
        self.log.say_what_is_left_out(self.settings.keep_seen)
        self.log.say_what_is_read(self.settings.times)
        if self.settings.hidden_dim is None:
            why = f"--size {self.settings.size}"
            if self.settings.size == AUTO:
                events, items = _size_of(self.log)
                size = size_for(events, items)
                why += f": as suits {events:,} training events of {items:,} items, {size}"
            progress.line(f"a network of {self.how.hidden_dim} channels ({why})")
        if self.settings.dropout is None and self.how.dropout != DROPOUT:
            progress.line(
                f"dropout of {self.how.dropout:g} (--dropout): as suits fewer than {SPARSE_BELOW} "
                "training events for each item"
            )
        if (asked := self.log.sequences.asked) is not None:
            progress.line(
                f"{asked.sum():,} of {len(asked):,} events are trained and measured on as what "
                f"comes next ({self.settings.predict})"
            )
        if self.settings.runner is not None:
            say_if_nothing_is_counted(self.log, self.settings.runner)

    def begin(self, everything: bool = False) -> None:
        settings = self.settings
        if everything:
            self.log = self._everything()
            if self.item_fields is not None:  # there may be more items
                self.item_fields = _read_item_fields(settings, self.log.vocabulary)
        with self.devices.scope():
            pretrainer = new_pretrainer(
                self.how, len(self.log.vocabulary), fields=self.log.fields.sizes
            )
            if self.item_fields is not None:
                pretrainer.use_item_fields(self.item_fields)
        kept = settings.max_length, origin(settings, everything), self.keep_seen, self.log.fields
        self.host = Host(pretrainer, self.log.vocabulary, *kept, settings.predict)


def _size_of(log):
    """The events that are trained on and the items that the host knows: with `min_count`, fewer."""
    return int(log.counts.sum()), len(log.counts)


def _columns(settings):
    """The columns that are read of the log beside the usual ones."""
    asked = [] if settings.predict is None else [AskedEvents.parse(settings.predict).field]
    return tuple(dict.fromkeys([*as_fields(settings.fields), *asked]))


def _read_item_fields(settings, vocabulary):
    """The ItemFields that the settings ask for."""
    names = as_fields(settings.item_fields)
    return read_item_fields(settings.items, names, vocabulary, settings.columns)


def _check_runner(settings):
    """Raises InputError if a runner could not count; training would end before it is asked."""
    if settings.runner is None:
        return
    if not isinstance(settings.log, PreparedLog) and not is_prepared(settings.log):
        raise InputError(
            "`log` should be a folder of `prepare` where a `runner` counts, since its workers "
            f"read the shards. Received: `runner` = {settings.runner!r} with another log."
        )
    new_pipeline(settings.runner, settings.pipeline_options)
