"""What columns of users add to a user's state."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.types import Json, Shape, Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class UserFieldVectors(keras.layers.Layer):
    """Adds a vector for each value that is told of a user to the state that the head reads.

        u' = u + Σ_f U[value_f(user)]

    They are added behind the network, and not as tokens before the task token: so one pass over a
    history still answers for all of its cuts, states of users are still computed once for the head,
    and a server's single events and mixed tasks run the network as before. What the columns and the
    history say is added up: with a linear head, no interaction of the two is learned.

    The vectors start at zero, and a value that is not told adds nothing.

    Args:
        values: int. How many values there are in all columns; see `UserFields`.
        channels: int. C.

    Call arguments:
        users: Tensor of shape `[B, C]`.
        told: Integer tensor of shape `[B, G]`, numbers of values, 0 for one that is not told.

    Returns:
        Tensor of shape `[B, C]`.

    Example:

    >>> layer = UserFieldVectors(values=3, channels=8)
    >>> layer(np.ones((2, 8), "float32"), np.array([[1, 3], [0, 2]])).shape
    (2, 8)
    """

    def __init__(
        self, values: int, channels: int, name: str = "user_fields", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.values, self.channels = values, channels
        self.table = self.add_weight((values, channels), "zeros", name="table")
        self.built = True

    def call(self, users: Tensor, told: Tensor) -> Tensor:
        return users + added_vectors(self.table, told, users.dtype)

    def named_weights(self) -> dict[str, Any]:
        """Its weights by path, `{"user_fields/table": variable}`."""
        return {"user_fields/table": self.table}

    def form(self) -> object:
        """What `form_of` compares."""
        return self.values, self.channels

    def compute_output_shape(self, users_shape: Shape, told_shape: Shape) -> Shape:
        return users_shape

    def get_config(self) -> Json:
        return {"values": self.values, "channels": self.channels, "name": self.name}


def added_vectors(table: Tensor, told: Tensor, dtype: Any, first: Tensor | int = 0) -> Tensor:
    """The sums `[B, C]` of the vectors of what is told of users.

    Args:
        table: Tensor of shape `[M, C]`.
        told: Integer tensor of shape `[B, G]`.
        dtype: of the sums.
        first: int, or integer tensor of shape `[B, 1]`. In which row of the table value 1 of each
            user is. Defaults to `0`.
    """
    told = ops.cast(told, "int32")
    places = ops.where(told > 0, first + told - 1, 0)  # any row where nothing is told
    rows = ops.take(ops.convert_to_tensor(table), places, axis=0)
    is_told = ops.cast(ops.expand_dims(told > 0, -1), dtype)
    return ops.sum(ops.cast(rows, dtype) * is_told, axis=-2)
