"""What a host has learned of the fields of items: for items that come later."""

from dataclasses import asdict, dataclass

import numpy as np

from keras_peterrec.layers.item_field_vectors import ItemFieldVectors
from keras_peterrec.log.item_features import ItemFeatures
from keras_peterrec.log.item_fields import ItemField, ItemFields
from keras_peterrec.types import Json

_PREFIX = "item_fields/"  # of the names of weights


@dataclass(frozen=True)
class LearnedFields:
    """The tables of items' fields that a host was trained with.

    `weights` has, by the path of a table of items, the weights of its ItemFieldVectors by name:
    `table` `[1 + count, C]` and, with columns of vectors, `projection` `[D, C]`.
    """

    fields: list[ItemField]
    weights: dict[str, dict[str, np.ndarray]]

    def vectors(self, path: str, features: ItemFeatures) -> np.ndarray:
        """What their fields add to the vectors of items in the table at `path`, float32 `[I, C]`.

        A column of the fields that the features lack adds nothing.

        Raises:
            InputError: see `ItemFields.read`.
        """
        rows = np.arange(len(features.item_ids))
        found = ItemFields.read(self.fields, features.columns, rows, len(rows))
        weights = self.weights[path]
        layer = ItemFieldVectors(found, channels=weights["table"].shape[1])
        for name, value in weights.items():
            getattr(layer, name).assign(value)
        return np.asarray(layer.all())

    def to_config(self) -> list[Json]:
        """JSON values of the fields."""
        return [asdict(field) for field in self.fields]

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by the names that a host's folder has them under."""
        return {
            f"{_PREFIX}{path}/{name}": value
            for path, weights in self.weights.items()
            for name, value in weights.items()
        }

    @classmethod
    def taken(cls, config: list[Json], arrays: dict[str, np.ndarray]) -> "LearnedFields":
        """Those of a folder, whose `arrays` are taken out of the given ones."""
        weights: dict[str, dict[str, np.ndarray]] = {}
        for name in [name for name in arrays if name.startswith(_PREFIX)]:
            path, part = name.removeprefix(_PREFIX).rsplit("/", 1)
            weights.setdefault(path, {})[part] = arrays.pop(name)
        return cls([ItemField(**field) for field in config], weights)
