"""The REST API below /v1/, apart from HTTP itself."""

import time

from keras_peterrec.serving.server import errors, routes
from keras_peterrec.serving.server.deadline import within
from keras_peterrec.serving.server.errors import as_serving_error, code_name, invalid
from keras_peterrec.serving.server.json_answers import (
    write_answer,
    write_classes,
    write_error,
    write_regressions,
)
from keras_peterrec.serving.server.json_examples import read_examples
from keras_peterrec.serving.server.json_tensors import read_inputs, read_object
from keras_peterrec.serving.server.off_loop import LARGE, off_loop
from keras_peterrec.serving.server.proto_json import write_metadata, write_status
from keras_peterrec.serving.server.signature import find_signature


class RestApi:
    """Answers requests of the REST API.

    Args:
        models: Models.
        inference: Inference.
        metrics: Metrics.
        seconds: float. For the answer of a model; 0 for any time. Defaults to `0`.

    Example:

    >>> await api.answer("POST", "/v1/models/peterrec:predict", b'{"instances": ["a b"]}')
    (200, b'{"predictions": ...')
    """

    def __init__(self, models, inference, metrics, seconds=0):
        self.models = models
        self.inference = inference
        self.metrics = metrics
        self.seconds = seconds
        self._calls = {
            routes.PREDICT: self._predict,
            routes.CLASSIFY: self._classify,
            routes.REGRESS: self._regress,
        }

    async def answer(self, method, path, body, alone=False):
        """One answer, whatever comes.

        Args:
            method: str.
            path: str, with the query string.
            body: bytes.
            alone: bool. Whether nobody else asks; see `Batcher.run`. Defaults to `False`.

        Returns:
            (int, bytes): HTTP status and JSON.
        """
        start, route, version = time.perf_counter(), None, None
        code = errors.OK
        try:
            route = routes.parse_route(method, path)
            if route.call == routes.STATUS:
                return 200, write_status(self.models.status(route.name, route.number))
            if route.call == routes.METADATA:
                version = self._find(route)
                return 200, write_metadata(route.name, version.number, version.definitions)
            call = self._calls[route.call](route, body, alone and len(body) < LARGE)
            return 200, await within(self.seconds, call)
        except Exception as error:
            told = as_serving_error(error)
            code = told.code
            if isinstance(error, routes.UnusableVersion):
                return told.http, b""
            return told.http, write_error(told.message)
        finally:
            if route and route.call in self._calls and self.models.knows(route.name):
                self._record(route, code, time.perf_counter() - start)

    def refused(self, method, path, error):
        """Counts a request that was answered with a ServingError before it could be read."""
        try:
            route = routes.parse_route(method, path)
        except errors.ServingError:
            return
        if route.call in self._calls and self.models.knows(route.name):
            self._record(route, error.code, 0)

    def _record(self, route, code, seconds):
        self.metrics.count("request_count", model_name=route.name, status=code_name(code))
        if code == errors.OK:
            self.metrics.observe(
                "request_latency",
                seconds * 1e6,
                model_name=route.name,
                API=route.call.capitalize(),
                entrypoint="REST",
            )

    def _find(self, route):
        return self.models.find(route.name, route.number, route.label)

    async def _predict(self, route, body, alone):
        document, signature_name = await off_loop(len(body), read_object, body)
        with self._find(route).in_use() as version:
            signature = find_signature(
                version.signatures,
                signature_name,
                lambda name: invalid(
                    f'Serving signature name: "{name}" not found in signature def'
                ),
            )
            inputs, layout = await off_loop(len(body), _arrays, document, signature.dtypes)
            arrays = await self.inference.run(signature, inputs, alone)
            outputs = {
                name: (array, dtype)
                for (name, dtype), array in zip(signature.outputs.items(), arrays, strict=True)
            }
        return write_answer(outputs, layout)

    async def _classify(self, route, body, alone):
        document, signature_name = await off_loop(len(body), read_object, body)
        given = await off_loop(len(body), read_examples, document)
        with self._find(route).in_use() as version:
            found = await self.inference.classify(version, signature_name, given, alone)
            return write_classes(found)

    async def _regress(self, route, body, alone):
        document, signature_name = await off_loop(len(body), read_object, body)
        given = await off_loop(len(body), read_examples, document)
        with self._find(route).in_use() as version:
            found = await self.inference.regress(version, signature_name, given, alone)
            return write_regressions(found)


def _arrays(document, dtypes):
    values, layout = read_inputs(document, dtypes)
    return {name: value.to_array() for name, value in values.items()}, layout
