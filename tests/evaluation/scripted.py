"""An endpoint and a model whose answers a test sets, and a small invented task."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from emotion_qwen.evaluation.run.predictions import prediction
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.faces import Detections
from emotion_qwen.taxonomy import label_set

FER7 = label_set("fer7")


def said(text: str) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def asked(request: dict) -> str:
    """Return the last text of a request."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@contextmanager
def scripted_server(answer: Callable[[dict], tuple[int, str]]):
    """Serve `answer`, request -> (status, body); yields the address and the list of requests with their headers."""
    requests: list[tuple[dict, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((body, dict(self.headers)))
            status, text = answer(body)
            if status == 0:  # hangs up
                time.sleep(float(text))
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()


class Echo:
    """Answers at once, and stops at an item if told to."""

    name, whole_batches = "echo", False

    def __init__(self, stop_at: int | None = None, size: int = 2):
        self.stop_at, self.size, self.asked = stop_at, size, []

    def side_of(self, task):
        return 32

    def ahead(self, task, items):
        self.announced = [item.id for item in items]
        return nullcontext()

    def header(self, task, split):
        return {"task": task.column, "split": split, "scoring": "echo", "model": self.name, "weights": "w"}

    def batches(self, task, items):
        return [list(items[start : start + self.size]) for start in range(0, len(items), self.size)]

    def answer(self, task, items):
        for item in items:
            if len(self.asked) == self.stop_at:
                raise KeyboardInterrupt
            self.asked.append(item.id)
            yield prediction(item, text=f"reply to {item.id}", answerer=self.name)


def everywhere(frame: np.ndarray) -> Detections:
    """Find one face that fills the frame."""
    height, width = frame.shape[:2]
    return Detections(np.array([[0, 0, width, height]], np.float32), np.array([0.9], np.float32))


def nobody(frame: np.ndarray) -> Detections:
    """Find no face."""
    return Detections.none()


class Made:
    """A source of given items."""

    def __init__(self, items: Sequence[Item]):
        self.made = list(items)

    def check(self, data: Path | None) -> None:
        pass

    def items(self, data, split, languages, side, limit):
        return [item for item in self.made if item.language in languages][:limit]


def emotion_item(number: int, label: str = "happiness", language: str = "en", **changed) -> Item:
    picture = np.full((32, 32, 3), 20 + number, np.uint8)
    names = dict(zip(FER7.labels, FER7.names(language), strict=True))
    fields = {
        "parts": ({"type": "image", "image": picture},),
        "question": f"Question {number}: which emotion?",
        "choices": tuple(names.values()),
        "answer": names.get(label, label),
        "group": label,
        "references": (label,),
        "options": FER7.labels,
    }
    return Item(f"toy/{number}", language, **{**fields, **changed})


def toy(items: Sequence[Item], domain: str = "emotion", **changed) -> Task:
    fields = {"answered": "text", "score": lambda i, a: score_labels(i, a, FER7), "max_new_tokens": 8}
    return Task("toy", "A toy", domain, Made(items), **{**fields, **changed})
