"""Status and metadata as JSON, in the order and with the defaults of protobuf's own printer."""

import json

from google.protobuf.descriptor import FieldDescriptor as Field
from tensorflow_serving.apis import get_model_status_pb2

from keras_peterrec.serving.server.model_versions import STATE_NAMES

_WIDE = (Field.CPPTYPE_INT64, Field.CPPTYPE_UINT64)


def status_message(states):
    """A `GetModelStatusResponse`.

    Args:
        states: list of VersionState.
    """
    message = get_model_status_pb2.GetModelStatusResponse()
    for state in states:
        added = message.model_version_status.add(version=state.number, state=state.state)
        added.status.error_code = state.code
        added.status.error_message = state.message
    return message


def write_status(states):
    """The body that answers a status request; see `status_message`."""
    listed = [
        {
            "version": str(state.number),
            "state": STATE_NAMES[state.state],
            "status": {
                "error_code": status.status.DESCRIPTOR.fields_by_name["error_code"]
                .enum_type.values_by_number[state.code]
                .name,
                "error_message": state.message,
            },
        }
        for state, status in zip(states, status_message(states).model_version_status, strict=True)
    ]
    return _text({"model_version_status": listed}) + b"\n"


def write_metadata(name, number, definitions):
    """The body that answers a metadata request.

    Args:
        name: str, of the model.
        number: int, of the version.
        definitions: dict from name to SignatureDef.
    """
    spec = {"name": name, "version": str(number), "signature_name": ""}
    signatures = {key: fields_of(value) for key, value in sorted(definitions.items())}
    return (
        b'{\n"model_spec":'
        + _text(spec)
        + b'\n,\n"metadata": {"signature_def": '
        + _text({"signature_def": signatures})
        + b"\n}\n}\n"
    )


def fields_of(message):
    """A message as a dict: fields in their order, also those that are not set.

    Unset messages and members of a oneof are left out, 64-bit numbers are strings.
    """
    fields = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            fields[field.name] = _repeated(field, value)
        elif not field.has_presence or message.HasField(field.name):
            fields[field.name] = _scalar(field, value)
    return fields


def _repeated(field, values):
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {str(key): _scalar(inner, values[key]) for key in sorted(values)}
    return [_scalar(field, value) for value in values]


def _scalar(field, value):
    if field.message_type is not None:
        return fields_of(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number
        return known[value].name if value in known else value
    if field.cpp_type in _WIDE:
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


def _text(value):
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "surrogateescape")
