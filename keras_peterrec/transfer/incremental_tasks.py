"""Events one by one for rows of many tasks."""

from keras import ops

from keras_peterrec.transfer.incremental_host import IncrementalHost


class IncrementalTasks:
    """`IncrementalTask` for rows of many tasks: all step in one call.

    A user who has several tasks has a row, and a state, for each.

    Args:
        mixed: MixedTasks on a causal host.

    Raises:
        InputError: the host is not causal.
    """

    def __init__(self, mixed):
        self._steps = IncrementalHost(mixed.host, mixed.has_summary, mixed.history_length)
        self.mixed = mixed

    def start(self, users):
        """States of users without events, `[B, S, C]`."""
        return self._steps.start(users)

    def append(self, state, items, place):
        """The states after one more event; `place` is the task of each row, int `[B]`."""
        return self._steps.append(state, items, self._patches(place))

    def users(self, state, place):
        """The users as their tasks' heads read them, `[B, C]`."""
        return self._steps.users(state, *self._answering(place))

    def step(self, state, items, place):
        """`append` and then `users` in one pass: the new states, and the users."""
        return self._steps.step(state, items, *self._answering(place))

    def _answering(self, place):
        """Tokens, the way from their states to users, and patches."""
        answer = lambda states, *sums: self.mixed.users(
            states, ops.ones_like(states[..., :1]), *sums, place
        )
        return self.mixed.tokens(place), answer, self._patches(place)

    def _patches(self, place):
        return lambda block, positions: self.mixed.step_patches(block, place, positions)
