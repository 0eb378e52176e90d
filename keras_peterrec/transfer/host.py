"""A pretrained host: network, vocabulary and settings, on disk and in memory."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from keras import ops

from keras_peterrec.errors import InputError
from keras_peterrec.files.atomic_write import check_new_folder, publishing
from keras_peterrec.files.json_file import read_format, refuse_misfits, write_json
from keras_peterrec.files.weights_file import (
    assign_weights,
    read_shapes,
    read_weights,
    write_weights,
)
from keras_peterrec.keras_internals import limited_variables
from keras_peterrec.layers.item_scores import item_scores
from keras_peterrec.linear.bag import EVENTS
from keras_peterrec.linear.linear_table import LinearTable, linear_config
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.histories import EachItems, EachTimes, Histories, HistoryForms
from keras_peterrec.log.splits import AskedEvents
from keras_peterrec.log.vocabulary import Vocabulary, check_lines
from keras_peterrec.models.pretrainer import OBJECTIVES, Pretrainer
from keras_peterrec.network.network import ITEM_TABLE, Network
from keras_peterrec.network.registry import network_from_config, network_to_config
from keras_peterrec.tasks.item_filters import ItemFilters
from keras_peterrec.transfer.learned_fields import LearnedFields
from keras_peterrec.transfer.presets import preset_folder, write_for_others
from keras_peterrec.types import AnyPath, Model, Tensor

FORMAT_VERSION = 6
OUTPUT_TABLE = "output_table/embeddings"  # of a host that is not tied
ROWS = 1024  # of a table of many users, which a model is given at a time
COUNTS = "sampler/counts"  # among the weights: how often each item is drawn, where that is counted


class Host:
    """What one log taught, ready for every task.

    A folder of a host holds `host.json` (settings and fingerprint),
    `weights.npz` (by path) and `vocabulary.txt`.

    Args:
        pretrainer: Pretrainer.
        vocabulary: Vocabulary of the source log.
        max_length: int. Last events of a history that its network reads.
        origin: dict or `None`. Where it comes from, JSON values: the `split` of its log, whether it
            was `final`, trained on everything, and of a refreshed one its `parent`, a fingerprint.
            Defaults to `None`, not known.
        keep_seen: bool. Whether items of a history may be answered as its next item. Defaults to
            `False`.
        fields: EventFields. What its network reads of an event beside the item. Defaults to
            `EventFields()`, nothing.
        predict: str or `None`. Which events it was trained to predict, such as
            `"event_type=buy"`; see `AskedEvents`. Defaults to `None`, all.

    Attributes:
        compatible_with: dict from the fingerprint of an earlier host to its number of items. This
            host has its weights bit for bit and more items after its own, so that the tasks of the
            earlier one are tasks of this one.
        item_fields: LearnedFields, the fields of items that it was trained with, or `None`. They
            are in its tables of items already; of items that come later they say where they lie.
        folder: Path of where it was loaded from, or `None`.

    Example:

    >>> host = Host.load("runs/host")
    >>> task = build_task(host.backbone, RecommenderHead(200))
    """

    def __init__(
        self,
        pretrainer: Pretrainer,
        vocabulary: Vocabulary,
        max_length: int,
        origin: dict | None = None,
        keep_seen: bool = False,
        fields: EventFields = EventFields(),
        predict: str | None = None,
    ) -> None:
        self.pretrainer = pretrainer
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.origin = dict(origin or {})
        self.keep_seen = keep_seen
        self.fields, self.predict = fields, predict
        self.compatible_with: dict[str, int] = {}
        self.item_fields: LearnedFields | None = None
        self.folder: Path | None = None

    def __repr__(self):
        return (
            f"Host({self.objective}, items={len(self.vocabulary.items)}, "
            f"network={type(self.backbone).__name__}, channels={self.backbone.hidden_dim}, "
            f"max_length={self.max_length})"
        )

    @property
    def asked(self) -> AskedEvents | None:
        """Which events it is asked for, as `predict` says; `None`, all."""
        return None if self.predict is None else AskedEvents.parse(self.predict)

    @property
    def columns(self) -> list[str]:
        """The columns of a log that it is trained and measured with, beside the usual ones."""
        asked = [] if self.asked is None else [self.asked.field]
        return list(dict.fromkeys([*self.fields.columns, *asked]))

    @property
    def backbone(self) -> Network:
        """The network that tasks are built on."""
        return self.pretrainer.backbone

    @property
    def objective(self) -> str:
        """`"causal"` or `"masked"`."""
        return "causal" if self.backbone.causal else "masked"

    @property
    def window(self) -> int:
        """How many of the last events the network of a task reads.

        A causal network with a receptive field sees so many before the task token, and nothing
        before them. Reading exactly these, the answer is that of the whole history: the same row by
        row, in one pass over a user's history, and event by event. What another network says of an
        event depends on where the history begins; there it is the length of pretraining.
        """
        field = self.backbone.receptive_field
        return field - 1 if self.backbone.causal and field is not None else self.max_length

    def task_settings(self) -> dict[str, int]:
        """How new tasks on this host read a history: arguments of a TaskModel, dict."""
        longest = max(EVENTS, self.max_length, self.window)
        return {"history_length": longest, "window": self.window}

    def history_length(self, model: Model) -> int:
        """How many last events a TaskModel or MixedTasks on this host should be given, int."""
        return model.events_read or max(self.max_length, model.linear_events)

    def how_tasks_read(self, model: Model) -> tuple[int, EventFields]:
        """`history_length`, and what a TaskModel or MixedTasks reads of an event but its item."""
        return self.history_length(model), self.fields.of_task(model.own_fields)

    @property
    def next_item_length(self) -> int:
        """How many last events of a history say what its next item is."""
        linear = self.pretrainer.linear
        return self.max_length if linear is None else max(self.max_length, linear.bag.events)

    def next_item_scores(self, history: HistoryForms | Tensor) -> Tensor:
        """Scores of every item to follow histories, float32 `[B, V - 4]`.

        Args:
            history: histories of any form that `Histories` names; or an integer tensor of shape
                `[B, L]`, or `[B, L, 1 + F]` with the host's fields, padded on the left, without
                unknown items. The network reads the last `max_length` events, the linear part more
                of them.

        Raises:
            InputError: they have another form.
        """
        ids: Tensor = history
        if not ops.is_tensor(history):
            asked = Histories(history, "history")
            ids, _ = asked.ids(self.vocabulary, self.next_item_length, self.fields)
        pretrainer = self.pretrainer
        users = ops.cast(pretrainer.user_states(ids[:, -self.max_length :]), "float32")
        table = ops.cast(ops.convert_to_tensor(pretrainer.item_table), "float32")
        scores = item_scores(users, table)
        return scores if pretrainer.linear is None else scores + pretrainer.linear(ids)

    def recommend(
        self,
        histories: HistoryForms,
        k: int = 10,
        *,
        allow: EachItems = "",
        deny: EachItems = "",
        keep_seen: bool | Sequence[bool | None] | None = None,
        times: EachTimes | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items to follow histories, as `serving_default` answers.

        Args:
            histories, k, allow, deny, keep_seen: see `Task.recommend`.
            times: the times of the events; see `Histories`. Defaults to `None`: those of a table or
                a text, where it has them.

        Returns and raises: see `Task.recommend`.
        """
        asked = Histories(histories, times=times)
        filters = ItemFilters.of(asked.items(self.vocabulary), allow, deny, keep_seen)
        ids, _ = asked.ids(self.vocabulary, self.next_item_length, self.fields)
        best = []
        for start in range(0, max(len(ids), 1), ROWS):  # the scores of all users may not fit
            part = ids[start : start + ROWS]
            scores = np.asarray(self.next_item_scores(ops.convert_to_tensor(part)))
            of_part = filters.rows(range(start, start + len(part)))
            best.append(of_part.best(scores, self.vocabulary, k, self.keep_seen))
        items, scores = zip(*best)
        return np.concatenate(items), np.concatenate(scores)

    def fingerprint(self, items: int | None = None) -> str:
        """A hash of the network, its settings and weights and of the vocabulary.

        Args:
            items: int or `None`. As if it had its first so many items alone. Defaults to `None`,
                all.
        """
        items = len(self.vocabulary.items) if items is None else items
        size = len(self.vocabulary) - len(self.vocabulary.items) + items
        network = network_to_config(self.backbone)
        network["settings"]["vocabulary_size"] = size
        network["fields"] = self.fields.to_config()
        digest = hashlib.sha256(json.dumps(network, sort_keys=True).encode())
        digest.update("\n".join(self.vocabulary.items[:items]).encode())
        for path, weight in sorted(self.backbone.named_weights().items()):
            weight = np.asarray(weight)
            rows = weight[:size] if path == ITEM_TABLE else weight
            digest.update(path.encode())
            digest.update(np.ascontiguousarray(rows).tobytes())
        return f"sha256:{digest.hexdigest()[:16]}"

    def fingerprints(self) -> set[str]:
        """Its own fingerprint and those it is compatible with: of which hosts it takes tasks."""
        return {self.fingerprint(), *self.compatible_with}

    def items_of(self, fingerprint: str) -> int | None:
        """How many items the host of a fingerprint has: this one, or one it is compatible with.

        `None` for any other.
        """
        if fingerprint == self.fingerprint():
            return len(self.vocabulary.items)
        return self.compatible_with.get(fingerprint)

    def save(self, folder: AnyPath) -> None:
        """Writes the host; `host.json` comes last, so a folder with it is whole."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.vocabulary.save(folder / "vocabulary.txt")
        pretrainer = self.pretrainer
        arrays = self._weights()
        if pretrainer.counts is not None:
            arrays[COUNTS] = np.asarray(pretrainer.counts)
        if self.item_fields is not None:
            arrays |= self.item_fields.arrays()
        write_weights(folder / "weights.npz", arrays)
        write_json(
            folder / "host.json",
            {
                "format_version": FORMAT_VERSION,
                "fingerprint": self.fingerprint(),
                "objective": self.objective,
                "max_length": self.max_length,
                "keep_seen": self.keep_seen,
                "network": network_to_config(self.backbone),
                "fields": self.fields.to_config(),
                "predict": self.predict,
                "item_fields": self.item_fields and self.item_fields.to_config(),
                "tied": pretrainer.tied,
                "negatives": pretrainer.negatives,
                "sampler": pretrainer.sampler,
                "linear": linear_config(pretrainer.linear),
                "origin": self.origin,
                "compatible_with": self.compatible_with,
            },
        )

    @classmethod
    def load(cls, folder: AnyPath, argument: str = "host") -> "Host":
        """Reads what `save` wrote: arrays, JSON and text, no code.

        Args:
            folder: path; or `"hf://user/name"` of the Hugging Face Hub, with `@revision` for
                another than the newest (extra `hub`).

        Raises:
            InputError: the folder holds no host, one of another version, or one whose parts do not
                fit together; or the Hub does not give it.
        """
        folder = preset_folder(folder, argument)
        saved = read_format(folder / "host.json", FORMAT_VERSION, argument)
        shapes = read_shapes(folder / "weights.npz")
        with refuse_misfits(folder, argument):
            rows = saved["network"]["settings"]["vocabulary_size"]
            check_lines(folder / "vocabulary.txt", rows)
        vocabulary = Vocabulary.load(folder / "vocabulary.txt")
        arrays = read_weights(folder / "weights.npz")
        with refuse_misfits(folder, argument), limited_variables(shapes.values()):
            backbone = network_from_config(saved["network"])
            pretrainer = OBJECTIVES[saved["objective"]](
                backbone,
                tied=saved["tied"],
                negatives=saved["negatives"],
                sampler=saved["sampler"],
                counts=arrays.pop(COUNTS, None),
            )
            if saved["linear"] is not None:
                pretrainer.linear = LinearTable(**saved["linear"])
            fields = EventFields.from_config(saved["fields"])
            settings = saved["max_length"], saved.get("origin"), bool(saved["keep_seen"])
            host = cls(pretrainer, vocabulary, *settings, fields, saved.get("predict"))
            host.folder = folder
            host.compatible_with = dict(saved.get("compatible_with", {}))
            if (item_fields := saved.get("item_fields")) is not None:
                host.item_fields = LearnedFields.taken(item_fields, arrays)
            prints = {saved["fingerprint"]: len(vocabulary.items), **host.compatible_with}
        assign_weights(host._weights(), arrays, folder)
        for fingerprint, items in prints.items():
            if host.fingerprint(items) != fingerprint:
                raise InputError(
                    f"`{argument}` should have the fingerprint {fingerprint}. "
                    f"Received: {host.fingerprint(items)}; its files were changed."
                )
        return host

    @classmethod
    def from_preset(cls, preset: AnyPath) -> "Host":
        """Reads a host that somebody hands out; as `load`, by the name that Keras' users know.

        Args:
            preset: path of a folder, of `to_preset` or of a host; or `"hf://user/name"`.

        Raises:
            InputError: see `load`.

        Example:

        >>> host.to_preset("runs/preset")
        >>> Host.from_preset("runs/preset").fingerprint() == host.fingerprint()
        True
        """
        return cls.load(preset, "preset")

    def to_preset(self, preset: AnyPath) -> None:
        """Writes a folder to hand to others, which `hf upload user/name FOLDER` puts on the Hub.

        It has the files of a host, a card (`README.md`) with the metrics of the run that it was
        loaded from, and what keras-hub's users know: `config.json`, `model.weights.h5` and
        `metadata.json`.

        Args:
            preset: path of a new folder.

        Raises:
            InputError: the folder exists and is not empty.
        """
        check_new_folder("preset", preset)
        with publishing(preset) as folder:
            self.save(folder)
            write_for_others(folder, self, Path(preset).resolve().name)

    def _weights(self):
        named = {f"network/{path}": w for path, w in self.backbone.named_weights().items()}
        if not self.pretrainer.tied:
            named[OUTPUT_TABLE] = self.pretrainer.output_table.embeddings
        if self.pretrainer.linear is not None:
            named.update(self.pretrainer.linear.named_weights())
        return named
