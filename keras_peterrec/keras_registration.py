"""Lets Keras load our saved models, whatever of this package was used before.

Keras finds a class that a file names in its registry only, and a class gets there when its
module is imported. But `import keras_peterrec` must not import Keras, since
`keras-peterrec --help` should not wait for it, and our modules are imported when they are
first used. So a program that does nothing but

    import keras_peterrec
    model = keras.models.load_model("task.keras")

would fail. Therefore, once Keras is imported, its registry gets a stand-in for each of our
classes, which imports the real one when a file needs it. The import of the real class
replaces the stand-in.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from typing import Any

PACKAGE = "keras_peterrec"

# Every registered class, and the module where it is. A test compares it with the sources.
CLASSES = {
    "ConvolutionNetwork": "network.convolution",
    "CausalPretrainer": "models.causal_pretrainer",
    "MaskedPretrainer": "models.masked_pretrainer",
    "RecommenderHead": "tasks.heads",
    "LinearHead": "tasks.heads",
    "TargetLoss": "tasks.target_loss",
    "LinearTable": "linear.linear_table",
    "TaskModel": "transfer.task_model",
    "UserFieldVectors": "layers.user_field_vectors",
    "FlatAdam": "optimizers.flat_adam",
    "RowSparseAdam": "optimizers.row_sparse_adam",
    "DilatedConvolution": "network.dilated_convolution",
    "ResidualBlock": "network.residual_block",
    "NormalizedRelu": "network.normalized_relu",
    "HashedDropout": "layers.hashed_dropout",
    "PaddingMask": "layers.padding",
    "SequenceIds": "layers.padding",
    "TaskToken": "layers.task_token",
    "TokenPooling": "layers.task_token",
    "FullSoftmax": "layers.full_softmax",
    "SampledSoftmax": "layers.sampled_softmax",
    "BottleneckPatch": "patches.bottleneck",
    "CompacterPatch": "patches.compacter",
    "LoraPatch": "patches.lora",
    "ItemLoraPatch": "patches.item_patches",
    "AffinePatch": "patches.affine",
    "StackPatch": "patches.stack",
}


def register_when_keras_loads() -> None:
    """Registers our classes now if Keras is imported, else as soon as it is."""
    if hasattr(sys.modules.get("keras"), "saving"):
        _register()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds Keras as Python would, and registers our classes once it has been executed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_register(module):
            execute(module)
            _register()

        loader.exec_module = execute_and_register
        return spec


def _register():
    import keras

    registry = keras.saving.get_custom_objects()
    for name, module in CLASSES.items():
        registry.setdefault(f"{PACKAGE}>{name}", _stand_in(name, f"{PACKAGE}.{module}"))


def _stand_in(name, module):
    def real():
        return getattr(importlib.import_module(module), name)

    return type(
        name,
        (),
        {
            "__doc__": f"Stands for `{module}.{name}` until that is imported.",
            "from_config": staticmethod(lambda config: real().from_config(config)),
            "__new__": lambda cls, *args, **kwargs: real()(*args, **kwargs),
        },
    )
