"""Measure a clip: faces with their steadiness and sharpness, correlation of mouths and sound, hashes of its pictures.

Decisions are made by `select`. The measurements are also the evidence for the teacher and the facts against which a
description is checked. Faces are located, never identified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.faces import CenterFaceDetector, person_crops, track_faces
from emotion_qwen.faces.capture import boxes_between
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.media.prosody import SILENT
from emotion_qwen.prepare import ClipBudget, cut_out
from emotion_qwen.records import Clip, FaceTrack
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.settings import SelectSettings
from emotion_qwen.ver.store.columns import NOBODY, UNKNOWN, Row, kept, rejected

MOVES_WITH_SOUND = 0.25
"""Correlation of mouth motion and sound energy above which a face likely speaks. This is weak evidence, and labelled
so.
"""
PICTURES_HASHED = 4
_READ_SMILES = 2  # number of people whose smile is measured, those visible longest


@dataclass(frozen=True)
class LookAtClip:
    """Measure one clip of the cut table."""

    settings: SelectSettings
    folder: str

    def __call__(self, item: Row) -> list[Row]:
        """Return one row; a clip that cannot be read is rejected with the reason."""
        settings = self.settings
        budget = ClipSettings.of(
            {"fps": settings.fps, "max_frames": settings.most_frames, "working_side": settings.side}, "look"
        )
        try:
            clip = read_clip(Path(self.folder) / item["media"], budget, sources=Sources(sound=True))
        except MediaError as error:
            return self.lost(item, str(error))
        return kept(item, **measure_clip(clip, settings))

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `pools.Work`."""
        return rejected(item, f"unreadable: {reason}")


def measure_clip(clip: Clip, settings: SelectSettings) -> Row:
    """Measure a decoded clip."""
    seen = np.arange(0, len(clip.frames), settings.detect_every)
    sampled = replace(clip, frames=clip.frames[seen], times=clip.times[seen])
    frames, times = sampled.frames, sampled.times
    tracks = track_faces(frames, times, CenterFaceDetector(side=settings.side))
    height, width = frames.shape[1:3]
    at_once = np.bincount(np.concatenate([t.frames for t in tracks]), minlength=1) if tracks else np.zeros(1, int)
    level = sound_level(clip)
    speaker, mouth = likely_speaker(clip, tracks, times, level)
    row: Row = {
        "tracks": json.dumps([_shares(track, times, width, height) for track in tracks]),
        "people": len(tracks), "most_people": int(at_once.max()), "coverage": 0.0, "level": level,
        "speaker": speaker, "mouth": mouth, "hashes": json.dumps([f"{h:016x}" for h in picture_hashes(clip.frames)]),
        "smile": None, "shares": None,
    }  # fmt: skip
    if tracks and settings.expressions:
        row |= expressions(sampled, tracks)
    if tracks:
        main = max(tracks, key=lambda t: len(t.frames))
        sides = np.sqrt(np.prod(main.boxes[:, 2:] - main.boxes[:, :2], axis=1))
        middles = (main.boxes[:, :2] + main.boxes[:, 2:]) / 2
        steps = np.linalg.norm(np.diff(middles, axis=0), axis=1) / np.maximum(sides[1:], 1)
        row |= {
            "coverage": len(main.frames) / len(frames), "face_size": float(np.median(sides)) / min(height, width),
            "step": float(np.median(steps)) if len(steps) else 0.0, "sharpness": face_sharpness(frames, main),
        }  # fmt: skip
    return row


def _shares(track: FaceTrack, times: np.ndarray, width: int, height: int) -> dict[str, Any]:
    """Return a track as JSON: times in seconds, boxes x1, y1, x2, y2 as shares of width and height."""
    boxes = track.boxes / np.array([width, height, width, height], np.float32)
    return {
        "times": [round(float(time), 3) for time in times[track.frames]],
        "boxes": [[round(float(value), 4) for value in box] for box in boxes],
    }


def face_sharpness(frames: np.ndarray, track: FaceTrack) -> float:
    """Return the median variance of the Laplacian of a face, grey and scaled to 96 pixels."""
    import cv2

    values = []
    for crop in person_crops(frames, track, margin=0.0, count=5):
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        scaled = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_AREA if len(grey) > 96 else cv2.INTER_LINEAR)
        values.append(float(cv2.Laplacian(scaled, cv2.CV_64F).var()))
    return float(np.median(values))


def sound_level(clip: Clip) -> float | None:
    """Return the level of the sound in decibels of full scale; None without sound or with silence."""
    if clip.wave is None or not len(clip.wave):
        return None
    level = 10 * np.log10(float(np.mean(np.square(clip.wave, dtype=np.float64))) + 1e-12)
    return float(level) if level > SILENT else None


def likely_speaker(
    clip: Clip, tracks: tuple[FaceTrack, ...], times: np.ndarray, level: float | None
) -> tuple[int, float | None]:
    """Find the person whose mouth moves with the sound.

    Args:
        clip: all frames, with sound.
        tracks: found in a subset of the frames.
        times: (T,) times of that subset, in seconds.
        level: level of the sound; None is silence.

    Returns:
        The index of the track, `NOBODY`, or `UNKNOWN` if there is no sound or no face; and the best correlation.
    """
    if level is None or not tracks or len(clip.frames) < 8:
        return UNKNOWN, None
    energy = _energy(clip)
    best, speaker = -1.0, NOBODY
    for number, track in enumerate(tracks):
        places, motion = _mouth_motion(clip, track, times)
        if len(places) < 8 or motion.std() < 1e-6 or energy[places].std() < 1e-6:
            continue
        likeness = float(np.corrcoef(motion, energy[places])[0, 1])
        if likeness > best:
            best, speaker = likeness, number
    if best <= -1.0:
        return UNKNOWN, None
    return (speaker if best >= MOVES_WITH_SOUND else NOBODY), best


def _energy(clip: Clip) -> np.ndarray:
    """Return (T,) decibels of the sound around each frame."""
    assert clip.wave is not None  # checked by the caller
    half = max(1, round(0.06 * clip.sample_rate))
    squares = np.concatenate([[0.0], np.cumsum(np.square(clip.wave, dtype=np.float64))])
    middle = np.rint((clip.times - clip.wave_start) * clip.sample_rate).astype(np.int64)
    low, high = np.clip(middle - half, 0, len(clip.wave)), np.clip(middle + half, 0, len(clip.wave))
    return 10 * np.log10((squares[high] - squares[low]) / np.maximum(high - low, 1) + 1e-8)


def _mouth_motion(clip: Clip, track: FaceTrack, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frame indices and the change in the mouth region, minus that in the eye region without lip motion."""
    import cv2

    known = times[track.frames]
    places = np.flatnonzero((clip.times >= known[0]) & (clip.times <= known[-1]))
    boxes = boxes_between(track.boxes, known, clip.times[places])
    patches = []
    for place, (x1, y1, x2, y2) in zip(places, boxes, strict=True):
        frame = clip.frames[place]
        left, right = (int(np.clip(v, 0, frame.shape[1] - 1)) for v in (x1, x2))
        top, bottom = (int(np.clip(v, 0, frame.shape[0] - 1)) for v in (y1, y2))
        face = cv2.cvtColor(frame[top : max(bottom, top + 2), left : max(right, left + 2)], cv2.COLOR_RGB2GRAY)
        patches.append(cv2.resize(face, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float32))
    change = np.abs(np.diff(np.stack(patches), axis=0)) if len(patches) > 1 else np.zeros((0, 48, 48), np.float32)
    return places[1:], change[:, 31:46, 12:36].mean((1, 2)) - change[:, 8:22, 6:42].mean((1, 2))


def picture_hashes(frames: np.ndarray) -> list[int]:
    """Return perceptual hashes, 64 bits each, of evenly spaced frames: signs of the lowest DCT coefficients in grey."""
    import cv2

    hashes = []
    for place in np.unique(np.rint(np.linspace(0, len(frames) - 1, PICTURES_HASHED + 2)[1:-1]).astype(int)):
        grey = cv2.cvtColor(frames[place], cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        low = cv2.dct(small)[:8, :8].ravel()
        bits = low > np.median(low[1:])
        hashes.append(int("".join("1" if bit else "0" for bit in bits), 2))
    return hashes


def expressions(clip: Clip, tracks: tuple[FaceTrack, ...]) -> Row:
    """Return what the shipped model reads in the faces; crops are not mirrored.

    "smile" is the largest share of happiness in any face, 0 to 1; "shares" is JSON, emotion -> mean share in the face
    that is seen longest.
    """
    from emotion_qwen.analysis.reader import label_reader

    engine, labels = _reader(), label_set("fer7")
    budget = ClipBudget.of(engine.processor)
    budget = replace(budget, settings=budget.settings.model_copy(update={"person_mirrored": False}))
    longest = sorted(tracks, key=lambda track: -len(track.frames))[:_READ_SMILES]
    crops = [cut_out(clip, track, budget).crops for track in longest]
    parts = [{"type": "image", "image": crop} for person in crops for crop in person]
    scores, _ = label_reader(engine, labels, "en").scores(parts)
    shares = scores.double().softmax(-1)
    main = shares[: len(crops[0])].mean(0).tolist()
    return {
        "smile": float(shares[:, labels.labels.index("happiness")].max()),
        "shares": json.dumps({name: round(share, 4) for name, share in zip(labels.labels, main, strict=True)}),
    }


@cache
def _reader() -> Any:
    """Load the shipped model, once per process."""
    from emotion_qwen.engine.engine import Engine

    return Engine.load(device="cpu")
