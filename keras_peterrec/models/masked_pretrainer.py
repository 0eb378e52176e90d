"""Pretraining by masked items."""

from typing import Any

import keras
from keras import ops

from keras_peterrec.log.vocabulary import MASK
from keras_peterrec.models.pretrainer import Pretrainer
from keras_peterrec.network.network import Network
from keras_peterrec.types import Tensor


@keras.saving.register_keras_serializable("keras_peterrec")
class MaskedPretrainer(Pretrainer):
    """Predicts masked items from both sides; see `Pretrainer`.

    Example:

    >>> network = ConvolutionNetwork(1000, hidden_dim=8, blocks=1, causal=False)
    >>> pretrainer = MaskedPretrainer(network)
    >>> pretrainer.compile("adam")
    >>> batches = packed_batches(items, starts, stops, HiddenItems(1000), tokens=1600)
    >>> history = pretrainer.fit(batches, verbose=0)

    Source: Yuan et al., SIGIR 2020, Eq. (4).
    """

    def __init__(self, backbone: Network, name: str = "masked_pretrainer", **kwargs: Any) -> None:
        if backbone.causal:
            raise ValueError(
                "`backbone` should be bidirectional. Received: `backbone.causal` = True."
            )
        super().__init__(backbone, name=name, **kwargs)

    def query_ids(self, history: Tensor) -> Tensor:
        """The history with one masked position behind it."""
        if len(history.shape) == 2:
            return ops.pad(history, [[0, 0], [0, 1]], constant_values=MASK)
        # What stands behind has no time and no field.
        asked = ops.zeros_like(history[:, :1, 1:])
        asked = ops.pad(asked, [[0, 0], [0, 0], [1, 0]], constant_values=MASK)
        return ops.concatenate([history, asked], axis=1)
