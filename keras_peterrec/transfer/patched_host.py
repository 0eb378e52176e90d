"""The host with the task token and the patches of one task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_peterrec.keras_internals import frozen_weights
from keras_peterrec.layers.task_token import TaskToken, TokenPooling
from keras_peterrec.log.vocabulary import PAD, item_ids
from keras_peterrec.network.network import FIELD_TABLE, ITEM_EMBEDDING, Network
from keras_peterrec.patches.field_table import FieldTable
from keras_peterrec.patches.patch_method import PatchMethod, build_patches
from keras_peterrec.types import Layer, Patches, Shape, Tensor, Variable


class PatchedHost(keras.layers.Layer):
    """Runs the host with the task token and the patches of one task.

    The host may belong to many tasks, so nothing here changes it: this layer alone decides what is
    trained, and setting its `trainable` reaches the token and the patches, never the host. The
    host's own `trainable` is not read or written.

    Args:
        patch: Fitted to the host by `PatchMethod.for_host`; `None`, no patches.
        window: How many of the last events the host reads; `None`, all.
        train_host: Which weights of the host this task trains: none, all, or the last so many
            (`Network.last_weights`).
        own_fields: The rows of the table of each field, by name; it is a patch where the host has
            no field of this name.

    Call arguments:
        history: Integer tensor of shape `[B, L]` or, with the fields of events, `[B, L, 1 + F]`,
            padded on the left; or with `cuts`, histories with padding after each.
        cuts: Integer tensor of shape `[B, S]` or `None`. Positions in the rows: each asks for the
            user after the events of a history before that position. Causal hosts only.
        at_ends: Whether each cut is at the padding after a history. The token can stand there,
            which costs half.

    Returns:
        Tensor of shape `[B, C]`, the task token's state. With `cuts`, `[B·S, C]`.
    """

    def __init__(
        self,
        host: Network,
        patch: PatchMethod | None = None,
        window: int | None = None,
        train_host: bool | int = False,
        train_token: bool = True,
        own_fields: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        dtype = host.item_embedding.dtype_policy
        super().__init__(dtype=dtype, **kwargs)
        self.host = host
        self.window = window
        self.train_host = train_host
        self.train_token = train_token
        self.task_token = TaskToken(host.causal, name="task_token", dtype=dtype)
        self.patches = (patch or PatchMethod()).patches_by_place(host, dtype)
        own = [rows for name, rows in (own_fields or {}).items() if name not in host.fields]
        for number, rows in enumerate(own, 1 + len(host.field_tables)):
            site = f"{FIELD_TABLE}_{number}"
            self.patches[ITEM_EMBEDDING][site] = FieldTable(rows, name=site, dtype=dtype)
        # Keras saves the layers of a list, not those of dictionaries in a dictionary.
        self.patch_layers = [patch for sites in self.patches.values() for patch in sites.values()]
        self.user_pooling = TokenPooling(name="user", dtype=dtype)
        self._untold: set[str] = set()

    def leave_untold(self, columns: Sequence[int]) -> None:
        """Trains nothing for fields of the host that the task's rows do not tell.

        They are `columns` of a row; see `EventFields.untold_to_task`.
        """
        self._untold = {f"{FIELD_TABLE}_{column}" for column in columns}

    def build(self, input_shape: Shape) -> None:
        self.task_token.build((None, None, self.host.hidden_dim))
        build_patches(self.host, self.patches)

    def call(
        self,
        history: Tensor,
        cuts: Tensor | None = None,
        at_ends: bool = False,
        training: bool | None = None,
    ) -> Tensor:
        history = ops.cast(history, "int32")
        if cuts is not None:
            return self._at_cuts(history, ops.cast(cuts, "int32"), at_ends, training)
        return self.user(history, self.patches, training=training)

    def user(
        self,
        history: Tensor,
        patches: Patches,
        token: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """The user `[B, C]` after a history.

        The patches and the task token are this layer's, or those of each row: `MixedTasks` gives
        patches that act so, and a token `[B, 1, C]`.
        """
        host = self.host
        if self.window is not None:
            history = history[:, -self.window :]
        padding_mask = host.padding_mask_layer(item_ids(history))
        items = host.embed(history, patches[ITEM_EMBEDDING])
        items = host.embedding_dropout(items, training=training)
        states, mask, positions = self.task_token(items * padding_mask, padding_mask, token)
        if host.causal:  # the token stands at the end
            return host.finish(host.run_last(states, mask, patches, training))
        states = host.run(states, mask, None, patches, training)
        return host.finish(self.user_pooling(states, positions))

    def embed(self, history: Tensor) -> Tensor:
        """The events' vectors `[B, L, C]`, of rows of tables as the patches change them."""
        return self.host.embed(history, self.patches[ITEM_EMBEDDING])

    def form(self) -> object:
        """What `form_of` compares."""
        patches = list(self.patches.values())
        return self.host, patches, self.task_token, self.window

    def _at_cuts(self, history, cuts, at_ends, training):
        host = self.host
        ids = item_ids(history)
        padding_mask = host.padding_mask_layer(ids)
        # The padding after a history has its number: there stands the token after all events.
        history_ids = host.sequence_ids_layer(ids) - ops.cast(ids == PAD, "int32")
        items = host.embedding_dropout(self.embed(history), training=training)
        states = items * padding_mask
        token = ops.cast(self.task_token.token, states.dtype)
        if at_ends:
            at_end = 1 - padding_mask
            read, mask = states + at_end * token, ops.ones_like(padding_mask)
            tokens = host.run(read, mask, history_ids, self.patches, training)
        else:
            everywhere = ops.zeros_like(states) + token
            masks = padding_mask, history_ids
            tokens = host.run_beside(states, everywhere, *masks, self.patches, training)
        rows, length, channels = ops.shape(tokens)
        places = cuts + length * ops.expand_dims(ops.arange(rows, dtype="int32"), 1)
        users = ops.take(ops.reshape(tokens, (-1, channels)), ops.reshape(places, (-1,)), axis=0)
        return host.finish(users)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.host.hidden_dim

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        layers: list[Layer] = [self.task_token, *self.patch_layers]
        for layer in layers:
            layer.trainable = value

    # What this task does not train is frozen for it and for every model around it.

    @property
    def variables(self) -> list[Variable]:
        return self._with_frozen(super().variables)

    @property
    def weights(self) -> list[Variable]:
        return self._with_frozen(super().weights)

    def _with_frozen(self, variables):
        frozen = dict(frozen_weights(self.host))
        for weight in self._trained_host_weights():
            del frozen[id(weight)]
        if not self.train_token:
            frozen |= frozen_weights(self.task_token)
        for site in self._untold & {*self.patches[ITEM_EMBEDDING]}:
            frozen |= frozen_weights(self.patches[ITEM_EMBEDDING][site])
        return [frozen.get(id(variable), variable) for variable in variables]

    def _trained_host_weights(self):
        if not self.train_host or not self.trainable:
            return []
        if self.train_host is True:
            untold = [table for table in self.host.field_tables if table.name in self._untold]
            left_out = {id(weight) for table in untold for weight in table.weights}
            return [weight for weight in self.host.weights if id(weight) not in left_out]
        return self.host.last_weights(self.train_host)
