"""The networks by name. Importing it is cheap: a network's file is imported when it is used."""

import inspect
import sys
from typing import TYPE_CHECKING, Any

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.lazy_import import imported
from keras_peterrec.short_values import read_value
from keras_peterrec.types import Json

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
        name: str. Without the characters `:,=`, which have a meaning in `attention:heads=4`.
        network: subclass of Network. What its constructor takes beside what all networks do are
            its options.

    Raises:
        InputError: the name is taken or empty, or `network` is not such a class.

    Example:

    >>> register_network("convolution", ConvolutionNetwork)
    Traceback (most recent call last):
    keras_peterrec.errors.InputError: `name` should be new, ...
    """
    from keras_peterrec.network.network import Network  # imports Keras

    if not name or name in _NETWORKS or set(":,=") & set(name):
        raise InputError(
            "`name` should be new, and without any of :,=. "
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


def read_network(text: str) -> "tuple[type[Network], Json]":
    """Reads a network's name and its options, `name[:option=value,...]`.

    Several values of one option are joined by `/`.

    Returns:
        The class, and the options as arguments of its constructor, which checks their values.

    Raises:
        InputError: no network has this name, or it has no such option.

    Example:

    >>> read_network("attention:heads=4,window=32")
    (<class '...AttentionNetwork'>, {'heads': 4, 'window': 32})
    """
    from keras_peterrec.network.network import Network  # imports Keras

    name, colon, given = text.partition(":")
    network = get_network(name.strip())
    shared = {*inspect.signature(Network).parameters, "blocks"}
    arguments = inspect.signature(network).parameters.values()
    named = [each.name for each in arguments if each.kind is not each.VAR_KEYWORD]
    taken = [name for name in named if name not in shared]
    options: Json = {}
    for part in given.split(",") if colon else ():
        option, _, value = (side.strip() for side in part.partition("="))
        if option not in taken or option in options or not value:
            allowed = ", ".join(f"{option}=..." for option in taken)
            having = f"some of {allowed}, each once" if taken else "nothing"
            raise InputError(
                f"`network` should have after {name.strip()}: {having}. Received: {text!r}."
            )
        options[option] = read_value(value)
    return network, options


def usual_blocks(text: str) -> int:
    """How many blocks a network has unless it is told, by its name with or without options."""
    network, _ = read_network(text)
    return inspect.signature(network).parameters["blocks"].default


def check_network(name: str, value: str) -> None:
    """Raises InputError where `read_network` cannot read a value.

    A command reads its settings before it loads Keras, which takes seconds and has to be done
    quietly. Only the network's name is checked then, and its options once `pretrain` runs.
    """
    if "keras" in sys.modules:
        read_network(value)
    elif (named := value.partition(":")[0].strip()) not in _NETWORKS:
        get_network(named)  # which refuses it


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
