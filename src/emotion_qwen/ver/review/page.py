"""The review page: clips with boxes and timeline, texts in both languages, and decisions with reviewer and time.

A small server for this machine only: it has no login, accepts only its own address, and shows the decisions of others
only after the reviewer has decided.
"""

from __future__ import annotations

import json
import socket
import threading
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from emotion_qwen.errors import DataError, EmotionQwenError
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.export import export
from emotion_qwen.ver.stats import reviewer_agreement
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.decisions import ACTIONS, FILE, Decisions
from emotion_qwen.ver.store.folder import SetFolder

PAGE = Path(__file__).with_name("review.html")
LARGEST = 1 << 20  # bytes of a request
JSON = "application/json"
_SHOWN = ("clip", "label", "source", "start", "end", "people", "speaker", "teacher", "voice_en", "voice_zh", "license")
_PACKED = ("en", "zh", "tracks", "words", "objections", "read")


class Reviews:
    """A set under review: its clips, packed in memory, and the decisions about them.

    Args:
        folder: of the set.

    Raises:
        DataError: the check is not done, or accepted nothing.
    """

    def __init__(self, folder: SetFolder) -> None:
        self.folder = folder
        self.decisions = Decisions(folder.output / FILE)
        labels = label_set(folder.settings.describe.labels)
        self.names = {
            language: dict(zip(labels.labels, labels.names(language), strict=True)) for language in ("en", "zh")
        }
        self._clips = {row["clip"]: _pack(row) for row in folder.evidence("listen", "describe", "check")}
        self._index = [
            {"clip": name, "label": json.loads(zlib.decompress(data))["label"]} for name, data in self._clips.items()
        ]
        self._lock = threading.Lock()
        if not self._clips:
            raise DataError(f"set {str(folder.output)!r} holds no accepted clip; there is nothing to review")

    def overview(self, reviewer: str) -> Row:
        """Return all clips with the reviewer's decision, and with those of others if the reviewer has decided."""
        latest = self.decisions.latest()
        clips = []
        for entry in self._index:
            decisions = latest.get(entry["clip"], {})
            mine = decisions.get(reviewer)
            clips.append(
                {
                    **entry,
                    "own": mine.action if mine else "",
                    "conflict": mine is not None and len({decision.keeps for decision in decisions.values()}) > 1,
                }
            )
        return {"clips": clips, "actions": ACTIONS, "names": self.names, "agreement": self.agreed(reviewer)}

    def clip(self, name: str, reviewer: str) -> Row:
        """Return one clip with its texts and facts, and the decisions that the reviewer may see.

        Raises:
            DataError: there is no such clip.
        """
        if name not in self._clips:
            raise DataError(f"clip {name!r} is not in this set; reload the page")
        return {**json.loads(zlib.decompress(self._clips[name])), "decisions": self.visible(name, reviewer)}

    def visible(self, name: str, reviewer: str) -> list[Row]:
        """Return the decisions about a clip that a reviewer may see: none before the reviewer's own decision."""
        decisions = self.decisions.latest(name).get(name, {})
        return [asdict(decision) for decision in decisions.values()] if reviewer in decisions else []

    def decide(self, fields: Row) -> list[Row]:
        """Store a decision and return the decisions that the reviewer may now see.

        Raises:
            DataError: the request is invalid.
        """
        name, reviewer = str(fields.get("clip", "")), str(fields.get("reviewer", "")).strip()
        if name not in self._clips:
            raise DataError(f"clip {name!r} is not in this set; reload the page")
        edits = fields.get("edits") or {}
        if not isinstance(edits, dict) or not all(isinstance(texts, dict) for texts in edits.values()):
            raise DataError(f"edits {edits!r}; expected language -> field -> text")
        self.decisions.add(name, reviewer, str(fields.get("action", "")), edits, str(fields.get("note", "")))
        return self.visible(name, reviewer)

    def agreed(self, reviewer: str) -> Row:
        """Return the agreement over the clips that this reviewer has decided; others stay hidden."""
        history = self.decisions.history()
        mine = {name: made for name, made in history.items() if any(decision.reviewer == reviewer for decision in made)}
        return reviewer_agreement(mine)

    def export(self) -> Row:
        """Write the decisions into the set; errors are those of `export`."""
        with self._lock:
            export(self.folder)
        figures = json.loads((self.folder.output / "stats.json").read_text(encoding="utf-8"))
        return {
            "clips": figures["clips"],
            "hours": figures["hours"],
        }  # no agreement: it covers what others alone decided

    def media(self, name: str) -> Path | None:
        """Return the file of a clip in this set, or None."""
        known = name.removesuffix(".mp4") in self._clips and name.endswith(".mp4")
        return self.folder.clips / name if known else None


def _pack(row: Row) -> bytes:
    shown = {name: row[name] for name in _SHOWN}
    for name in _PACKED:
        shown[name] = json.loads(row[name]) if row[name] else None
    return zlib.compress(json.dumps({**shown, "media": row["media"]}, ensure_ascii=False).encode())


def application(reviews: Reviews, host: str, port: int) -> Starlette:
    """Return the web application of the page; see the module."""
    names = (host, "localhost", "127.0.0.1", "[::1]")
    allowed = {f"{name}:{port}" for name in names} if host in ("127.0.0.1", "localhost", "::1") else None

    async def guarded(request: Request, answer: RequestResponseEndpoint) -> Response:
        """Refuse requests to another host name (DNS rebinding) and bodies that are not JSON."""
        length = request.headers.get("Content-Length", "0")
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        # Browsers block JSON from pages of other sites, because the server does not allow it.
        foreign = kind != JSON or not length.isdecimal() or int(length) > LARGEST
        if allowed is not None and request.headers.get("Host") not in allowed:
            response: Response = PlainTextResponse("wrong host", 403)
        elif request.method == "POST" and foreign:
            response = PlainTextResponse("expected JSON", 400)
        else:
            response = await answer(request)
        response.headers.update({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
        return response

    def page(_: Request) -> Response:
        return FileResponse(PAGE, media_type="text/html")

    def overview(request: Request) -> Response:
        return _json(reviews.overview(_reviewer(request)))

    def clip(request: Request) -> Response:
        return _json(reviews.clip(request.path_params["name"], _reviewer(request)))

    def media(request: Request) -> Response:
        file = reviews.media(request.path_params["name"])
        return FileResponse(file, media_type="video/mp4") if file else PlainTextResponse("not found", 404)

    async def decide(request: Request) -> Response:
        fields = json.loads(await request.body())
        return _json({"decisions": await run_in_threadpool(reviews.decide, fields)})

    def export_set(_: Request) -> Response:
        return _json(reviews.export())

    def refused(_: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, 400)

    routes = [
        Route("/", page), Route("/api/clips", overview), Route("/api/clip/{name}", clip), Route("/media/{name}", media),
        Route("/api/decide", decide, methods=["POST"]), Route("/api/export", export_set, methods=["POST"]),
    ]  # fmt: skip
    faults = dict.fromkeys((EmotionQwenError, ValueError, AttributeError), refused)
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, guarded)], exception_handlers=faults)


def _reviewer(request: Request) -> str:
    return request.query_params.get("reviewer", "").strip()


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), status, media_type=JSON)


def server(folder: SetFolder, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    """Return the server of a set and its open socket; port 0 takes a free one.

    Raises:
        DataError: there is nothing to review, or the address is taken.
    """
    reviews = Reviews(folder)
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise DataError(f"{host}:{port} cannot be served on ({error.strerror}); give another --port") from error
    app = application(reviews, host, listening.getsockname()[1])
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")), listening


def serve(folder: SetFolder, host: str, port: int) -> None:
    """Serve the review page until interrupted; errors are those of `server`."""
    opened, listening = server(folder, host, port)
    place = f"http://{host}:{listening.getsockname()[1]}/"
    click.echo(f"review {folder.output} at {place} (Ctrl+C stops the server; decisions are kept)")
    try:
        opened.run(sockets=[listening])
    except KeyboardInterrupt:
        click.echo("stopped")
