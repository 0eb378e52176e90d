"""Warm-up requests are written as TensorFlow Serving reads them, and an export answers its own."""

import numpy as np
import pytest
import tensorflow as tf
from serving_samples import BAGS, OF_EXAMPLES, OF_REQUESTS, make_host, make_task

from keras_peterrec.errors import InputError
from keras_peterrec.serving.export import export
from keras_peterrec.serving.signature_names import input_names
from keras_peterrec.serving.warmup import (
    PATH,
    read_warmup,
    replay_warmup,
    warmup_requests,
    write_warmup,
)


def records(folder):
    return list(tf.data.TFRecordDataset(str(folder / PATH)).as_numpy_iterator())


def fields(message):
    """(number, bytes) of a message in which every field is length-delimited."""
    found, at = [], 0
    while at < len(message):
        tag, at = varint(message, at)
        assert tag & 7 == 2
        size, at = varint(message, at)
        found.append((tag >> 3, message[at : at + size]))
        at += size
    return found


def varint(message, at):
    value, shift = 0, 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def test_bytes_are_a_prediction_log(tmp_path):
    write_warmup(tmp_path, [("films", {"history": ["a b", ""]})], model_name="shop")
    (record,) = records(tmp_path)
    ((number, log),) = fields(record)
    assert number == 6  # PredictionLog.predict_log
    ((number, request),) = fields(log)
    assert number == 1  # PredictLog.request
    (spec_number, spec), (inputs_number, entry) = fields(request)
    assert (spec_number, inputs_number) == (1, 2)
    assert fields(spec) == [(1, b"shop"), (3, b"films")]
    (key, tensor) = fields(entry)
    assert key == (1, b"history")
    assert tf.io.parse_tensor(tensor[1], tf.string).numpy().tolist() == [b"a b", b""]


def test_the_servers_own_messages_read_them(tmp_path):
    prediction_log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    write_warmup(tmp_path, [("films", {"history": ["a b", ""]})])
    (record,) = records(tmp_path)
    request = prediction_log.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.signature_name == "films"
    assert tf.make_ndarray(request.inputs["history"]).tolist() == [b"a b", b""]


def test_one_request_a_signature(causal_export):
    requests = read_warmup(causal_export.out)
    assert [name for name, _ in requests] == causal_export.report["signatures"]
    for name, inputs in requests:
        if name in OF_REQUESTS:
            assert set(inputs) == set(input_names(name))
            continue
        ((key, rows),) = inputs.items()
        assert key == ("inputs" if name in OF_EXAMPLES else "history")
        assert len(rows) == 4
        if key == "history":
            lengths = [len(history.split()) for history in rows]
            # The linear part of one task reads more events than any network.
            assert max(lengths) == BAGS["classification"].events and min(lengths) == 0


def test_no_more_requests_than_a_server_reads():
    names = [f"task{n}" for n in range(1200)]
    requests = warmup_requests({name: {"history": ["a", ""]} for name in names})
    assert [name for name, _ in requests] == names[:1000]


def test_requests_are_answered(causal_export):
    folder = causal_export.folder
    assert replay_warmup(folder.signatures, folder.warmup) == []
    for name, inputs in folder.warmup:
        (size,) = {len(rows) for rows in inputs.values()}
        for values in folder.answer(name, **inputs).values():
            assert len(values) == size


def test_replay_says_what_fails(causal_export):
    signatures = causal_export.folder.signatures
    requests = [("gone", {}), ("films", {"x": ["a"]}), ("films_classify", {"inputs": [b"no"]})]
    (gone, first), (films, second), (classify, third) = replay_warmup(signatures, requests)
    assert (gone, films, classify) == ("gone", "films", "films_classify")
    assert first == "asks a signature that the model does not have"
    assert second.startswith("fails: ") and third.startswith("fails: ")


@pytest.mark.slow
def test_scores_that_are_no_numbers_are_not_published(tmp_path):
    host = make_host()
    task = make_task(host, "regression")
    task.model.head.bias.assign([np.nan])
    with pytest.raises(InputError, match="finite scores. Received: 'spend'"):
        export(host, {"spend": task}, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []
