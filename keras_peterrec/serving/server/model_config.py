"""What is to be served: models, their folders, versions and labels."""

from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format

from keras_peterrec.errors import InputError

LATEST, ALL, SPECIFIC = "latest", "all", "specific"


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    Args:
        name: str.
        base_path: str. Folder with a directory for each version.
        policy: `"latest"`, `"all"` or `"specific"`. Defaults to `"latest"`.
        count: int. How many of the latest. Defaults to `1`.
        versions: tuple of int, for `"specific"`.
        labels: dict from label to version.
    """

    name: str
    base_path: str
    policy: str = LATEST
    count: int = 1
    versions: tuple = ()
    labels: dict = field(default_factory=dict)

    def wanted(self, numbers):
        """Which of the versions on disk are to be served, the newest first."""
        numbers = sorted(numbers, reverse=True)
        if self.policy == LATEST:
            return numbers[: self.count]
        if self.policy == SPECIFIC:
            return [number for number in numbers if number in self.versions]
        return numbers


def read_config_file(path):
    """Reads a file as TensorFlow Serving's `--model_config_file`.

    Args:
        path: path of a `ModelServerConfig` in protobuf's text format.

    Returns:
        dict from name to ModelConfig.

    Raises:
        InputError: it cannot be read.
    """
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


def configs_of(message):
    """The models of a `ModelServerConfig` message.

    Raises:
        InputError: it lists none, or one wrongly.
    """
    if message.WhichOneof("config") != "model_config_list" or not message.model_config_list.config:
        raise InputError("`model_config_list` should list models. Received: none.")
    configs = {}
    for model in message.model_config_list.config:
        config = _config_of(model)
        if config.name in configs:
            raise InputError(
                f"`model_config_list` should name each model once. Received: two {config.name!r}."
            )
        configs[config.name] = config
    return configs


def _config_of(model):
    if not model.name or "/" in model.name or ":" in model.name:
        raise InputError(f"`name` should be a name without / and :. Received: {model.name!r}.")
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
