"""What the causal and the masked pretrainer share."""

import keras
from keras import ops

from keras_peterrec.data.special_ids import FIRST_ITEM
from keras_peterrec.distribution.replicated_model import ReplicatedModel, sum_over_replicas
from keras_peterrec.layers.sampled_softmax import SampledSoftmax

FULL_SOFTMAX_UP_TO = 20_000


class Pretrainer(ReplicatedModel):
    """A backbone with an output table over the items, trained without labels.

    The model maps ids `[B, L]` to states `[B, L, C]`. Its loss is the softmax
    cross-entropy of `states · tableᵀ` at the positions whose target is an item;
    targets are ids, and special ids are not counted. `fit` needs no `loss`
    argument.

    Args:
        backbone: Backbone.
        tied: bool. Whether the item embedding is the output table as well.
            Defaults to `True`.
        negatives: int or `None`. Shared negatives of a sampled softmax; 0 is the
            full softmax. Defaults to `None`: full up to 20,000 items, else 1,000
            negatives.
        label_smoothing: float. Probability spread over all items in the full
            softmax. Defaults to `0.0`.
        seed: int or `None`. Of the negatives.

    Source: Yuan et al., SIGIR 2020, section 3.2, Eq. (3) and (4).
    """

    def __init__(
        self, backbone, tied=True, negatives=None, label_smoothing=0.0, seed=None, **kwargs
    ):
        history = keras.Input((None,), dtype="int32", name="history")
        super().__init__(inputs=history, outputs=backbone(history), **kwargs)
        self.backbone = backbone
        self.tied = tied
        self.negatives = negatives
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.items = backbone.vocabulary_size - FIRST_ITEM
        if negatives is None:
            negatives = 0 if self.items <= FULL_SOFTMAX_UP_TO else 1000
        self.sampled_softmax = (
            SampledSoftmax(self.items, negatives, seed, name="sampled_softmax")
            if negatives
            else None
        )
        self.output_table = None
        if not tied:
            self.output_table = keras.layers.Embedding(
                self.items,
                backbone.hidden_dim,
                embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02),
                name="output_table",
            )
            self.output_table.build()

    @property
    def item_table(self):
        """Output table `[V - 4, C]`: row `i` is the item of id `i + 4`."""
        if self.tied:
            return self.backbone.item_embedding.embeddings[FIRST_ITEM:]
        return self.output_table.embeddings

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        targets = ops.reshape(ops.cast(y, "int32"), (-1,)) - FIRST_ITEM
        counted = ops.cast(targets >= 0, "float32")
        targets = ops.maximum(targets, 0)
        states = ops.reshape(y_pred, (-1, self.backbone.hidden_dim))
        table = ops.cast(self.item_table, states.dtype)
        if self.sampled_softmax is None:
            losses = self._full_softmax(states, targets, table)
        else:
            losses = self.sampled_softmax(states, targets, table)
        return ops.sum(losses * counted) / ops.maximum(sum_over_replicas(ops.sum(counted)), 1.0)

    def _full_softmax(self, states, targets, table):
        scores = ops.cast(ops.matmul(states, ops.transpose(table)), "float32")
        losses = keras.losses.sparse_categorical_crossentropy(targets, scores, from_logits=True)
        if self.label_smoothing:
            spread = ops.logsumexp(scores, axis=-1) - ops.mean(scores, axis=-1)
            losses = (1 - self.label_smoothing) * losses + self.label_smoothing * spread
        return losses

    def query_ids(self, history):
        """Ids whose last state answers "what comes next?"; set by a subclass."""
        raise NotImplementedError

    def user_states(self, history):
        """The user after a history `[B, L]`, as `[B, C]`, in one call."""
        ids = self.query_ids(ops.cast(history, "int32"))
        return self.backbone.states(ids, packed=False, training=False)[:, -1]

    def next_item_scores(self, history):
        """Scores `[B, V - 4]` of every item to follow a history `[B, L]`."""
        return ops.matmul(self.user_states(history), ops.transpose(self.item_table))

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "tied": self.tied,
            "negatives": self.negatives,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)
