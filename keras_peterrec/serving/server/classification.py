"""Classify and regress: examples in, labels, scores and values out."""

import numpy as np
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.serving.server.batch_limits import check_rows
from keras_peterrec.serving.server.errors import FAILED_PRECONDITION, ServingError, invalid

# Of a context that is repeated for each example: what the largest request could say in full.
_MOST_CONTEXT = 64 << 20
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


def check_examples(given, max_rows):
    """Refuses examples that are too many, alone or with their context.

    Args:
        given: `Input` message.
        max_rows: int.

    Raises:
        ServingError: they are.
    """
    rows = max(len(given.example_list.examples), len(given.example_list_with_context.examples))
    check_rows([[rows]], max_rows)
    size = rows * given.example_list_with_context.context.ByteSize()
    if size > _MOST_CONTEXT:
        raise invalid(
            "A context should be at most ",
            _MOST_CONTEXT,
            " bytes for all examples. Received: ",
            size,
        )


def examples_array(given):
    """Serialized examples, merged with their context.

    Args:
        given: `Input` message.

    Returns:
        object array of bytes `[B]`.

    Raises:
        ServingError: there is no example.
    """
    kind = given.WhichOneof("kind")
    examples = list(getattr(given, kind).examples) if kind else []
    if not examples:
        raise invalid("Input is empty.")
    if kind == "example_list_with_context":
        context = given.example_list_with_context.context
        examples = [_with_context(example, context) for example in examples]
    array = np.empty(len(examples), dtype=object)
    array[:] = [example.SerializeToString() for example in examples]
    return array


def _with_context(example, context):
    merged = type(example)()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged


def check_classify(signature):
    """Refuses a signature that classifies nothing.

    Raises:
        ServingError: its inputs or outputs are others.
    """
    _check_inputs(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise invalid("Expected one or two output Tensors, found ", len(signature.outputs))
    if not {CLASSES, SCORES} & set(signature.outputs):
        raise ServingError(
            FAILED_PRECONDITION,
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {_debug(signature)}',
        )


def check_regress(signature):
    """Refuses a signature that regresses nothing.

    Raises:
        ServingError: its inputs or outputs are others.
    """
    _check_inputs(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if OUTPUTS not in signature.outputs:
        raise ServingError(
            FAILED_PRECONDITION,
            f"No regression outputs found in SignatureDef: {_debug(signature)}",
        )


def _check_inputs(signature, kind):
    if len(signature.dtypes) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUTS not in signature.dtypes:
        raise ServingError(
            FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef: {_debug(signature)}"
        )


def _debug(signature):
    return f"goo.gle/debugonly  \n{signature.definition}"


def classes_of(signature, arrays, rows):
    """What a classification answers.

    Args:
        signature: Signature.
        arrays: list of its outputs.
        rows: int. Number of examples.

    Returns:
        list of lists of (label, score); a label is bytes.

    Raises:
        ServingError: the outputs are not `[B, C]` of the right types.
    """
    found = dict(zip(signature.outputs, arrays, strict=True))
    for name, dtype in ((CLASSES, types.DT_STRING), (SCORES, types.DT_FLOAT)):
        if name not in found:
            continue
        if found[name].ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got ", _shape(found[name])
            )
        if signature.outputs[name] != dtype:
            raise invalid(
                "Expected ",
                name,
                " Tensor of ",
                types.DataType.Name(dtype),
                ". Got: ",
                types.DataType.Name(signature.outputs[name]),
            )
        if len(found[name]) != rows:
            raise invalid(
                "Expected ", name, " output batch size of ", rows, ". Got: ", len(found[name])
            )
    labels, scores = found.get(CLASSES), found.get(SCORES)
    if labels is None:
        labels = np.full(scores.shape, b"", dtype=object)
    if scores is None:
        scores = np.zeros(labels.shape, "float32")
    if labels.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got ",
            labels.shape[1],
            " vs. ",
            scores.shape[1],
        )
    return [
        list(zip(row.tolist(), values.tolist(), strict=True))
        for row, values in zip(labels, scores, strict=True)
    ]


def regressions_of(signature, arrays, rows):
    """What a regression answers: float32 array `[B]`.

    Raises:
        ServingError: the output is not `[B]` or `[B, 1]` of float32.
    """
    (array,) = arrays
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got ",
            _shape(array),
        )
    if len(array) != rows:
        raise invalid(
            "Input batch size did not match output batch size: ", rows, " vs. ", len(array)
        )
    if signature.outputs[OUTPUTS] != types.DT_FLOAT:
        raise invalid(
            "Expected output Tensor of DT_FLOAT.  Got: ",
            types.DataType.Name(signature.outputs[OUTPUTS]),
        )
    return array.reshape(-1)


def _shape(array):
    return f"[{','.join(map(str, array.shape))}]"
