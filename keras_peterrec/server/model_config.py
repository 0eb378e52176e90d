"""Which models are served: their folders, versions and labels."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from keras_peterrec.errors import InputError, refuse
from keras_peterrec.settings.serve import ServeSettings
from keras_peterrec.types import AnyPath

LATEST, SPECIFIC = "latest", "specific"  # the third policy is "all"


@dataclass(frozen=True)
class ModelConfig:
    """How one model is served.

    Args:
        base_path: str. Folder with a directory for each version.
        policy: `"latest"`, `"all"` or `"specific"`. Defaults to `"latest"`.
        count: int. How many versions, with `"latest"`. Defaults to `1`.
        versions: tuple of int. The versions, with `"specific"`.
        labels: dict from label to version.
    """

    name: str
    base_path: str
    policy: str = LATEST
    count: int = 1
    versions: tuple = ()
    labels: dict = field(default_factory=dict)

    def candidates(self, numbers: Iterable[int]):
        """Returns which of the versions on disk may be served, the newest first."""
        numbers = sorted(numbers, reverse=True)
        if self.policy == SPECIFIC:
            return [number for number in numbers if number in self.versions]
        return numbers

    @property
    def most(self) -> int:
        """How many of the candidates are served, the first that load; `None` for all."""
        return self.count if self.policy == LATEST else None


def model_configs(settings: ServeSettings) -> dict[str, ModelConfig]:
    """The models that a server's settings name.

    Raises:
        InputError: if the configuration file cannot be read, or lists a model wrongly.
    """
    if settings.model_config_file is not None:
        return read_config_file(settings.model_config_file)
    path, name = Path(settings.model_base_path).resolve(), settings.model_name
    if not (path / "saved_model.pb").is_file():
        return {name: ModelConfig(name, str(path))}
    if not path.name.isdecimal():
        refuse(
            "model_base_path",
            "a folder with versions, such as export/peterrec, or one version whose name is a "
            "number",
            str(path),
        )
    return {name: ModelConfig(name, str(path.parent), SPECIFIC, versions=(int(path.name),))}


def read_config_file(path: AnyPath) -> dict[str, ModelConfig]:
    """Reads TensorFlow Serving's `--model_config_file`; raises as `model_configs` does."""
    # Late: the settings import this module, and `serve --help` must not need the package.
    from tensorflow_serving.config import model_server_config_pb2

    try:
        text = Path(path).read_text(encoding="utf-8")
        message = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(
            "`model_config_file` should be a file with a model_config_list. "
            f"Received: {str(path)!r}: {' '.join(str(error).split())}"
        ) from error
    return configs_of(message)


def configs_of(message: Any) -> dict[str, ModelConfig]:
    """The models of a `ModelServerConfig` message.

    Raises:
        InputError: if it lists no models, or one wrongly.
    """
    if message.WhichOneof("config") != "model_config_list" or not message.model_config_list.config:
        raise InputError("`model_config_list` should list models. Received: no models.")
    configs = {}
    for model in message.model_config_list.config:
        config = _config_of(model)
        if config.name in configs:
            raise InputError(
                f"`model_config_list` should name each model once. Received: {config.name!r} twice."
            )
        configs[config.name] = config
    return configs


def _config_of(model):
    if not model.name or "/" in model.name or ":" in model.name:
        refuse("name", "a name without / and :", model.name)
    if not Path(model.base_path).is_absolute():
        raise InputError(
            f"`base_path` should be absolute. Received: {model.base_path!r} of {model.name!r}."
        )
    if model.model_platform not in ("", "tensorflow"):
        raise InputError(
            "`model_platform` should be 'tensorflow'. "
            f"Received: {model.model_platform!r} of {model.name!r}."
        )
    given = model.model_version_policy
    policy = given.WhichOneof("policy_choice") or LATEST
    return ModelConfig(
        name=model.name,
        base_path=model.base_path,
        policy=policy,
        count=(given.latest.num_versions if policy == LATEST else 0) or 1,
        versions=tuple(given.specific.versions) if policy == SPECIFIC else (),
        labels=dict(model.version_labels),
    )
