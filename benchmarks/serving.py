"""How many requests a second does the server answer at once, against the same server asked one after another?

Each request sends one 224-pixel picture and gets exactly 64 tokens (`ignore_eos`). The same server process is asked by
one client, then by 16 at once; then by one again, so that a change of the machine in between shows. Told are requests
per second, their ratio, the median and the 95th percentile of the time a request takes, the server's memory before, at
the most and afterwards, and whether every answer is that of a request alone.

    python benchmarks/serving.py                     # starts `emotion-qwen serve` on a free port; about two minutes
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
import threading
import time
from contextlib import ExitStack, contextmanager

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
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of the server")
    parser.add_argument("--url", default=None)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        url = chosen.url or stack.enter_context(started(chosen.threads))
        print(json.dumps(measure(url, chosen.clients, chosen.seconds), indent=2))


if __name__ == "__main__":
    main()
