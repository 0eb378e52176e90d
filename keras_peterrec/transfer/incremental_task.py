"""Users' states kept from event to event, at a cost that does not grow with the history."""

from typing import Any

import numpy as np
from keras import ops

from keras_peterrec.errors import InputError
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.preprocessing import known_items
from keras_peterrec.log.vocabulary import PAD, UNK, item_ids
from keras_peterrec.transfer.task_model import TaskModel
from keras_peterrec.types import Tensor


class IncrementalTask:
    """A task on a causal host that takes one event at a time.

    The network says what it needs of a user's earlier events (`Network.advance`), such as the last
    inputs of every layer, as many as its receptive field less one. They are the *state* of a
    user, `[S, C]`, 120 rows or 30 KB at the paper's 8 blocks and 64 channels in float32. A task
    with a linear part adds the ids of as many items as that reads, 8 rows for 500 of them, and what
    is told of these events if it reads that; ids are exact as floats below 2^24. Patches change
    what flows inside the network, so a state belongs to one user and one task. The task token is a
    step whose state is not kept.

    Answers equal those for the whole history within float noise. A model that reads fewer events
    than the network can see (its `window`) answers the same for histories up to that many.

    Args:
        model: TaskModel. On a causal host that takes single events.

    Raises:
        InputError: the host takes no single events, or the task reads the times between events.

    Example:

    >>> films = IncrementalTask(Task.load("runs/films", host).model)
    >>> state = films.start(1)
    >>> for item in [17, 5]:
    ...     state, scores = films.step(state, [item])
    """

    def __init__(self, model: TaskModel) -> None:
        if not model.host.causal or model.host.state_rows is None:
            why = "does not"
            if not model.host.causal:
                why = "is masked, so that its states change with every later event"
            raise InputError(
                "`model` should have a causal host that takes single events. "
                f"Received: one that {why}."
            )
        refuse_times_between(model.own_fields, "model")
        self.model = model
        # What the linear part reads of an event: the item or, with all that is told, a row.
        self._columns = 1
        if model.linear is not None and model.linear.features:
            self._columns += max(max(f.number or 0, f.value or 0) for f in model.linear.features)
        self._id_rows = -(-model.linear_events * self._columns // model.host.hidden_dim)
        self._width = self._id_rows * model.host.hidden_dim  # numbers of a state that are of events

    @property
    def state_shape(self) -> tuple[int, int]:
        """`(S, C)` of one user."""
        return self.model.host.state_rows + self._id_rows, self.model.host.hidden_dim

    def start(self, users: int) -> Tensor:
        """The states of users without events, `[B, S, C]`, float32."""
        return ops.zeros((users, *self.state_shape), dtype="float32")

    def step(self, state: Tensor, items: np.ndarray, told: Tensor | None = None) -> tuple[Any, Any]:
        """Takes in one event of each user, and answers: `append` and `scores` in one pass.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]` or, with the fields of events, `[B, 1 + F + V]`. 0
                for a user without a new event, whose state stays as it is; so does that of a user
                with an unknown item.
            told: Integer tensor of shape `[B, G]`, what columns say of the users. It is no part of
                a state. Defaults to `None`, nothing.

        Returns:
            The new states `[B, S, C]` and the scores `[B, Y]`.
        """
        embedded, comes = self._embedded(items)
        token = self._tokens(state)
        # Without an event, the token takes its place, one position earlier, and the output at the
        # last position is not read.
        first = ops.where(comes, embedded, token)
        states, moved = self._advance(state, ops.concatenate([first, token], axis=1), 1)
        user = ops.where(comes, states[:, 1:], states[:, :1])
        state = ops.where(comes, self._with_ids(moved, state, items), state)
        return state, self._scores(state, self._pooled(user), told)

    def append(self, state: Tensor, items: np.ndarray) -> Tensor:
        """The states after one more event of each user; see `step`."""
        embedded, comes = self._embedded(items)
        _, moved = self._advance(state, embedded, 1)
        return ops.where(comes, self._with_ids(moved, state, items), state)

    def scores(self, state: Tensor, told: Tensor | None = None) -> Tensor:
        """The task's scores `[B, Y]` for users in a state; see `step` for `told`."""
        return self._scores(state, self.users(state), told)

    def users(self, state: Tensor) -> Tensor:
        """The users as `TaskModel.user_states` has them, `[B, C]`."""
        return self._pooled(self._advance(state, self._tokens(state), 0)[0])

    def read(self, history: Tensor) -> Tensor:
        """The states after whole histories `[B, L]`, padded on the left, in one pass.

        Unknown items are left out.
        """
        history = ops.convert_to_tensor(known_items(history))
        real = self.model.host.padding_mask_layer(item_ids(history))
        start, items = self.start(len(history)), self.model.patched_host.embed(history) * real
        _, moved = self._advance(start, items, history.shape[1], real)
        if not self._id_rows:
            return moved
        return ops.concatenate([moved, self._ids_as_rows(self._kept(history))], axis=1)

    def _advance(self, state, positions, kept, padding_mask=None):
        """See `Network.advance`; memories are float32."""
        host = self.model.host
        memory = ops.cast(state[:, : host.state_rows], positions.dtype)
        patches = self.model.patches
        states, moved = host.advance(memory, positions, kept, padding_mask, patches)
        return states, ops.cast(moved, "float32")

    def _embedded(self, items):
        """The items' rows, `[B, 1, C]`, and where there is an item, `[B, 1, 1]`."""
        events = ops.convert_to_tensor(items, dtype="int32")[:, None]
        ids = item_ids(events)
        comes = (ids != PAD) & (ids != UNK)
        return self.model.patched_host.embed(events), comes[:, :, None]

    def _tokens(self, state):
        """The task token beside each user, `[B, 1, C]`."""
        token = ops.cast(self.model.task_token.token, self.model.compute_dtype)
        return token + ops.zeros_like(state[:, :1, :], dtype=token.dtype)

    def _pooled(self, states):
        return self.model.host.finish(states[:, -1])

    def _scores(self, state, users, told):
        scores, linear = self.model.head(self.model.with_told(users, told)), self.model.linear
        if linear is None:
            return scores
        return ops.cast(scores, "float32") + linear(self._history(state), told)

    def _kept(self, history):
        """What the linear part reads of events: ids `[B, L]`, or rows `[B, L, columns]`."""
        if self._columns == 1:
            return item_ids(history)
        if len(history.shape) == 2:  # nothing but the items is told
            history = ops.expand_dims(history, -1)
            return ops.pad(history, [[0, 0], [0, 0], [0, self._columns - 1]])
        return history[..., : self._columns]

    def _history(self, state):
        """The last known events in a state, int32 `[B, n]` or `[B, n, columns]`, padded left."""
        told = ops.reshape(state[:, self.model.host.state_rows :], (-1, self._width))
        told = ops.cast(told, "int32")
        if self._columns == 1:
            return told
        events = self._width // self._columns
        return ops.reshape(told[:, -events * self._columns :], (-1, events, self._columns))

    def _with_ids(self, memory, state, items):
        """A state of a memory and of the ids of a state with one more, `[B, S, C]`."""
        if not self._id_rows:
            return memory
        items = self._kept(ops.convert_to_tensor(items, dtype="int32")[:, None])
        newest_last = ops.concatenate([self._history(state), items], axis=1)
        return ops.concatenate([memory, self._ids_as_rows(newest_last)], axis=1)

    def _ids_as_rows(self, history):
        """The last events of histories as rows of a state, without unknown items."""
        history = ops.cast(history, "float32")
        if self._columns > 1:
            history = ops.reshape(history, (-1, history.shape[1] * self._columns))
        history = ops.pad(history, [[0, 0], [self._width, 0]])
        ids = history[:, history.shape[1] - self._width :]
        return ops.reshape(ids, (-1, self._id_rows, self.model.host.hidden_dim))


def refuse_times_between(fields: EventFields, argument: str) -> None:
    """Raises InputError where a task reads the time since the previous event.

    A state keeps no times: an event alone does not tell it. `fields` are those that the task reads
    in its own way.
    """
    if fields.read_times:
        raise InputError(
            f"`{argument}` should be trained with --no-times, to take single events. "
            "Received: a task that reads the times between events."
        )
