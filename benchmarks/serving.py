"""How many requests a second does the server answer at once, against the same server asked one after another?

Each request sends one 224-pixel picture and gets exactly 64 tokens (`ignore_eos`). The same server process is asked by
one client, then by 16 at once; then by one again, so that a change of the machine in between shows. Told are requests
per second, their ratio, the median and the 95th percentile of the time a request takes, the server's memory before, at
the most and afterwards, and whether every answer is that of a request alone.

With `--reports 2`, instead: how much longer do the clients wait for their next token while so many others ask for
reports on a clip without a pause? Stretches with and without reports take turns, so that both see the same machine.

    python benchmarks/serving.py                     # starts `emotion-qwen serve` on a free port; about two minutes
    python benchmarks/serving.py --reports 2         # the gaps between tokens, beside reports and without them
    python benchmarks/serving.py --seconds 20 --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

PICTURES, SIDE, TOKENS = 8, 224, 64


def request_of(seed: int) -> dict:
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=90)
    url = f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "Which emotion does the person show?"},
    ]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": TOKENS, "ignore_eos": True}


class Load:
    """Clients that ask without a pause, each as soon as it has its answer."""

    def __init__(self, url: str, clients: int, seconds: float, known: dict[int, str]) -> None:
        self.url, self.clients, self.until, self.known = url, clients, time.monotonic() + seconds, known
        self.times: list[float] = []
        self.errors: list[str] = []
        self.others = 0

    def run(self) -> float:
        """Ask until the time is over; return requests per second."""
        began = time.monotonic()
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.times) / (time.monotonic() - began)

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=120) as client:
            while time.monotonic() < self.until:
                seed = number % PICTURES
                number += 1
                began = time.monotonic()
                answer = client.post(f"{self.url}/v1/chat/completions", json=REQUESTS[seed])
                if answer.status_code != 200:
                    self.errors.append(f"{answer.status_code} {answer.text[:200]}")
                    continue
                self.times.append(time.monotonic() - began)
                told = answer.json()
                if told["usage"]["completion_tokens"] != TOKENS:
                    self.errors.append(f"{told['usage']['completion_tokens']} tokens")
                self.others += (
                    self.known.setdefault(seed, told["choices"][0]["message"]["content"])
                    != (told["choices"][0]["message"]["content"])
                )


class Stretch:
    """Clients that read streamed answers, some of them beside others that ask for reports, for some seconds."""

    def __init__(self, url: str, clients: int, reports: int, seconds: float, clip: bytes) -> None:
        self.url, self.clip, self.until = url, clip, time.monotonic() + seconds
        self.gaps: list[float] = []
        self.firsts: list[float] = []
        self.reports, self.errors = 0, []
        threads = [threading.Thread(target=self._chat, args=(number,)) for number in range(clients)]
        threads += [threading.Thread(target=self._report) for _ in range(reports)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _chat(self, number: int) -> None:
        with httpx.Client(timeout=120) as client:
            while time.monotonic() < self.until:
                wanted = {**REQUESTS[number % PICTURES], "stream": True, "logprobs": True}  # a piece for every token
                number, last, first = number + 1, time.monotonic(), True
                with client.stream("POST", f"{self.url}/v1/chat/completions", json=wanted) as answer:
                    for line in answer.iter_lines():
                        if '"logprobs":{' in line:
                            now = time.monotonic()
                            (self.firsts if first else self.gaps).append(now - last)
                            last, first = now, False

    def _report(self) -> None:
        with httpx.Client(timeout=300) as client:
            while time.monotonic() < self.until:
                answer = client.post(f"{self.url}/v1/emotion/analyze", files={"file": ("clip.mp4", self.clip)})
                self.reports += answer.status_code == 200
                if answer.status_code != 200:
                    self.errors.append(answer.text[:200])


def measure_beside(url: str, clients: int, reports: int, seconds: float) -> dict:
    from emotion_qwen.batch.demo import make_demo_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = make_demo_clip(Path(folder) / "clip.mp4").read_bytes()
    Stretch(url, clients, reports, 5, clip)  # what is loaded late
    stretches = [(beside, Stretch(url, clients, beside, seconds / 6, clip)) for beside in (0, reports) * 3]
    gaps = {beside: [gap for b, s in stretches for gap in s.gaps if b == beside] for beside in (0, reports)}
    found = {
        name: {
            "median_ms": round(1000 * statistics.median(values), 1),
            "mean_ms": round(1000 * statistics.mean(values), 1),
            "p99_ms": round(1000 * sorted(values)[int(0.99 * len(values))], 1),
            "longest_ms": round(1000 * max(values), 1),
            "tokens": len(values),
        }
        for name, values in (("without", gaps[0]), ("beside", gaps[reports]))
    }
    return {
        **found,
        "ratio_of_medians": round(found["beside"]["median_ms"] / found["without"]["median_ms"], 2),
        "ratio_of_means": round(found["beside"]["mean_ms"] / found["without"]["mean_ms"], 2),
        "reports": sum(stretch.reports for _, stretch in stretches),
        "errors": [error for _, stretch in stretches for error in stretch.errors][:5],
    }


REQUESTS = [request_of(seed) for seed in range(PICTURES)]


def memory(url: str) -> float:
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return (
        next(float(line.split()[1]) for line in lines if line.startswith("emotion_qwen_process_resident_memory_bytes"))
        / 2**20
    )


@contextmanager
def started(threads: int):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "emotion_qwen.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def measure(url: str, clients: int, seconds: float) -> dict:
    alone: dict[int, str] = {}
    Load(url, 1, 0.001, alone).run()  # the first request of all pays for what is loaded late
    for seed in range(PICTURES):
        answer = httpx.post(f"{url}/v1/chat/completions", json=REQUESTS[seed], timeout=120).json()
        alone[seed] = answer["choices"][0]["message"]["content"]
    Load(url, clients, 3, alone).run()  # memory that only a full server takes, and keeps, is no leak
    time.sleep(1)
    before, peak, ended = memory(url), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(1.0):
            peak = max(peak, memory(url))

    watching = threading.Thread(target=watch)
    watching.start()
    loads = [Load(url, 1, seconds / 4, alone)]
    rates = [loads[0].run()]
    for count, share in ((clients, 1.0), (1, 0.25)):
        loads.append(Load(url, count, seconds * share, alone))
        rates.append(loads[-1].run())
    ended.set()
    watching.join()
    time.sleep(2)
    single, many = statistics.mean((rates[0], rates[2])), rates[1]
    times = sorted(loads[1].times)
    return {
        "requests_per_second_alone": [round(rates[0], 2), round(rates[2], 2)],
        f"requests_per_second_{clients}": round(many, 2),
        "ratio": round(many / single, 2),
        "median_seconds": round(statistics.median(times), 3),
        "p95_seconds": round(times[int(0.95 * len(times))], 3),
        "median_seconds_alone": round(statistics.median(loads[0].times + loads[2].times), 3),
        "requests": [len(load.times) for load in loads],
        "errors": [error for load in loads for error in load.errors][:5],
        "answers_unlike_alone": sum(load.others for load in loads),
        "memory_mib": {"before": round(before), "most": round(peak), "after": round(memory(url))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--reports", type=int, default=0, help="others that ask for reports meanwhile")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of the server")
    parser.add_argument("--url", default=None)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        url = chosen.url or stack.enter_context(started(chosen.threads))
        if chosen.reports:
            found = measure_beside(url, chosen.clients, chosen.reports, chosen.seconds)
        else:
            found = measure(url, chosen.clients, chosen.seconds)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
