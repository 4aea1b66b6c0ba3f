"""The page at `/`: a document, a script, a style, nothing from elsewhere; it uses the same routes as everybody."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from emotion_qwen.inference.colours import colour_of
from emotion_qwen.inference.demo import make_demo_clip
from emotion_qwen.inference.page import policy_hashes
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.taxonomy import LABEL_SETS

EXAMPLES = ("astronaut.mp4", "astronaut.jpg")


@cache
def _asset(name: str) -> str:
    return (files("emotion_qwen.serving") / name).read_text(encoding="utf-8")


def policy() -> str:
    """Return the page's content security policy: its own files, and the report's script and style in a frame."""
    script, style = policy_hashes()
    return "; ".join(
        [
            "default-src 'none'", f"script-src 'self' '{script}'", f"style-src 'self' '{style}'", "connect-src 'self'",
            "img-src 'self' blob: data:", "media-src 'self' blob: data:", "frame-src blob:", "base-uri 'none'",
            "form-action 'none'", "frame-ancestors 'none'",
        ]
    )  # fmt: skip


@cache
def document() -> str:
    """Return the page, with the names and colours of all labels."""
    labels = sorted({label for known in LABEL_SETS.values() for label in known.labels})
    names: dict[str, dict[str, str]] = {}
    for known in LABEL_SETS.values():
        for label, english, chinese in zip(known.labels, known.names("en"), known.names("zh"), strict=True):
            names.setdefault(label, {"en": english, "zh": chinese})
    facts = {
        "label_sets": list(LABEL_SETS),
        "names": names,
        "colours": {label: colour_of(label) for label in labels},
    }
    return _asset("page.html").replace("FACTS", json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c"))


@cache
def _example(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="emotion-qwen-examples-"))
    if name == "astronaut.mp4":
        return make_demo_clip(folder / name)
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / name)
    return folder / name


def add_routes(app: FastAPI) -> None:
    """Add the page, its files and the examples."""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        headers = {"Content-Security-Policy": policy(), "Permissions-Policy": "camera=(self), microphone=(self)"}
        return Response(document(), media_type="text/html", headers=headers)

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return Response(_asset("page.js"), media_type="text/javascript")

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return Response(_asset("page.css"), media_type="text/css")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)

    @app.get("/examples/{name}", include_in_schema=False)
    def example(name: str) -> Response:
        if name not in EXAMPLES:
            raise ApiError(404, f"no such example; there are {', '.join(EXAMPLES)}", "not_found")
        return FileResponse(_example(name))
