"""Jobs of the decoding processes, which open untrusted files: with a memory limit and without secrets.

A job names a file and a folder; arrays are written to the folder, other values are returned. The model is not loaded.
"""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from PIL import Image

from emotion_qwen.errors import MediaError
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.media.container import open_container
from emotion_qwen.media.picture import is_picture, open_picture
from emotion_qwen.records import Clip, Utterance
from emotion_qwen.settings import ClipSettings

ARRAYS = ("frames", "times", "wave")
WRITTEN = 2**31  # maximum bytes per file that a job writes


class TooLarge(MediaError):
    """The medium exceeds the server's limits."""


def limit_process(memory: int, pixels: int) -> None:
    """Limit the resources of this process; on systems without such limits only the time limit applies.

    Args:
        memory: bytes of address space.
        pixels: per picture.
    """
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        import resource
    except ImportError:
        return
    for name, value in (("RLIMIT_AS", memory), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", WRITTEN), ("RLIMIT_NOFILE", 128)):
        hard = resource.getrlimit(getattr(resource, name))[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (wanted, wanted))


def check_limits(path: Path, pixels: int, seconds: float) -> float:
    """Check the size and length in a file's header before anything is decoded.

    Returns:
        The length in seconds; 0 for a picture, or if the header does not give it.

    Raises:
        TooLarge: the medium has more pixels or seconds than allowed.
        MediaError: the picture cannot be read.
    """
    if is_picture(path):
        with open_picture(path) as image:
            _check_size(image.width, image.height, pixels)
        return 0.0
    with (
        suppress(av.error.FFmpegError, OSError),
        open_container(path) as container,
    ):
        lengths = [container.duration / 1e6] if container.duration else []
        for stream in container.streams:
            if stream.duration and stream.time_base:
                lengths.append(float(stream.duration * stream.time_base))
        for video in container.streams.video:
            if video.codec_context is not None:
                _check_size(video.codec_context.width, video.codec_context.height, pixels)
        if max(lengths, default=0.0) > seconds:
            raise TooLarge(f"the medium lasts {max(lengths):,.0f} s; expected at most {seconds:,.0f} s, cut it first")
        return max(lengths, default=0.0)
    return 0.0


def _check_size(width: int, height: int, pixels: int) -> None:
    if width * height > pixels:
        raise TooLarge(f"the picture has {width}x{height} pixels; expected at most {pixels:,}, reduce it first")


def read_length(job: dict[str, Any]) -> float:
    """Return the length of a medium in seconds; errors are those of `check_limits`."""
    return check_limits(Path(job["path"]), job["pixels"], job["seconds"])


def decode_medium(job: dict[str, Any]) -> dict[str, Any]:
    """Decode a medium: write its arrays to the job's folder and return the other fields."""
    path, seconds = Path(job["path"]), job["seconds"]
    check_limits(path, job["pixels"], seconds)
    sources = Sources(
        sound=job["sound"], words=job["words"] or job["transcript"] is not None,
        transcript=job["transcript"] and Path(job["transcript"]),
    )  # fmt: skip
    clip = read_clip(
        path, ClipSettings.of(job["settings"]), start=job.get("start"), end=job.get("end"), sources=sources
    )
    length = max(
        [*clip.times.tolist(), clip.duration, len(clip.wave) / clip.sample_rate if clip.wave is not None else 0]
    )
    if length > seconds:  # some headers do not give the length
        raise TooLarge(f"the medium lasts {length:,.0f} s; expected at most {seconds:,.0f} s, cut it first")
    facts = {field.name: getattr(clip, field.name) for field in dataclasses.fields(clip)}
    for name in ARRAYS:
        if facts.pop(name) is not None:
            np.save(Path(job["folder"]) / f"{name}.npy", getattr(clip, name), allow_pickle=False)
    facts["utterances"] = [dataclasses.asdict(utterance) for utterance in clip.utterances]
    return facts


def load_clip(folder: Path, facts: dict[str, Any], source: str) -> Clip:
    """Return the decoded clip from the arrays in `folder` and the other fields.

    Args:
        folder: of the job.
        facts: as returned by `decode_medium`.
        source: name of the medium in the request.
    """
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        file = folder / f"{name}.npy"
        arrays[name] = np.load(file, allow_pickle=False) if file.is_file() else None
    fields = {**facts, "utterances": tuple(Utterance(**fields) for fields in facts["utterances"]), "source": source}
    fields |= {name: tuple(fields[name]) for name in ("size", "warnings")}
    return Clip(**arrays, **fields)


def make_playable(job: dict[str, Any]) -> dict[str, Any]:
    """Convert a medium to a form that browsers play, and compute the peaks of its sound."""
    from emotion_qwen.media.write.playable import playable, wave_peaks

    path, folder = Path(job["path"]), Path(job["folder"])
    check_limits(path, job["pixels"], job["seconds"])
    shown = playable(path, folder / "page.html", job["limit"])
    (folder / "shown").write_bytes(shown.data)
    return {"kind": shown.kind, "mime": shown.mime, "copied": shown.copied, "sound": wave_peaks(path)}


def do_job(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; return its result as JSON values under "result", or the file's error under "error"."""
    try:
        result = {"length": read_length, "decode": decode_medium, "playable": make_playable}[job["task"]](job)
        return {"result": json.loads(json.dumps(result, default=_plain, allow_nan=False))}
    except MediaError as error:
        return {"error": str(error), "large": isinstance(error, TooLarge)}
    except MemoryError:
        return {"error": "decoding the medium takes more memory than the server gives; reduce it", "large": True}
    except (av.error.FFmpegError, OSError, ValueError, OverflowError, SyntaxError) as error:
        return {"error": f"the medium is damaged ({type(error).__name__})", "large": False}


def _plain(value: Any) -> Any:
    number = float(value)  # a NumPy scalar
    return number if math.isfinite(number) else None
