"""The settings that all patch methods share."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from keras_peterrec.errors import InputError, Misfit, check_count
from keras_peterrec.network.network import ITEM_EMBEDDING, TABLE, Network, Site
from keras_peterrec.patches.patch_layer import PatchLayer
from keras_peterrec.patches.registry import name_of
from keras_peterrec.short_values import is_number, write_value
from keras_peterrec.types import DType, Json


@dataclass(frozen=True)
class PatchMethod:
    """Settings of a way to patch; a subclass says which patch goes to which site.

    A method of your own is a frozen dataclass and a name. It uses a `PatchLayer` of yours
    or one of ours:

        @dataclass(frozen=True)
        class Gain(PatchMethod):
            \"""One factor for each channel of every branch.\"""

            def patches_of(self, sites, index, dtype):
                return {
                    name: AffinePatch(shift=False, name="gain", dtype=dtype)
                    for name, site in sites.items()
                    if site.kind == "branch"
                }

        register_patch_method("gain", Gain)

    The sites are those of one block of whatever network the host has; see `Site` for their kinds.
    A method that patches the embedded items and fields, before the first block, has
    `table_patch_of`.
    Its settings can be numbers, booleans, words, `None` and tuples of these: then a short
    name can hold them all (see `get_patch`).

    Args:
        blocks: sequence of int, int or `None`. The blocks of the host to patch, counted from
            1. Defaults to `None`, all blocks.

    Raises:
        InputError: an argument is not allowed.

    Example:

    >>> Lora(4).replace(rank=8).rank
    8
    """

    blocks: tuple | None = field(default=None, kw_only=True)

    # The setting that a bare number in a short name stands for: "lora:8" is `Lora(rank=8)`.
    number: ClassVar[str | None] = None
    # Bare words in a short name, each with the setting that it is a value of.
    words: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        if self.blocks is None:
            return
        blocks = self.blocks if isinstance(self.blocks, (tuple, list)) else (self.blocks,)
        object.__setattr__(self, "blocks", tuple(blocks))  # JSON has lists
        for block in self.blocks:
            check_count("blocks", block)
        if len(set(self.blocks)) < len(self.blocks):
            raise InputError(
                f"`blocks` should name each block once. Received: `blocks` = {self.blocks}."
            )

    def replace(self, **changes: Any) -> Self:
        """A copy of these settings with some of them changed."""
        return dataclasses.replace(self, **changes)

    def for_host(self, host: Network) -> Self:
        """A copy of these settings in which defaults that depend on `host` are filled in.

        Raises:
            Misfit: the settings do not fit the host.
        """
        count = len(host.sites)
        if self.blocks is not None and max(self.blocks, default=1) > count:
            raise Misfit(
                f"`blocks` should be numbers of the host's blocks, 1 to {count}. "
                f"Received: `blocks` = {self.blocks}."
            )
        return self

    def make_patches(
        self, sites: Mapping[str, Site], index: int, dtype: DType | None = None
    ) -> dict[str, PatchLayer]:
        """Makes the patches of one block, `{site: PatchLayer}`.

        Args:
            sites: dict from name to Site, of the block.
            index: int. Its number among the host's blocks, counted from 1.
            dtype: dtype policy. The policy of the patches. Defaults to `None`, Keras' own.
        """
        if self.blocks is not None and index not in self.blocks:
            return {}
        return self.patches_of(sites, index, dtype)

    def patches_by_place(
        self, host: Network, dtype: DType | None = None
    ) -> dict[str, dict[str, PatchLayer]]:
        """Makes all patches of a host, `{place: {site: PatchLayer}}`; see `build_patches`.

        A place is the item embedding or one of `host.sites`.

        Args:
            host: Network.
            dtype: dtype policy. Defaults to `None`, Keras' own.
        """
        of_tables = {
            site: patch
            for site, table in host.tables.items()
            if (patch := self.table_patch_of(table.input_dim, site, dtype)) is not None
        }
        blocks = enumerate(host.sites.items(), 1)
        return {
            ITEM_EMBEDDING: of_tables,
            **{place: self.make_patches(sites, n, dtype) for n, (place, sites) in blocks},
        }

    @staticmethod
    def merges(host: Network, patches: Mapping[str, Mapping[str, PatchLayer]]) -> bool:
        """Whether patches can be folded into a copy of the host.

        Args:
            host: Network.
            patches: dict of dict, of `patches_by_place`.
        """
        kinds = [
            (TABLE if place == ITEM_EMBEDDING else host.sites[place][site].kind, patch)
            for place, at_sites in patches.items()
            for site, patch in at_sites.items()
        ]
        return bool(kinds) and all(kind in patch.fold_kinds for kind, patch in kinds)

    @property
    def short_name(self) -> str:
        """These settings as the text that `get_patch` reads.

        Raises:
            InputError: the method is not registered.
        """
        fields = dataclasses.fields(self)
        settings = [text for field in fields if (text := self._written(field))]
        # The main number first, the blocks last.
        settings.sort(key=lambda text: (not is_number(text), text.startswith("blocks=")))
        name = name_of(self)
        return f"{name}:{','.join(settings)}" if settings else name

    @property
    def setting_name(self) -> str:
        """What `run.json` calls the method: its short name."""
        return self.short_name

    def to_config(self) -> Json:
        """These settings as plain values for JSON; see `patch_from_config`."""
        return {"method": name_of(self), **dataclasses.asdict(self)}

    def _written(self, field):
        """One setting of a short name, or `None` where the name can do without it."""
        value = getattr(self, field.name)
        if field.name == self.number and value is not None:
            return write_value(value)
        if value == field.default:
            return None
        if value is True:
            return field.name
        text = write_value(value)
        return text if self.words.get(text) == field.name else f"{field.name}={text}"

    def patches_of(
        self, sites: Mapping[str, Site], index: int, dtype: DType
    ) -> dict[str, PatchLayer]:
        """Makes the patches of a block that is to be patched; see `make_patches`."""
        return {}

    def table_patch_of(self, rows: int, name: str, dtype: DType) -> PatchLayer | None:
        """Makes the patch of the rows of items or of a field, or `None` where there is none.

        Args:
            rows: int. How many the table has.
            name: str. Of the site and of the patch.
            dtype: dtype policy.
        """
        return None


def build_patches(host: Network, patches: Mapping[str, Mapping[str, PatchLayer]]) -> None:
    """Makes the weights of all patches of a host, of `PatchMethod.patches_by_place`."""
    for place, at_sites in patches.items():
        for name, patch in at_sites.items():
            read = given = host.hidden_dim
            if place != ITEM_EMBEDDING:
                site = host.sites[place][name]
                read, given = site.inputs, site.outputs
            patch.build((None, None, read), (None, None, given))
