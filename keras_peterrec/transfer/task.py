"""A trained task: model and answers, in memory and as a task bundle."""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.errors import InputError
from keras_peterrec.files.json_file import refuse_misfits, write_json
from keras_peterrec.files.weights_file import assign_weights, write_weights
from keras_peterrec.patches.registry import patch_to_config
from keras_peterrec.transfer.host import backbone_weights
from keras_peterrec.transfer.strategies import SHARED_HOST, check_method, set_trainable
from keras_peterrec.transfer.task_bundle import FORMAT_VERSION, TaskBundle
from keras_peterrec.transfer.task_model import TaskModel


@dataclass
class Task:
    """A task model and what its outputs mean.

    Its *task bundle* is a folder with `task.json`, `weights.npz` (by path) and,
    for recommendation, `targets.txt`. It holds the patches, the head and the task
    token, never the shared host; a method that trains a copy of the host adds
    the weights of the copy that differ.

    Args:
        model: TaskModel.
        method: str, one of `METHODS`.
        targets: Vocabulary of the target items (recommendation), else `None`.
        classes: list of str (classification), else `None`.
        settings: dict. How it was trained; for people.
    """

    model: TaskModel
    method: str
    targets: Vocabulary | None = None
    classes: list | None = None
    settings: dict = field(default_factory=dict)

    @property
    def kind(self):
        """`"recommend"` or `"classify"`."""
        return "recommend" if self.targets is not None else "classify"

    @property
    def labels(self):
        """What the scores are of, in their order: target items or classes, list of str."""
        return self.classes if self.targets is None else self.targets.items.tolist()

    def new_head(self):
        """A head like the task's own, not trained."""
        return type(self.model.head).from_config(self.model.head.get_config())

    def save(self, folder, host):
        """Writes the task bundle; `task.json` comes last.

        Args:
            folder: path.
            host: Host that the task was built on.
        """
        if self.method in SHARED_HOST and self.model.host is not host.backbone:
            raise InputError(
                "`host` should be the one that the task was built on. Received: another."
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        named = {**self.model.task_weights(), **self._own_host_weights(host)}
        write_weights(folder / "weights.npz", named)
        if self.targets is not None:
            self.targets.save(folder / "targets.txt")
        write_json(
            folder / "task.json",
            {
                "format_version": FORMAT_VERSION,
                "host": host.fingerprint(),
                "kind": self.kind,
                "method": self.method,
                "patch": patch_to_config(self.model.patch),
                **self.model.summary_settings(),
                "classes": self.classes,
                "target_items": None if self.targets is None else len(self.targets),
                "settings": self.settings,
                "weights": sorted(named),
            },
        )

    @classmethod
    def load(cls, folder, host, argument="task"):
        """Builds the task of a bundle on a host.

        Raises:
            InputError: the folder holds no bundle, one of another version or for
                another host, or weights of other shapes. Nothing is changed then.
        """
        bundle = TaskBundle.read(folder, argument)
        with refuse_misfits(bundle.folder, argument):
            bundle.check_host(host)
            task = cls._build(bundle, host)
            own = {} if task.model.host is host.backbone else task._host_variables()
            variables = {
                **task.model.task_weights(),
                **{path: w for path, w in own.items() if path in bundle.saved["weights"]},
            }
        assign_weights(variables, bundle.arrays(), bundle.folder)
        set_trainable(task.model, task.method)
        return task

    @classmethod
    def _build(cls, bundle, host):
        check_method(bundle.method)
        backbone = host.backbone if bundle.method in SHARED_HOST else host.backbone.copy()
        targets = bundle.targets()
        head, arguments = bundle.head(targets), bundle.model_arguments()
        model = TaskModel(backbone, head, bundle.patch(), **arguments)
        return cls(model, bundle.method, targets, bundle.saved["classes"], bundle.settings)

    def recommend(self, histories, k=10, exclude=None):
        """The best `k` target items of each history.

        Args:
            histories: int array `[B, L]` of source ids, padded on the left.
            k: int. Defaults to `10`.
            exclude: list of sequences of str, items left out for each history, or
                `None`.

        Returns:
            Items (str) and scores (float32), `[B, k]` each, best first.
        """
        scores = self._predict(histories)
        for row, items in enumerate(exclude or ()):
            known = self.targets.encode(items)
            scores[row, known[known >= 0]] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return self.targets.decode(best), np.take_along_axis(scores, best, axis=1)

    def probabilities(self, histories):
        """Probabilities of `classes` for each history, float32 `[B, classes]`."""
        return keras.ops.convert_to_numpy(keras.ops.softmax(self._predict(histories), axis=-1))

    def _predict(self, histories):
        return np.array(self.model(np.asarray(histories, "int32"), training=False))

    def _host_variables(self):
        return {f"host/{path}": w for path, w in backbone_weights(self.model.host).items()}

    def _own_host_weights(self, host):
        """Weights in which this task's host differs from the shared one."""
        if self.model.host is host.backbone:
            return {}
        shared = backbone_weights(host.backbone)
        return {
            path: weight
            for path, weight in self._host_variables().items()
            if not np.array_equal(weight, shared[path.removeprefix("host/")])
        }
