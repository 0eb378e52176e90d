"""Several patch methods on top of each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras

from keras_peterrec.errors import refuse
from keras_peterrec.network.network import Network, Site
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.patch_method import PatchMethod
from keras_peterrec.patches.registry import STACK
from keras_peterrec.short_values import write_value
from keras_peterrec.types import DType, Json, Shape, Tensor, Variables


@dataclass(frozen=True)
class Stack(PatchMethod):
    """Patch methods on top of each other.

    Where several have a patch at one site, the first acts first and each of the others
    changes what the one before gave. In a short name: `lora:4+norm`.

    Args:
        methods: sequence of PatchMethod. Two or more.
        blocks: sequence of int, int or `None`. See `PatchMethod`; the `blocks` of each method
            hold as well. Defaults to `None`.

    Raises:
        InputError: `methods` holds something else.

    Example:

    >>> Stack([Lora(4), NormTuning()]) == get_patch("lora:4+norm")
    True
    """

    methods: tuple[PatchMethod, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "methods", tuple(self.methods))
        if len(self.methods) < 2 or not all(isinstance(m, PatchMethod) for m in self.methods):
            refuse("methods", "two or more patch methods", self.methods)

    @property
    def short_name(self) -> str:
        terms = [m.short_name for m in self.methods]
        stacks = [isinstance(m, Stack) for m in self.methods]
        name = "+".join(f"({t})" if stack else t for t, stack in zip(terms, stacks))
        return name if self.blocks is None else f"({name}):blocks={write_value(self.blocks)}"

    def to_config(self) -> Json:
        methods = [method.to_config() for method in self.methods]
        return {"method": STACK, "methods": methods, "blocks": self.blocks}

    def for_host(self, host: Network) -> Self:
        super().for_host(host)
        return self.replace(methods=[method.for_host(host) for method in self.methods])

    def table_patch_of(self, rows: int, name: str, dtype: DType) -> PatchLayer | None:
        patches = [method.table_patch_of(rows, name, dtype) for method in self.methods]
        patches = [patch for patch in patches if patch is not None]
        return StackPatch(patches, name=name, dtype=dtype) if patches else None

    def patches_of(
        self, sites: Mapping[str, Site], index: int, dtype: DType
    ) -> dict[str, PatchLayer]:
        chains = {}
        for method in self.methods:
            for site, patch in method.make_patches(sites, index, dtype).items():
                chains.setdefault(site, []).append(patch)
        # A single patch is wrapped as well, so that names of weights do not depend on the site.
        return {
            site: StackPatch(patches, name=site, dtype=dtype) for site, patches in chains.items()
        }


@keras.saving.register_keras_serializable("keras_peterrec")
class StackPatch(PatchLayer):
    """Patches at one site, one after the other; each changes what the one before gave.

    Weights are named `0/...`, `1/...` by the place of their patch.

    Args:
        patches: list of PatchLayer.
    """

    def __init__(self, patches: list[PatchLayer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patches = list(patches)

    @property
    def fold_kinds(self) -> Sequence[str]:
        """The kinds of sites where all of the patches can be folded."""
        first, *others = (patch.fold_kinds for patch in self.patches)
        return [kind for kind in first if all(kind in kinds for kinds in others)]

    @property
    def item_tables(self) -> Sequence[str]:
        """The tables of items of all patches."""
        return [f"{n}/{name}" for n, patch in enumerate(self.patches) for name in patch.item_tables]

    def build(self, inputs_shape: Shape, outputs_shape: Shape) -> None:
        for patch in self.patches:
            if not patch.built:  # Keras has built those that it read from a file
                patch.build(inputs_shape, outputs_shape)

    def named_weights(self) -> Variables:
        return {
            f"{number}/{name}": weight
            for number, patch in enumerate(self.patches)
            for name, weight in patch.named_weights().items()
        }

    def apply(
        self,
        weights: Variables,
        inputs: Tensor,
        outputs: Tensor,
        seen: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        for number, patch in enumerate(self.patches):
            outputs = patch.apply(_of_patch(number, weights), inputs, outputs, seen)
        return outputs

    def fold(self, weights: Variables, layer: Variables) -> Variables:
        for number, patch in enumerate(self.patches):
            layer = patch.fold(_of_patch(number, weights), layer)
        return layer

    def get_config(self) -> Json:
        patches = [keras.saving.serialize_keras_object(patch) for patch in self.patches]
        return {**super().get_config(), "patches": patches}

    @classmethod
    def from_config(cls, config: Json) -> Self:
        patches = map(keras.saving.deserialize_keras_object, config["patches"])
        return cls(**{**config, "patches": list(patches)})


def _of_patch(number, weights):
    start = f"{number}/"
    return {
        name.removeprefix(start): weight
        for name, weight in weights.items()
        if name.startswith(start)
    }
