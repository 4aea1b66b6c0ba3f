"""Write a video file: choose an encoder, place pictures at their own times, and copy the sound where possible."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from emotion_qwen.errors import MediaError
from emotion_qwen.media.timeline import Timeline

TICK = Fraction(1, 30_000)
"""Time base in seconds: a divisor of all common frame times, within MPEG-4's limit of 65,535 ticks per second."""
SOUND_RATE = 48_000  # Hz, of re-encoded sound
BT709 = 1
_TELLS_HEADERS = ("mov", "matroska")  # in other formats, the header of the sound may only be inside its packets
_OPTIONS = {
    # Same size and quality as the preset alone, in two thirds of the time.
    "libx264": {"preset": "veryfast", "x264-params": "subme=1:rc-lookahead=10"},
    "libvpx-vp9": {"b": "0", "deadline": "realtime", "cpu-used": "6"},
    "libvpx": {"b": "4M", "deadline": "realtime", "cpu-used": "6"},
}


@dataclass(frozen=True)
class Encoding:
    """A kind of video file: its container, encoders in order of preference, and sound codecs that can be copied."""

    container: str
    picture: tuple[str, ...]
    sound: str
    copied: frozenset[str]


_MP4 = Encoding("mp4", ("libx264", "libopenh264", "mpeg4"), "aac", frozenset({"aac", "mp3", "mp3float"}))
_MKV = Encoding("matroska", _MP4.picture, "aac", _MP4.copied | {"opus", "vorbis", "flac", "pcm_s16le", "ac3"})
_WEBM = Encoding("webm", ("libvpx-vp9", "libvpx"), "libopus", frozenset({"opus", "vorbis"}))
ENCODINGS: dict[str, Encoding] = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MP4, ".mkv": _MKV, ".webm": _WEBM}


def encoder(out: Path, allowed: tuple[str, ...] | None = None) -> str:
    """Return the name of the encoder for the pictures of a file.

    Args:
        out: the file; its suffix determines the container.
        allowed: encoders to choose from; None allows all that fit the container.

    Raises:
        MediaError: the suffix is not one of a video, or this build of PyAV has no encoder for it.
    """
    encoding = ENCODINGS.get(out.suffix.lower())
    if encoding is None:
        raise MediaError(f"{str(out)!r} ends in {out.suffix!r}; expected a video: {', '.join(ENCODINGS)}")
    wanted = [name for name in encoding.picture if allowed is None or name in allowed]
    for name in wanted:
        with suppress(UnknownCodecError):
            Codec(name, "w")
            return name
    raise MediaError(f"{str(out)!r}: this PyAV has none of the encoders {', '.join(wanted)}; install PyAV's own wheel")


def decoded(packet: Any) -> list[Any]:
    """Return the frames of a packet; none if it is damaged."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


class Film:
    """A video file being written, with one stream of pictures and the sound of the source.

    Args:
        container: open for writing.
        encoding: kind of the file.
        codec: encoder of the pictures.
        timeline: of the source.
        quality: constant rate factor.
    """

    def __init__(
        self, container: OutputContainer, encoding: Encoding, codec: str, timeline: Timeline, quality: int
    ) -> None:
        self._container, self._encoding = container, encoding
        self._origin = Fraction(0) if timeline.counted else int(timeline.stamps[0]) * timeline.unit
        self.written = 0
        self._last = -1
        rate = Fraction(timeline.rate).limit_denominator(1001)
        options = {"crf": str(quality), **_OPTIONS.get(codec, {})}
        self._pictures: Any = container.add_stream(codec, rate=rate, options=options)
        self._rate = float(rate)
        self._sound: Any = None
        self._copies = False
        self._scaler = VideoReformatter()
        self._waiting: list[Any] = []  # sound before the first picture, which sets the size

    def expect_sound(self, source: Any, container: str) -> None:
        """Prepare for the sound of a stream, which is copied if that is safe and re-encoded otherwise."""
        name = source.codec_context.name
        self._copies = name in self._encoding.copied and container.startswith(_TELLS_HEADERS)
        if self._copies:
            self._sound = self._container.add_stream_from_template(source)
        else:
            self._sound = self._container.add_stream(self._encoding.sound, rate=SOUND_RATE)

    def add_picture(self, picture: np.ndarray, time: Fraction) -> None:
        """Encode one (H, W, 3) uint8 picture; its sides are made even, as 4:2:0 requires."""
        if not self.written:
            self._begin(picture)
        width, height = self._pictures.width, self._pictures.height
        stamp = round(time / TICK)
        if stamp <= self._last:
            return
        if 0 <= picture.shape[0] - height <= 1 and 0 <= picture.shape[1] - width <= 1:
            picture = picture[:height, :width]
        # One scaler for the whole film, because each starts its own threads.
        frame = self._scaler.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24"),
            width=width,
            height=height,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            interpolation=Interpolation.BICUBIC,
        )
        frame.pts, frame.time_base = stamp, TICK
        self._container.mux(self._pictures.encode(frame))
        self.written, self._last = self.written + 1, stamp
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self.add_sound(packet)

    def _begin(self, picture: np.ndarray) -> None:
        stream, context = self._pictures, self._pictures.codec_context
        stream.width, stream.height = (max(side // 2 * 2, 2) for side in picture.shape[1::-1])
        stream.pix_fmt = "yuv420p"
        context.time_base = TICK
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = 1  # limited, 16..235
        if context.name in ("libopenh264", "mpeg4"):  # without a constant rate factor
            stream.bit_rate = int(stream.width * stream.height * self._rate * 0.15)

    def add_sound(self, packet: Any) -> None:
        """Copy or encode one packet of sound, with its time moved to the pictures' clock."""
        if not self.written:
            self._waiting.append(packet)
        elif self._copies:
            self._copy(packet)
        else:
            for frame in decoded(packet):
                frame.pts = None if frame.pts is None else frame.pts - round(self._origin / frame.time_base)
                if frame.pts is None or frame.pts >= 0:
                    self._container.mux(self._sound.encode(frame))

    def _copy(self, packet: Any) -> None:
        if packet.size and packet.dts is not None and packet.pts is not None:
            shift = round(self._origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._sound
            self._container.mux(packet)

    def finish(self) -> None:
        """Flush the encoders."""
        if not self.written:
            return
        self._container.mux(self._pictures.encode())
        if self._sound is not None and not self._copies:
            self._container.mux(self._sound.encode())
