"""How near a build comes to the time its teacher alone takes, and whether memory stays flat as a set grows.

    python benchmarks/ver_calls.py [--records 2000] [--concurrency 32] [--latency 1.0] [--flat 50000]

The teacher is served over HTTP by a process of its own and answers every call after a fixed time. The peer is the
ideal: records x latency / concurrency. The records go through a step of the build with its table, cache and ledger.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import socketserver
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from emotion_qwen.ver.pools import ThreadPool, outcomes
from emotion_qwen.ver.settings import CallSettings, TeacherSettings
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.table import StepTable, value_digest
from emotion_qwen.ver.teachers.calls import Caller, Ledger

COLUMNS = {"clip": "text", "en": "text"}


def serve(latency: float, told: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(latency)
            usage = {"prompt_tokens": 5000, "completion_tokens": 400}
            data = json.dumps({"choices": [{"message": {"content": "x" * 1200}}], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server: socketserver.TCPServer = Server(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


def build(folder: Path, records: int, caller: Caller | None, concurrency: int) -> Iterator[int]:
    """Run one step over synthetic records; yield how many are done."""

    def work(item: Row) -> list[Row]:
        text = caller.ask([{"role": "user", "content": item["clip"]}]).text if caller else "x" * 1200
        return [{"clip": item["clip"], "en": text}]

    table = StepTable(folder, "describe", COLUMNS, "benchmark")
    table.open()
    items = ({"clip": f"clip-{number:07d}"} for number in range(records))
    with closing(outcomes(ThreadPool(work, concurrency), work, items)) as results:
        for done, (item, rows) in enumerate(results, 1):
            assert isinstance(rows, list)
            table.append(item["clip"], rows)
            yield done
    table.finish(f"clip-{number:07d}" for number in range(records))
    assert table.is_done(value_digest([f"clip-{number:07d}" for number in range(records)]))


def resident() -> float:
    """Return what this process holds, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--flat", type=int, default=50_000)
    chosen = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(chosen.latency, theirs), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = CallSettings(concurrency=chosen.concurrency)
        teacher = TeacherSettings(kind="endpoint", url=url, model="m", structured="none")
        ledger = Ledger(folder / "ledger.jsonl", calls)
        caller = Caller(teacher, calls, folder / "answers", ledger)
        began = time.monotonic()
        list(build(folder / "calls", chosen.records, caller, chosen.concurrency))
        took = time.monotonic() - began
        ideal = chosen.records * chosen.latency / chosen.concurrency
        print(f"{chosen.records} records: {took:.1f} s, ideal {ideal:.1f} s, ratio {took / ideal:.3f}")
        assert ledger.calls == chosen.records
    server.kill()
    with tempfile.TemporaryDirectory() as name:
        marks = {chosen.flat // 50: 0.0, chosen.flat // 2: 0.0, chosen.flat: 0.0}
        for done in build(Path(name), chosen.flat, None, chosen.concurrency):
            if done in marks:
                marks[done] = resident()
        marks_told = ", ".join(f"{size:.0f} MiB after {done:,}" for done, size in marks.items())
        print(f"memory: {marks_told}, {resident():.0f} MiB after the table is written")


if __name__ == "__main__":
    main()
