"""One signature of a loaded version."""

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from keras_peterrec.serving.server.dtypes import NUMPY, type_title
from keras_peterrec.serving.server.errors import invalid

# A run keeps to the thread that asks for it: runs beside each other fill the processors, and
# TensorFlow's own threads would only take them from the loop that reads and answers. A call of
# one history takes three quarters of the time. One of more rows is as a rule alone.
_CALLING_THREAD = -1
_FEW_ROWS = 64


class Signature:
    """A function from arrays to arrays inside a session.

    Args:
        name: str.
        definition: SignatureDef.
        session: `tf.compat.v1.Session` that holds its graph.
        model: str. Name of the model, for metrics. Defaults to `""`.
        steady: bool. Whether runs of as many bytes take about as long, as those of an export
            do. Defaults to `False`.

    Attributes:
        dtypes: dict from the name of an input to its `DataType` number.
        outputs: dict from the name of an output to its `DataType` number.
        mergeable: bool. Whether several requests can be run as one: the first dimension
            of every input and output is a batch of any size.

    Raises:
        tf.errors.OpError: the graph lacks what the definition names.
    """

    def __init__(self, name, definition, session, model="", steady=False):
        self.name = name
        self.model = model
        self.steady = steady
        self.definition = definition
        self.dtypes = {key: info.dtype for key, info in sorted(definition.inputs.items())}
        self.outputs = {key: info.dtype for key, info in sorted(definition.outputs.items())}
        everything = [*definition.inputs.values(), *definition.outputs.values()]
        self.mergeable = bool(self.dtypes) and all(map(_has_free_batch, everything))
        # Not `make_callable`, which with feeds is `Session.run`: half a millisecond of Python
        # for each call, and checks of shapes that TensorFlow Serving leaves to the graph.
        options = config_pb2.CallableOptions(
            feed=[definition.inputs[key].name for key in self.dtypes],
            fetch=[definition.outputs[key].name for key in self.outputs],
        )
        self._run = session._make_callable_from_options(options)
        options.run_options.inter_op_thread_pool = _CALLING_THREAD
        self._run_here = session._make_callable_from_options(options)

    def run(self, inputs):
        """Answers of the graph.

        Args:
            inputs: dict from name to array, one for each of `dtypes`.

        Returns:
            list of arrays in the order of `outputs`; strings are bytes objects.

        Raises:
            tf.errors.OpError: the graph cannot answer.
        """
        arrays = [inputs[key] for key in self.dtypes]
        few = all(array.ndim > 0 and len(array) <= _FEW_ROWS for array in arrays)
        return (self._run_here if few else self._run)(*arrays)

    def check(self, inputs):
        """Refuses arrays that are not those of the signature.

        Raises:
            ServingError: one is missing, unknown or of another type.
        """
        sent, wanted = sorted(inputs), list(self.dtypes)
        if sent != wanted:
            extra = ",".join(sorted(set(sent) - set(wanted)))
            missing = ",".join(sorted(set(wanted) - set(sent)))
            raise invalid(
                "input size does not match signature: ",
                len(sent),
                "!=",
                len(wanted),
                " len({",
                ",".join(sent),
                "}) != len({",
                ",".join(wanted),
                "}). Sent extra: {",
                extra,
                "}. Missing but required: {",
                missing,
                "}.",
            )
        for n, (name, dtype) in enumerate(self.dtypes.items()):
            if inputs[name].dtype != NUMPY[dtype]:
                came = tf.dtypes.as_dtype(inputs[name].dtype).as_datatype_enum
                raise invalid(
                    "Expects arg[",
                    n,
                    "] to be ",
                    type_title(dtype),
                    " but ",
                    type_title(came),
                    " is provided",
                )


def find_signature(signatures, name, error):
    """The signature that a request names.

    Args:
        signatures: dict from name to Signature.
        name: str. `""` is the default one.
        error: callable from name to ServingError, for one that is unknown.

    Returns:
        Signature.

    Raises:
        ServingError: there is none.
    """
    name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    if name not in signatures:
        raise error(name)
    return signatures[name]


def _has_free_batch(info):
    shape = info.tensor_shape
    return not shape.unknown_rank and len(shape.dim) > 0 and shape.dim[0].size == -1


def is_batch(arrays, rows):
    """Whether answers are one for each row."""
    return all(array.ndim > 0 and len(array) == rows for array in arrays)
