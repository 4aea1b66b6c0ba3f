"""What every request passes before anything reads it: host, origin, key and size. Plain ASGI: streams stay streams."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.limits import ServeSettings

OPEN_PATHS = frozenset(["/", "/health", "/ready", "/page.js", "/page.css", "/openapi.json", "/favicon.ico"])
OPEN_FOLDERS = ("/examples/",)
LIVE_PATH = "/v1/emotion/live"
_LOCAL_HOSTS = frozenset(["localhost", "127.0.0.1", "::1"])
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


def same_key(given: str, key: str) -> bool:
    """Compare keys in a time that tells nothing of either, not even their lengths."""
    one, two = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, key))
    return hmac.compare_digest(one, two)


class Guard:
    """Refuse what must not come in.

    Args:
        app: that is guarded.
        settings: of the server.
        key: API key; None asks for none.
    """

    def __init__(self, app: Any, settings: ServeSettings, key: str | None) -> None:
        self.app, self.settings, self.key = app, settings, key

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Check one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            self._check_key(scope, headers)
            bounded = self._bounded(headers, receive)
        except ApiError as error:
            await _refuse(scope, receive, send, error)
            return
        await self.app(scope, bounded, _with_headers(send) if scope["type"] == "http" else send)

    def _check_host(self, headers: dict[str, str]) -> None:
        """A page elsewhere may give its own name our address; a local server without a key answers to its own only."""
        if self.settings.local and self.key is None and _host(headers) not in _LOCAL_HOSTS:
            raise ApiError(403, "the server answers to localhost only; call it by that name", "host_refused")

    def _check_origin(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.settings.origins:
            return
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN_PATHS:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(403, "pages of other origins may not use this server", "origin_refused")

    def _check_key(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        path = scope["path"]
        # A browser cannot send headers with a WebSocket; there the first message carries the key.
        if self.key is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or path == LIVE_PATH:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not same_key(given.strip(), self.key):
            raise ApiError(401, "no or a wrong API key; send it as 'Authorization: Bearer KEY'", "invalid_api_key")

    def _bounded(self, headers: dict[str, str], receive: Any) -> Any:
        limit = self.settings.body_bytes
        too_large = ApiError(413, f"the request has more than {limit:,} bytes; send less at once", "request_too_large")
        told = headers.get("content-length", "")
        if told.isdigit() and int(told) > limit:
            raise too_large
        total = 0

        async def counted() -> Any:
            nonlocal total
            message = await receive()
            if message["type"] == "http.request":
                total += len(message.get("body", b""))
                if total > limit:
                    raise too_large
            return message

        return counted


def _host(headers: dict[str, str]) -> str:
    try:
        return (urlsplit(f"//{headers.get('host', '')}").hostname or "").lower()
    except ValueError:
        return ""


def _with_headers(send: Any) -> Any:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [*message.get("headers", []), *(one for one in _HEADERS if one[0] not in present)]
        await send(message)

    return sent


async def _refuse(scope: MutableMapping[str, Any], receive: Any, send: Any, error: ApiError) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *_HEADERS]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error.body).encode()})
