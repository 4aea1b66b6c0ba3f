"""Tracks whose motion a trained model generates, and recordings at the frame rate that it learns from.

What the model does not move, because its recordings did not, moves by rule (`emotion_qwen.express.motion`). A recording
shows some action even in a face at rest, and a rig is at rest where all actions are 0, so actions are taken relative to
the face at rest that is stored with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

from emotion_qwen.errors import CheckpointError, DataError
from emotion_qwen.express.generator.folder import read_trained
from emotion_qwen.express.generator.learned import at_rest_zero, shares_and_intensity
from emotion_qwen.express.motion import Keyframe, emotion_curve, make_track
from emotion_qwen.express.motion_model.configuration import MOVING
from emotion_qwen.express.motion_model.modeling import MotionModel
from emotion_qwen.express.track import CHANNELS, EMOTIONS, LARGEST_ANGLE, ExpressionTrack, Provenance

SLOWEST = 24.0
"""Lowest frame rate of a recording that motion is learned from; fewer frames per second miss most of a blink."""


def read_motion(folder: Path) -> MotionModel:
    """Read a trained motion model.

    Raises:
        CheckpointError: the folder holds none, or one for other emotions.
    """
    model = read_trained(folder, MotionModel, "motion model", "--motion shaped")
    if tuple(model.config.emotions) != EMOTIONS:
        raise CheckpointError(
            f"{str(folder)!r} moves faces for {len(model.config.emotions)} emotions ({model.config.emotions[0]} "
            f"first); expected {', '.join(EMOTIONS)}"
        )
    return model


def learned_track(
    model: MotionModel,
    keyframes: Sequence[Keyframe],
    seconds: float,
    *,
    fps: float = 30.0,
    seed: int = 0,
    provenance: Provenance | None = None,
) -> ExpressionTrack:
    """Make a track from keyframes of emotions with learned motion; the same arguments give the same track.

    The model generates at its own frame rate; other rates are interpolated linearly.

    Args:
        model: of all of `EMOTIONS`.
        keyframes: as in `emotion_qwen.express.motion.make_track`, and so for the other arguments and the errors.
        seconds: length of the track.
        fps: frames per second.
        seed: of the random motion, and of what moves by rule.
        provenance: of the track.
    """
    shaped = make_track(keyframes, seconds, fps=fps, seed=seed, provenance=provenance)
    rate = model.config.fps
    clock = np.arange(int(np.ceil(shaped.times[-1] * rate)) + 1) / rate
    shares, intensity = (
        torch.from_numpy(part).float() for part in shares_and_intensity(emotion_curve(keyframes, clock))
    )
    motion = model.generate_motion(shares, intensity, seed=seed).double().cpu().numpy()
    columns = [MOVING.index(name) for name in model.config.channels]
    rest = model.rest.double().cpu().numpy()
    every = np.concatenate([shaped.frames, shaped.head], axis=1)
    for place, (column, values) in enumerate(zip(columns, motion.T, strict=True)):
        relative = at_rest_zero(values, rest[place]) if column < len(CHANNELS) else values - rest[place]
        every[:, column] = np.interp(shaped.times, clock, relative)
    frames, head = every[:, : len(CHANNELS)].clip(0, 1), every[:, len(CHANNELS) :].clip(-LARGEST_ANGLE, LARGEST_ANGLE)
    return replace(shaped, frames=frames, head=head)


def at_rate(track: ExpressionTrack, fps: float) -> ExpressionTrack:
    """Return a track at another frame rate: filtered, so that fast motion does not fold into slow motion.

    Raises:
        DataError: the track has fewer frames per second than `SLOWEST`.
    """
    if track.fps < SLOWEST:
        raise DataError(f"recorded at {track.fps:g} frames per second; expected at least {SLOWEST:g}")
    ratio = Fraction(fps / track.fps).limit_denominator(1000)
    if ratio == 1:
        return track

    def sampled(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return resample_poly(values, ratio.numerator, ratio.denominator, axis=0, padtype="line").clip(low, high)

    frames, head = sampled(track.frames, 0, 1), sampled(track.head, -LARGEST_ANGLE, LARGEST_ANGLE)
    times = np.arange(len(frames)) / fps
    curve = np.stack([np.interp(times, track.times, values) for values in track.emotions.T], axis=1)
    return ExpressionTrack(fps, frames, head, curve, track.provenance)
