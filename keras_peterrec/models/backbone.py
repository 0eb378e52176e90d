"""The dilated convolution network over item ids."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_peterrec.errors import check_count
from keras_peterrec.layers.hashed_dropout import HashedDropout
from keras_peterrec.layers.padding import PaddingMask, SequenceIds
from keras_peterrec.layers.residual_block import ResidualBlock
from keras_peterrec.training.block_loop import run_blocks


@keras.saving.register_keras_serializable("keras_peterrec")
class Backbone(keras.Model):
    """Item embeddings and a stack of residual blocks: the host of every task.

        x = E[id];  x = block(x) for each block;  state = LN(x)

    A functional Keras model from item ids to one hidden state a position. Ids 0
    to 3 are padding, unknown, mask and task token; items follow by falling
    frequency. Padding is inert and a border: the states of real positions do not
    depend on how much of it stands before them, nor on anything beyond it. So a row
    is one sequence padded on the left, or several with padding between them.

    Args:
        vocabulary_size: int. Rows of the item table V, special ids included.
        hidden_dim: int. Channels C = width of the item embedding. Defaults to
            `64`.
        dilations: Sequence of int. First dilation of each residual block; the
            block's second convolution has twice as much. Defaults to
            `(1, 4) * 4`, the paper's 8 blocks: 1, 2, 4, 8 four times.
        kernel_size: int. Defaults to `3`.
        causal: bool. `True`: a position sees only its past (pretrained by next
            items). `False`: it sees both sides (pretrained by masked items). Defaults to
            `True`.
        dropout: float. Rate of the dropout on the embedded items and on every
            block's branch. Defaults to `0.0`.
        name: str. Defaults to `"backbone"`.
        dtype: dtype policy or its name, such as `"mixed_bfloat16"`. Defaults to `None`,
            Keras' own (`keras.config.dtype_policy()`).

    Call arguments:
        history: Integer tensor of shape `[B, L]`.

    Returns:
        Tensor of shape `[B, L, C]`.

    Raises:
        ValueError: an argument is out of range.

    Example:

    >>> backbone = Backbone(vocabulary_size=1000, hidden_dim=32, dilations=(1, 4))
    >>> backbone(np.array([[0, 0, 17, 5]])).shape
    (1, 4, 32)

    Source: Yuan et al., SIGIR 2020, section 3.2. Not in the paper: the norm at the end, item
    vectors that start at length one, and branches that start small.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 64,
        dilations: Sequence[int] = (1, 4) * 4,
        kernel_size: int = 3,
        causal: bool = True,
        dropout: float = 0.0,
        name: str = "backbone",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        vocabulary_size = check_count("vocabulary_size", vocabulary_size)
        hidden_dim = check_count("hidden_dim", hidden_dim)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                "`dropout` should be a rate from 0 up to but not 1. "
                f"Received: `dropout` = {dropout!r}."
            )
        padding_mask_layer = PaddingMask(name="padding_mask", dtype=dtype)
        # Item vectors start at length one. Shorter ones drown in what the branches add to them.
        item_embedding = keras.layers.Embedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5),
            name="item_embedding",
            dtype=dtype,
        )
        embedding_dropout = HashedDropout(dropout, name="embedding_dropout", dtype=dtype)
        blocks = [
            ResidualBlock(dilation, kernel_size, causal, dropout, name=f"block_{n}", dtype=dtype)
            for n, dilation in enumerate(dilations, 1)
        ]
        final_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="final_norm", dtype=dtype)
        history = keras.Input((None,), dtype="int32", name="history")
        sequence_ids_layer = SequenceIds(name="sequence_ids")
        layers = padding_mask_layer, sequence_ids_layer, embedding_dropout, blocks, final_norm
        states = _states(*layers, history, item_embedding(history))
        super().__init__(inputs=history, outputs=states, name=name, **kwargs)
        self.dtype_policy = item_embedding.dtype_policy  # which a functional model does not take
        self.padding_mask_layer, self.sequence_ids_layer = layers[:2]
        self.item_embedding = item_embedding
        self.embedding_dropout = embedding_dropout
        self.blocks = blocks
        self.final_norm = final_norm
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.dilations = tuple(dilations)
        self.kernel_size = kernel_size
        self.causal = causal
        self.dropout = dropout

    # In place of Keras' walk over its layers, which cannot be a loop.
    def call(self, inputs, training=None, mask=None):
        return self.states(inputs, training=training)

    @property
    def receptive_field(self) -> int:
        """How many positions a state depends on: `1 + (k-1) · Σ dilations` (causal)."""
        return 1 + (self.kernel_size - 1) * 3 * sum(self.dilations)

    def states(
        self,
        history: Any,
        embedded: Any = None,
        packed: bool = True,
        training: bool | None = None,
    ) -> Any:
        """States `[B, L, C]`, as by a call, of ids `[B, L]` that may be embedded already.

        Args:
            history: Integer tensor of shape `[B, L]`.
            embedded: Tensor of shape `[B, L, C]`, rows of the item table, or `None`
                to look them up here.
            packed: bool. `False` if every row is known to be one sequence, padded on the
                left: then no borders are looked for. Defaults to `True`.
            training: bool or `None`. Whether dropout acts.
        """
        if embedded is None:
            embedded = self.item_embedding(history)
        borders = self.sequence_ids_layer if packed else None
        layers = self.padding_mask_layer, borders, self.embedding_dropout, self.blocks
        return _states(*layers, self.final_norm, history, embedded, training)

    def form(self) -> Any:
        """What `form_of` compares: all settings but the name."""
        return {name: value for name, value in self.get_config().items() if name != "name"}

    def copy(self) -> "Backbone":
        """A new backbone with the same settings and weights. It shares nothing with this one."""
        twin = Backbone.from_config(self.get_config())
        twin.set_weights(self.get_weights())
        return twin

    def get_config(self):
        return {
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "dilations": list(self.dilations),
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "dropout": self.dropout,
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.item_embedding.dtype_policy),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def shared_config(backbone: Backbone) -> dict:
    """A backbone as the config of a model holds it, so that models of one file can share it.

    Keras finds an object in a file again by its id. It adds ids by itself only where a config still
    holds the objects, and not what `serialize_keras_object` has made of them.
    """
    return {**keras.saving.serialize_keras_object(backbone), "shared_object_id": id(backbone)}


def _states(
    padding_mask_layer,
    sequence_ids_layer,
    dropout,
    blocks,
    final_norm,
    history,
    embedded,
    training=None,
):
    padding_mask = padding_mask_layer(history)
    sequence_ids = sequence_ids_layer(history) if sequence_ids_layer is not None else None
    states = dropout(embedded, training=training) * padding_mask
    states = run_blocks(blocks, states, padding_mask, sequence_ids, training=training)
    return final_norm(states) * padding_mask
