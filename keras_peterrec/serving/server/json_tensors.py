"""From the JSON of a predict request to tensors, by TensorFlow Serving's rules."""

from keras_peterrec.serving.server.base64_values import is_base64
from keras_peterrec.serving.server.errors import ServingError, invalid
from keras_peterrec.serving.server.json_parser import parse_json
from keras_peterrec.serving.server.json_text import shown
from keras_peterrec.serving.server.json_values import JsonValues

ROW, COLUMN = "row", "column"


def read_object(body):
    """The JSON object of a request and the signature that it names.

    Args:
        body: bytes.

    Returns:
        (dict, str): the object, and its `signature_name` or `""`.

    Raises:
        ServingError: the body is no JSON object.
    """
    document = parse_json(body)
    if not isinstance(document, dict):
        raise invalid("JSON Value: ", shown(document), " Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            "JSON Value: ",
            shown(document),
            " not formatted correctly. 'signature_name' key must be a string value.",
        )
    return document, name


def read_inputs(document, dtypes):
    """The tensors of a predict request.

    Args:
        document: dict; see `read_object`.
        dtypes: dict from the name of an input to its type in `DataType` numbers.

    Returns:
        (dict from name to JsonValues, `ROW` or `COLUMN`).

    Raises:
        ServingError: it does not say what the inputs are, or not rightly.

    Example:

    >>> read_inputs({"instances": ["a b", ""]}, {"history": DT_STRING})[0]["history"].shape
    [2]
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            "JSON Value: ",
            shown(document),
            " Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(
                "JSON Value: ", shown(document), " Expecting 'instances' to be an list/array"
            )
        if not rows:
            raise invalid("JSON Value: ", shown(document), " No values in 'instances' array")
        return _rows(rows, dtypes), ROW
    if "inputs" in document:
        return _columns(document["inputs"], dtypes), COLUMN
    raise invalid("Missing 'inputs' or 'instances' key")


def _is_object(value):
    return isinstance(value, dict) and not is_base64(value)


def _rows(rows, dtypes):
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if _is_object(rows[0]):
        return _object_rows(rows, dtypes)
    name = next(iter(dtypes))
    values = JsonValues(dtypes[name])
    if not values.add_plain(rows):
        for n, row in enumerate(rows):
            if _is_object(row):
                raise invalid("Expecting value/list but got object at item ", n, " of input list")
            with _element(n):
                values.add_row(row)
    values.shape = [len(rows), *values.shape]
    return {name: values}


def _object_rows(rows, dtypes):
    tensors = {name: JsonValues(dtype) for name, dtype in dtypes.items()}
    for n, row in enumerate(rows):
        if not _is_object(row):
            raise invalid("Expecting object but got list at item ", n, " of input list")
        for name, value in row.items():
            with _element(n, name):
                if name not in tensors:
                    raise invalid("JSON object: does not have named input: ", name)
                tensors[name].add_row(value)
        if len(row) < len(dtypes):
            raise invalid(
                "Failed to process element: ",
                n,
                " of 'instances' list. JSON object: ",
                shown(row),
                " keys must be equal to: ",
                ",".join(sorted(dtypes)),
            )
    for values in tensors.values():
        values.shape = [len(rows), *values.shape]
    return tensors


class _element:
    """Says of an error which of the instances it is about."""

    def __init__(self, n, name=None):
        self.place = f"{n} key: {name}" if name is not None else f"{n}"

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        if isinstance(error, ServingError):
            status = {3: "INVALID_ARGUMENT", 12: "UNIMPLEMENTED"}[error.code]
            raise invalid(
                "Failed to process element: ",
                self.place,
                " of 'instances' list. Error: ",
                status,
                ": ",
                error.message,
            ) from error


def _columns(given, dtypes):
    if not _is_object(given):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        given = {next(iter(dtypes)): given}
    tensors = {}
    for name, dtype in dtypes.items():
        if name not in given:
            raise invalid("Missing named input: ", name, " in 'inputs' object.")
        tensors[name] = JsonValues(dtype)
        tensors[name].add_column(given[name])
    return tensors
