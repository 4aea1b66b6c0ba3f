"""Settings of the server, from a file, options or both."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field

from emotion_qwen.errors import SettingsError
from emotion_qwen.settings import Settings

MIB = 2**20
KEY_VARIABLE = "EMOTION_QWEN_API_KEY"


class ServeSettings(Settings):
    """How a server is set up; every limit has a value, none is endless."""

    model: str | None = None
    """Model folder or hub name; None is the shipped nano."""
    device: str = "auto"
    dtype: str = "auto"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    slots: int = Field(16, ge=1, le=1024)
    """Answers written at once."""
    queue: int = Field(64, ge=0)
    """Requests that may wait for a slot; more get status 429."""
    context: int | None = Field(None, ge=16)
    """Tokens of prompt and answer together; None is what the model was made for."""
    default_tokens: int = Field(256, ge=1)
    """Length of an answer where the request names none."""
    request_seconds: float = Field(120.0, gt=0)
    """Time for one request, waiting included."""
    upload_seconds: float = Field(120.0, gt=0)
    """Time in which the body of a request must have come."""
    analyses: int = Field(2, ge=1)
    """Reports made at once; four times as many may wait."""
    body_bytes: int = Field(64 * MIB, ge=1024)
    """Size of one request."""
    bodies_bytes: int = Field(512 * MIB, ge=1024)
    """Size of all requests that are in, together; more get status 429."""
    media_bytes: int = Field(40 * MIB, ge=1024)
    """Size of one medium."""
    media_seconds: float = Field(600.0, gt=0)
    media_pixels: int = Field(50_000_000, ge=1)
    """Pixels of one picture, or of one frame of a video."""
    media_frames: int = Field(768, ge=2)
    """Frames taken from one video, whatever the model's own budget."""
    parts: int = Field(16, ge=1)
    """Pictures, videos and sounds in one request."""
    messages: int = Field(128, ge=1)
    decoders: int = Field(2, ge=1)
    """Processes that decode media."""
    decode_seconds: float = Field(30.0, gt=0)
    """Time for decoding one medium, after which its process is ended."""
    decode_bytes: int = Field(3 * 2**30, ge=2**28)
    """Address space of a decoding process."""
    allow_remote: bool = False
    """Fetch https addresses that requests name."""
    remote_seconds: float = Field(20.0, gt=0)
    media_root: Path | None = None
    """Folder below which `file://` addresses may lie; None refuses them."""
    allow_anyone: bool = False
    """Serve other machines without an API key."""
    origins: tuple[str, ...] = ()
    """Web origins beside the server's own whose pages may use it."""
    hosts: tuple[str, ...] = ()
    """Names by which a server that asks for no key may be called, beside those that nobody outside can give."""
    drain_seconds: float = Field(30.0, ge=0)
    """Time that running requests get after SIGTERM."""
    live: int = Field(4, ge=0)
    """Live sessions at once; 0 refuses them."""
    live_seconds: float = Field(3600.0, gt=0)
    """Length of one live session."""

    @property
    def local(self) -> bool:
        """Whether the server listens on this machine only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_access(self, key: str | None) -> None:
        """Check that the server is not open to other machines without a key.

        Raises:
            SettingsError: other machines could use it, there is no key, and `allow_anyone` is off.
        """
        if not self.local and not key and not self.allow_anyone:
            raise SettingsError(
                f"host {self.host!r} lets other machines in, and there is no API key; set {KEY_VARIABLE}, "
                "or say --allow-anyone, or serve on 127.0.0.1"
            )
