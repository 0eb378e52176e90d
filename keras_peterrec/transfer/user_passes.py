"""Trains a task on all cuts of a user's history in one pass over it."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.training.replicated_model import ReplicatedTraining
from keras_peterrec.transfer.task_model import TaskModel
from keras_peterrec.types import Layer, Tensor


class UserPasses(ReplicatedTraining, keras.Model):
    """A task model that answers for many cuts of a history in one pass over it.

    Row by row, a user with 50 target events has 50 rows, and the host runs over nearly the same
    history 50 times. Here it runs once: inside the host a task token stands at every position
    beside the event, so each cut costs one more column. Losses and gradients are those of the
    rows within float noise, where nothing is dropped inside the host. Where something is, the
    cuts of one history share what is dropped along it, and the tokens draw their own.

    Bidirectional hosts are not supported; see `TaskModel.reach`.

    Training this model trains `task`, and nothing else. It is called with a dict of `history`,
    int32 `[B, L]`, and `cuts`, int32 `[B, S]`, see `TaskModel.user_states_at`; and perhaps of
    `told`, int32 `[B, S, G]`, what columns say of the user at each cut. It answers with the scores
    at the cuts, `[B, S, Y]`.

    Example:

    >>> passes = UserPasses(task)
    >>> history, cuts = np.array([[17, 5, 9, 0, 8, 0]]), np.array([[1, 3, 5]])
    >>> passes({"history": history, "cuts": cuts}).shape  # after 17; 17, 5, 9; and 8
    (1, 3, 200)
    """

    def __init__(self, task: TaskModel, at_ends: bool = False, **kwargs: Any) -> None:
        super().__init__(name=f"{task.name}_passes", dtype=task.dtype_policy, **kwargs)
        self.task = task
        self.at_ends = at_ends
        self.built = True

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Tensor:
        task, cuts = self.task, inputs["cuts"]
        users = task.user_states_at(inputs["history"], cuts, training, self.at_ends)
        if (told := inputs.get("told")) is not None:
            users = task.with_told(users, ops.reshape(told, (-1, told.shape[-1])))
        scores = task.head(task.user_dropout(users, training=training))
        return ops.reshape(scores, (*ops.shape(cuts), scores.shape[-1]))

    def unused_in_training(self) -> list[Layer]:
        return self.task.unused_in_training()

    def form(self) -> object:
        """What models have in common that share a compiled training step; see `form_of`."""
        return self.task, self.at_ends
