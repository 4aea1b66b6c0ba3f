"""The review page: clips with boxes and timeline, both languages side by side, decisions kept with who and when.

A small server of the standard library for this machine alone: it has no login, answers only to its own address, and
tells a reviewer what another decided only after the reviewer has decided too.
"""

from __future__ import annotations

import json
import threading
import zlib
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import click

from emotion_qwen.errors import DataError, EmotionQwenError
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.review.decisions import ACTIONS, FILE, Decision, Decisions, agreement
from emotion_qwen.ver.store.table import Row

if TYPE_CHECKING:
    from emotion_qwen.ver.pipeline import Build

PAGE = Path(__file__).with_name("review.html")
LARGEST = 1 << 20  # bytes of a request
_BLOCK = 1 << 18  # bytes of media sent at once
_SHOWN = ("clip", "label", "source", "start", "end", "people", "speaker", "teacher", "voice_en", "voice_zh", "license")
_PACKED = ("en", "zh", "tracks", "words", "objections", "read")


class Reviews:
    """A set under review: its clips, packed in memory, and the decisions about them.

    Args:
        build: the set.

    Raises:
        DataError: the check is not done, or accepted nothing.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.decisions = Decisions(build.output / FILE)
        labels = label_set(build.settings.describe.labels)
        self.names = {one: dict(zip(labels.labels, labels.names(one), strict=True)) for one in ("en", "zh")}
        self._clips = {row["clip"]: _pack(row) for row in build.evidence("listen", "describe", "check")}
        self._index = [
            {"clip": name, "label": json.loads(zlib.decompress(data))["label"]} for name, data in self._clips.items()
        ]
        self._lock = threading.Lock()
        if not self._clips:
            raise DataError(f"set {str(build.output)!r} holds no accepted clip; there is nothing to review")

    def overview(self, reviewer: str) -> Row:
        """Return all clips with the reviewer's own decision, and the others' only where there is an own one."""
        latest = self.decisions.latest()
        clips = []
        for entry in self._index:
            found = latest.get(entry["clip"], {})
            own = found.get(reviewer)
            clips.append(
                {
                    **entry,
                    "own": own.action if own else "",
                    "conflict": own is not None and len({_keeps(one) for one in found.values()}) > 1,
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
        """Return the decisions about a clip that a reviewer may see: none before the own one."""
        found = self.decisions.latest(name).get(name, {})
        return [asdict(one) for one in found.values()] if reviewer in found else []

    def decide(self, told: Row) -> list[Row]:
        """Keep a decision and return what the reviewer may see now.

        Raises:
            DataError: the request does not fit.
        """
        name, reviewer = str(told.get("clip", "")), str(told.get("reviewer", "")).strip()
        if name not in self._clips:
            raise DataError(f"clip {name!r} is not in this set; reload the page")
        edits = told.get("edits") or {}
        if not isinstance(edits, dict) or not all(isinstance(fields, dict) for fields in edits.values()):
            raise DataError(f"edits {edits!r}; expected language -> field -> text")
        self.decisions.add(name, reviewer, str(told.get("action", "")), edits, str(told.get("note", "")))
        return self.visible(name, reviewer)

    def agreed(self, reviewer: str) -> Row:
        """Return the agreement over the clips that this reviewer has decided: others stay unseen."""
        history = self.decisions.history()
        mine = {name: found for name, found in history.items() if any(one.reviewer == reviewer for one in found)}
        return agreement(mine)

    def export(self) -> Row:
        """Write the decisions into the set; errors are those of `export`."""
        with self._lock:
            self.build.export()
        found = json.loads((self.build.output / "stats.json").read_text(encoding="utf-8"))
        return {"clips": found["clips"], "hours": found["hours"]}  # no agreement: it covers what others alone decided

    def media(self, name: str) -> Path | None:
        """Return the file of a clip of this set; None of anything else."""
        known = name.removesuffix(".mp4") in self._clips and name.endswith(".mp4")
        return self.build.clips / name if known else None


def _pack(row: Row) -> bytes:
    shown = {name: row[name] for name in _SHOWN}
    for name in _PACKED:
        shown[name] = json.loads(row[name]) if row[name] else None
    return zlib.compress(json.dumps({**shown, "media": row["media"]}, ensure_ascii=False).encode())


def _keeps(decision: Decision) -> bool:
    return decision.action in ("accept", "edit")


def server(build: Build, host: str, port: int) -> ThreadingHTTPServer:
    """Open the server of a set; port 0 takes a free one.

    Raises:
        DataError: there is nothing to review, or the address is taken.
    """
    reviews = Reviews(build)

    class Handler(_Handler):
        pass

    Handler.reviews = reviews
    try:
        opened = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise DataError(f"{host}:{port} cannot be served on ({error.strerror}); give another --port") from error
    opened.daemon_threads = True
    return opened


def serve(build: Build, host: str, port: int) -> None:
    """Serve the review page until interrupted; errors are those of `server`."""
    opened = server(build, host, port)
    click.echo(f"review {build.output} at http://{host}:{opened.server_address[1]}/ (Ctrl+C ends; decisions are kept)")
    try:
        opened.serve_forever()
    except KeyboardInterrupt:
        click.echo("ended")
    finally:
        opened.server_close()


class _Handler(BaseHTTPRequestHandler):
    reviews: Reviews
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer the page, the lists, a clip or its media."""
        place = urlsplit(self.path)
        reviewer = parse_qs(place.query).get("reviewer", [""])[0].strip()
        path = unquote(place.path)
        if not self._own_address():
            return
        if path == "/":
            self._send(PAGE.read_bytes(), "text/html; charset=utf-8")
        elif path == "/api/clips":
            self._json(lambda: self.reviews.overview(reviewer))
        elif path.startswith("/api/clip/"):
            self._json(lambda: self.reviews.clip(path.removeprefix("/api/clip/"), reviewer))
        elif path.startswith("/media/") and (file := self.reviews.media(path.removeprefix("/media/"))):
            self._media(file)
        else:
            self._send(b"not found", "text/plain", HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Take a decision, or export."""
        if not self._own_address():
            return
        told = self.headers.get("Content-Length") or "0"
        length = int(told) if told.isdecimal() else LARGEST + 1
        # A page of another site cannot send JSON here without asking first, and is not allowed to.
        if self.headers.get_content_type() != "application/json" or length > LARGEST:
            self.close_connection = True
            self._send(b"expected JSON", "text/plain", HTTPStatus.BAD_REQUEST)
            return
        body = self.rfile.read(length)
        if self.path == "/api/decide":
            self._json(lambda: {"decisions": self.reviews.decide(json.loads(body))})
        elif self.path == "/api/export":
            self._json(self.reviews.export)
        else:
            self._send(b"not found", "text/plain", HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing; the terminal is for the address."""

    def _own_address(self) -> bool:
        """Refuse a request that was sent to another name: a site could point its own name at this machine."""
        address: Any = self.server.server_address
        host, port = str(address[0]), address[1]
        allowed = {f"{name}:{port}" for name in (host, "localhost", "127.0.0.1", "[::1]")}
        if host in ("127.0.0.1", "localhost", "::1") and self.headers.get("Host") not in allowed:
            self._send(b"wrong host", "text/plain", HTTPStatus.FORBIDDEN)
            return False
        return True

    def _json(self, answer: Any) -> None:
        try:
            data, status = answer(), HTTPStatus.OK
        except (EmotionQwenError, ValueError, AttributeError) as error:
            data, status = {"error": str(error)}, HTTPStatus.BAD_REQUEST
        self._send(json.dumps(data, ensure_ascii=False).encode(), "application/json", status)

    def _send(self, data: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def _media(self, file: Path) -> None:
        """Send a file, or the part that the player asks for."""
        size = file.stat().st_size
        first, last = _range(self.headers.get("Range"), size)
        partial = self.headers.get("Range") is not None
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        with file.open("rb") as media:
            media.seek(first)
            left = last - first + 1
            while left > 0:
                block = media.read(min(_BLOCK, left))
                if not block:
                    return  # the file has become shorter
                try:
                    self.wfile.write(block)
                except (BrokenPipeError, ConnectionResetError):
                    return  # the player has seen enough
                left -= len(block)


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Read the header Range: first and last byte, both inside the file (RFC 9110, 14.2)."""
    if not header or not header.startswith("bytes="):
        return 0, size - 1
    low, _, high = header.removeprefix("bytes=").split(",")[0].partition("-")
    try:
        if not low:
            return max(0, size - max(1, int(high))), size - 1
        first, last = min(int(low), size - 1), min(int(high), size - 1) if high else size - 1
        return (first, last) if 0 <= first <= last else (0, size - 1)
    except ValueError:
        return 0, size - 1
