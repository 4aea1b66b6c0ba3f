"""Re-encode a video, optionally painting on every picture: for annotated videos and copies that browsers can play.

Pictures are upright and keep their times, even at a variable frame rate; second 0 is the first picture, as in reports.
Sound is copied packet by packet if the new container supports its codec, and re-encoded otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from emotion_qwen.errors import MediaError, StorageError
from emotion_qwen.files import staged
from emotion_qwen.media.container import open_container, open_video, reason
from emotion_qwen.media.frames import FrameConverter
from emotion_qwen.media.timeline import Timeline, read_timeline
from emotion_qwen.media.video import working_size
from emotion_qwen.media.write.film import ENCODINGS, SOUND_RATE, Film, decoded, encoder

Paint = Callable[[Image.Image, float], Image.Image]
"""Takes an upright picture and its time in seconds; returns the picture to write, always of the same size."""

LONG = 600
"""Number of frames above which progress is shown."""


def recode(
    source: Path,
    out: Path,
    paint: Paint | None = None,
    *,
    side: int | None = None,
    quality: int = 20,
    codec: str | None = None,
    name: str | None = None,
) -> None:
    """Re-encode the video `source` as `out`.

    Args:
        source: a video file.
        out: written completely or not at all; its suffix determines the container.
        paint: called for every picture in order of time; None keeps the pictures unchanged.
        side: longer side in pixels to which larger pictures are reduced; None keeps their size.
        quality: constant rate factor of H.264 and VP9; higher values give smaller files of lower quality.
        codec: encoder of the pictures; None chooses one with `encoder`.
        name: name of `out` in messages, where its path would mean nothing to the user.

    Raises:
        MediaError: the source cannot be read or has no picture, there is no encoder, or the file cannot be written.
    """
    codec = codec or encoder(out)
    with open_video(source) as (container, stream):
        timeline = read_timeline(str(source), container, stream)
    encoding = ENCODINGS[out.suffix.lower()]
    try:
        with staged(out) as draft, open_video(source) as (container, stream):
            with av.open(str(draft), "w", format=encoding.container) as target:
                film = Film(target, encoding, codec, timeline, quality)
                _walk(container, stream, timeline, film, _Painted(paint, side))
            if not film.written:
                raise MediaError(f"{str(source)!r}: none of its frames can be decoded; fetch or record the file again")
    except (av.error.FFmpegError, UnknownCodecError, OSError, StorageError) as error:
        if isinstance(error, StorageError) and not name:
            raise  # its message already names the requested file
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise MediaError(
            f"{name or repr(str(out))} cannot be written ({reason(cause)}); check the folder, the space on the disk, "
            "and PyAV's encoders"
        ) from error


def recode_sound(source: Path, out: Path) -> None:
    """Re-encode the first sound track of a file as AAC in an MP4 container.

    Args:
        source: a sound file.
        out: written completely or not at all.

    Raises:
        MediaError: the source cannot be read or contains no sound, or `out` cannot be written.
    """
    try:
        with (
            staged(out) as draft,
            open_container(source) as container,
            av.open(str(draft), "w", format="mp4") as target,
        ):
            stream: Any = target.add_stream("aac", rate=SOUND_RATE)
            for packet in container.demux(audio=0):
                for frame in decoded(packet):
                    frame.pts = None  # timestamps count up from 0; gaps in the recording are not kept
                    target.mux(stream.encode(frame))
            target.mux(stream.encode())
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise MediaError(
            f"{str(source)!r} cannot be written as AAC ({reason(error)}); check that it is a sound"
        ) from error


class _Painted:
    """Converts decoded frames as the reader does, so that the boxes of a report fit."""

    def __init__(self, paint: Paint | None, side: int | None) -> None:
        self._paint, self._side = paint, side
        self._converter = FrameConverter()

    def of(self, frame: VideoFrame, time: float) -> np.ndarray:
        """Return the (H, W, 3) uint8 picture of a frame, rotated for display."""
        size = working_size(frame.height, frame.width, self._side) if self._side else None
        picture = self._converter.rgb(frame, size)
        return picture if self._paint is None else np.asarray(self._paint(Image.fromarray(picture), time))


def _walk(container: InputContainer, picture: VideoStream, timeline: Timeline, film: Film, painted: _Painted) -> None:
    """Process the packets in file order, so that pictures and sound are interleaved as in the source."""
    picture.thread_type = "AUTO"
    sound: Any = container.streams.best("audio")
    streams: list[Any] = [picture]
    if sound is not None and sound.codec_context is not None:
        film.expect_sound(sound, container.format.name)
        streams.append(sound)
    total, first = len(timeline.stamps), int(timeline.stamps[0])
    with Progress(console=Console(stderr=True), transient=True, disable=total < LONG) as progress:
        task, number = progress.add_task("drawing", total=total), 0
        for packet in container.demux(streams):
            if packet.stream is not picture:
                film.add_sound(packet)
                continue
            for frame in decoded(packet):
                stamp = number if timeline.counted else frame.pts
                number += 1
                if stamp is not None and stamp >= first:
                    time = (stamp - first) * timeline.unit
                    film.add_picture(painted.of(frame, float(time)), time)
                    progress.advance(task)
    film.finish()
