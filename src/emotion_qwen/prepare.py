"""The single path from a clip to the model's view of it: faces, capture, crops. Training, evaluation and serving use
it.

Frames come reduced to the working side (`media`), faces are found on them, everything but the faces is washed out and
blended in, and every person is also cut out as square pictures of one size. Patches and tokens follow in the processor.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from emotion_qwen.faces import FaceDetector, capture, chosen_frames, person_crops, track_faces
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.media.voice_activity import voice_spans
from emotion_qwen.records import Clip, FaceTrack, Sample
from emotion_qwen.settings import ClipSettings

if TYPE_CHECKING:  # not imported: a process that only prepares clips would load torch for nothing
    from emotion_qwen.processing import EmotionQwenProcessor


@dataclass(frozen=True, eq=False)
class PersonPictures:
    """One person of a clip: the track, and the views (K, S, S, 3) uint8 of it with their times (K,) in seconds."""

    track: FaceTrack
    crops: np.ndarray
    times: np.ndarray


@dataclass(frozen=True, eq=False)
class PreparedClip:
    """A clip ready for the processor.

    Attributes:
        clip: as decoded.
        shown: with captured frames.
        people: as crops.
        took: seconds that decoding and finding faces took, where this was measured.
        voice: the spans in which a voice is active, seconds on the clip's clock, ascending and disjoint.
    """

    clip: Clip
    shown: Clip
    people: tuple[PersonPictures, ...]
    took: float = 0.0
    voice: tuple[tuple[float, float], ...] = ()

    @property
    def part(self) -> dict[str, Any]:
        """The message part of the whole clip."""
        kind = "image" if self.shown.still else "video"
        return {"type": kind, kind: self.shown}


@dataclass(frozen=True)
class ClipBudget:
    """The properties of a processor that preparation needs.

    Attributes:
        settings: the processor's.
        factor: patch size times merge size, pixels; sides of person crops are multiples of it.
        whole_frames: maximum number of frames of the clip as a whole, evenly spaced; None uses all that were read.
    """

    settings: ClipSettings
    factor: int
    whole_frames: int | None = None

    @classmethod
    def of(cls, processor: EmotionQwenProcessor) -> ClipBudget:
        """Take it from a processor."""
        return cls(processor.settings, processor.factor)

    def at(self, fps: float | None) -> ClipBudget:
        """Return the budget for a number of frames per second that the user chose; None leaves it unchanged.

        All frames at that rate are read, faces are detected in all of them, and each person is cropped from all. The
        clip as a whole keeps the number of frames that the model was trained on.
        """
        if fps is None:
            return self
        chosen = {"fps": fps, "max_frames": sys.maxsize, "person_frames": sys.maxsize}
        return dataclasses.replace(
            self, settings=self.settings.model_copy(update=chosen), whole_frames=self.settings.max_frames
        )


def prepare_file(
    path: str | Path,
    detector: FaceDetector,
    budget: ClipBudget,
    *,
    start: float | None = None,
    end: float | None = None,
    sources: Sources,
) -> PreparedClip:
    """Read a file and prepare its clip; arguments and errors are those of `read_clip`."""
    began = time.perf_counter()
    clip = read_clip(path, budget.settings, start=start, end=end, sources=sources)
    prepared = prepare_clip(clip, detector, budget)
    return dataclasses.replace(prepared, took=time.perf_counter() - began)


def prepare_clip(clip: Clip, detector: FaceDetector, processor: EmotionQwenProcessor | ClipBudget) -> PreparedClip:
    """Find the faces of a clip, capture them, and cut out the people.

    A clip without any face track is shown as it is.
    """
    budget = processor if isinstance(processor, ClipBudget) else ClipBudget.of(processor)
    settings = budget.settings
    tracks, shown = captured(clip, detector, settings)
    people = tuple(cut_out(clip, track, budget) for track in tracks) if settings.person_crops else ()
    return PreparedClip(clip, _thinned(shown, budget.whole_frames), people, voice=_voices(clip))


def _thinned(clip: Clip, most: int | None) -> Clip:
    """Return a clip with at most this many of its frames, evenly spaced, including the first and the last."""
    if most is None or len(clip.frames) <= most:
        return clip
    kept = np.linspace(0, len(clip.frames) - 1, most).round().astype(int)
    return dataclasses.replace(clip, frames=clip.frames[kept], times=clip.times[kept])


def _voices(clip: Clip) -> tuple[tuple[float, float], ...]:
    """Return the spans in which a voice is active, seconds on the clip's clock; none without sound."""
    if clip.wave is None:
        return ()
    spans = voice_spans(clip.wave, clip.sample_rate)
    return tuple((clip.wave_start + start, clip.wave_start + end) for start, end in spans)


def captured(clip: Clip, detector: FaceDetector, settings: ClipSettings) -> tuple[tuple[FaceTrack, ...], Clip]:
    """Find the faces of a clip; return their tracks, and the clip with all but them washed out."""
    tracks = track_faces(clip.frames, clip.times, detector)
    frames = capture(clip.frames, tracks, settings.capture_strength, settings.capture_margin)
    return tracks, dataclasses.replace(clip, frames=frames)


def prepare_sample(sample: Sample, detector: FaceDetector | None, processor: EmotionQwenProcessor) -> Sample:
    """Read a sample's media given by path, and capture the faces in them as `prepare_clip` does.

    Arrays, clips and encoded visuals are used unchanged, because they are already prepared.

    Args:
        sample: not changed.
        detector: of faces; None reads without capture.
        processor: the model's own.

    Raises:
        MediaError: a medium cannot be read.
    """
    messages = []
    for message in sample.messages:
        content = message["content"]
        if not isinstance(content, str):
            content = [_read_part(part, detector, processor) for part in content]
        messages.append({**message, "content": content})
    return dataclasses.replace(sample, messages=tuple(messages))


def _read_part(part: dict[str, Any], detector: FaceDetector | None, processor: EmotionQwenProcessor) -> dict[str, Any]:
    kind = part["type"]
    if kind == "text" or not isinstance(part.get(kind), str | Path):
        return part
    settings = processor.settings
    clip = read_clip(part[kind], settings)
    if detector is None:
        return {"type": kind, kind: clip}
    return {"type": kind, kind: captured(clip, detector, settings)[1]}


def cut_out(clip: Clip, track: FaceTrack, budget: ClipBudget) -> PersonPictures:
    """Cut a person out of a clip, in the number of pictures given by the settings."""
    settings = budget.settings
    crops = person_crops(clip.frames, track, margin=settings.person_margin, count=settings.person_frames)
    side = crop_side(settings, budget.factor)
    times = clip.times[chosen_frames(track, settings.person_frames)]
    pictures = [person_views(crop, side, settings) for crop in crops]
    return PersonPictures(track, np.concatenate(pictures), np.repeat(times, len(pictures[0])))


def crop_side(settings: ClipSettings, factor: int) -> int:
    """Return the side of a person crop in pixels: the budget's root, as a multiple of patch x merge."""
    return max(factor, round(math.sqrt(settings.person_pixels) / factor) * factor)


def person_views(crop: np.ndarray, side: int, settings: ClipSettings) -> np.ndarray:
    """Return the (1 or 2, side, side, 3) pictures from which one crop is read: unchanged, and mirrored if set."""
    fitted = fit_crop(crop, side, settings.person_gray)
    return np.stack([fitted, fitted[:, ::-1]]) if settings.person_mirrored else fitted[None]


def fit_crop(crop: np.ndarray, side: int, gray: bool) -> np.ndarray:
    """Resize a square crop (S, S, 3) uint8 to (side, side, 3), grey if the model saw only grey faces."""
    image = Image.fromarray(crop)
    if gray:
        image = image.convert("L").convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
