"""Users' states kept from event to event, at a cost that no history adds to."""

import numpy as np
from keras import ops

from keras_peterrec.data.special_ids import PAD
from keras_peterrec.errors import InputError
from keras_peterrec.patches.patch_layer import with_weights


class IncrementalTask:
    """A task on a causal host, one event at a time.

    A causal convolution looks back over a fixed number of positions, so the last inputs
    of every convolution are all that the next event needs. They are a *state*, `[S, C]`
    for a user: S is the receptive field less one, 120 rows or 30 KB at the paper's 8
    blocks and 64 channels in float32. Patches change what flows between the blocks, so a
    state belongs to a user and a task. The task token is a step whose state is not kept.

    Answers equal those of the whole history within float noise, however long it is: not
    only of its last `max_length` events.

    Args:
        model: TaskModel on a causal host.

    Raises:
        InputError: the host is not causal.

    Example:

    >>> films = IncrementalTask(Task.load("runs/films", host).model)
    >>> state = films.start(1)
    >>> for item in [17, 5]:
    ...     state, scores = films.step(state, [item])
    """

    def __init__(self, model):
        self.host = _causal(model.host)
        self.model = model

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        return sum(block.memory_length for block in self.host.blocks), self.host.hidden_dim

    def start(self, users):
        """States of users without events, `[B, S, C]`."""
        dtype = self.host.item_embedding.compute_dtype
        return ops.zeros((users, *self.state_shape), dtype=dtype)

    def step(self, state, items):
        """Takes in one event of each user, and answers.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`; 0 where a user has no new event, whose
                state stays.

        Returns:
            The new states `[B, S, C]` and the scores `[B, Y]`.
        """
        state = self.append(state, items)
        return state, self.scores(state)

    def append(self, state, items):
        """The states after one more event of each user; see `step`."""
        return _append(self.host, self._patches, state, items)

    def scores(self, state):
        """The task's scores `[B, Y]` of users in a state."""
        return self.model.head(self.users(state))

    def users(self, state):
        """The users as the head reads them, `[B, C]`."""
        layer = self.model.task_token
        tokens = ops.reshape(layer.token, (1, layer.count, -1))
        return _users(self.host, self._patches, state, tokens, self.model.user_pooling)

    def read(self, history):
        """The states after whole histories, `[B, L]`, padded on the left, in one pass."""
        host, kept = self.host, []
        history = ops.convert_to_tensor(np.asarray(history, "int32"))
        padding_mask = host.padding_mask_layer(history)
        states = host.item_embedding(history) * padding_mask
        for block in host.blocks:
            sites = self.model.patches[block.name]
            watched = {
                convolution.name: _remember(convolution, sites.get(convolution.name), kept)
                for convolution in block.convolutions
            }
            states = block(states, padding_mask, patches={**sites, **watched}, training=False)
        return ops.concatenate(kept, axis=1)

    def _patches(self, block):
        patches = self.model.patches[block.name]
        return {
            site: with_weights(patch.apply_step, patch.named_weights())
            for site, patch in patches.items()
        }


class IncrementalTasks:
    """`IncrementalTask` for rows of many tasks: all step in one call.

    A user who has several tasks has a row, and a state, for each.

    Args:
        mixed: MixedTasks on a causal host.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, mixed):
        self.host = _causal(mixed.host)
        self.mixed = mixed

    def append(self, state, items, place):
        """The states after one more event; `place` is the task of each row, int `[B]`."""
        return _append(self.host, self._patches(place), state, items)

    def users(self, state, place):
        """The users as their tasks' heads read them, `[B, C]`."""
        tokens, pooling = self.mixed.tokens(place), self.mixed.user_pooling
        return _users(self.host, self._patches(place), state, tokens, pooling)

    def _patches(self, place):
        return lambda block: self.mixed.step_patches(block, place)


def _causal(host):
    if host.causal:
        return host
    raise InputError(
        "`model` should stand on a causal host. Received: one on a masked host, "
        "whose states change with every later event."
    )


def _append(host, patches, state, items):
    items = ops.convert_to_tensor(items, dtype="int32")
    embedded = host.item_embedding(items[:, None])  # [B, 1, C]
    _, following = _advance(host, patches, embedded, state)
    return ops.where((items == PAD)[:, None, None], state, following)


def _users(host, patches, state, tokens, pooling):
    """Steps of the tokens `[B or 1, n, C]`, whose states are not kept."""
    hidden = []
    for number in range(tokens.shape[1]):
        token = ops.cast(tokens[:, number : number + 1], state.dtype)
        states, state = _advance(host, patches, ops.ones_like(state[:, :1]) * token, state)
        hidden.append(states)
    ones = [ops.ones_like(states[..., :1]) for states in hidden]
    return pooling(ops.concatenate(hidden, axis=1), ops.concatenate(ones, axis=1))


def _advance(host, patches, states, memory):
    """One position `[B, 1, C]` through all blocks, and the memory after it."""
    start, kept = 0, []
    for block in host.blocks:
        rows = block.memory_length
        states, after = block.step(states, memory[:, start : start + rows], patches(block))
        kept.append(after)
        start += rows
    return states, ops.concatenate(kept, axis=1)


def _remember(convolution, patch, kept):
    """A patch that keeps the last inputs of its convolution as well."""
    rows = convolution.reach

    def act(inputs, outputs):
        room = ops.pad(inputs, [[0, 0], [rows, 0], [0, 0]])
        kept.append(room[:, -rows:])
        return outputs if patch is None else patch(inputs, outputs)

    return act
