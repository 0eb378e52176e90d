"""Pretraining by the next item."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.log.vocabulary import PAD, UNK, item_ids
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.network.network import Network
from keras_peterrec.types import Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class CausalPretrainer(Pretrainer):
    """Predicts the next item at every position; see `Pretrainer`.

    Example:

    >>> network = ConvolutionNetwork(vocabulary_size=1000, hidden_dim=8, blocks=1)
    >>> pretrainer = CausalPretrainer(network)
    >>> pretrainer.compile("adam")
    >>> batches = packed_batches(items, starts, stops, NextItems(), tokens=1600)
    >>> history = pretrainer.fit(batches, verbose=0)

    Source: Yuan et al., SIGIR 2020, Eq. (3).
    """

    def __init__(self, backbone: Network, name: str = "causal_pretrainer", **kwargs: Any) -> None:
        if not backbone.causal:
            raise ValueError("`backbone` should be causal. Received: `backbone.causal` = False.")
        super().__init__(backbone, name=name, **kwargs)

    def query_ids(self, history: Tensor) -> Tensor:
        """The history itself; an empty one becomes one unknown item."""
        last = item_ids(history[:, -1:])
        last = ops.where(last == PAD, UNK, last)
        if len(history.shape) == 3:
            last = ops.concatenate([last[..., None], history[:, -1:, 1:]], axis=-1)
        return ops.concatenate([history[:, :-1], last], axis=1)
