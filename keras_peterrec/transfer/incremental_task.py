"""Users' states kept from event to event, at a cost that does not grow with the history."""

from typing import TYPE_CHECKING, Any

from keras import ops

from keras_peterrec.data.preprocessing import known_items
from keras_peterrec.patches.patch_layer import bound_step
from keras_peterrec.transfer.incremental_host import IncrementalHost, TaskParts
from keras_peterrec.transfer.task_model import TaskModel

if TYPE_CHECKING:
    from keras_peterrec.transfer.mixed_tasks import MixedTasks


class IncrementalTask:
    """A task on a causal host that takes one event at a time.

    A causal convolution looks back over a fixed number of positions, so the next event needs
    only the last inputs of every convolution. They are the *state* of a user, `[S, C]`: S is
    the receptive field less one, 120 rows or 30 KB at the paper's 8 blocks and 64 channels in
    float32. A task with a linear part adds the ids of as many items as that reads, 8 rows for
    500 of them. Patches change what flows between the blocks, so a state belongs to one user and
    one task. The task token is a step whose state is not kept.

    Answers equal those for the whole history within float noise. A model whose `window` is
    shorter than the receptive field (such as one of an older bundle) answers the same for
    histories up to its window; beyond it, the convolutions here see further back.

    Args:
        model: TaskModel. On a causal host.

    Raises:
        InputError: the host is not causal.

    Example:

    >>> films = IncrementalTask(Task.load("runs/films", host).model)
    >>> state = films.start(1)
    >>> for item in [17, 5]:
    ...     state, scores = films.step(state, [item])
    """

    def __init__(self, model: TaskModel) -> None:
        pooling = model.patched_host.user_pooling
        self._steps = IncrementalHost(model.host, pooling, model.linear_events)
        self.model = model

    @property
    def state_shape(self) -> tuple[int, int]:
        """`(S, C)` of one user."""
        return self._steps.state_shape

    def start(self, users: int) -> Any:
        """The states of users without events, `[B, S, C]`."""
        return self._steps.start(users)

    def step(self, state: Any, items: Any) -> tuple[Any, Any]:
        """Takes in one event of each user, and answers.

        Args:
            state: Tensor of shape `[B, S, C]`.
            items: Integer tensor of shape `[B]`. 0 for a user without a new event, whose
                state stays as it is; so does that of a user with an unknown item.

        Returns:
            The new states `[B, S, C]` and the scores `[B, Y]`.
        """
        state, users = self._steps.step(state, items, self._parts())
        return state, self._scores(state, users)

    def append(self, state: Any, items: Any) -> Any:
        """The states after one more event of each user; see `step`."""
        return self._steps.append(state, items, self._parts())

    def scores(self, state: Any) -> Any:
        """The task's scores `[B, Y]` for users in a state."""
        return self._scores(state, self.users(state))

    def users(self, state: Any) -> Any:
        """The users as the head reads them, `[B, C]`."""
        return self._steps.users(state, self._parts())

    def read(self, history: Any) -> Any:
        """The states after whole histories `[B, L]`, padded on the left, in one pass.

        Unknown items are left out.
        """
        host, kept = self.model.host, []
        history = ops.convert_to_tensor(known_items(history))
        padding_mask = host.padding_mask_layer(history)
        states = self.model.patched_host.embed(history) * padding_mask
        for block in host.blocks:
            sites = self.model.patches[block.name]
            watched = {
                convolution.name: _remember(convolution, sites.get(convolution.name), kept)
                for convolution in block.convolutions
            }
            states = block(states, padding_mask, patches={**sites, **watched}, training=False)
        kept = [ops.cast(rows, "float32") for rows in kept]
        if self.model.linear is not None:
            kept.append(self._steps.id_rows(history))
        return ops.concatenate(kept, axis=1)

    def _scores(self, state, users):
        scores, linear = self.model.head(users), self.model.linear
        if linear is None:
            return scores
        return ops.cast(scores, "float32") + linear(self._steps.history(state))

    def _parts(self):
        layer = self.model.task_token
        tokens = ops.reshape(layer.token, (1, layer.count, -1))
        return TaskParts(tokens, self.model.patched_host.embed, self._patches)

    def _patches(self, block, positions):
        patches = self.model.patches[block.name]
        return {site: bound_step(patch) for site, patch in patches.items()}


class IncrementalTasks:
    """An `IncrementalTask` for rows of many tasks, which all step in one call.

    A user who has several tasks has a row, and a state, for each.

    Args:
        mixed: MixedTasks. On a causal host.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, mixed: "MixedTasks") -> None:
        self._steps = IncrementalHost(mixed.host, mixed.user_pooling, mixed.linear_events)
        self.mixed = mixed

    def start(self, users: int) -> Any:
        """The states of users without events, `[B, S, C]`."""
        return self._steps.start(users)

    def append(self, state: Any, items: Any, place: Any) -> Any:
        """The states after one more event; `place` is the task of each row, int `[B]`."""
        return self._steps.append(state, items, self._parts(place))

    def users(self, state: Any, place: Any) -> Any:
        """The users as the heads of their tasks read them, `[B, C]`."""
        return self._steps.users(state, self._parts(place))

    def step(self, state: Any, items: Any, place: Any) -> tuple[Any, Any]:
        """Does `append` and then `users` in one pass: the new states, and the users."""
        return self._steps.step(state, items, self._parts(place))

    def linear_scores(self, state: Any, place: Any) -> Any:
        """What the linear parts add to the scores; see `MixedTasks.linear_scores`."""
        return self.mixed.linear_scores(self._steps.history(state), place)

    def _parts(self, place):
        place, mixed = ops.convert_to_tensor(place, "int32"), self.mixed
        return TaskParts(
            mixed.tokens(place),
            lambda ids: mixed.embed(ids, place),
            lambda block, positions: mixed.step_patches(block, place, positions),
        )


def _remember(convolution, patch, kept):
    """A patch that also keeps the last inputs of its convolution."""
    rows = convolution.reach

    def act(inputs, outputs):
        room = ops.pad(inputs, [[0, 0], [rows, 0], [0, 0]])
        kept.append(room[:, -rows:])
        return outputs if patch is None else patch(inputs, outputs)

    return act
