"""One network that learns a source log and several tasks at once."""

from typing import Any

import keras

from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.training.replicated_model import ReplicatedModel
from keras_peterrec.transfer.task_model import TaskModel
from keras_peterrec.types import Loss, Tensor

NEXT_ITEM = "next_item"


class MultiTaskModel(ReplicatedModel):
    """Shared layers below, the pretrainer's output and a head a task above.

    What it is compared with keeps its tasks apart; here all train the same network:

        loss = loss of the next item + Σ over tasks of the task's loss

    It is called with a dict of integer tensors `[B, L]`: the source log's windows under
    `NEXT_ITEM`, and histories under the name of each task. Every B and L may be another. So it
    answers: the pretrainer's states `[B, L, C]` and the scores of each task.

    Raises:
        ValueError: a task is not built on `pretrainer.backbone`, or has a name that is taken.

    Source: the baseline MTL of Yuan et al., SIGIR 2020, section 4.3.
    """

    def __init__(
        self,
        pretrainer: Pretrainer,
        tasks: dict[str, TaskModel],
        losses: dict[str, Loss],
    ) -> None:
        inputs = {NEXT_ITEM: keras.Input((None,), dtype="int32", name=NEXT_ITEM)}
        outputs = {NEXT_ITEM: pretrainer(inputs[NEXT_ITEM])}
        for task, model in tasks.items():
            # Keras wants inputs named as their keys, and no two layers of one name.
            if model.host is not pretrainer.backbone or task in (model.name, *inputs):
                raise ValueError(
                    "`tasks` should be built on the backbone of `pretrainer`, and their keys be "
                    f"other than {NEXT_ITEM} and the models' names. Received: {task!r}."
                )
            inputs[task] = keras.Input((None,), dtype="int32", name=task)
            outputs[task] = model(inputs[task])
        super().__init__(inputs=inputs, outputs=outputs, name="multi_task")
        self.pretrainer = pretrainer
        self.tasks = tasks
        self.losses_of_tasks = losses

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        total = self.pretrainer.compute_loss(
            None, y[NEXT_ITEM], y_pred[NEXT_ITEM], training=training
        )
        for task, loss in self.losses_of_tasks.items():
            total = total + loss(y[task], y_pred[task])
        return total
