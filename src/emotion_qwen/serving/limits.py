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
    """Settings of a server; every limit has a finite value."""

    model: str | None = None
    """Model folder, hub name, or openai:NAME@http://host/v1; None is mini where it has been fetched, else nano."""
    device: str = "auto"
    dtype: str = "auto"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    slots: int = Field(16, ge=1, le=1024)
    """Maximum number of running answers."""
    queue: int = Field(64, ge=0)
    """Requests that may wait for a slot; more get status 429."""
    context: int | None = Field(None, ge=16)
    """Maximum tokens of prompt and answer together; None is the model's limit."""
    default_tokens: int = Field(256, ge=1)
    """Maximum tokens of an answer if the request gives none."""
    request_seconds: float = Field(120.0, gt=0)
    """Time limit of one request, including waiting."""
    upload_seconds: float = Field(120.0, gt=0)
    """Time limit for receiving the body of a request."""
    analyses: int = Field(2, ge=1)
    """Maximum number of running reports; four times as many may wait."""
    body_bytes: int = Field(64 * MIB, ge=1024)
    """Maximum size of one request."""
    bodies_bytes: int = Field(512 * MIB, ge=1024)
    """Maximum total size of current requests; more get status 429."""
    media_bytes: int = Field(40 * MIB, ge=1024)
    """Maximum size of one medium."""
    media_seconds: float = Field(600.0, gt=0)
    media_pixels: int = Field(50_000_000, ge=1)
    """Maximum pixels of a picture or a video frame."""
    media_frames: int = Field(768, ge=2)
    """Maximum frames sampled from one video, in addition to the model's own budget."""
    parts: int = Field(16, ge=1)
    """Maximum number of pictures, videos and sounds in one request."""
    messages: int = Field(128, ge=1)
    decoders: int = Field(2, ge=1)
    """Number of decoding processes."""
    decode_seconds: float = Field(30.0, gt=0)
    """Time limit for decoding one medium, after which its process is killed."""
    decode_bytes: int = Field(3 * 2**30, ge=2**28)
    """Maximum address space of a decoding process."""
    allow_remote: bool = False
    """Fetch https addresses that requests name."""
    remote_seconds: float = Field(20.0, gt=0)
    media_root: Path | None = None
    """Folder with the files that requests may name as `file://`; None refuses such addresses."""
    allow_anyone: bool = False
    """Serve other machines without an API key."""
    origins: tuple[str, ...] = ()
    """Web origins, other than the server's own, whose pages may use it."""
    hosts: tuple[str, ...] = ()
    """Further host names under which a server without a key answers; others cannot control the default ones."""
    drain_seconds: float = Field(30.0, ge=0)
    """Time limit for running requests after SIGTERM."""
    live: int = Field(4, ge=0)
    """Maximum number of live sessions; 0 refuses them."""
    live_seconds: float = Field(3600.0, gt=0)
    """Maximum length of one live session."""

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
                f"host {self.host!r} is reachable from other machines, and there is no API key; set {KEY_VARIABLE}, "
                "pass --allow-anyone, or serve on 127.0.0.1"
            )
