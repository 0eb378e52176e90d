"""What the kinds of task that read a column of labels share."""

import dataclasses
import functools

import keras
import numpy as np
import scipy.optimize

from keras_peterrec.linear.bag import Bag
from keras_peterrec.linear.event_features import EventFeatures
from keras_peterrec.linear.label_regression import LabelRegression, best_label_regression
from keras_peterrec.linear.linear_part import LinearPart, LinearScores
from keras_peterrec.log.event_fields import EventFields
from keras_peterrec.log.event_split import TRAIN, VALIDATION
from keras_peterrec.log.field_kinds import TimeSincePrevious
from keras_peterrec.metrics.measured import Measured, RowDetails
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.task_data import PartWeights, TaskData
from keras_peterrec.types import Json, Layer

# The least scales of a network, alone and beside a linear part. It is never 0, which would lose
# what training goes on from. Alone it keeps the users in order. Beside a linear part that is right
# to a thousandth, such as one that adds up prices, a hundredth of a network that knows nothing is
# too much.
LEAST_ALONE, LEAST_BESIDE = 1e-2, 1e-4
# Where training users are fewer, they help to choose the penalty of the linear part.
FEW_USERS = 5_000
FOLDS = 4
# How strongly both scales are held to what they are without validation users: to move one by 1,
# these must have so much less log-loss in all. It matters where they are few.
HELD = 10.0


class LabelData(TaskData):
    """Users with an answer each, which a LinearHead gives from their whole history.

    The head starts with the best constant answer, so an untrained task is as good as its baseline.
    """

    starts_trained = True
    reads_times_between = True

    def start(self) -> np.ndarray:
        """The head's outputs for the best constant answer, float64 `[n]`."""
        raise NotImplementedError

    def losses_and_gradient(
        self, outputs: np.ndarray, answers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows' losses `[E]` of outputs `[E, n]`, in float64, and their gradient `[E, n]`."""
        raise NotImplementedError

    def metrics(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """Metrics of the head's outputs `[E, n]`."""
        raise NotImplementedError

    def parts(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """What each row adds to the deciding metric: `{Metric.part: [E]}`."""
        return {self.kind.metric.part: self.losses_and_gradient(outputs, answers)[0]}

    def details(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """What a report shows of outputs `[E, n]`, by the names of `report/kept_rows.py`."""
        return {}

    def examples(self, outputs: np.ndarray, answers: np.ndarray) -> list[Json]:
        """The answers of a few rows; see `RowDetails`. Defaults to none."""
        return []

    def new_head(self) -> Layer:
        start = keras.initializers.Constant(self.start().tolist())
        return LinearHead(len(self.kind.labels), bias_initializer=start)

    def middle(self) -> np.ndarray:
        return self.start()

    def measure_users(
        self,
        users: np.ndarray,
        head: Layer,
        part: str,
        sampled: bool = False,
        linear: LinearScores | None = None,
        network: float = 1.0,
    ) -> Measured:
        outputs = np.asarray(head(users), "float64")
        if network != 1.0:
            outputs = self.middle() + network * (outputs - self.middle())
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

        def make(features, bag):
            return [
                (self._regression(bag, train.select(fitted), size, features), self._loss_of(others))
                for fitted, others in parts
            ]

        readings = self._readings()
        makes = [functools.partial(make, features) for features in readings.values()]
        best = best_label_regression(*makes)
        read = next(names for names, features in readings.items() if features == best.features)
        chosen = {**best.chosen, **dict.fromkeys(read, True)}
        return self._calibrated(dataclasses.replace(best, chosen=chosen))

    def _readings(self):
        """What the linear part may read of events beside their items, by what `chosen` says of it.

        The simplest comes first.
        """
        told = self.source.told or EventFields()
        fields = ("fields",) if told.columns else ()
        readings = {(): EventFeatures(), fields: EventFeatures.of(told, times=False)}
        if any(isinstance(field, TimeSincePrevious) for field in told):
            readings[(*fields, "times")] = EventFeatures.of(told)
        return readings

    def _calibrated(self, linear):
        """The linear part, scaled around `middle` as validation users ask.

        A penalty that is no weaker than it must be makes the regression less sure than it may be.
        """
        outputs = self._linear_outputs(linear, VALIDATION) - self.middle()
        (scale,) = self._scales([outputs], VALIDATION, [1.0], [LEAST_ALONE])
        return self._scaled(linear, scale)

    def _scaled(self, linear, scale):
        scaled = linear.moved(scale, self.middle()).moved(1.0, -self.middle())
        return dataclasses.replace(scaled, chosen={**linear.chosen, "scale": scale})

    def _regression(self, bag, rows, size, features):
        loss = lambda outputs: self.losses_and_gradient(outputs, rows.answers)
        histories = self.source.items, rows.starts, rows.stops, size
        read = rows.told, self.user_fields.values, features, self.counted(features, size)
        return LabelRegression(bag, *histories, self.start(), loss, *read)

    def _loss_of(self, rows):
        def loss(part):
            counted = self.counted(part.features, part.items)
            histories = self.source.rows, rows.starts, rows.stops, rows.told
            scores = part.scores(*histories, counted).all()
            return self.losses_and_gradient(np.asarray(scores, "float64"), rows.answers)[0]

        return loss

    def measure_linear(self, linear: LinearPart, part: str, sampled: bool = False) -> Measured:
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
        features = self._readings()[tuple(n for n in ("fields", "times") if linear.get(n))]
        regression = self._regression(bag, self.splits[TRAIN], size, features)
        solved = regression.solve(linear["penalty"])
        return self._scaled(solved, linear["scale"])

    def part_weights(
        self, users: np.ndarray, head: Layer, linear: LinearScores | None = None
    ) -> PartWeights:
        """How far both parts' outputs move towards, or away from, the best constant answer b.

            z' = b + s (z - b) + a (l - b),   s, a = argmin of the validation users' loss

        z are the outputs of the network and l those of the linear part. Training stops where the
        validation users do best, and for other users that is late: there the model is too sure of
        itself. Few validation users say little of s and a: these are held to the linear part alone
        or, without one, to the network as it is.

        Source: temperature scaling, Guo et al., "On Calibration of Modern Neural Networks",
        ICML 2017, section 4.2; theirs moves towards equal shares.
        """
        middle = self.middle()
        parts = [np.asarray(head(users), "float64") - middle]
        if linear is None:
            return PartWeights(*self._scales(parts, VALIDATION, [1.0], [LEAST_ALONE]))
        parts.append(np.asarray(linear.all(), "float64") - middle)
        return PartWeights(*self._scales(parts, VALIDATION, [0.0, 1.0], [LEAST_BESIDE, 0.0]))

    def _scales(self, parts, part, held_to, least):
        """The scales of outputs around `middle` with the least loss on a split; see `HELD`."""
        middle, answers, held_to = self.middle(), self.splits[part].answers, np.array(held_to)

        def loss(scales):
            moved = sum(scale * outputs for scale, outputs in zip(scales, parts))
            losses, gradient = self.losses_and_gradient(middle + moved, answers)
            slopes = np.array([np.sum(gradient * outputs) for outputs in parts])
            apart = scales - held_to
            return losses.sum() + HELD * np.sum(apart**2), slopes + 2 * HELD * apart

        first = np.maximum(held_to, least)
        bounds = [(value, None) for value in least]
        minimum = scipy.optimize.minimize(loss, first, jac=True, bounds=bounds, method="L-BFGS-B")
        return minimum.x.tolist()
