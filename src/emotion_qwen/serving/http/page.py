"""The page at `/`: a document, scripts and a style sheet without external resources; it uses the public API."""

from __future__ import annotations

import json
import threading
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from emotion_qwen.batch.demo import make_demo_clip
from emotion_qwen.extras import install_command
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.live import SPAN
from emotion_qwen.serving.http.texts import TEXTS
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.service import Service
from emotion_qwen.taxonomy import LABEL_SETS, coordinates
from emotion_qwen.views.colours import colour_of
from emotion_qwen.views.html import policy_hashes

EXAMPLES = ("astronaut.mp4", "astronaut.jpg")
SCRIPTS = ("main.js", "shared.js", "report.js", "chat.js", "live.js", "sound.js", "api.js")
SWAGGER = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
"""Files of the API page, from the package `fastapi_offline`, which brings Swagger UI without external resources."""
API_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Emotion-Qwen: API</title><link rel="icon" href="/web/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/web/swagger-ui.css"></head>
<body><main id="api"></main>
<script src="/web/swagger-ui-bundle.js"></script><script src="/web/api.js"></script></body></html>
"""
API_POLICY = "; ".join(  # Swagger UI sets styles of its elements
    ["default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "connect-src 'self'",
     "img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
)  # fmt: skip
FILES = {"style.css": "text/css", "icon.svg": "image/svg+xml", **dict.fromkeys(SCRIPTS, "text/javascript")}


@cache
def _asset(name: str) -> str:
    return (files("emotion_qwen.serving") / "web" / name).read_text(encoding="utf-8")


@cache
def _swagger(name: str) -> bytes:
    """Return a file of Swagger UI.

    Raises:
        ApiError: the package is not installed.
    """
    try:
        return (files("fastapi_offline") / "static" / name).read_bytes()
    except ModuleNotFoundError as error:
        raise ApiError(404, f"the page needs a package: {install_command('serve')}", "not_found") from error


def policy() -> str:
    """Return the page's content security policy: it allows its own files, and a report's script and style."""
    script, style = policy_hashes()
    return "; ".join(
        [
            "default-src 'none'", f"script-src 'self' '{script}'", f"style-src 'self' '{style}'", "connect-src 'self'",
            "img-src 'self' blob: data:", "media-src 'self' blob: data:", "frame-src blob:", "base-uri 'none'",
            "form-action 'none'", "frame-ancestors 'none'",
        ]
    )  # fmt: skip


def script_data(settings: ServeSettings) -> dict[str, Any]:
    """Return the data for the scripts: texts, labels with their names, colours and coordinates, and limits."""
    labels = sorted({label for label_set in LABEL_SETS.values() for label in label_set.labels})
    names: dict[str, tuple[str, str]] = {}
    for label_set in LABEL_SETS.values():
        for label, english, chinese in zip(label_set.labels, label_set.names("en"), label_set.names("zh"), strict=True):
            names.setdefault(label, (english, chinese))
    return {
        "texts": TEXTS,
        "label_sets": {
            name: {"labels": label_set.labels, "source": label_set.source} for name, label_set in LABEL_SETS.items()
        },
        "names": names,
        "colours": {label: colour_of(label) for label in labels},
        "places": {label: coordinates(label) for label in labels},
        "media_bytes": min(settings.media_bytes, settings.body_bytes),
        "body_bytes": settings.body_bytes,
        "live": settings.live > 0,
        "span": SPAN,
    }


def document(settings: ServeSettings) -> str:
    """Return the page with the data for its scripts."""
    data = json.dumps(script_data(settings), ensure_ascii=False).replace("<", "\\u003c")
    return _asset("index.html").replace("FACTS", data)


def _example(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    if (folder / name).exists():
        return folder / name
    if name == "astronaut.mp4":
        return make_demo_clip(folder / name)
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / name)
    return folder / name


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the page, its files and the examples."""
    settings, lock = service.settings, threading.Lock()

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        headers = {"Content-Security-Policy": policy(), "Permissions-Policy": "camera=(self), microphone=(self)"}
        return Response(document(settings), media_type="text/html", headers=headers)

    @app.get("/web/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name in SWAGGER:
            return Response(_swagger(name), media_type=SWAGGER[name])
        if name not in FILES:
            raise ApiError(404, "no such file of the page", "not_found")
        return Response(_asset(name), media_type=FILES[name])

    @app.get("/docs", include_in_schema=False)
    async def api() -> Response:
        _swagger("swagger-ui.css")  # refuses without the package
        return Response(API_PAGE, media_type="text/html", headers={"Content-Security-Policy": API_POLICY})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(_asset("icon.svg"), media_type=FILES["icon.svg"])

    @app.get("/examples/{name}", include_in_schema=False)
    def example(name: str) -> Response:
        if name not in EXAMPLES:
            raise ApiError(404, f"no such example; there are {', '.join(EXAMPLES)}", "not_found")
        with lock:
            return FileResponse(_example(name, service.decoders.folder / "examples"))
