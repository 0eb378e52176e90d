"""What the kinds of task that read a column of labels share."""

from typing import Any

import keras
import numpy as np

from keras_peterrec.data.splits import VALIDATION
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.task_kind import TaskData
from keras_peterrec.training.devices import Devices

LEAST_PROBABILITY = 1e-3  # that the scores of a ridge regression are clipped to
SCALES = np.arange(1, 101) / 100  # none is 0, which would lose the order of users


class LabelData(TaskData):
    """Users with an answer each, which a LinearHead gives from their whole history.

    The head starts with the best constant answer, so an untrained task is as good as its baseline.
    """

    starts_trained = True

    def start(self) -> np.ndarray:
        """The head's outputs for the best constant answer, float64 `[n]`."""
        raise NotImplementedError

    def mean_loss(self, outputs: Any, answers: Any) -> float:
        """The loss of outputs `[E, n]`, in float64."""
        raise NotImplementedError

    def metrics(self, outputs: Any, answers: Any) -> dict:
        """Metrics of the head's outputs `[E, n]`."""
        raise NotImplementedError

    def new_head(self) -> Any:
        start = keras.initializers.Constant(self.start().tolist())
        return LinearHead(len(self.kind.labels), bias_initializer=start)

    def measure_users(self, users: Any, head: Any, part: int, sampled: bool = False) -> dict:
        return self.metrics(np.asarray(head(users), "float64"), self.splits[part].answers)

    def calibrate(self, model: Any) -> Any:
        """Moves a trained model's outputs z towards the start b as far as validation asks.

            z' = b + a (z - b),   a = argmin of the validation users' loss over (0, 1]

        Training stops where the validation users do best, and for other users that is late:
        there the model is too sure of itself.

        Args:
            model: TaskModel. Its head is changed.

        Returns:
            float, a.

        Source: temperature scaling, Guo et al., "On Calibration of Modern Neural Networks",
        ICML 2017, section 4.2; theirs moves towards equal shares, and may sharpen.
        """
        start, answers = self.start(), self.splits[VALIDATION].answers

        def best_scale():
            outputs = model.head(self.users(model, VALIDATION))
            moved = np.asarray(outputs, "float64") - start
            return min(SCALES, key=lambda a: self.mean_loss(start + a * moved, answers))

        scale = float(Devices.of(model).on_chief(best_scale))
        model.head.shrink(scale, start)
        return scale
