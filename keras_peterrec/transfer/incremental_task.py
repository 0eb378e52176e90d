"""Users' states kept from event to event, at a cost that no history adds to."""

import numpy as np
from keras import ops

from keras_peterrec.patches.patch_layer import with_weights
from keras_peterrec.transfer.incremental_host import IncrementalHost
from keras_peterrec.transfer.task_model import last_events


class IncrementalTask:
    """A task on a causal host, one event at a time.

    A causal convolution looks back over a fixed number of positions, so the last inputs
    of every convolution are all that the next event needs. They are a *state*, `[S, C]`
    for a user: S is the receptive field less one, 120 rows or 30 KB at the paper's 8
    blocks and 64 channels in float32. Patches change what flows between the blocks, so a
    state belongs to a user and a task. The task token is a step whose state is not kept.
    A summary of the history takes a few more rows.

    Answers equal those of the whole history within float noise, as long as that has no more
    events than the model's `window`. Beyond that the convolutions see what lies further back,
    as far as their receptive field; a summary forgets gradually from `history_length` on.

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
        summary = model.summary is not None
        self._steps = IncrementalHost(model.host, summary, model.history_length)
        self.model = model

    @property
    def state_shape(self):
        """`(S, C)` of one user."""
        return self._steps.state_shape

    def start(self, users):
        """States of users without events, `[B, S, C]`."""
        return self._steps.start(users)

    def step(self, state, items):
        """Takes in one event of each user, and answers.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`; 0 where a user has no new event, whose
                state stays.

        Returns:
            The new states `[B, S, C]` and the scores `[B, Y]`.
        """
        state, users = self._steps.step(state, items, *self._answering())
        return state, self.model.head(users)

    def append(self, state, items):
        """The states after one more event of each user; see `step`."""
        return self._steps.append(state, items, self._patches)

    def scores(self, state):
        """The task's scores `[B, Y]` of users in a state."""
        return self.model.head(self.users(state))

    def users(self, state):
        """The users as the head reads them, `[B, C]`."""
        return self._steps.users(state, *self._answering())

    def read(self, history):
        """The states after whole histories, `[B, L]`, padded on the left, in one pass."""
        host, kept = self.model.host, []
        history = ops.convert_to_tensor(np.asarray(history, "int32"))
        padding_mask = host.padding_mask_layer(history)
        states = items = host.item_embedding(history) * padding_mask
        for block in host.blocks:
            sites = self.model.patches[block.name]
            watched = {
                convolution.name: _remember(convolution, sites.get(convolution.name), kept)
                for convolution in block.convolutions
            }
            states = block(states, padding_mask, patches={**sites, **watched}, training=False)
        if self.model.summary is not None:
            read = last_events(items, padding_mask, self.model.history_length)
            kept.append(self._steps.rows_of_sums(*self.model.history_sums(*read)))
        return ops.concatenate([ops.cast(rows, "float32") for rows in kept], axis=1)

    def _answering(self):
        """Tokens, the way from their states to users, and patches."""
        layer = self.model.task_token
        tokens = ops.reshape(layer.token, (1, layer.count, -1))
        return tokens, self._users, self._patches

    def _users(self, states, total, count):
        model = self.model
        users = model.user_pooling(states, ops.ones_like(states[..., :1]))
        if model.summary is not None:
            users = model.summary.features(users, total, count)
        return model.user_of(users)

    def _patches(self, block, positions):
        patches = self.model.patches[block.name]
        return {
            site: with_weights(patch.apply_step, patch.named_weights())
            for site, patch in patches.items()
        }


def _remember(convolution, patch, kept):
    """A patch that keeps the last inputs of its convolution as well."""
    rows = convolution.reach

    def act(inputs, outputs):
        room = ops.pad(inputs, [[0, 0], [rows, 0], [0, 0]])
        kept.append(room[:, -rows:])
        return outputs if patch is None else patch(inputs, outputs)

    return act
