"""What the server uses of libraries that is not public: a new version of them fails here first."""

import inspect

import numpy as np
import tensorflow as tf
import uvicorn
from uvicorn.protocols.http import httptools_impl

from keras_peterrec.tensorflow_internals import make_callable

ADVICE = "Uvicorn has changed; adapt keras_peterrec/server/uvicorn_internals.py: "


def test_uvicorn_still_calls_what_we_extend():
    protocol = httptools_impl.HttpToolsProtocol
    for name in (
        "connection_made",
        "connection_lost",
        "data_received",
        "on_headers_complete",
        "on_body",
        "send_400_response",
    ):
        assert callable(getattr(protocol, name, None)), f"{ADVICE}no {name}"
    source = inspect.getsource(protocol)
    for name in ("self.connections", "self.cycle", "self.url", "self.headers", "self.loop"):
        assert f"{name} = " in source or f"{name}: " in source, f"{ADVICE}no {name}"
    assert "send_400_response" in inspect.getsource(protocol.data_received), (
        f"{ADVICE}what is not HTTP is refused elsewhere"
    )
    assert "response_complete" in inspect.getsource(httptools_impl.RequestResponseCycle), (
        f"{ADVICE}no cycle.response_complete"
    )
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 "), f"{ADVICE}no STATUS_LINE"
    assert inspect.iscoroutinefunction(uvicorn.Server.shutdown), f"{ADVICE}no Server.shutdown"


def test_tensorflow_still_makes_callables():
    assert hasattr(tf.compat.v1.Session, "_make_callable_from_options"), (
        "TensorFlow has changed; adapt keras_peterrec/tensorflow_internals.py: "
        "no Session._make_callable_from_options"
    )
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        x = tf.compat.v1.placeholder(tf.float32, [None])
        y = x * 2
        for here in (False, True):
            call = make_callable(session, [x.name], [y.name], on_calling_thread=here)
            assert call(np.array([1, 2], "float32"))[0].tolist() == [2.0, 4.0]
