"""Pretraining without labels: by the next item, or by masked items."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_peterrec.errors import refuse
from keras_peterrec.layers.full_softmax import FullSoftmax, target_weights
from keras_peterrec.layers.item_field_vectors import ItemFieldVectors
from keras_peterrec.layers.sampled_softmax import SampledSoftmax
from keras_peterrec.linear.linear_table import LinearTable
from keras_peterrec.log.item_fields import ItemFields
from keras_peterrec.log.vocabulary import (
    MASK,
    PAD,
    UNK,
    id_of,
    item_ids,
    number_of,
    rows_of_items,
)
from keras_peterrec.network.network import Network, shared_config
from keras_peterrec.training.replicated_model import ReplicatedTraining, sum_over_replicas
from keras_peterrec.types import Json, Layer, Tensor, Variable

FULL_SOFTMAX_UP_TO = 20_000


class Pretrainer(ReplicatedTraining, keras.Model):
    """A network with an output table over the items, trained without labels.

    The model maps histories, ids `[B, L]` or rows of events `[B, L, 1 + F]`, to states
    `[B, L, C]`. Its loss is the softmax cross-entropy of `states · tableᵀ` at the positions whose
    target is an item; targets are ids, and special ids are not counted. `fit` needs no `loss`
    argument. Weights of samples are `[B, L]`, of targets, or `[B]`, of rows; as Keras does it,
    the sum of the weighted losses is divided by the number of targets, not by their weights.

    Args:
        tied: bool. Whether the item embedding is the output table as well.
            Defaults to `True`.
        negatives: int or `None`. Shared negatives of a sampled softmax; 0 is the
            full softmax. Defaults to `None`: full up to 20,000 items, else 1,000
            negatives.
        label_smoothing: float. Probability spread over all items in the full
            softmax. Defaults to `0.0`.
        seed: int or `None`. Of the negatives.
        sampler: str. The law of the negatives: `"log_uniform"`, `"uniform"` or
            `"in_batch"`; see `SampledSoftmax`. Defaults to `"log_uniform"`.
        counts: Array of shape `[V - 4]` or `None`. How often each item is a target,
            which corrects `"in_batch"`. Defaults to `None`.
        linear: LinearTable or `None`. The linear part, whose scores are added to the network's.
            It is not trained, and training does not see it. It can also be set later. Defaults to
            `None`.

    Attributes:
        input_fields, output_fields: ItemFieldVectors, while items have fields; see
            `use_item_fields`. Else `None`.
        frozen_items: int or `None`. Of so many items, the first ones, training leaves the vectors
            as they are; see `train_only_new_items`.

    Source: Yuan et al., SIGIR 2020, section 3.2, Eq. (3) and (4).
    """

    def __init__(
        self,
        backbone: Network,
        tied: bool = True,
        negatives: int | None = None,
        label_smoothing: float = 0.0,
        seed: int | None = None,
        sampler: str = "log_uniform",
        counts: np.ndarray | None = None,
        linear: LinearTable | None = None,
        **kwargs: Any,
    ) -> None:
        dtype = backbone.item_embedding.dtype_policy
        super().__init__(dtype=dtype, **kwargs)
        self.backbone = backbone
        self.tied = tied
        self.negatives = negatives
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.sampler = sampler
        self.counts = counts
        self.items = number_of(backbone.vocabulary_size)
        if negatives is None:
            negatives = 0 if self.items <= FULL_SOFTMAX_UP_TO else 1000
        self.full_softmax = self.sampled_softmax = None
        if negatives:
            self.sampled_softmax = SampledSoftmax(
                self.items, negatives, seed, sampler, counts, name="sampled_softmax"
            )
        else:
            self.full_softmax = FullSoftmax(label_smoothing, name="full_softmax")
        self.linear = linear
        self.input_fields: ItemFieldVectors | None = None
        self.output_fields: ItemFieldVectors | None = None
        self.frozen_items: int | None = None
        self.output_table = None
        if not tied:
            self.output_table = keras.layers.Embedding(
                self.items,
                backbone.hidden_dim,
                embeddings_initializer=keras.initializers.RandomNormal(stddev=0.02),
                name="output_table",
                dtype=dtype,
            )
            self.output_table.build()
        # Not a functional model: Keras' `clone_model` makes of one a plain model without our loss.
        self.built = True

    def call(self, history: Tensor, training: bool | None = None) -> Tensor:
        if self.input_fields is None:
            return self.backbone(history, training=training)
        embedded = self._embedded(history, training)
        return self.backbone.states(history, embedded, training=training)

    def _embedded(self, history, training=None):
        """The items' vectors with those of their fields, `[B, L, C]`; `None` without fields."""
        if self.input_fields is None:
            return None
        ids = ops.cast(item_ids(history), "int32")
        own = self.backbone.item_embedding(ids)
        return self.input_fields.beside(own, ids, training)

    def use_item_fields(self, fields: ItemFields) -> None:
        """Adds the vectors of items' fields to the items' vectors, until they are folded.

        Args:
            fields: ItemFields of the network's vocabulary.

        Raises:
            ValueError: the output table is tied.
        """
        if self.tied:
            raise ValueError("`tied` should be False with fields of items. Received: True.")
        given = fields, self.backbone.hidden_dim
        self.input_fields = ItemFieldVectors(*given, name="input_fields")
        self.output_fields = ItemFieldVectors(*given, name="output_fields")

    def fold_item_fields(self) -> list[dict[str, np.ndarray]]:
        """Writes the sums of items' vectors and those of their fields into the tables of items.

        Returns:
            The weights of `input_fields` and `output_fields`, by name; an empty list without them.
        """
        if self.input_fields is None:
            return []
        learned = []
        for table, fields, first in (
            (self.backbone.item_embedding.embeddings, self.input_fields, 0),
            (self.output_table.embeddings, self.output_fields, id_of(0)),
        ):
            table.assign(np.asarray(table) + np.asarray(fields.all())[first:])
            learned.append({weight.name: np.array(weight) for weight in fields.trainable_weights})
            # Validation has traced the network with these layers, and would add them once more.
            for weight in fields.trainable_weights:
                weight.assign(ops.zeros_like(weight))
        self.input_fields = self.output_fields = None
        return learned

    def fit(self, *args: Any, class_weight: None = None, **kwargs: Any) -> Any:
        if class_weight is not None:
            refuse(
                "class_weight",
                "left out, since the targets are items: `sample_weight` weighs them",
                class_weight,
            )
        return super().fit(*args, **kwargs)

    def train_only_new_items(self, items: int) -> None:
        """Freezes all but the vectors of items after the first so many. Compile it afterwards.

        Args:
            items: int. How many items stay as they are.
        """
        self.frozen_items = items
        network = self.backbone  # its tables of fields are no layers of the functional model
        for layer in (*network.layers, *network.field_tables):
            layer.trainable = layer is network.item_embedding

    def frozen_rows(self) -> list[Variable]:
        """Pairs of a table and how many of its first rows are not trained."""
        if self.frozen_items is None:
            return []
        tables = [(self.backbone.item_embedding.embeddings, id_of(self.frozen_items))]
        if not self.tied:
            tables.append((self.output_table.embeddings, self.frozen_items))
        return tables

    def unused_in_training(self) -> list[Layer]:
        return [] if self.linear is None else [self.linear]

    def form(self) -> object:
        """What models have in common that share a compiled training step; see `form_of`."""
        config = self.get_config()
        left_out = ("backbone", "name", "seed", "linear")
        config = {key: part for key, part in config.items() if key not in left_out}
        return self.backbone, self.input_fields, config

    @property
    def item_table(self) -> Variable:
        """Output table `[V - 4, C]`: row `i` is the item of id `i + 4`."""
        return self._item_table()

    def _item_table(self, training=None):
        if self.tied:
            return rows_of_items(self.backbone.item_embedding.embeddings)
        table = self.output_table.embeddings
        if self.output_fields is None:
            return table
        ids = rows_of_items(self.output_fields.ids)
        return self.output_fields.beside(ops.convert_to_tensor(table), ids, training)

    def item_rows(self, items: Tensor, training: bool | None = None) -> Tensor:
        """Rows `[..., C]` of the output table for items `[...]`; only these are read."""
        if self.tied:
            return self.backbone.item_embedding(id_of(items))
        rows = self.output_table(items)
        if self.output_fields is None:
            return rows
        return self.output_fields.beside(rows, id_of(items), training)

    def train_step(self, *args: Any) -> dict[str, Tensor]:
        """Keras' own step or, on TensorFlow, the same in micro-batches."""
        if keras.backend.backend() != "tensorflow":
            return super().train_step(*args)
        from keras_peterrec.models import micro_batches

        return micro_batches.train_step(self, *args)

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        y_pred: Tensor | None = None,
        sample_weight: Tensor | None = None,
        training: bool | None = True,
    ) -> Tensor:
        targets = number_of(ops.reshape(ops.cast(y, "int32"), (-1,)))
        targets = ops.maximum(targets, -1)  # special ids are not counted
        states = ops.reshape(y_pred, (-1, self.backbone.hidden_dim))
        weights = None
        if sample_weight is not None:
            weights = ops.reshape(target_weights(sample_weight, y), (-1,))
        if self.sampled_softmax is None:
            table = self._item_table(training)
            total = self.full_softmax(states, targets, table, weights, training=training)
        else:
            losses = self._sampled_losses(states, targets, training)
            total = ops.sum(losses if weights is None else losses * weights)
        counted = ops.sum(ops.cast(targets >= 0, "float32"))
        return total / ops.maximum(sum_over_replicas(counted), 1.0)

    def _sampled_losses(self, states, targets, training=None):
        negatives = self.sampled_softmax.draw(targets)
        true_rows = self.item_rows(ops.maximum(targets, 0), training)
        return self.sampled_softmax.row_losses(
            states, targets, true_rows, negatives, self.item_rows(negatives, training)
        )

    def query_ids(self, history: Tensor) -> Tensor:
        """The ids whose last state answers "what comes next?". A subclass says which."""
        raise NotImplementedError

    def user_states(self, history: Tensor) -> Tensor:
        """The user after a history `[B, L]` or `[B, L, 1 + F]`, as `[B, C]`, in one call."""
        asked = self.query_ids(ops.cast(history, "int32"))
        embedded = self._embedded(asked)
        return self.backbone.last_state(asked, embedded, training=False)

    def next_item_scores(self, history: Tensor) -> Tensor:
        """Scores `[B, V - 4]` of every item to follow a history, as of `user_states`."""
        scores = ops.matmul(self.user_states(history), ops.transpose(self.item_table))
        if self.linear is None:
            return scores
        return ops.cast(scores, "float32") + self.linear(history)

    def get_config(self) -> Json:
        return {
            "backbone": shared_config(self.backbone),
            "tied": self.tied,
            "negatives": self.negatives,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
            "sampler": self.sampler,
            "counts": None if self.counts is None else [int(count) for count in self.counts],
            "linear": keras.saving.serialize_keras_object(self.linear),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Json) -> Self:
        config = dict(config)
        for part in ("backbone", "linear"):
            config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


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


# By the names that settings and a host's folder have for them.
OBJECTIVES = {"causal": CausalPretrainer, "masked": MaskedPretrainer}
