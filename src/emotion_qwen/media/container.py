"""Open media files, and explain in one line why a file cannot be opened.

For most broken files, FFmpeg only reports "Invalid data found", so the first bytes are inspected for a better reason.
Text is refused before FFmpeg sees it, and so are formats that refer to other files: a playlist could make FFmpeg open
a file to which its sender has no access.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.container
import av.error
import av.stream
import av.video.stream
from av.format import formats_available

from emotion_qwen.errors import MediaError
from emotion_qwen.media.acceleration import accelerator

SNIFF = 4096


class NoPicture(MediaError):
    """The file contains sound but no picture."""


# Tags may be in any encoding. PyAV 19 accepts all of them and no longer has this option.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
# FFmpeg's readers that open other files named in the input. A zero byte in such a file hides it from the text check.
_LISTS = {
    "concat", "dash", "hls", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vapoursynth", "vobsub", "webm_dash_manifest",
}  # fmt: skip
_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof"}


@cache
def _options() -> dict[str, str]:
    """Return FFmpeg's options for untrusted files: no network, and no format that refers to other files."""
    return {"protocol_whitelist": "file", "format_whitelist": ",".join(sorted(formats_available - _LISTS))}


def open_container(source: Path | BinaryIO) -> av.container.InputContainer:
    """Open a media file or its bytes, without access to any other file.

    Raises:
        av.error.FFmpegError: FFmpeg cannot read it.
        OSError: it cannot be opened.
    """
    # An absolute path prevents FFmpeg from reading the start of "a:b.mp4" as a protocol.
    place = str(source.resolve()) if isinstance(source, Path) else source
    return av.open(place, "r", options=_options(), hwaccel=accelerator(), **_TAGS)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Open a file and yield its container and its first video stream.

    Raises:
        NoPicture: the file contains only sound.
        MediaError: the file is missing, empty, text, damaged, or without a picture stream that can be decoded.
    """
    check_readable(path)
    try:
        container = open_container(path)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{str(path)!r}: {_why_unreadable(path, error)}") from error
    try:
        yield container, _picture_stream(path, container)
    finally:
        container.close()


def check_readable(path: Path) -> None:
    """Check that a path is a file that is neither empty nor text.

    Raises:
        MediaError: it is missing, a folder, not readable, empty or text.
    """
    if not path.exists():
        raise MediaError(f"{str(path)!r} does not exist; give the path of a video, picture or sound")
    if path.is_dir():
        raise MediaError(f"{str(path)!r} is a folder; expected one video, picture or sound file")
    check_head(str(path), read_head(path))


def check_head(place: str, head: bytes) -> None:
    """Check that the first bytes of a file are not empty and not text.

    Args:
        place: name of the file in messages.
        head: its first bytes.

    Raises:
        MediaError: the file is empty or text.
    """
    if not head:
        raise MediaError(f"{place!r} is empty (0 bytes); copy or record the file again")
    if _is_text(head):
        start = head[:24].decode("utf-8", "replace").split("\n")[0]
        raise MediaError(f"{place!r} is text (it begins with {start!r}), not a video, picture or sound")


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file.

    Raises:
        MediaError: there is no permission to read the file.
    """
    try:
        with path.open("rb") as file:
            return file.read(SNIFF)
    except OSError as error:
        raise MediaError(f"{str(path)!r} cannot be read ({error.strerror}); check its permissions") from error


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character truncated at the end of the bytes read
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text.lstrip("\ufeff"))


def _why_unreadable(path: Path, error: Exception) -> str:
    if read_head(path)[4:8] in _ISO_BOXES:
        if "moov" not in _top_boxes(path):
            return (
                "an MP4 without its index (no moov box): the recording or download was cut off before the index was "
                "written; fetch it again"
            )
        return f"an MP4 whose index is damaged ({reason(error)}); fetch it again"
    return f"not a video or picture that FFmpeg can read ({reason(error)}); check the file with a player"


def _top_boxes(path: Path) -> set[str]:
    """Return the types of the top-level boxes of an ISO base media file (ISO/IEC 14496-12, 4.2)."""
    names: set[str] = set()
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place + 8 <= size:
            file.seek(place)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            names.add(header[4:8].decode("latin-1"))
            if length == 1:  # the true length follows in 64 bits
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: the box extends to the end of the file; 2-7: damaged
                break
            place += length
    return names


def _picture_stream(path: Path, container: av.container.InputContainer) -> av.video.stream.VideoStream:
    # The cover art of a music file is stored as a video stream with a single picture.
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        if container.streams.audio:
            decoder = container.streams.audio[0].codec_context
            codec = decoder.name if decoder else "of no known codec"
            raise NoPicture(
                f"{str(path)!r} holds only sound ({codec}); expected a picture or video, for only pictures are read "
                "here"
            )
        raise MediaError(f"{str(path)!r} ({container.format.name}) holds no picture stream; give a video or picture")
    if streams[0].codec_context is None:
        raise MediaError(f"{str(path)!r}: FFmpeg has no decoder for its picture stream; convert it to H.264 first")
    return streams[0]


def reason(error: Exception) -> str:
    """Return why FFmpeg or the operating system failed, without the path in the original message."""
    return str(getattr(error, "strerror", None) or error)
