"""What a finished run adds to its `logs` for TensorBoard, beside the curves of its training.

The run's settings and test metrics (HParams compares all runs below a folder), item vectors for the
projector, and, where there are probabilities, precision-recall curves and pictures.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.hparams import api
from tensorboard.plugins.pr_curve import metadata as pr_curve
from tensorboard.plugins.projector import metadata as projector
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from keras_peterrec.files.atomic_write import replacing, write_text
from keras_peterrec.report.views import label_columns
from keras_peterrec.types import AnyPath

MOST_VECTORS = 10_000
THRESHOLDS = 101
# Settings that tell no training from another.
LEFT_OUT = ("labels", "log", "epochs", "baselines")
VECTORS, METADATA = "item_vectors.bytes", "items.tsv"


def write_summaries(folder: AnyPath, result: dict, rows: dict) -> None:
    """Writes what TensorBoard shows of a finished run into its `logs`.

    Args:
        folder: path of the run.
        result: dict, as `metrics.json` will hold it.
        rows: dict of arrays, of `write_test_rows`; may be empty.
    """
    with tf.summary.create_file_writer(str(Path(folder) / "logs")).as_default(step=0):
        api.hparams(hyperparameters(result), trial_id=_trial(folder))
        for name, value in result["metrics"]["test"].items():
            tf.summary.scalar(f"test/{name}", value)
        if "probabilities" in rows:
            for name, scores, has in label_columns(rows):
                _write_pr_curve(name, scores, has)
            # Only here: loading matplotlib takes as long as all the rest.
            from keras_peterrec.report.charts import probability_pictures

            for name, picture in probability_pictures(rows).items():
                tf.summary.image(f"test/{name}", picture[None])


def hyperparameters(result: dict) -> dict:
    """A run's data, kind, settings and trained parameters, as HParams can hold them."""
    settings = dict(result["settings"])
    data = settings.pop("target", None) or settings.pop("labels", None) or settings["log"]
    column = settings.pop("column", None)
    named = {
        "data": f"{data}, {column}" if column else data,
        "kind": result.get("kind") or "host",
        **{name: value for name, value in settings.items() if name not in LEFT_OUT},
        "trained parameters": result["parameters"]["trainable"],
        "weight of the linear part": (result.get("linear") or {}).get("weight"),
    }
    return _plain(named)


def write_trials(
    folder: AnyPath, trials: Mapping[str, tuple[Mapping[str, Any], Mapping[str, float]]]
) -> None:
    """Writes several runs for TensorBoard's HParams, in place of what was there.

    No list of columns is written: TensorBoard would take it for that of every run that it shows,
    those of other experiments and commands too. It finds the columns out from the runs.

    Args:
        folder: path for the logs.
        trials: dict from a run's name to its settings and its metrics, named as they are shown.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name, (settings, metrics) in trials.items():
        with tf.summary.create_file_writer(str(Path(folder) / name)).as_default(step=0):
            api.hparams(_plain(settings), trial_id=name)
            for metric, value in metrics.items():
                tf.summary.scalar(metric, value)


def _plain(named):
    """Values as HParams can hold them, without those that are `None`."""
    plain = (bool, int, float, str)
    return {n: v if isinstance(v, plain) else str(v) for n, v in named.items() if v is not None}


def _trial(folder):
    """A trial's name: that of the folder, told apart from others of this name."""
    place = str(Path(folder).resolve())
    return f"{Path(place).name} {hashlib.sha256(place.encode()).hexdigest()[:4]}"


def _write_pr_curve(name, scores, has):
    """Precision and recall at evenly spread thresholds, in the form that TensorBoard reads."""
    places = np.minimum((scores.astype("float64") * (THRESHOLDS - 1)).astype("int64"), 100)
    # How many scores are at or above each threshold.
    right, wrong = (
        np.bincount(places[some], minlength=THRESHOLDS)[::-1].cumsum()[::-1].astype("float32")
        for some in (has, ~has)
    )
    counts = right, wrong, wrong[0] - wrong, right[0] - right
    ratios = right / np.maximum(1, right + wrong), right / max(1, right[0])
    described = pr_curve.create_summary_metadata(f"precision and recall: {name}", "", THRESHOLDS)
    tf.summary.write(
        f"test/{name}/pr_curves",
        np.stack([*counts, *ratios]).astype("float32"),
        metadata=tf.compat.v1.SummaryMetadata.FromString(described.SerializeToString()),
    )


def write_projector(
    folder: AnyPath,
    vectors: np.ndarray,
    items: np.ndarray,
    counts: np.ndarray,
    name_of: Callable[[str], str],
    what: str,
) -> None:
    """Writes item vectors for TensorBoard's projector, with titles and popularity.

    Args:
        folder: path of the run.
        vectors: float array `[V, C]`, by falling popularity. The first `MOST_VECTORS` are written.
        items: str array `[V]`.
        counts: int array `[V]`. How often training has each item.
        name_of: Callable from an item to its title.
        what: str. What the projector calls them.
    """
    logs = Path(folder) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    shown = np.asarray(vectors[:MOST_VECTORS], "float32")
    with replacing(logs / VECTORS) as beside:
        shown.tofile(beside)
    lines = ["title\titem\tpopularity\n"]
    for item, count in zip(items[: len(shown)], counts):
        lines.append(f"{' '.join(name_of(item).split())}\t{item}\t{count}\n")
    write_text(logs / METADATA, "".join(lines))
    config = ProjectorConfig()
    of_items = config.embeddings.add(tensor_name=what, tensor_path=VECTORS, metadata_path=METADATA)
    of_items.tensor_shape.extend(shown.shape)
    write_text(logs / projector.PROJECTOR_FILENAME, text_format.MessageToString(config))
