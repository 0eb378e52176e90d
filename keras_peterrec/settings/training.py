"""Settings of the commands that train: which network, how large, and how it is trained."""

from dataclasses import dataclass
from typing import Self

from keras_peterrec.errors import check_count
from keras_peterrec.network.registry import check_network, network_names
from keras_peterrec.network.sizes import (
    AUTO,
    CHANNELS,
    DROPOUT,
    SPARSE_BELOW,
    SPARSE_DROPOUT,
    channels_of,
    dropout_for,
)
from keras_peterrec.settings.base import Settings, device_count, rate, setting


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Settings):
    """Which network and how large, and what its training takes away to make it robust."""

    size: str = setting(
        AUTO,
        f"how large the network is: {', '.join(CHANNELS)}, or as suits the log's events and items",
        choices=(AUTO, *CHANNELS),
    )
    hidden_dim: int | None = setting(
        None, "channels C of the network (default: as `size` says)", check=check_count
    )
    blocks: int | None = setting(
        None,
        "blocks of the network, where it has blocks (default: as many as suit it)",
        check=check_count,
    )
    network: str = setting(
        "attention",
        f"which network: {', '.join(network_names())} (the paper's is convolution), or your own "
        "(see `register_network`); with options of its own, attention:heads=4,window=32",
        metavar="NAME[:OPTION=VALUE,...]",
        check=check_network,
    )
    max_length: int = setting(100, "events of a history that it reads", check=check_count)
    dropout: float | None = setting(
        None,
        f"on embeddings and branches (default: {SPARSE_DROPOUT:g} where the log has fewer than "
        f"{SPARSE_BELOW} events for each item, else {DROPOUT:g})",
        check=rate,
    )
    unknown_rate: float = setting(
        0.1, "share of the inputs that are replaced by the unknown item, causal only", check=rate
    )

    def check(self):
        super().check()
        if self.hidden_dim is not None:
            self.leave_out("with `hidden_dim`, which says it", "size")

    def sized(self, events: int, items: int) -> Self:
        """These settings with channels and dropout that suit a log of this size, where unsaid."""
        channels = self.hidden_dim or channels_of(self.size, events, items)
        dropout = dropout_for(events, items) if self.dropout is None else self.dropout
        return self.replace(size=AUTO, hidden_dim=channels, dropout=dropout)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How long training goes on and on what, and what is made beside it."""

    epochs: int = setting(
        200,
        "at most; early stopping ends nearly all runs before. May be another number where a run "
        "goes on",
        check=check_count,
    )
    least_gain: float = setting(
        0.02,
        "share of all that validation has gained which the last epochs (2 to 4) should bring: with "
        "less the learning rate drops, or training ends; 0: only where none was better",
        check=rate,
    )
    linear: bool = setting(
        True,
        "whether a regression on the items of the history is added to the network's answers",
        no_help="as in the paper: the network alone",
    )
    final: bool = setting(
        False,
        "train anew on everything after measuring, as long as was best: what ships",
        recorded=False,
    )
    finish: bool = setting(
        False,
        "end the training of this folder now, interrupted or running in another process: keep the "
        "best epoch, measure and save",
        recorded=False,
    )
    devices: int | str | None = setting(
        None,
        "GPUs of this machine to train on (default: 1, or with TF_CONFIG all of each machine)",
        metavar="N|all",
        parse=lambda text: text if text == "all" else int(text),
        check=device_count,
        recorded=False,
    )
    profile: bool = setting(
        False,
        "profile a few steps with TensorFlow's profiler, for TensorBoard",
        recorded=False,
    )
