"""What the rest of the package asks of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from keras_peterrec.errors import InputError, check_count, refuse
from keras_peterrec.keras_internals import weights_by_path
from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.layers.padding import PaddingMask, SequenceIds
from keras_peterrec.log.vocabulary import item_ids
from keras_peterrec.types import DType, Json, Patches, Tensor, Variable

# Where the items have been embedded, before the network runs: this place has one site.
ITEM_EMBEDDING = "item_embedding"
ITEM_SITE = "rows"
ITEM_TABLE = "item_embedding/embeddings"  # the path of its weight
FIELD_TABLE = "field"  # what the names of the fields' tables begin with

# The kinds of sites, by what a patch there comes after; and the weights that an affine patch can
# be folded into: the first multiplies, the second is added.
TABLE = "table"  # `embeddings`
LINEAR = "linear"  # a linear map: `kernel`, `bias`
NORM = "norm"  # a normalisation: `gamma`, `beta`
ACTIVATION = "activation"  # an activation function inside a branch
BRANCH = "branch"  # the end of a branch, before it is added to what it branched from


@dataclass(frozen=True)
class Site:
    """A place inside a network where a patch may act.

    Args:
        kind: str. `LINEAR`, `NORM`, `ACTIVATION` or `BRANCH`.
        inputs: int. Numbers at a position of what the layer before the site reads there.
        outputs: int. Numbers at a position of what comes out at the site.
        seen: int. How many numbers the kernel of that layer reads for one position, `inputs` of
            each position that it sees.

    Example:

    >>> Site("linear", inputs=64, outputs=64, seen=192).seen
    192
    """

    kind: str
    inputs: int
    outputs: int
    seen: int


class Network(keras.Model):
    """Item embeddings and a network over sequences of them: the host of every task.

        x = embed(history);  x = run(x);  state = finish(x)

    A functional Keras model from a history to one hidden state a position. A history is item ids
    or, in a network with fields, rows of events: an item's id and a number for each field. An
    event's vector is the sum of rows of tables, `E[item] + Σ F[number]`. The number 0 is a field
    that is not told, and adds nothing; so ids alone are events of which nothing else is told.

    Ids 0 to 3 are padding, unknown, mask and task token; items follow by falling frequency. Padding
    is inert and a border: the states of real positions do not depend on how much of it stands
    before them, nor on anything beyond it. So a row is one sequence padded on the left, or several
    with padding between them.

    A network of your own is a subclass and a line, `register_network("name", Class)`. It makes its
    layers in `make_layers` and runs them in `run`. All else has a default, which gives something
    up: without `sites` it can be patched at the items only, without `state_rows` and `advance` it
    takes no events one by one, without `run_beside` a task is trained row by row, and without
    `last_weights` there are no methods `last1` and `last2`. Its constructor takes the settings of
    `pretrain`: `hidden_dim`, `blocks` (by default as many as suit it), `causal`, `dropout` and,
    where a log has some, `fields`; what else it takes are its options, `pretrain --network
    name:option=value`. `get_config` says all that it takes.

    Args:
        vocabulary_size: int. Rows of the item table V, special ids included.
        hidden_dim: int. Channels C = width of the item embedding. Defaults to `64`.
        causal: bool. `True`: a position sees only its past (pretrained by next items). `False`: it
            sees both sides (pretrained by masked items). Defaults to `True`.
        dropout: float. Rate of the dropout on the embedded events. Defaults to `0.0`.
        name: str. Defaults to `"network"`.
        dtype: dtype policy or its name, such as `"mixed_bfloat16"`. Defaults to `None`, Keras' own
            (`keras.config.dtype_policy()`).
        fields: dict from the name of a field to the rows of its table, row 0 included, in the order
            of their numbers in an event; see `EventFields`. Defaults to `None`, items alone.

    Call arguments:
        history: Integer tensor of shape `[B, L]`, or `[B, L, 1 + F]` of a network with F fields.

    Returns:
        Tensor of shape `[B, L, C]`.

    Raises:
        InputError: an argument is out of range.

    Example:

    >>> isinstance(host.backbone, Network), host.backbone.causal
    (True, True)
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 64,
        causal: bool = True,
        dropout: float = 0.0,
        name: str = "network",
        dtype: DType | None = None,
        fields: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= dropout < 1.0:
            refuse("dropout", "a rate from 0 up to but not 1", dropout)
        self.vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        self.hidden_dim = check_count("hidden_dim", hidden_dim)
        self.causal = causal
        self.dropout = dropout
        self.padding_mask_layer = PaddingMask(name="padding_mask", dtype=dtype)
        self.sequence_ids_layer = SequenceIds(name="sequence_ids")
        # Item vectors start at length one. Shorter ones drown in what a network adds to them.
        self.item_embedding = keras.layers.Embedding(
            self.vocabulary_size,
            self.hidden_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5),
            name=ITEM_EMBEDDING,
            dtype=dtype,
        )
        self.fields = dict(fields or {})
        self.field_tables = [
            keras.layers.Embedding(
                check_count("fields", rows),
                self.hidden_dim,
                # Shorter than items: a field begins as a hint, not as another item.
                embeddings_initializer=keras.initializers.RandomNormal(
                    stddev=0.1 / hidden_dim**0.5
                ),
                name=f"{FIELD_TABLE}_{number}",  # a field may have any name
                dtype=dtype,
            )
            for number, rows in enumerate(self.fields.values(), 1)
        ]
        for table in self.field_tables:
            table.build()
        self.embedding_dropout = HashedDropout(dropout, name="embedding_dropout", dtype=dtype)
        self.make_layers(self.item_embedding.dtype_policy)
        history = keras.Input((None,), dtype="int32", name="history")
        super().__init__(inputs=history, outputs=self.states(history), name=name, **kwargs)
        self.dtype_policy = self.item_embedding.dtype_policy  # a functional model takes none
        self.input_spec = None  # ids or rows of events

    # In place of Keras' walk over its layers: patches and sequences come in here.
    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        return self.states(inputs, training=training)

    # What a subclass says.

    def make_layers(self, dtype: DType) -> None:
        """Makes the layers of `run` and `finish` as attributes, with the dtype policy `dtype`."""

    def run(
        self,
        states: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None = None,
        patches: Mapping[str, Mapping[str, Callable]] | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """The states of sequences.

        Args:
            states: Tensor of shape `[B, L, C]`, embedded items, zeros at padding. It may be a
                symbol without values whose L is not known.
            padding_mask: Tensor of shape `[B, L, 1]`, one at real positions and zero at padding.
            sequence_ids: int32 tensor of shape `[B, L]` as from `SequenceIds`: a position sees
                those of its own number. `None` where each row is one sequence, padded on the left.
            patches: dict of dict from place and site to callable, or `None`. At a site the network
                goes on with what `patch(inputs, outputs, seen=...)` returns: `inputs` is what the
                layer before the site read at the positions, `outputs` what it gave, and `seen` a
                function of nothing to what its kernel saw, `[..., Site.seen]`. See `patch_at`.
            training: bool or `None`. Whether dropout acts.

        Returns:
            Tensor of shape `[B, L, C]`, for `finish`.
        """
        raise NotImplementedError

    def run_last(
        self,
        states: Tensor,
        padding_mask: Tensor,
        patches: Patches | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """The state `[B, C]` at the last position of rows of one sequence each; see `run`.

        Most answers ask for it alone. A network that knows what it depends on need not compute the
        rest; by default the rest is computed and left.
        """
        return self.run(states, padding_mask, None, patches, training)[:, -1]

    def finish(self, states: Tensor) -> Tensor:
        """The last layer, at each position for itself. Defaults to none."""
        return states

    @property
    def sites(self) -> dict[str, dict[str, Site]]:
        """Where patches may act, `{place: {name: Site}}`, in the order in which they are reached.

        The places are what `PatchMethod.blocks` numbers, from 1: one for each block.
        """
        return {}

    @property
    def receptive_field(self) -> int | None:
        """How many positions a state depends on; `None`, all that it is given."""
        return None

    @property
    def option_to_see_further(self) -> str | None:
        """The option of `pretrain` with which a network like this sees further; `None`, none."""
        return None

    def last_weights(self, count: int) -> list[Variable]:
        """The weights of the last so many layers that change a state: what `last1` trains."""
        raise InputError(
            f"`method` should not be last{count} on a network that does not say which weights are "
            f"its last. Received: {type(self).__name__}."
        )

    def foldable(self, place: str, site: str) -> dict[str, Any]:
        """The weights that an affine patch at a site can be folded into, by name; see `LINEAR`."""
        raise NotImplementedError

    @property
    def state_rows(self) -> int | None:
        """How many vectors of C numbers are kept of a user between two events.

        `None`: the network takes no events one by one.
        """
        return None

    def advance(
        self,
        memory: Tensor,
        states: Tensor,
        kept: int,
        padding_mask: Tensor | None = None,
        patches: Mapping[str, Mapping[str, Callable]] | None = None,
    ) -> tuple[Any, Any]:
        """The states of the next positions, from what was kept of the earlier ones.

        Args:
            memory: Tensor of shape `[B, state_rows, C]`. Zeros for a user without events.
            states: Tensor of shape `[B, n, C]`, the embedded items of the next n positions.
            kept: int. How many of these, the first ones, the new memory should know.
            padding_mask: Tensor of shape `[B, n, 1]`, or `None` where all positions are real.
            patches: see `run`.

        Returns:
            The states `[B, n, C]`, as of `run`, and the new memory `[B, state_rows, C]`.
        """
        raise NotImplementedError

    # Whether `run_beside` is there.
    runs_beside: bool = False

    def run_beside(
        self,
        states: Tensor,
        tokens: Tensor,
        padding_mask: Tensor,
        sequence_ids: Tensor | None,
        patches: Patches | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """The states of a token in place of each position of causal sequences, in one pass.

        Args:
            tokens: Tensor of shape `[B, L, C]`. The one at a position sees what comes before it in
                its sequence; no position sees a token.
            states, padding_mask, sequence_ids, patches, training: see `run`.

        Returns:
            Tensor of shape `[B, L, C]`, of the tokens.
        """
        raise NotImplementedError

    # What others ask, and every network has.

    @property
    def multiplications(self) -> int:
        """How many its linear maps do for one event: what training on it costs."""
        sites = [site for place in self.sites.values() for site in place.values()]
        return sum(site.seen * site.outputs for site in sites if site.kind == LINEAR)

    @property
    def tables(self) -> dict[str, keras.layers.Embedding]:
        """The tables whose rows make an event's vector, by the names of their sites."""
        return {
            ITEM_SITE: self.item_embedding,
            **{table.name: table for table in self.field_tables},
        }

    def embed(self, history: Tensor, patches: Mapping[str, Callable] | None = None) -> Tensor:
        """The events' vectors `[B, L, C]` of a history `[B, L]` or `[B, L, 1 + F]`.

        Args:
            history: Integer tensor.
            patches: dict from a site of `tables` to callable, or `None`. What they return for the
                ids or numbers `[B, L]` and their rows `[B, L, C]` is summed in place of the rows.
        """
        ids = item_ids(history)
        items = (patches or {}).get(ITEM_SITE, _unpatched)(ids, self.item_embedding(ids))
        return self.add_fields(items, history, patches)

    def add_fields(
        self, vectors: Tensor, history: Tensor, patches: Mapping[str, Callable] | None = None
    ) -> Tensor:
        """The events' vectors, from the items' `[B, L, C]`; see `embed`.

        Patches at sites that are no table of the network are those of further fields, which a task
        alone reads: what they return for zeros is added as well.
        """
        if len(history.shape) == 2:  # nothing but the items is told
            return vectors
        patches, tables = patches or {}, {table.name: table for table in self.field_tables}
        more = [site for site in patches if site not in self.tables]
        for column, site in enumerate([*tables, *more], 1):
            numbers = history[..., column]
            rows = tables[site](numbers) if site in tables else ops.zeros_like(vectors)
            rows = patches.get(site, _unpatched)(numbers, rows)
            told = ops.cast(numbers > 0, vectors.dtype)
            vectors = vectors + rows * ops.expand_dims(told, -1)
        return vectors

    def states(
        self,
        history: Tensor,
        embedded: Tensor | None = None,
        packed: bool = True,
        training: bool | None = None,
    ) -> Tensor:
        """States `[B, L, C]`, as by a call, of a history whose items may be embedded already.

        Args:
            history: Integer tensor of shape `[B, L]` or `[B, L, 1 + F]`.
            embedded: Tensor of shape `[B, L, C]`, rows of the item table, or `None`
                to look them up here.
            packed: bool. `False` if every row is known to be one sequence, padded on the
                left: then no borders are looked for. Defaults to `True`.
            training: bool or `None`. Whether dropout acts.
        """
        states, padding_mask = self._begun(history, embedded, training)
        sequence_ids = self.sequence_ids_layer(item_ids(history)) if packed else None
        states = self.run(states, padding_mask, sequence_ids, training=training)
        return self.finish(states) * padding_mask

    def last_state(
        self, history: Tensor, embedded: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """The last of the `states`, `[B, C]`, of a history of one sequence a row."""
        states, padding_mask = self._begun(history, embedded, training)
        state = self.run_last(states, padding_mask, training=training)
        return self.finish(state) * padding_mask[:, -1]

    def _begun(self, history, embedded, training):
        """What `run` reads of a history: the events' vectors, and which positions are real."""
        ids = item_ids(history)
        if embedded is None:
            embedded = self.item_embedding(ids)
        padding_mask = self.padding_mask_layer(ids)
        vectors = self.add_fields(embedded, history)
        return self.embedding_dropout(vectors, training=training) * padding_mask, padding_mask

    def named_weights(self) -> dict[str, Any]:
        """The weights by path, the same in every process."""
        return weights_by_path(self)

    def form(self) -> object:
        """What `form_of` compares: all settings but the name."""
        return {name: value for name, value in self.get_config().items() if name != "name"}

    def copy(self) -> Self:
        """A new network with the same settings and weights. It shares nothing with this one."""
        twin = type(self).from_config(self.get_config())
        weights = twin.named_weights()
        for path, weight in self.named_weights().items():
            weights[path].assign(weight)
        return twin

    def get_config(self) -> dict[str, Any]:
        return {
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "causal": self.causal,
            "dropout": self.dropout,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.item_embedding.dtype_policy),
            **({"fields": self.fields} if self.fields else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def patch_at(patches: Patches | None, place: str, site: str) -> Callable:
    """The patch at a site, or one that changes nothing."""
    return ((patches or {}).get(place) or {}).get(site, _unpatched)


def _unpatched(inputs, outputs, seen=None):
    return outputs


def shared_config(network: Network) -> Json:
    """A network as the config of a model holds it, so that models of one file can share it.

    Keras finds an object in a file again by its id. It adds ids by itself only where a config still
    holds the objects, and not what `serialize_keras_object` has made of them.
    """
    return {**keras.saving.serialize_keras_object(network), "shared_object_id": id(network)}
