"""A task bundle on disk, read without building a model."""

from dataclasses import dataclass
from pathlib import Path

from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import read_format
from keras_peterrec.files.weights_file import read_weights
from keras_peterrec.layers.linear_table import LinearTable
from keras_peterrec.patches.registry import patch_from_config
from keras_peterrec.tasks.registry import get_kind

FORMAT_VERSION = 3


@dataclass(frozen=True)
class TaskBundle:
    """What `Task.save` wrote: `task.json`, `weights.npz` and what the task's kind added.

    The format is specified in `notebooks/formats.md`.

    Args:
        folder: Path.
        saved: dict, the content of `task.json`.
        argument: str. What messages call the folder.
    """

    folder: Path
    saved: dict
    argument: str = "task"

    @classmethod
    def read(cls, folder, argument="task"):
        """Reads `task.json`.

        Raises:
            InputError: the folder holds no bundle, or one of another version.
        """
        saved = read_format(Path(folder) / "task.json", FORMAT_VERSION, argument)
        return cls(Path(folder), saved, argument)

    @property
    def name(self):
        """The task's name, that of its folder."""
        return self.folder.name

    @property
    def method(self):
        """Which of `METHODS` trained it."""
        return self.saved["method"]

    @property
    def settings(self):
        """How it was trained; for people."""
        return self.saved["settings"]

    @property
    def final(self):
        """Whether it was trained on everything, test users included."""
        return self.saved.get("final", False)

    def check_host(self, host):
        """Refuses a host that the task was not trained on."""
        if self.saved["host"] != host.fingerprint():
            raise InputError(
                f"`{self.argument}` should be a bundle for the host {host.fingerprint()}. "
                f"Received: {str(self.folder)!r}, for the host {self.saved['host']}."
            )

    def patch(self):
        """The PatchMethod, or `None`."""
        return patch_from_config(self.saved["patch"])

    def history_settings(self):
        """`history_length` and `window` of the TaskModel, dict."""
        return {name: self.saved[name] for name in ("history_length", "window")}

    def linear(self):
        """A LinearTable without its values, or `None`."""
        config = self.saved["linear"]
        return None if config is None else LinearTable(**config)

    def model_arguments(self):
        """What a TaskModel needs to know beside host, head and patch, dict."""
        return {"name": self.name, "linear": self.linear(), **self.history_settings()}

    def kind(self):
        """The TaskKind of the task: what its scores mean."""
        return get_kind(self.saved["kind"]).load(self.saved["answers"], self.folder)

    def files(self):
        """Names of the files that make up the bundle; a run's folder holds more."""
        return ["task.json", "weights.npz", *get_kind(self.saved["kind"]).files]

    def arrays(self):
        """The weights, `{path: array}`."""
        return read_weights(self.folder / "weights.npz")
