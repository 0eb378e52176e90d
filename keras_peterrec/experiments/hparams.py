"""Shows an experiment's runs in TensorBoard's HParams dashboard."""

import re
import shutil
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api

from keras_peterrec.experiments.tables import shown_metrics


def write_hparams(runs, folder):
    """Writes each run's settings and test metrics, in place of what was there.

    Args:
        runs: list of dict, as `Runner.results` yields them.
        folder: path, such as `OUT/logs`. Each run gets a subfolder.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    # No list of columns is written: TensorBoard would take it for that of every run that it shows,
    # those of other experiments and commands too. It finds the columns out from the runs.
    for run in runs:
        trial = f"seed-{run['seed']}/{run['task']}/{re.sub('[^A-Za-z0-9.]+', '-', run['row'])}"
        with tf.summary.create_file_writer(str(folder / trial)).as_default():
            api.hparams(_values(run), trial_id=trial)
            for _, metric in shown_metrics([run]):
                if metric in run["test"]:
                    tf.summary.scalar(f"test/{metric}", run["test"][metric], step=0)


def _values(run):
    named = {"row": run["row"], "task": run["task"], "seed": run["seed"], **run["settings"]}
    named["trainable"] = run["trainable"]
    plain = (bool, int, float, str)
    return {name: v if isinstance(v, plain) else str(v) for name, v in named.items()}
