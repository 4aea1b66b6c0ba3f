"""Provide the media file of a report in a form that every browser plays, inside the page or next to it.

Used unchanged: H.264 in MP4 and VP8, VP9 or AV1 in WebM, with sound that browsers support, starting at second 0; JPEG,
PNG, WebP, AVIF and BMP; MP3, WAV, FLAC, Ogg and AAC in MP4. Other files are converted to a small copy: H.264 and AAC in
MP4 (VP9 and Opus in WebM if this PyAV cannot write H.264) with a longer side of `COPY_SIDE` pixels at quality
`COPY_QUALITY`; AAC for a sound file; JPEG for a picture.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.files import staged
from emotion_qwen.media.container import NoPicture, open_container, open_video, read_head
from emotion_qwen.media.picture import is_animation, is_picture, open_picture, read_picture
from emotion_qwen.media.sound import read_sound
from emotion_qwen.media.timeline import read_timeline
from emotion_qwen.media.write.film import encoder
from emotion_qwen.media.write.recode import recode, recode_sound
from emotion_qwen.settings import ClipSettings

COPY_SIDE, COPY_QUALITY = 640, 30
PEAKS, LONGEST_WAVE = 480, 1800.0
"""Number of points of the drawn wave, and the longest sound, in seconds, for which a wave is drawn."""
_PICTURES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif", "BMP": "image/bmp"}
_CODECS = {"video/mp4": {"h264"}, "video/webm": {"vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9", "libaom-av1"}}
_SOUNDS = {"aac", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac"}
_PIXELS = {"yuv420p", "yuvj420p"}
_ALONE = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}
_LATE = 0.05  # seconds; with a later first picture, the browser's clock would differ from the report's


@dataclass(frozen=True)
class Playable:
    """A media file as shown in a page.

    Attributes:
        kind: "video", "sound" or "picture".
        mime: media type of the bytes.
        data: the bytes embedded in the page; empty if the page refers to a file.
        address: of that file, relative to the page and quoted; "" if the bytes are embedded.
        copied: size of the small copy, for example "640×360"; "" if the original is shown.
    """

    kind: str
    mime: str
    data: bytes = b""
    address: str = ""
    copied: str = ""


def playable(media: Path, page: Path, limit: int) -> Playable:
    """Return a media file in a form that browsers play, as a converted copy if necessary.

    Args:
        media: video, picture or sound file.
        page: file of the page; a copy that is too large for embedding is written next to it.
        limit: size in bytes up to which a file is embedded in the page.

    Raises:
        MediaError: the file cannot be read, or it needs a copy and there is no encoder.
    """
    if is_picture(media) and not is_animation(media):
        return _picture(media, page, limit)
    try:
        mime = _video_mime(media)
    except NoPicture:
        return _sound(media, page, limit)
    if mime:
        return _original("video", mime, media, page, limit)
    return _small_video(media, page, limit)


def wave_peaks(media: Path) -> dict[str, object] | None:
    """Return the peaks of a file's sound over time for drawing: `start` and `end` in seconds, `peaks` in 0..100.

    None if there is no sound, or more than `LONGEST_WAVE` seconds of it.
    """
    with suppress(MediaError):
        origin = None
        with suppress(NoPicture), open_video(media) as (container, stream):
            timeline = read_timeline(str(media), container, stream)
            origin = 0.0 if timeline.counted else float(timeline.stamps[0] * timeline.unit)
        sound = read_sound(media, origin=origin, end=LONGEST_WAVE + 1)
        if not len(sound.wave) or sound.duration > LONGEST_WAVE:
            return None
        parts = np.array_split(sound.wave, min(PEAKS, len(sound.wave)))
        peaks = np.array([max(part.max(), -part.min()) for part in parts])
        scaled = np.rint(100 * peaks / max(float(peaks.max()), 1e-4)).astype(int).tolist()
        return {"start": sound.start, "end": round(sound.start + sound.duration, 3), "peaks": scaled}
    return None


def _picture(media: Path, page: Path, limit: int) -> Playable:
    with open_picture(media) as image:
        name = "JPEG" if image.format == "MPO" else image.format or ""
        turned = image.getexif().get(0x0112, 1) != 1 and name != "JPEG"  # browsers apply the orientation only of JPEG
    if name in _PICTURES and not turned:
        return _original("picture", _PICTURES[name], media, page, limit)
    picture = Image.fromarray(read_picture(media, ClipSettings.of({}, "picture")).frames[0])
    packed = io.BytesIO()
    picture.save(packed, "JPEG", quality=90)
    return Playable("picture", "image/jpeg", packed.getvalue(), copied=f"{picture.width}×{picture.height}")


def _sound(media: Path, page: Path, limit: int) -> Playable:
    with open_container(media) as container:
        codec, name = container.streams.audio[0].codec_context.name, container.format.name
    mime = "audio/mp4" if name.startswith("mov") and codec == "aac" else _ALONE.get(name, "")
    if mime and codec in _SOUNDS | {"pcm_s16le", "pcm_u8"}:
        return _original("sound", mime, media, page, limit)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "copy.m4a"
        recode_sound(media, draft)
        return _copied(Playable("sound", "audio/mp4", copied="AAC"), draft, page, limit)


def _video_mime(media: Path) -> str:
    """Return the media type of a video that browsers can play unchanged, else ""."""
    with open_video(media) as (container, stream):
        name, brand = container.format.name, container.metadata.get("major_brand", "")
        if name.startswith("mov"):
            mime = "" if brand.strip() == "qt" else "video/mp4"
        else:
            mime = "video/webm" if name.startswith("matroska") and b"webm" in read_head(media)[:64] else ""
        sounds = {audio.codec_context.name for audio in container.streams.audio if audio.codec_context}
        fits = stream.codec_context.name in _CODECS.get(mime, ()) and stream.codec_context.pix_fmt in _PIXELS
        if not fits or sounds - _SOUNDS:
            return ""
        timeline = read_timeline(str(media), container, stream)
    late = timeline.counted or abs(float(timeline.stamps[0] * timeline.unit)) > _LATE
    return "" if late else mime


def _small_video(media: Path, page: Path, limit: int) -> Playable:
    try:
        suffix, mime, codec = ".mp4", "video/mp4", encoder(Path("copy.mp4"), ("libx264", "libopenh264"))
    except MediaError:
        suffix, mime, codec = ".webm", "video/webm", encoder(Path("copy.webm"))
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / f"copy{suffix}"
        recode(media, draft, side=COPY_SIDE, quality=COPY_QUALITY, codec=codec, name=f"a copy of {str(media)!r}")
        with open_video(draft) as (_, stream):
            size = f"{stream.width}×{stream.height}"
        return _copied(Playable("video", mime, copied=size), draft, page, limit)


def _copied(made: Playable, draft: Path, page: Path, limit: int) -> Playable:
    """Embed a copy in the page, or store it next to the page if it is too large."""
    if draft.stat().st_size <= limit:
        return replace(made, data=draft.read_bytes())
    beside = page.with_name(f"{page.stem}.copy{draft.suffix}")
    with staged(beside) as whole:
        shutil.copyfile(draft, whole)
    return replace(made, address=quote(os.fsencode(beside.name)))


def _original(kind: str, mime: str, media: Path, page: Path, limit: int) -> Playable:
    if media.stat().st_size <= limit:
        return Playable(kind, mime, media.read_bytes())
    return Playable(kind, mime, address=_address(media, page))


def _address(media: Path, page: Path) -> str:
    try:
        return quote(os.fsencode(Path(os.path.relpath(media.resolve(), page.resolve().parent)).as_posix()))
    except ValueError:  # on another drive on Windows, so there is no relative path
        return media.resolve().as_uri()
