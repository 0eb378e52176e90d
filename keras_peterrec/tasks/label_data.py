"""What the kinds of task that read a column of labels share."""

from typing import Any

import keras
import numpy as np
import scipy.optimize

from keras_peterrec.data.splits import TRAIN, VALIDATION
from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.metrics.measured import Measured, RowDetails
from keras_peterrec.models.label_regression import LabelRegression, best_label_regression
from keras_peterrec.models.linear_part import Bag, LinearPart
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.task_data import PartWeights, TaskData

LEAST_SCALE = 0.01
# Where training users are fewer, they help to choose the penalty of the linear part.
FEW_USERS = 5_000
FOLDS = 4
# How strongly both parts are held to count one half: as if so many nats of loss said so. It
# matters where validation users are few.
HALVES = 10.0


class LabelData(TaskData):
    """Users with an answer each, which a LinearHead gives from their whole history.

    The head starts with the best constant answer, so an untrained task is as good as its baseline.
    """

    starts_trained = True

    def start(self) -> np.ndarray:
        """The head's outputs for the best constant answer, float64 `[n]`."""
        raise NotImplementedError

    def losses_and_gradient(self, outputs: Any, answers: Any) -> tuple:
        """The rows' losses `[E]` of outputs `[E, n]`, in float64, and their gradient `[E, n]`."""
        raise NotImplementedError

    def metrics(self, outputs: Any, answers: Any) -> dict:
        """Metrics of the head's outputs `[E, n]`."""
        raise NotImplementedError

    def parts(self, outputs: Any, answers: Any) -> dict:
        """What each row adds to the deciding metric: `{Metric.part: [E]}`."""
        return {self.kind.metric.part: self.losses_and_gradient(outputs, answers)[0]}

    def details(self, outputs: Any, answers: Any) -> dict:
        """What a report shows of outputs `[E, n]`, by the names of `report/kept_rows.py`."""
        return {}

    def examples(self, outputs: Any, answers: Any) -> list:
        """The answers of a few rows; see `RowDetails`. Defaults to none."""
        return []

    def new_head(self) -> Any:
        start = keras.initializers.Constant(self.start().tolist())
        return LinearHead(len(self.kind.labels), bias_initializer=start)

    def measure_users(
        self, users: Any, head: Any, part: int, sampled: bool = False, linear: Any = None
    ) -> dict:
        outputs = np.asarray(head(users), "float64")
        if linear is not None:
            outputs = outputs + linear.all()
        return self._measured(outputs, part)

    def fit_linear(self, size: int) -> LinearPart:
        train, validation = self.splits[TRAIN], self.splits[VALIDATION]
        everybody = np.ones(len(train), bool)
        # A few validation users cannot tell penalties apart, so training users help: each is
        # answered by the regression of the others.
        folds = FOLDS if FOLDS <= len(train) < FEW_USERS else 0
        place = np.arange(len(train)) % FOLDS
        parts = [(everybody, validation)]
        parts += [(place != n, train.select(place == n)) for n in range(folds)]

        def make(bag):
            return [
                (self._regression(bag, train.select(fitted), size), self._loss_of(others))
                for fitted, others in parts
            ]

        return best_label_regression(make)

    def _regression(self, bag, rows, size):
        loss = lambda outputs: self.losses_and_gradient(outputs, rows.answers)
        return LabelRegression(
            bag, self.source.items, rows.starts, rows.stops, size, self.start(), loss
        )

    def _loss_of(self, rows):
        def loss(part):
            scores = part.scores(self.source.items, rows.starts, rows.stops).all()
            return self.losses_and_gradient(np.asarray(scores, "float64"), rows.answers)[0]

        return loss

    def measure_linear(self, linear: LinearPart, part: int, sampled: bool = False) -> dict:
        return self._measured(self._linear_outputs(linear, part), part)

    def _measured(self, outputs, part):
        split = self.splits[part]
        answers = split.answers
        details = RowDetails(
            split.starts,
            split.stops,
            arrays=lambda: self.details(outputs, answers),
            examples=lambda rows: self.examples(outputs[rows], answers[rows]),
        )
        return Measured(
            self.metrics(outputs, answers),
            self.parts(outputs, answers),
            np.arange(len(answers)),
            again=lambda rows: self.metrics(outputs[rows], answers[rows]),
            user_ids=split.user_ids,
            details=details,
        )

    def _linear_outputs(self, linear, part):
        return np.asarray(self.linear_scores(linear, part).all(), "float64")

    def refit_linear(self, size: int, linear: dict) -> LinearPart:
        bag = Bag(power=linear["power"])
        return self._regression(bag, self.splits[TRAIN], size).solve(linear["penalty"])

    def part_weights(self, model: Any, linear: LinearPart | None = None) -> PartWeights:
        """How far both parts' outputs move towards the best constant answer b.

            z' = b + s (z - b) + a (l - b),   s, a = argmin of the validation users' loss

        z are the outputs of the network and l those of the linear part; s is in (0, 1], a in
        [0, 1]. Training stops where the validation users do best, and for other users that is
        late: there the model is too sure of itself.

        Source: temperature scaling, Guo et al., "On Calibration of Modern Neural Networks",
        ICML 2017, section 4.2; theirs moves towards equal shares, and may sharpen.
        """
        start, answers = self.start(), self.splits[VALIDATION].answers
        outputs = np.asarray(model.head(self.users(model, VALIDATION)), "float64")
        parts = [outputs - start]
        if linear is not None:
            parts.append(self._linear_outputs(linear, VALIDATION) - start)

        def loss(scales):
            moved = sum(scale * part for scale, part in zip(scales, parts))
            losses, gradient = self.losses_and_gradient(start + moved, answers)
            slopes = np.array([np.sum(gradient * part) for part in parts])
            from_half = scales - first
            return losses.sum() + held * np.sum(from_half**2), slopes + 2 * held * from_half

        # The network's scale is never 0, which would lose what training goes on from.
        bounds = [(LEAST_SCALE, 1.0), (0.0, 1.0)][: len(parts)]
        first = np.full(len(parts), 1.0 / len(parts))
        held = HALVES if linear is not None else 0.0
        found = scipy.optimize.minimize(loss, first, jac=True, bounds=bounds, method="L-BFGS-B")
        return PartWeights(*found.x.tolist())

    def join(self, model: Any, linear: LinearPart | None, weights: PartWeights) -> None:
        start = self.start()
        model.head.shrink(weights.network, start)
        if linear is not None and weights.linear:
            model.linear = LinearTable.of_part(linear.moved(weights.linear, start))


def best_labels(labels: Any, probabilities: Any, k: int = 3) -> list:
    """The `k` most probable labels of each row `[E, n]`, lists of `[label, probability]`."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return [[[labels[n], float(row[n])] for n in found] for row, found in zip(probabilities, best)]
