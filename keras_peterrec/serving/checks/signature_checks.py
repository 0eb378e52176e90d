"""Can a server, alone and with batching, answer every signature?"""

from tensorflow.core.framework import types_pb2

from keras_peterrec.serving.signature_names import CLASSIFY, NEXT_ITEM, input_names

_PRINTABLE = (types_pb2.DT_FLOAT, types_pb2.DT_STRING)  # REST prints no halves


def check_signatures(folder):
    """What is wrong with the signatures' inputs and outputs, a list of str."""
    problems = [] if NEXT_ITEM in folder.signature_defs else [f"{NEXT_ITEM}: is missing"]
    for name, signature in folder.signature_defs.items():
        found = [*_inputs(name, signature), *_outputs(name, signature)]
        problems += [f"{name}: {problem}" for problem in found]
    return problems


def _inputs(name, signature):
    problems, wanted = [], input_names(name)
    if set(signature.inputs) != set(wanted):
        found = ", ".join(sorted(signature.inputs)) or "none"
        called = "input" if len(wanted) == 1 else "inputs"
        problems.append(f"its {called} should be named {', '.join(wanted)}. Found: {found}")
    for key, info in sorted(signature.inputs.items()):
        if info.dtype != types_pb2.DT_STRING or _shape(info) != [-1]:
            problems.append(f"{key} should be string [B]. Found: {_described(info)}")
    return problems


def _outputs(name, signature):
    problems = []
    for key, info in sorted(signature.outputs.items()):
        shape = _shape(info)
        if info.dtype not in _PRINTABLE or not shape or shape[0] != -1:
            problems.append(
                f"{key} should be float32 or string, [B, ...]. Found: {_described(info)}"
            )
    if name.endswith(CLASSIFY) and set(signature.outputs) != {"classes", "scores"}:
        found = ", ".join(sorted(signature.outputs))
        problems.append(f"its outputs should be classes and scores. Found: {found}")
    return problems


def _shape(info):
    """Sizes, -1 where any is allowed, or `None` where nothing is known."""
    shape = info.tensor_shape
    return None if shape.unknown_rank else [dimension.size for dimension in shape.dim]


def _described(info):
    return f"{types_pb2.DataType.Name(info.dtype)[3:].lower()} {_shape(info) or 'of any shape'}"
