"""Counts and latencies for Prometheus, under TensorFlow Serving's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from keras_peterrec.server.errors import OK, code_name

if TYPE_CHECKING:
    from keras_peterrec.server.loaded_version import LoadedVersion, Signature
    from keras_peterrec.server.models import Models

_PREFIX = ":tensorflow:serving:"
_BUCKETS = [10 * 1.8**n for n in range(33)]  # latencies are in microseconds
_REQUESTS = f"{_PREFIX}request_count"


class Metrics:
    """The counter and the histograms of one server."""

    def __init__(self) -> None:
        # A registry of its own: the default one is shared by all servers of a process.
        self._registry = CollectorRegistry()
        self._requests = Counter(
            _REQUESTS, "Requests.", ["model_name", "status"], registry=self._registry
        )
        self._request_latency = self._histogram(
            "request_latency", "Microseconds of a request.", "model_name", "API", "entrypoint"
        )
        self._events = Counter(
            "keras_peterrec_history_events",
            "Events of the histories that were asked, by whether the model knows their items.",
            ["model_name", "signature_name", "known"],
            registry=self._registry,
        )
        self._event_counters = {}
        self._run_latency = self._histogram(
            "runtime_latency", "Microseconds of a run.", "model_name", "API", "runtime"
        )
        self._batch_size = self._histogram(
            "batching_session:processed_batch_size", "Rows of a run.", "model_name"
        )
        self._warmup_latency = self._histogram(
            "model_warmup_latency", "Microseconds of a version's warm-up.", "model_path"
        )

    def record_request(
        self, models: Models, model: str, api: str, entrypoint: str, code: int, seconds: float
    ) -> None:
        """Counts a request; if it was answered well, also how long that took.

        Names that clients make up are not counted, or they would fill the memory.

        Args:
            api: str, such as `"Predict"`.
            entrypoint: `"REST"` or `"GRPC"`.
            code: int, of `errors`.
        """
        if not models.knows(model):
            return
        self._requests.labels(model, code_name(code)).inc()
        if code == OK:
            self._request_latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def count_events(self, model: str, signature: str, known: int, unknown: int) -> None:
        """Counts events of histories whose items a model knows, and others."""
        counters = self._event_counters.get((model, signature))
        if counters is None:  # to find one by its labels takes longer than to count
            counters = [self._events.labels(model, signature, known) for known in ("true", "false")]
            self._event_counters[model, signature] = counters
        for counter, events in zip(counters, (known, unknown)):
            if events:
                counter.inc(events)

    def observe_run(self, signature: Signature, requests: int, rows: int, seconds: float) -> None:
        """Records a run; see `Batcher`."""
        self._run_latency.labels(signature.model, "Predict", "TF1").observe(seconds * 1e6)
        self._batch_size.labels(signature.model).observe(rows)

    def observe_load(self, path: str, version: LoadedVersion) -> None:
        """Records how long the warm-up of the version at `path` took."""
        self._warmup_latency.labels(str(path)).observe(version.warmup_seconds * 1e6)

    def requests(self) -> int:
        """The number of requests so far."""
        (metric,) = self._requests.collect()
        return int(sum(s.value for s in metric.samples if s.name.endswith("_total")))

    def page(self) -> Any:
        """All metrics in Prometheus' text format, as bytes."""
        # The library ends the names of counters in _total, TensorFlow Serving does not.
        return generate_latest(self).replace(f"{_REQUESTS}_total".encode(), _REQUESTS.encode())

    def collect(self) -> Any:
        """Yields all metrics to the library, without the times at which they began."""
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric

    def _histogram(self, name, text, *labels):
        return Histogram(_PREFIX + name, text, labels, registry=self._registry, buckets=_BUCKETS)
