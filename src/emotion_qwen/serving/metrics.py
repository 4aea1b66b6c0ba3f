"""Metrics of the server for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds."""
NAMESPACE = "emotion_qwen"
_WATCHED: dict[str, tuple[type[CounterMetricFamily] | type[GaugeMetricFamily], str]] = {
    "running": (GaugeMetricFamily, "Running answers."),
    "waiting": (GaugeMetricFamily, "Requests waiting for a slot."),
    "analyses": (GaugeMetricFamily, "Running and waiting reports."),
    "generated_tokens": (CounterMetricFamily, "Tokens generated."),
    "decoder_deaths": (CounterMetricFamily, "Decoding processes that died."),
}


class Metrics(Collector):
    """Metrics of one server; thread-safe.

    Args:
        watched: returns the current values of the metrics in `_WATCHED`; called at every scrape.
    """

    def __init__(self, watched: Callable[[], Mapping[str, float]]) -> None:
        self._watched = watched
        registry = self._registry = CollectorRegistry()  # not the global one: a process may have several servers

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(name, description, labels, namespace=NAMESPACE, registry=registry)

        def histogram(name: str, description: str, *labels: str) -> Histogram:
            return Histogram(name, description, labels, namespace=NAMESPACE, registry=registry, buckets=BUCKETS)

        self.requests = counter("requests", "Requests answered, by route and status.", "route", "status")
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts.")
        self.cancelled = counter("cancelled", "Requests whose client disconnected.")
        self.refused_media = counter("refused_media", "Media refused, by code.", "code")
        self.request_seconds = histogram("request_seconds", "Time of a request, by route.", "route")
        self.first_token_seconds = histogram("first_token_seconds", "Time to the first token of an answer.")
        self.decode_seconds = histogram("decode_seconds", "Time to decode a medium.")
        ProcessCollector(namespace=NAMESPACE, registry=registry)
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the current values of the watched metrics."""
        for name, value in self._watched().items():
            family, description = _WATCHED[name]
            yield family(f"{NAMESPACE}_{name}", description, value=value)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
