"""Media named by URL in requests: data URLs, https addresses, and files of this machine."""

from __future__ import annotations

import asyncio
import base64
import binascii
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake.remote import fetch
from emotion_qwen.serving.limits import ServeSettings

_FETCHING = ThreadPoolExecutor(8, "fetching")  # its own pool, so that slow servers and name lookups delay nothing else


async def to_file(url: str, folder: Path, settings: ServeSettings, name: str) -> Path:
    """Return the file that a URL names, written to `folder` if need be.

    Args:
        url: `data:`, `https:` or `file:` address.
        folder: of the request.
        settings: of the server; limits, and which schemes are allowed.
        name: of the medium in the request, for errors.

    Raises:
        ApiError: the address is refused or unreachable, or the medium is too large.
    """
    scheme = url[:8].partition(":")[0].lower()
    target = folder / f"medium-{len(list(folder.iterdir()))}"
    if scheme == "data":
        data = await asyncio.to_thread(data_of, url, settings.media_bytes, name)
        await asyncio.to_thread(target.write_bytes, data)
        return target
    if scheme == "file":
        return local_file(url, settings)
    if scheme in ("http", "https"):
        if not settings.allow_remote:
            raise ApiError(
                400, f"{name} is an address, and this server fetches none; send it as data URL or upload", "url_refused"
            )
        arguments = (url, target, settings.media_bytes, settings.remote_seconds)
        await asyncio.get_running_loop().run_in_executor(_FETCHING, fetch, *arguments)
        return target
    raise ApiError(400, f"{name} has the scheme {scheme[:16]!r}, expected data, https or file", "url_refused")


def data_of(url: str, limit: int, name: str) -> bytes:
    """Return the bytes of a data URL (RFC 2397).

    Raises:
        ApiError: the URL or its base64 is malformed, or the data has too many bytes.
    """
    head, comma, text = url.partition(",")
    if not comma:
        raise ApiError(400, f"{name} is a data URL without a comma; expected data:TYPE;base64,DATA", "invalid_media")
    if head.lower().endswith(";base64"):
        return decode_base64(text, limit, name)
    if len(text) > 3 * limit:
        raise ApiError(413, f"{name} has more than {limit:,} bytes", "media_too_large", param=name)
    return _sized(unquote_to_bytes(text), limit, name)


def decode_base64(text: str, limit: int, name: str) -> bytes:
    """Decode base64; errors are those of `data_of`."""
    if len(text) > limit * 4 // 3 + 4:
        raise ApiError(413, f"{name} has more than {limit:,} bytes; give a smaller medium", "media_too_large")
    try:
        return _sized(base64.b64decode(text, validate=True), limit, name)
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            400, f"{name} is not valid base64 ({error}); encode the file's bytes", "invalid_media"
        ) from error


def _sized(data: bytes, limit: int, name: str) -> bytes:
    if not data:
        raise ApiError(400, f"{name} is empty; send the file's bytes", "invalid_media")
    if len(data) > limit:
        raise ApiError(413, f"{name} has {len(data):,} bytes, expected at most {limit:,}", "media_too_large")
    return data


def local_file(url: str, settings: ServeSettings) -> Path:
    """Return the file below the allowed folder that a `file:` address names.

    Raises:
        ApiError: no folder is allowed, or the file is not a regular file below it. The message is the same for
            missing files and files outside the folder, so that it does not reveal which files exist.
    """
    refused = ApiError(400, "the file is not below the server's media folder; ask who runs it", "url_refused")
    if settings.media_root is None:
        raise ApiError(400, "this server reads no files of its machine; send the medium itself", "url_refused")
    try:
        parts = urlsplit(url)
        root = settings.media_root.resolve(strict=True)
        path = Path(unquote(parts.path)).resolve(strict=True)  # follows links, so that none leads out of the folder
        regular = stat.S_ISREG(path.stat().st_mode)
        size = path.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:
        raise refused from error
    if parts.netloc not in ("", "localhost") or not path.is_relative_to(root) or not regular:
        raise refused
    if size > settings.media_bytes:
        raise ApiError(413, f"the file has {size:,} bytes, at most {settings.media_bytes:,} allowed", "media_too_large")
    return path
