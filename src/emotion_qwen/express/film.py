"""Write a track as a video with the package's film writer; the file and every picture say that it is synthetic."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.express.identities import identity_of
from emotion_qwen.express.marks import MARK, mark_text, with_mark
from emotion_qwen.express.rigs import Rig
from emotion_qwen.express.track import ExpressionTrack
from emotion_qwen.files import staged
from emotion_qwen.media.container import reason
from emotion_qwen.media.timeline import Timeline
from emotion_qwen.media.write.film import ENCODINGS, Film, encoder

SIZE = 512
QUALITY = 20
THREADS = 2
Watch = Callable[[int, int], object]
"""Called with the number of written frames and that of all frames."""


def track_pictures(
    track: ExpressionTrack, rig: Rig, identity: str, size: int = SIZE, shown: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield the pictures (size, size, 3) uint8 of a track in order, with the visible mark; a few are drawn at once.

    Args:
        track: the track.
        rig: the face.
        identity: of the face.
        size: side of the pictures, pixels.
        shown: (T,) whether there is a face in a frame; the others are empty. None: in all frames.
    """
    empty = np.full((size, size, 3), np.round(identity_of(identity).background), np.uint8)
    threads = min(THREADS, os.cpu_count() or 1)

    def draw(row: int) -> np.ndarray:
        if shown is not None and not shown[row]:
            return with_mark(empty)
        return with_mark(rig.render(track.frames[row], track.head[row], identity, size, 1))

    with ThreadPoolExecutor(threads) as pool:
        rows = iter(range(len(track.frames)))
        waiting = [pool.submit(draw, row) for row in islice(rows, 2 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(draw, row) for row in islice(rows, 1)]


def write_film(
    track: ExpressionTrack,
    rig: Rig,
    identity: str,
    path: Path,
    size: int = SIZE,
    watch: Watch | None = None,
    sound: bytes | None = None,
) -> None:
    """Write a track as a video.

    Args:
        track: the track.
        rig: the face.
        identity: of the face.
        path: see `write_pictures`.
        size: side of the picture, pixels.
        watch: called after each frame.
        sound: see `write_pictures`.

    Raises:
        MediaError: see `write_pictures`.
        SettingsError: there is no such identity.
    """
    identity_of(identity)
    write_pictures(track, track_pictures(track, rig, identity, size), path, watch, sound)


def write_pictures(
    track: ExpressionTrack,
    pictures: Iterable[np.ndarray],
    path: Path,
    watch: Watch | None = None,
    sound: bytes | None = None,
) -> None:
    """Write pictures made from a track as a video.

    Args:
        track: gives the frame rate and the provenance.
        pictures: T pictures (H, W, 3) uint8, marked already.
        path: ends in `.mp4`, `.mkv`, `.mov` or `.webm`; its metadata has the provenance as JSON in `comment`.
        watch: called after each frame.
        sound: what the face says, as WAV; it begins with the first picture. None: the video is silent.

    Raises:
        MediaError: there is no encoder, or the file cannot be written.
    """
    codec = encoder(path)
    encoding = ENCODINGS[path.suffix.lower()]
    stamps = np.arange(len(track.frames), dtype=np.int64)
    unit = 1 / Fraction(track.fps).limit_denominator(1001)
    timeline = Timeline(stamps, stamps, stamps[:1], unit, track.seconds, track.fps)
    try:
        with staged(path) as draft, ExitStack() as opened:
            target = opened.enter_context(av.open(str(draft), "w", format=encoding.container))
            target.metadata.update({"title": f"{MARK} face", "comment": mark_text(track.provenance)})
            film = Film(target, encoding, codec, timeline, QUALITY)
            if sound is not None:
                source = opened.enter_context(av.open(io.BytesIO(sound), "r"))
                film.expect_sound(source.streams.audio[0], source.format.name)
                for packet in source.demux(audio=0):  # they wait for the first picture
                    film.add_sound(packet)
            for number, picture in enumerate(pictures):
                film.add_picture(picture, number * unit)
                if watch is not None:
                    watch(number + 1, len(stamps))
            film.finish()
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{str(path)!r} cannot be written ({reason(error)}); check the folder and the disk") from error
