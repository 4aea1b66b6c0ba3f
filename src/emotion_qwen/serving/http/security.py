"""Checks of every request before it is read: host, origin, key, size and upload time. Pure ASGI, so streams pass.

The threat model includes web pages that the user visits, as the browser reaches servers that are closed to others. Such
a page can send requests to our address (they carry a foreign `Origin`), or let its own host name resolve to our address
so that `Origin` and `Host` agree (DNS rebinding). Against the latter, a server without a key answers pages only under
names that others cannot control: localhost, IP addresses, names without a dot, and those in its settings.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.limits import ServeSettings

OPEN_PATHS = frozenset(["/", "/health", "/ready", "/openapi.json", "/docs", "/favicon.ico"])
OPEN_FOLDERS = ("/web/", "/examples/")
HEADER_BYTES = 32 * 1024  # maximum of path and headers together
LIVE_PATH = "/v1/emotion/live"
_LOCAL_HOSTS = frozenset(["localhost", "127.0.0.1", "::1"])
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


def same_key(given: str, key: str) -> bool:
    """Compare keys in constant time; the digests hide their lengths as well."""
    digests = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, key)]
    return hmac.compare_digest(*digests)


class Guard:
    """ASGI middleware that refuses requests which violate the access rules or limits.

    Args:
        app: the application to protect.
        settings: of the server.
        key: API key; None requires none.
    """

    def __init__(self, app: Any, settings: ServeSettings, key: str | None) -> None:
        self.app, self.settings, self.key = app, settings, key
        self.held_bytes = 0  # total size of the bodies of current requests

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Check one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            _check_head(scope)
            self._check_host(headers)
            self._check_origin(scope, headers)
            self._check_key(scope, headers)
            body = _Body(self, headers, receive)
        except ApiError as error:
            await _refuse(scope, receive, send, error)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, body.receive, _with_headers(send))
        finally:
            self.held_bytes -= body.total

    def _check_host(self, headers: dict[str, str]) -> None:
        if self.key is not None or not self.settings.local:
            return
        if _host(headers) not in _LOCAL_HOSTS and _host(headers) not in self.settings.hosts:
            raise ApiError(
                403, "the server answers to localhost only; use that name, or list the name in the setting 'hosts'",
                "host_refused",
            )  # fmt: skip

    def _check_origin(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.settings.origins:
            return
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN_PATHS:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(403, "pages of other origins may not use this server", "origin_refused")
        host = _host(headers)
        if self.key is None and not _is_trusted_name(host) and host not in self.settings.hosts:
            raise ApiError(
                403, f"pages may not use the server as {host[:100]!r}; call it by its address, or list the name in "
                "the setting 'hosts'", "host_refused",
            )  # fmt: skip

    def _check_key(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        path = scope["path"]
        # Browsers cannot set headers of a WebSocket; its first message carries the key.
        if self.key is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or path == LIVE_PATH:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not same_key(given.strip(), self.key):
            raise ApiError(
                401, "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'", "invalid_api_key"
            )


class _Body:
    """The body of one request, with limits of size and time.

    Args:
        guard: has the limits and the total size of current bodies.
        headers: of the request.
        receive: ASGI callable that receives the body.

    Raises:
        ApiError: the declared length is too large.
    """

    def __init__(self, guard: Guard, headers: dict[str, str], receive: Any) -> None:
        self.guard, self._receive = guard, receive
        self.total, self._whole = 0, False
        self._until = time.monotonic() + guard.settings.upload_seconds
        declared = headers.get("content-length", "")
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        self._check(size, guard.held_bytes + size)

    async def receive(self) -> Any:
        """Receive the next message.

        Raises:
            ApiError: the body is too large or too slow, or all current bodies together are too large.
        """
        if self._whole:  # only a disconnect can follow
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(self._until - time.monotonic(), 0))
        except TimeoutError as error:
            seconds = self.guard.settings.upload_seconds
            raise ApiError(
                408, f"the request did not come within {seconds:g} s; send less at once", "request_too_slow"
            ) from error
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.total += size
            self.guard.held_bytes += size
            self._check(self.total, self.guard.held_bytes)
            self._whole = not message.get("more_body", False)
        return message

    def _check(self, size: int, held_bytes: int) -> None:
        limit, together = self.guard.settings.body_bytes, self.guard.settings.bodies_bytes
        if size > limit:
            raise ApiError(413, f"the request has more than {limit:,} bytes; send less at once", "request_too_large")
        if held_bytes > max(together, limit):
            raise ApiError(429, "too many large requests at once; try again in a moment", "queue_full", retry_after=1)


def _is_trusted_name(host: str) -> bool:
    """Return whether others cannot make this host name resolve to this machine through their name servers."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(".localhost"))
    return True


def _check_head(scope: MutableMapping[str, Any]) -> None:
    """Refuse headers that are too large; h11's own limit applies only if they arrive in several chunks."""
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > HEADER_BYTES:
        raise ApiError(431, f"path and headers have more than {HEADER_BYTES:,} bytes; send less", "headers_too_large")


def _host(headers: dict[str, str]) -> str:
    try:
        parts = urlsplit(f"//{headers.get('host', '')}")
        _ = parts.port  # raises if it is no number
        return (parts.hostname or "").lower()
    except ValueError:
        return ""


def _with_headers(send: Any) -> Any:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            missing = [header for header in _HEADERS if header[0] not in present]
            message["headers"] = [*message.get("headers", []), *missing]
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
