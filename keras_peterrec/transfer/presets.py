"""Hosts handed to others: a folder in keras-hub's layout, or a model of the Hugging Face Hub.

Source: keras-hub's "Uploading models" guide, for `config.json`, `metadata.json` and
`model.weights.h5`.
"""

import re
import time
from pathlib import Path
from typing import Any

import keras

import keras_peterrec
from keras_peterrec.errors import InputError, refuse
from keras_peterrec.files.atomic_write import write_text
from keras_peterrec.files.json_file import write_json
from keras_peterrec.report.card import host_card
from keras_peterrec.report.gather import gather
from keras_peterrec.types import AnyPath

# What is read of a preset. The rest of it is for people, and for those who have Keras alone.
HOST_FILES = ("host.json", "vocabulary.txt", "weights.npz")
_HUB_NAME = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>.+))?")


def is_on_hub(preset: AnyPath) -> bool:
    """Whether a preset is named on the Hub, and not by a path."""
    return str(preset).startswith("hf://")


def preset_folder(preset: AnyPath, argument: str) -> Path:
    """The folder of a preset, which is fetched where it lies on the Hub.

    There it is called `"hf://user/name"`, with `@revision` (a branch, a tag or a commit) for
    another than the newest. Messages call it `argument`.

    Raises:
        InputError: the name has another form, huggingface_hub is not installed, or the Hub does not
            give the files.
    """
    if not is_on_hub(preset):
        return Path(preset)
    named = _HUB_NAME.fullmatch(str(preset))
    if named is None:
        refuse(argument, "a path, hf://user/name or hf://user/name@revision", str(preset))
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise InputError(
            f"`{argument}` on the Hub needs huggingface_hub: pip install 'keras-peterrec[hub]'. "
            f"Received: `{argument}` = {preset!r}."
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            named["repository"], revision=named["revision"], allow_patterns=list(HOST_FILES)
        )
    except (OSError, ValueError) as error:  # what the Hub's client says of names and of answers
        reason = " ".join(str(error).split())
        raise InputError(
            f"`{argument}` should be a host on the Hub that you may read. "
            f"Received: `{argument}` = {preset!r}: {reason}"
        ) from error
    return Path(folder)


def write_for_others(folder: Path, host: Any, name: str) -> None:
    """Writes what a preset has beside the files of a host.

    `config.json` and `model.weights.h5` are the network alone, as keras-hub has a backbone: whoever
    has Keras and this package's classes makes it of them. They are written, not read. The card
    calls the host `name`, and says its metrics where its folder is that of a run.
    """
    network = host.backbone
    write_json(folder / "config.json", keras.saving.serialize_keras_object(network))
    network.save_weights(folder / "model.weights.h5")
    write_json(
        folder / "metadata.json",
        {
            "keras_version": keras.__version__,
            "keras_peterrec_version": keras_peterrec.__version__,
            "parameter_count": network.count_params(),
            "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S"),
        },
    )
    run = host.folder
    known = run is not None and (run / "metrics.json").is_file()
    described = {
        "items": len(host.vocabulary.items),
        "network": type(network).__name__,
        "channels": network.hidden_dim,
        "events": host.max_length,
        "reads": host.fields.columns,
    }
    write_text(folder / "README.md", host_card(name, described, gather(run) if known else None))
