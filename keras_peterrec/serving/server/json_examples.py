"""From the JSON of a classify or regress request to examples."""

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from keras_peterrec.serving.server.base64_values import decode_base64, is_base64
from keras_peterrec.serving.server.errors import invalid
from keras_peterrec.serving.server.json_text import shown, type_name

_INT64 = (-(2**63), 2**63 - 1)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document):
    """The examples of a request.

    Args:
        document: dict; see `read_object`.

    Returns:
        `Input` message.

    Raises:
        ServingError: there are none, or one holds what an example cannot.

    Example:

    >>> read_examples({"examples": [{"history": "a b"}]})
    """
    given = input_pb2.Input()
    target = given.example_list
    if "context" in document:
        target = given.example_list_with_context
        target.context.CopyFrom(_example(document["context"]))
    if "examples" not in document:
        raise invalid(
            "JSON Value: ",
            shown(document),
            " When method is classify, key 'examples' is expected and was not found",
        )
    rows = document["examples"]
    if not isinstance(rows, list):
        raise invalid(
            "JSON Value: ", shown(document), " Expecting 'examples' value to be an list/array"
        )
    if not rows:
        raise invalid("JSON Value: ", shown(document), " 'examples' value is an empty array")
    target.examples.extend(map(_example, rows))
    return given


def _example(value):
    if not isinstance(value, dict):
        raise invalid("Example must be JSON object but got JSON ", type_name(value))
    example = example_pb2.Example()
    for name, content in value.items():
        # Protobuf's strings are UTF-8; others name no feature of any model.
        key = name.encode("utf-8", "replace").decode()
        example.features.feature[key].CopyFrom(_feature(name, content))
    return example


def _feature(name, content):
    feature = feature_pb2.Feature()
    for value in content if isinstance(content, list) else [content]:
        kind, value = _scalar(name, value)
        found = feature.WhichOneof("kind")
        if found not in (None, kind):
            raise invalid(
                "Unexpected element type in feature: ", name, " expecting type: ", _KINDS[found]
            )
        getattr(feature, kind).value.append(value)
    return feature


def _scalar(name, value):
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", "surrogateescape")
    if is_base64(value):
        return "bytes_list", decode_base64(value)
    if isinstance(value, float):
        return "float_list", value
    if isinstance(value, int):
        if not _INT64[0] <= value <= _INT64[1]:
            raise invalid("Feature: ", name, " has uint64 element. Only int64 is supported.")
        return "int64_list", int(value)
    raise invalid("Feature: ", name, " has element with unexpected JSON type: ", type_name(value))
