"""Checks of what lies in a version directory: files, signatures, operations and weights.

Each function takes an ExportFolder and returns the problems that it finds, a list of str.
"""

import hashlib
import re

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from keras_peterrec.serving.export_files import BUNDLES, DESCRIPTION, MIXED_BUNDLES, changed_assets
from keras_peterrec.serving.graph_safety import unsafe_part
from keras_peterrec.serving.operations import OF_EXPORTS
from keras_peterrec.serving.signature_names import CLASSIFY, NEXT_ITEM, REGRESS, input_names
from keras_peterrec.serving.signatures import input_type
from keras_peterrec.serving.verify.export_folder import ExportFolder

_FLOAT, _STRING, _INTEGER = types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_INT32
# What an output should be: the words, and whether a type and sizes (-1 for any) fit them.
_ANY_OUTPUT = (
    "float32, int32 or string, [B, ...]",  # REST writes no half-precision numbers
    lambda dtype, shape: dtype in (_FLOAT, _INTEGER, _STRING) and shape[:1] == [-1],
)
# What `:classify` and `:regress` of a server read.
_ANSWERS = {
    CLASSIFY: {
        "classes": ("string [B, n]", lambda dtype, shape: dtype == _STRING and len(shape) == 2),
        "scores": ("float32 [B, n]", lambda dtype, shape: dtype == _FLOAT and len(shape) == 2),
    },
    REGRESS: {
        "outputs": (
            "float32 [B] or [B, 1]",
            lambda dtype, shape: dtype == _FLOAT and shape[1:] in ([], [1]),
        )
    },
}

# These operations run Python code of the process that wrote the graph.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")

# A task of a method that trains a copy of the host stores that copy, in which training may
# have left some weights as they were.
_OWN_HOST = re.compile(r"weights/tasks\.S.+\.Shost\.S")
_TASK = re.compile(r"^weights/tasks/[^/]+/")
_FEWEST_NUMBERS = 64  # smaller weights may be equal by chance


def check_files(folder: ExportFolder) -> list[str]:
    """Finds files of a SavedModel that are missing."""
    wanted = ("saved_model.pb", "variables/variables.index", "variables/variables.data-*")
    return [f"{name} is missing" for name in wanted if not list(folder.path.glob(name))]


def check_assets(folder: ExportFolder) -> list[str]:
    """Finds text files of the graph that are missing, empty or changed."""
    problems = {}
    for name in sorted({asset.filename for asset in folder.meta_graph.asset_file_def}):
        path = folder.path / "assets" / name
        if not path.is_file():
            problems[f"assets/{name}"] = "is missing"
        elif not path.stat().st_size:
            problems[f"assets/{name}"] = "is empty"
    for path in changed_assets(folder.path, folder.description or {}):
        problems.setdefault(path, "is not what was exported")
    return [f"{path} {problem}" for path, problem in problems.items()]


def check_bundles(folder: ExportFolder) -> list[str]:
    """Finds task bundles that are missing: `export --base` could not keep those tasks."""
    if folder.description is None:
        return [f"{DESCRIPTION} is missing"]
    tasks = folder.description.get("tasks", {})
    bundles = {name: BUNDLES / name for name in tasks}
    bundles |= {name: MIXED_BUNDLES / name for name in folder.description.get("mixed", ())}
    lost = {n: p for n, p in bundles.items() if not (folder.path / p / "task.json").is_file()}
    problems = [f"{name}: its task bundle {path} is missing" for name, path in lost.items()]
    unknown = [name for name in tasks if name not in folder.signature_defs]
    return problems + [f"{name}: this task has no signature" for name in unknown]


def check_signatures(folder: ExportFolder) -> list[str]:
    """Finds inputs and outputs that a server could not read, write or put into batches."""
    problems = [] if NEXT_ITEM in folder.signature_defs else [f"{NEXT_ITEM}: is missing"]
    for name, signature in folder.signature_defs.items():
        problems_of = [*_input_problems(name, signature), *_output_problems(name, signature)]
        problems += [f"{name}: {problem}" for problem in problems_of]
    return problems


def check_operations(folder: ExportFolder) -> list[str]:
    """Finds operations that the usual builds of TensorFlow Serving cannot run.

    Those builds have no XLA compiler: they run neither its operations nor a function that it
    must compile, such as Keras makes of a grouped convolution.
    """
    library = folder.meta_graph.graph_def.library.function
    nodes = [*folder.meta_graph.graph_def.node, *(n for f in library for n in f.node_def)]
    compiled = {f.signature.name for f in library if f.attr["_XlaMustCompile"].b}
    compiled |= {node.name for node in nodes if node.attr["_XlaMustCompile"].b}
    problems = [f"function {name} needs XLA (jit_compile)" for name in compiled]
    for operation in {node.op for node in nodes}:
        if operation.startswith("Xla"):
            problems.append(f"operation {operation} needs XLA")
        elif operation in _PYTHON:
            problems.append(f"operation {operation} needs the Python process that wrote it")
        # Nothing is known of what somebody else's SavedModel should need.
        elif folder.description is not None and operation not in OF_EXPORTS:
            problems.append(
                f"operation {operation} is not one that our exports use; an older server may "
                "lack it"
            )
    return sorted(problems)


def check_safety(folder: ExportFolder) -> list[str]:
    """Finds what a stranger's model should not have: its graph is looked at, not loaded."""
    problem = unsafe_part(folder.path)
    return [] if problem is None else [f"this is a model {problem}; --trust runs it all the same"]


def check_weights(folder: ExportFolder) -> list[str]:
    """Finds weights that are stored more than once."""
    reader = tf.train.load_checkpoint(str(folder.path / "variables" / "variables"))
    same = {}
    for key, shape in sorted(reader.get_variable_to_shape_map().items()):
        if _OWN_HOST.match(key) or np.prod(shape) < _FEWEST_NUMBERS:
            continue
        value = np.asarray(reader.get_tensor(key))
        # A fresh bias is all zeros and a fresh scale is all ones.
        if value.dtype.kind != "f" or (value == value.flat[0]).all():
            continue
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        path = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace(".S", "/")
        same.setdefault((digest, value.shape), []).append(path)
    # Tasks of one seed begin alike, and a task may stay where it began: equal weights in the same
    # place of two tasks are no copies.
    places = lambda paths: {_TASK.sub("weights/tasks/*/", path) for path in paths}
    copies = [paths for paths in same.values() if len(places(paths)) > 1]
    return [f"stored more than once: {', '.join(paths)}" for paths in copies]


def _input_problems(name, signature):
    problems = []
    wanted = input_names(name)
    if set(signature.inputs) != set(wanted):
        problems.append(_named("input", wanted, signature.inputs))
    for key, info in sorted(signature.inputs.items()):
        dtype = input_type(key)
        if info.dtype != dtype or _shape(info) != [-1]:
            problems.append(f"{key} should be {dtype.name} [B]. Found: {_described(info)}")
    return problems


def _output_problems(name, signature):
    wanted = next((of for end, of in _ANSWERS.items() if name.endswith(end)), {})
    problems = []
    if wanted and set(signature.outputs) != set(wanted):
        problems.append(_named("output", wanted, signature.outputs))
    for key, info in sorted(signature.outputs.items()):
        for words, fits in (_ANY_OUTPUT, wanted.get(key, _ANY_OUTPUT)):
            if not fits(info.dtype, _shape(info) or []):
                problems.append(f"{key} should be {words}. Found: {_described(info)}")
                break
    return problems


def _named(what, wanted, found):
    """A line about inputs or outputs of other names."""
    plural = "s" if len(wanted) > 1 else ""
    found = ", ".join(sorted(found)) or "none"
    return f"its {what}{plural} should be named {', '.join(wanted)}. Found: {found}"


def _shape(info):
    """The sizes, -1 where any is allowed, or `None` where the rank is unknown."""
    shape = info.tensor_shape
    return None if shape.unknown_rank else [dimension.size for dimension in shape.dim]


def _described(info):
    return f"{types_pb2.DataType.Name(info.dtype)[3:].lower()} {_shape(info) or 'of any shape'}"
