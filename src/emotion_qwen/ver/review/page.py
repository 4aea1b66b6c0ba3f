"""The review page: clips with boxes and timeline, texts in both languages, and decisions with reviewer and time.

A small server for this machine only: it has no login, accepts only its own address, and shows the decisions of others
only after the reviewer has decided.
"""

from __future__ import annotations

import json
import socket
from importlib.resources import files
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

from emotion_qwen.errors import DataError, EmotionQwenError, MediaError
from emotion_qwen.ver.review.reviews import Reviews, clip_thumbnail
from emotion_qwen.ver.store.folder import SetFolder

LARGEST = 1 << 20  # bytes of a request
JSON = "application/json"
PARTS = {
    "": ("emotion_qwen.ver.review", "review.html", "text/html"),
    "base.css": ("emotion_qwen.views", "base.css", "text/css"),
    "review.css": ("emotion_qwen.ver.review", "review.css", "text/css"),
    **{name: ("emotion_qwen.ver.review", name, "text/javascript") for name in ("stage.js", "fields.js", "review.js")},
}
"""Address -> package, file and media type of the parts of the page."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
}


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
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def part(request: Request) -> Response:
        package, name, kind = PARTS.get(request.url.path[1:], ("", "", ""))
        if not package:
            return PlainTextResponse("not found", 404)
        return Response((files(package) / name).read_bytes(), media_type=kind)

    def overview(request: Request) -> Response:
        return _json(reviews.overview(_reviewer(request)))

    def rejected(request: Request) -> Response:
        return _json(reviews.rejected(_reviewer(request)))

    def clip(request: Request) -> Response:
        return _json(reviews.clip(request.path_params["name"], _reviewer(request)))

    def media(request: Request) -> Response:
        file = reviews.media(request.path_params["name"])
        return FileResponse(file, media_type="video/mp4") if file else PlainTextResponse("not found", 404)

    def small(request: Request) -> Response:
        file = reviews.media(f"{request.path_params['name']}.mp4")
        try:
            picture = clip_thumbnail(file) if file else b""
        except MediaError:
            picture = b""
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(picture, 200 if picture else 404, headers, "image/jpeg")

    async def decide(request: Request) -> Response:
        return _json(await run_in_threadpool(reviews.decide, json.loads(await request.body())))

    async def undo(request: Request) -> Response:
        return _json(await run_in_threadpool(reviews.undo, json.loads(await request.body())))

    def export_set(_: Request) -> Response:
        return _json(reviews.export())

    def refused(_: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, 400)

    routes = [
        Route("/api/clips", overview), Route("/api/rejected", rejected), Route("/api/clip/{name}", clip),
        Route("/media/{name}", media), Route("/small/{name}.jpg", small),
        Route("/api/decide", decide, methods=["POST"]), Route("/api/undo", undo, methods=["POST"]),
        Route("/api/export", export_set, methods=["POST"]), Route("/{name}", part), Route("/", part),
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
