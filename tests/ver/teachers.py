"""A teacher served over HTTP by the test: it answers as it is told, and counts what it was asked and answered."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD: dict[str, dict[str, Any]] = {
    "en": {
        "facial_cues": ["0.0 s: the brows are relaxed and the corners of the mouth are drawn up"], "body": "upright",
        "voice": "", "scene": "a plain room in even light", "context": "",
        "reasoning": "The corners of the mouth are drawn up and the eyes are narrowed, which speaks for happiness.",
        "description": "The person looks at the camera with raised corners of the mouth and narrowed eyes. The posture "
        "is upright and at ease. Taken together the person is happy.",
        "emotions": ["happy"],
    },
    "zh": {
        "facial_cues": ["第 0.0 秒：眉头放松，嘴角上扬"], "body": "身体挺直", "voice": "", "scene": "光线均匀的房间",
        "context": "", "reasoning": "嘴角上扬，眼睛微眯，这些迹象都支持高兴的判断。",
        "description": "这个人看着镜头，嘴角上扬，眼睛微微眯起，身体挺直而放松。综合来看，此人心情高兴，状态自在。",
        "emotions": ["高兴"],
    },
}  # fmt: skip


class Asked:
    """One request: its payload, language, kind ("describe" or "read"), and how many faces it says were measured."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self.payload = payload
        self.texts = "\n".join(
            part["text"]
            for message in payload["messages"]
            for part in ([{"type": "text", "text": message["content"]}]
                         if isinstance(message["content"], str) else message["content"])
            if part["type"] == "text"
        )  # fmt: skip
        self.kind = "describe" if payload["messages"][0]["role"] == "system" else "read"
        first = payload["messages"][0]["content"]
        self.language = "zh" if re.search("[\u4e00-\u9fff]", first if isinstance(first, str) else "") else "en"
        faces = re.search(r"Measured: (\d+) face|跟踪到 (\d+) 张", self.texts)
        self.faces = int(faces[1] or faces[2]) if faces else 0
        told = {key: value for key, value in payload.items() if key != "response_format"}
        self.key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def good(self, **changes: Any) -> str:
        """Return a good answer as JSON."""
        if self.kind == "read":
            return json.dumps({"emotion": changes.get("emotion", {"en": "happy", "zh": "高兴"}[self.language])})
        numbers = {"people": self.faces, "speaker": 0, "valence": 0.7, "arousal": 0.2}
        pictures = [part for part in self.payload["messages"][1]["content"] if part["type"] == "image_url"]
        view = hashlib.sha256(json.dumps(pictures).encode()).hexdigest()[:6]  # no two clips are told of in one text
        told = {"reasoning": GOOD[self.language]["reasoning"] + f" ({view})"}
        return json.dumps({**GOOD[self.language], **numbers, **told, **changes}, ensure_ascii=False)


Reply = tuple[int, str, dict[str, str]]
Script = Callable[[Asked], "Reply | str"]


class ServedTeacher:
    """The server; `script` answers a request with a text, or with (status, body, headers)."""

    def __init__(self, script: Script | None = None, delay: float = 0.0) -> None:
        self.script: Script = script or (lambda asked: asked.good())
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.most_at_once = self._now = 0
        self.hold_after: int | None = None
        """Answer so many requests, then hold all others back until `release` is set."""
        self.release = threading.Event()
        self.lock = threading.Lock()
        self.requests: list[Asked] = []
        teacher = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                teacher.answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> ServedTeacher:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = Asked(json.loads(handler.rfile.read(int(handler.headers["Content-Length"]))))
        with self.lock:
            self.asked[asked.key] += 1
            self.requests.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            held = self.hold_after is not None and sum(self.answered.values()) >= self.hold_after
            if not held:
                reply = self.script(asked)
                if isinstance(reply, str):
                    self.answered[asked.key] += 1
        try:
            if held:
                self.release.wait(60)
                return
            if self.delay:
                time.sleep(self.delay)
            status, body, headers = (200, _envelope(reply), {}) if isinstance(reply, str) else reply
            self.statuses[status] += 1
            data = body.encode()
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.lock:
                self._now -= 1


def _envelope(text: str) -> str:
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})
