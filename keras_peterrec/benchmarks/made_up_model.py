"""An export with random weights, to measure without data. Needs TensorFlow."""

import keras

from keras_peterrec.data.special_ids import FIRST_ITEM
from keras_peterrec.data.vocabulary import Vocabulary
from keras_peterrec.models.backbone import Backbone
from keras_peterrec.models.causal_pretrainer import CausalPretrainer
from keras_peterrec.models.classifier_head import ClassifierHead
from keras_peterrec.models.recommender_head import RecommenderHead
from keras_peterrec.serving.export import export
from keras_peterrec.transfer.host import Host
from keras_peterrec.transfer.strategies import build_task
from keras_peterrec.transfer.task import Task

_CLASSES = ["under 25", "25-34", "35-49", "over 49"]


def make_model(out, items, targets, hidden_dim, blocks, length, seed, incremental=False):
    """Exports a causal host with two patched tasks, `films` and `age`.

    Args:
        out: path of a new version directory.
        items: int. Of the source vocabulary.
        targets: int. Items that `films` recommends.
        hidden_dim: int. Channels.
        blocks: int. Residual blocks.
        length: int. Events of a history.
        seed: int.
        incremental: bool. Whether the tasks take single events too. Defaults to `False`.
    """
    keras.utils.set_random_seed(seed)
    dilations = [(1, 4)[n % 2] for n in range(blocks)]
    backbone = Backbone(items + FIRST_ITEM, hidden_dim, dilations)
    host = Host(CausalPretrainer(backbone), Vocabulary([f"i{n}" for n in range(items)]), length)
    joined = host.summary_settings()  # as `transfer` makes tasks
    films = build_task(backbone, RecommenderHead(targets), **joined)
    names = Vocabulary([f"t{n}" for n in range(targets)], special_ids=False)
    age = build_task(backbone, ClassifierHead(len(_CLASSES)), **joined)
    tasks = {
        "films": Task(films, "patch", targets=names),
        "age": Task(age, "patch", classes=_CLASSES),
    }
    export(host, tasks, out, incremental=incremental)
