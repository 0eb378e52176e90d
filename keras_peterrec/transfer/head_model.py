"""A task's head alone, over what the host says of users, already known."""

import keras

from keras_peterrec.distribution.replicated_model import ReplicatedModel
from keras_peterrec.layers.history_summary import HistorySummary


def head_model(task):
    """The last part of a task model: from `TaskModel.features` to scores.

        features -> (summary) -> dropout -> head

    Under the method `head` nothing before these is trained, so each user's features
    are computed once and a training step costs nothing of the host.

    Args:
        task: TaskModel. Its head is the model's own: training one trains the other.

    Returns:
        keras.Model, not compiled, of what `task.features` gives.

    Example:

    >>> task = build_task(host.backbone, ClassifierHead(2), "head")
    >>> head_model(task)(task.features(history)).shape
    (1, 2)
    """
    dtype = task.host.item_embedding.dtype_policy
    width = task.host.hidden_dim
    width = width if task.summary is None else HistorySummary.width(width)
    features = keras.Input((width,), dtype=dtype.compute_dtype, name="features")
    dropout = keras.layers.Dropout(task.dropout, name="user_dropout", dtype=dtype)
    scores = task.head(dropout(task.user_of(features)))
    return ReplicatedModel(features, scores, name=f"{task.name}_head")
