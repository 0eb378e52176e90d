"""Several labels of each user, such as topics of interest."""

import keras
import numpy as np

from keras_peterrec.data.splits import TRAIN
from keras_peterrec.data.task_examples import label_examples
from keras_peterrec.metrics import label_shares, multilabel_metrics
from keras_peterrec.tasks.heads import LinearHead
from keras_peterrec.tasks.label_data import LabelData
from keras_peterrec.tasks.task_kind import DEFAULT_SPLIT, ExportedAnswers, Metric, TaskKind

LEAST_PROBABILITY = 1e-3  # that a ridge regression's scores are clipped to


class Multilabel(TaskKind):
    """Gives the probability of every label; a user may have any number of them.

    Args:
        labels: sequence of str.
    """

    name = "multilabel"
    metric = Metric("log_loss", higher_is_better=False)
    shown = ("log_loss", "macro_auc", "map")
    unit = "probability"

    def __init__(self, labels):
        self._labels = list(labels)

    def __repr__(self):
        return f"Multilabel({self._labels})"

    @property
    def labels(self):
        return self._labels

    def new_head(self):
        return LinearHead(len(self._labels))

    @classmethod
    def make_data(cls, source, answers, max_length, settings=DEFAULT_SPLIT):
        return MultilabelData(source, answers, max_length, settings)

    def save(self, folder):
        return {"labels": self._labels}

    @classmethod
    def load(cls, saved, folder):
        return cls(saved["labels"])

    def probabilities(self, scores):
        return _sigmoid(np.asarray(scores, "float64")).astype("float32")

    def export_answers(self, name, folder, k):
        import tensorflow as tf

        def answer(scores, seen):
            scores, order = tf.math.top_k(tf.sigmoid(scores), len(self._labels))
            return {"labels": tf.gather(tf.constant(self._labels), order), "scores": scores}

        return ExportedAnswers(
            answer,
            examples=lambda answer: {"classes": answer["labels"], "scores": answer["scores"]},
        )

    @staticmethod
    def mixed_scores(scores):
        import tensorflow as tf

        return tf.sigmoid(scores)


class MultilabelData(LabelData):
    """Users with a set of labels and their source histories.

    Args:
        source: Sequences of the source log.
        labels: Labels: cells such as `sports|news`, several rows for a user, or both.
        max_length: int. Last events of a history that are read.
        settings: SplitSettings, of which it reads `seed` and `train_fraction`.
    """

    def __init__(self, source, labels, max_length, settings=DEFAULT_SPLIT):
        users, sets = labels.sets()
        names = labels.order(set().union(*sets))
        place = {name: n for n, name in enumerate(names)}
        answers = np.zeros((len(users), len(names)), "float32")
        for row, of_user in enumerate(sets):
            answers[row, [place[name] for name in of_user]] = 1.0
        examples = label_examples(source, users, answers)
        super().__init__(Multilabel(names), source, examples, max_length, settings)

    def start(self):
        answers = self.splits[TRAIN].answers
        # Log odds of the labels' shares, of which none is 0 or 1.
        have = answers.sum(axis=0, dtype="float64") + 0.5
        return np.log(have / (len(answers) + 1.0 - have))

    def loss(self, name=None):
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def mean_loss(self, outputs, answers):
        # log(1 + e^z) - y z, without overflow for large z.
        return np.mean(np.logaddexp(0.0, outputs) - answers * outputs)

    def metrics(self, outputs, answers):
        return multilabel_metrics(_sigmoid(outputs), answers)

    def baseline(self, part):
        answers = self.splits[part].answers
        shares = label_shares(self.splits[TRAIN].answers, len(answers))
        return {"name": "prior", "test": multilabel_metrics(shares, answers)}

    def fit_linear(self, ridge, offsets, items, size):
        ridge.fit_matrix(offsets, items, size, self.splits[TRAIN].answers)

    def measure_linear(self, queries, table, part, sampled=False):
        shares = np.clip(queries @ table.T, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
        return multilabel_metrics(shares.astype("float64"), self.splits[part].answers)

    def summary(self):
        return {**super().summary(), "labels": self.kind.labels}


def _sigmoid(z):
    return np.exp(-np.logaddexp(0.0, -z))
