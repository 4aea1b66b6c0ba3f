"""Numbers for Prometheus, in its text format (version 0.0.4), without a library: counters, gauges, histograms."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_HELP = {
    "requests_total": ("counter", "Requests answered, by route and status."),
    "generated_tokens_total": ("counter", "Tokens written."),
    "prompt_tokens_total": ("counter", "Tokens of prompts read."),
    "cancelled_total": ("counter", "Requests whose client went away."),
    "refused_media_total": ("counter", "Media refused, by code."),
    "request_seconds": ("histogram", "Time of a request, by route."),
    "first_token_seconds": ("histogram", "Time to the first token of an answer."),
    "decode_seconds": ("histogram", "Time to decode the media of a request."),
    "running": ("gauge", "Answers being written."),
    "waiting": ("gauge", "Requests waiting for a slot."),
    "analyses": ("gauge", "Reports being made or waiting."),
    "decoder_deaths_total": ("counter", "Decoding processes that died at a medium."),
    "resident_bytes": ("gauge", "Memory of the server process."),
}


class Metrics:
    """Counts and times of one server; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._times: dict[str, dict[tuple[tuple[str, str], ...], list[float]]] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            series = self._values.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            series[key] = series.get(key, 0) + by

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram."""
        with self._lock:
            series = self._times.setdefault(name, {})
            row = series.setdefault(tuple(sorted(labels.items())), [0.0] * (len(BUCKETS) + 2))
            for number, bound in enumerate(BUCKETS):
                row[number] += seconds <= bound
            row[-2] += 1
            row[-1] += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return everything in Prometheus' text format, with values that are known only now."""
        lines = []
        with self._lock:
            values = dict(self._values)
            values.update({name: {(): value} for name, value in gauges.items()})
            for name, (kind, told) in _HELP.items():
                series, times = values.get(name, {}), self._times.get(name, {})
                if not series and not times:
                    continue
                full = f"emotion_qwen_{name}"
                lines += [f"# HELP {full} {told}", f"# TYPE {full} {kind}"]
                lines += [f"{full}{_labels(key)} {value:g}" for key, value in sorted(series.items())]
                for key, row in sorted(times.items()):
                    bounds = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]
                    lines += [
                        f"{full}_bucket{_labels((*key, ('le', bound)))} {row[number]:g}"
                        for number, bound in enumerate(bounds)
                    ]
                    lines += [f"{full}_count{_labels(key)} {row[-2]:g}", f"{full}_sum{_labels(key)} {row[-1]:.6g}"]
        return "\n".join(lines) + "\n"


def _labels(pairs: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}" if pairs else ""


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    told = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(told[0].split()[1]) * 1024 if told else 0
