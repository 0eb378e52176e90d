"""The networks by name. Importing it is cheap: a network's file is imported when it is used."""

from typing import TYPE_CHECKING, Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.lazy_import import imported

if TYPE_CHECKING:
    from keras_peterrec.network.network import Network

# name -> "module:class", or a class that `register_network` was given.
_NETWORKS: dict[str, Any] = {
    "convolution": "network.convolution:ConvolutionNetwork",
    "attention": "network.attention:AttentionNetwork",
}


def register_network(name: str, network: "type[Network]") -> None:
    """Makes a network known by a name. A name can be registered once.

    `pretrain` then takes it as `network`, and its hosts are saved, loaded, patched, exported and
    served like any other. A program that loads such a host registers the network first.

    Args:
        name: str.
        network: subclass of Network.

    Raises:
        InputError: the name is taken or empty, or `network` is not such a class.

    Example:

    >>> register_network("convolution", ConvolutionNetwork)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `name` should be new. ...
    """
    from keras_peterrec.network.network import Network  # imports Keras

    if not name or name in _NETWORKS:
        raise InputError(
            "`name` should be new. "
            f"Received: `name` = {name!r}, with {', '.join(_NETWORKS)} registered."
        )
    if not (isinstance(network, type) and issubclass(network, Network)):
        refuse("network", "a subclass of Network", network)
    _NETWORKS[name] = network


def network_names() -> list[str]:
    """The names of all networks."""
    return list(_NETWORKS)


def get_network(name: str) -> "type[Network]":
    """The class of a network.

    Raises:
        InputError: no network has this name.
    """
    if name not in _NETWORKS:
        raise InputError(
            f"`network` should be one of {', '.join(_NETWORKS)}; a network of your own is "
            f"registered first (`register_network`). Received: `network` = {name!r}."
        )
    return imported(_NETWORKS[name])


def network_to_config(network: "Network") -> dict[str, Any]:
    """A network as `host.json` names it: its name and its settings, which do not depend on how
    precisely this process computes.

    Raises:
        InputError: its class is not registered.
    """
    for name in _NETWORKS:
        if type(network) is get_network(name):
            settings = network.get_config()
            del settings["name"]
            settings["dtype"] = network.item_embedding.dtype_policy.variable_dtype
            return {"name": name, "settings": settings}
    raise InputError(
        "`network` should be of a registered class; see `register_network`. "
        f"Received: {type(network).__name__}."
    )


def network_from_config(config: dict[str, Any], **changes: Any) -> "Network":
    """The network that `network_to_config` wrote, not trained, with some settings changed."""
    settings = {**config["settings"], **changes}
    if settings["dtype"] == "float32":
        settings["dtype"] = None  # in which precision to compute is up to this process
    return get_network(config["name"]).from_config(settings)
