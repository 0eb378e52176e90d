"""What REST and gRPC ask of a model: predict, classify and regress."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.framework import types_pb2 as types

from keras_peterrec.log.id_text import comma_hint
from keras_peterrec.progress import line as print_line
from keras_peterrec.server.errors import FAILED_PRECONDITION, ServingError, invalid
from keras_peterrec.server.limits import check_rows
from keras_peterrec.server.tensors import (
    INPUTS,
    read_serialized_examples,
    shape_text,
    string_sizes,
)
from keras_peterrec.serving.signature_names import NEXT_ITEM
from keras_peterrec.settings.serve import ServeSettings

if TYPE_CHECKING:
    from keras_peterrec.server.batcher import Batcher
    from keras_peterrec.server.loaded_version import LoadedVersion, Signature

# What TensorFlow Serving calls the tensors of signatures that classify or regress.
CLASSES, SCORES, OUTPUTS = "classes", "scores", "outputs"
# A context is repeated for each example; together they must not exceed the largest request.
_MAX_CONTEXT_BYTES = 64 << 20


class Inference:
    """Runs signatures of loaded versions through the batcher, within limits.

    Args:
        report: takes a text for a person.
        count_events: callable (model, signature, known, unknown), called with how many events of
            the histories of a request are known, where its answer says so.
    """

    def __init__(
        self,
        batcher: Batcher,
        settings: ServeSettings,
        report: Callable[[str], None] = print_line,
        count_events: Callable[..., None] | None = None,
    ) -> None:
        self.batcher = batcher
        self._report = report
        self._count_events = count_events or (lambda *_: None)
        self._noticed = weakref.WeakSet()  # signatures
        self.max_string_bytes = settings.max_history_bytes
        self.max_rows = settings.max_rows

    async def predict(self, signature: Signature, inputs: Mapping[str, np.ndarray]) -> Any:
        """The outputs of a signature, a list of arrays; see `Batcher.run`.

        Raises:
            ServingError: if the inputs do not fit the signature, or a string is too long.
        """
        signature.check(inputs)
        for name in signature.texts:
            if inputs[name].ndim != 1:
                raise invalid(
                    one_string(name), f" Received: shape {shape_text(inputs[name].shape)}."
                )
        for name, array in inputs.items():
            longest = max(string_sizes(array), default=0) if array.dtype == object else 0
            if longest > self.max_string_bytes:
                raise invalid(
                    f"Strings of {name} should be at most {self.max_string_bytes} bytes long. "
                    f"Received: {longest} bytes."
                )
        self._notice_commas(signature, inputs)
        outputs = await self.batcher.run(signature, inputs)
        if signature.count_places:
            known, events = (int(outputs[place].sum()) for place in signature.count_places)
            known = max(0, known)
            self._count_events(signature.model, signature.name, known, max(0, events - known))
        return outputs

    def _notice_commas(self, signature, inputs):
        """Says once for each signature that a history has commas where spaces should be."""
        rows = inputs.get("history")
        if rows is None or signature in self._noticed or rows.ndim != 1:
            return
        for row in rows:
            if b"," in row and (hint := comma_hint(row.decode("utf-8", "replace"))):
                self._noticed.add(signature)
                self._report(f"{signature.model} {signature.name}: {hint}")
                return

    async def classify(self, version: LoadedVersion, signature_name: str, given: Any) -> Any:
        """The labels and scores of examples: a list of (label, score) for each example.

        Args:
            signature_name: str. Name of a task, or of its signature `NAME_classify`.
            given: `Input` message.

        Raises:
            ServingError: if the signature does not classify.
        """
        signature = _find(version, signature_name, "classify", "classification")
        _check_classes(signature)
        rows, arrays = await self._run_examples(signature, given)
        return _read_classes(signature, arrays, rows)

    async def regress(self, version: LoadedVersion, signature_name: str, given: Any) -> Any:
        """The values of examples, float32 `[B]`; see `classify`."""
        signature = _find(version, signature_name, "regress", "regression")
        _check_values(signature)
        rows, arrays = await self._run_examples(signature, given)
        return _read_values(signature, arrays, rows)

    async def _run_examples(self, signature, given):
        _check_size(given, self.max_rows)
        examples = read_serialized_examples(given)
        return len(examples), await self.predict(signature, {INPUTS: examples})


def one_string(name: str) -> str:
    """What is told to who sends lists where a row is one string, the slip of most newcomers."""
    return (
        f"`{name}` should be one string for each row, a history's ids separated by spaces, such "
        'as "1193 661 914".'
    )


def _find(version, name, verb, kind):
    """The signature that answers `verb`, if it has the one input that it should have.

    An export answers `films` from histories and `films_classify` from examples. A client may name
    either: TensorFlow Serving knows the latter only, but a task is what a person has in mind.
    """
    name = name or NEXT_ITEM
    named = version.signatures.get(name)
    reads_examples = named is not None and list(named.dtypes) == [INPUTS]
    if not reads_examples and f"{name}_{verb}" in version.signatures:
        name = f"{name}_{verb}"
    signature = version.find_signature(
        name, lambda name: invalid("No signature was found with the name: ", name)
    )
    if len(signature.dtypes) != 1:
        raise invalid("Expected one input Tensor.")
    if INPUTS not in signature.dtypes:
        raise _precondition(f"No {kind} inputs found in SignatureDef: ", signature)
    return signature


def _check_size(given, max_rows):
    """Raises a ServingError if there are too many examples, alone or with their context."""
    rows = max(len(given.example_list.examples), len(given.example_list_with_context.examples))
    check_rows([[rows]], max_rows)
    size = rows * given.example_list_with_context.context.ByteSize()
    if size > _MAX_CONTEXT_BYTES:
        raise invalid(
            f"A context should be at most {_MAX_CONTEXT_BYTES} bytes for all examples. "
            f"Received: {size} bytes."
        )


def _check_classes(signature):
    if len(signature.outputs) not in (1, 2):
        raise invalid("Expected one or two output Tensors, found ", len(signature.outputs))
    if not {CLASSES, SCORES} & set(signature.outputs):
        raise _precondition(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: ',
            signature,
        )


def _check_values(signature):
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if OUTPUTS not in signature.outputs:
        raise _precondition("No regression outputs found in SignatureDef: ", signature)


def _precondition(text, signature):
    # Two spaces, as protobuf's printer writes them in TensorFlow Serving.
    return ServingError(FAILED_PRECONDITION, f"{text}goo.gle/debugonly  \n{signature.definition}")


def _read_classes(signature, arrays, rows):
    """(label, score) pairs of each row; what the signature lacks is `b""` or 0."""
    by_output = dict(zip(signature.outputs, arrays, strict=True))
    for name, dtype in ((CLASSES, types.DT_STRING), (SCORES, types.DT_FLOAT)):
        if name in by_output:
            _check_class_output(name, by_output[name], signature.outputs[name], dtype, rows)
    labels, scores = by_output.get(CLASSES), by_output.get(SCORES)
    if labels is None:
        labels = np.full(scores.shape, b"", dtype=object)
    if scores is None:
        scores = np.zeros(labels.shape, "float32")
    if labels.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return [
        list(zip(row.tolist(), values.tolist(), strict=True))
        for row, values in zip(labels, scores, strict=True)
    ]


def _check_class_output(name, array, dtype, wanted, rows):
    if array.ndim != 2:
        raise invalid(
            "Expected Tensor shape: [batch_size num_classes] but got ", shape_text(array.shape)
        )
    if dtype != wanted:
        names = [types.DataType.Name(number) for number in (wanted, dtype)]
        raise invalid(f"Expected {name} Tensor of {names[0]}. Got: {names[1]}")
    if len(array) != rows:
        raise invalid(f"Expected {name} output batch size of {rows}. Got: {len(array)}")


def _read_values(signature, arrays, rows):
    """float32 array `[B]`, from an output of shape `[B]` or `[B, 1]`."""
    (array,) = arrays
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got ",
            shape_text(array.shape),
        )
    if len(array) != rows:
        raise invalid(f"Input batch size did not match output batch size: {rows} vs. {len(array)}")
    if signature.outputs[OUTPUTS] != types.DT_FLOAT:
        raise invalid(
            "Expected output Tensor of DT_FLOAT.  Got: ",
            types.DataType.Name(signature.outputs[OUTPUTS]),
        )
    return array.reshape(-1)
