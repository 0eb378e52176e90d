"""A task's head alone, over users' states that are already known."""

import keras

from keras_peterrec.distribution.replicated_model import ReplicatedModel


def head_model(task):
    """The last part of a task model: from users' states to scores.

        [B, C] -> dropout -> head

    Under the method `head` nothing before the head is trained, so each user's state
    is computed once and a training step costs nothing of the host.

    Args:
        task: TaskModel. Its head is the model's own: training one trains the other.

    Returns:
        keras.Model, not compiled, of states `[B, C]` as `task.user_states` gives them.

    Example:

    >>> task = build_task(host.backbone, ClassifierHead(2), "head")
    >>> head_model(task)(task.user_states(history)).shape
    (1, 2)
    """
    dtype = task.host.item_embedding.dtype_policy
    user = keras.Input((task.host.hidden_dim,), dtype=dtype.compute_dtype, name="user")
    dropout = keras.layers.Dropout(task.dropout, name="user_dropout", dtype=dtype)
    return ReplicatedModel(user, task.head(dropout(user)), name=f"{task.name}_head")
