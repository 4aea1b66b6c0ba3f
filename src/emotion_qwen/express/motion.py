"""From keyframes of emotions to moving facial actions, by rule.

The emotion curve is interpolated between keyframes; each facial action follows its target through a critically damped
filter, faster on the way up than on the way down, with slow random variation and blinks. All constants are in
`MotionPace` and `REGIONS`. Motion that was learned from recordings is `emotion_qwen.express.motion_model`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emotion_qwen.errors import SettingsError
from emotion_qwen.express.prototypes import POSES, expression
from emotion_qwen.express.track import (
    CHANNELS,
    EMOTIONS,
    LARGEST_ANGLE,
    MOST_FPS,
    PLACE,
    STRONGEST,
    ExpressionTrack,
    Provenance,
    check_seconds,
)


@dataclass(frozen=True)
class MotionPace:
    """Constants of the motion. Sources are named where there is one; the others are our choice.

    Attributes:
        attack: seconds of the keyframes from neutral to an emotion that is held.
        hold: share of the track after which the emotion is released.
        release_factor: how much slower an action falls than it rises (spontaneous smiles fade more slowly than they
            appear: Schmidt, Cohn and Tian, Biological Psychology, 2003).
        jitter: standard deviation of an action's variation, as a share of the action itself; both sides of the face
            vary together. This and the next three are chosen so that speed and acceleration are those of two clips
            of real faces (`docs/results/express.md`).
        jitter_seconds: correlation time of that variation.
        sway: standard deviation of the head's angles, degrees.
        sway_seconds: correlation time of these.
        blinks_per_minute: at rest (17: Bentivoglio et al., Movement Disorders, 1997).
        blink_closing: seconds in which the eye closes, and `blink_opening` opens; together within the 0.1 to 0.4 s of
            Stern, Walrath and Goldstein, Psychophysiology, 1984.
        blink_gap: least seconds between blinks.
        gaze: standard deviation of the eye-look actions.
        gaze_seconds: correlation time of these.
    """

    attack: float = 0.15
    hold: float = 0.8
    release_factor: float = 1.8
    jitter: float = 0.22
    jitter_seconds: float = 0.18
    sway: float = 2.4
    sway_seconds: float = 0.45
    blinks_per_minute: float = 17.0
    blink_closing: float = 0.09
    blink_opening: float = 0.17
    blink_gap: float = 0.6
    gaze: float = 0.05
    gaze_seconds: float = 1.2


REGIONS = {"brow": 0.10, "eye": 0.08, "nose": 0.13, "cheek": 0.16, "mouth": 0.13, "jaw": 0.12, "tongue": 0.12}
"""Beginning of a facial action's name -> time constant of its rise, seconds; a step reaches 91 % after four of them.
Smiles of Schmidt, Cohn and Tian (2003) take about 0.5 s to their first peak; brows and lids are our choice."""
_NAMES = [name.removesuffix("Left").removesuffix("Right") for name in CHANNELS]
SIDES = [sorted(set(_NAMES)).index(name) for name in _NAMES]
"""Facial action -> number of the variation that it follows; left and right share one."""
HEAD_SECONDS = 0.3
"""Time constant of the head."""
PACE = MotionPace()


@dataclass(frozen=True, eq=False)
class Keyframe:
    """What the face expresses at a time: seconds, and strengths (7,) of `EMOTIONS`, 0 to 1.5."""

    time: float
    weights: np.ndarray


def neutral_weights() -> np.ndarray:
    """Return the strengths (7,) of a face without emotion."""
    weights = np.zeros(len(EMOTIONS))
    weights[EMOTIONS.index("neutral")] = 1.0
    return weights


def held(weights: np.ndarray, seconds: float, pace: MotionPace = PACE) -> list[Keyframe]:
    """Return keyframes that rise from neutral to an emotion, hold it, and release it before the end."""
    rise = min(pace.attack, seconds / 10)
    fall = max(seconds * pace.hold, rise)
    end = min(fall + 4 * pace.attack, seconds)
    rest = neutral_weights()
    return [Keyframe(0.0, rest), Keyframe(rise, weights), Keyframe(fall, weights), Keyframe(end, rest)]


def make_track(
    keyframes: Sequence[Keyframe],
    seconds: float,
    *,
    fps: float = 30.0,
    seed: int = 0,
    provenance: Provenance | None = None,
    pace: MotionPace = PACE,
    faces: Callable[[np.ndarray], np.ndarray] = expression,
) -> ExpressionTrack:
    """Make a track from keyframes of emotions; the same arguments give the same track.

    Args:
        keyframes: K >= 1, in order of time; the strengths are interpolated linearly between them.
        seconds: length of the track.
        fps: frames per second.
        seed: of the variation and the blinks.
        provenance: of the track.
        pace: constants of the motion.
        faces: takes strengths (T, 7) and returns the actions (T, 52) to move to; the table of prototypes by default.

    Raises:
        DataError: the length is out of range.
        SettingsError: there is no keyframe, their times do not ascend, or the frame rate is out of range.
    """
    check_seconds(seconds)
    check_fps(fps)
    count = max(round(seconds * fps), 1)
    curve = emotion_curve(keyframes, np.arange(count) / fps)
    random = np.random.default_rng(seed)
    rise = np.array([region_seconds(name) for name in CHANNELS])
    actions = damped(faces(curve), rise, rise * pace.release_factor, fps)
    actions *= 1 + pace.jitter * wander(random, (count, max(SIDES) + 1), pace.jitter_seconds, fps)[:, SIDES]
    head = damped(curve @ POSES, np.full(3, HEAD_SECONDS), np.full(3, HEAD_SECONDS), fps)
    head += pace.sway * wander(random, head.shape, pace.sway_seconds, fps)
    _add_gaze(actions, wander(random, (count, 2), pace.gaze_seconds, fps) * pace.gaze)
    _add_blinks(actions, blink_curve(random, count, fps, pace))
    return ExpressionTrack(
        fps, actions.clip(0, 1), head.clip(-LARGEST_ANGLE, LARGEST_ANGLE), curve, provenance or Provenance()
    )


def emotion_curve(keyframes: Sequence[Keyframe], times: np.ndarray) -> np.ndarray:
    """Return the strengths (T, 7) of the emotions at times (T,) in seconds, interpolated between keyframes.

    Raises:
        SettingsError: there is no keyframe, or their times do not ascend.
    """
    moments = [keyframe.time for keyframe in keyframes]
    if not moments or any(b < a for a, b in itertools.pairwise(moments)):
        raise SettingsError(f"keyframes at {moments} s; expected at least one, in order of time")
    strengths = [[keyframe.weights[row] for keyframe in keyframes] for row in range(len(EMOTIONS))]
    return np.stack([np.interp(times, moments, values) for values in strengths], 1).clip(0, STRONGEST)


def check_fps(fps: float) -> None:
    """Refuse a frame rate that no track may have.

    Raises:
        SettingsError: it is 0 or less, not a number, or above `MOST_FPS`.
    """
    if not 0 < fps <= MOST_FPS:
        raise SettingsError(f"fps is {fps:g}; expected above 0, at most {MOST_FPS:g}")


def region_seconds(channel: str) -> float:
    """Return the time constant of a facial action's rise, seconds."""
    return next(value for name, value in REGIONS.items() if channel.startswith(name))


def damped(targets: np.ndarray, rise: np.ndarray, fall: np.ndarray, fps: float) -> np.ndarray:
    """Follow targets with a critically damped second-order filter, which does not overshoot a step.

    The step is exact for a target that is constant within a frame, so a low frame rate is stable.

    Args:
        targets: (T, C); the first row is also the state before the first frame.
        rise: (C,) time constants in seconds while the target is above the state, `fall` (C,) below it.
        fps: frames per second.

    Returns:
        (T, C).
    """
    state, speed = targets[0].copy(), np.zeros(targets.shape[1])
    path = np.empty_like(targets)
    for row, target in enumerate(targets):
        rate = 1 / np.where(target >= state, rise, fall)
        gap = state - target
        drive = speed + rate * gap
        decay = np.exp(-rate / fps)
        state = target + (gap + drive / fps) * decay
        speed = (speed - rate * drive / fps) * decay
        path[row] = state
    return path


def wander(random: np.random.Generator, shape: tuple[int, int], seconds: float, fps: float) -> np.ndarray:
    """Return (T, C) Ornstein-Uhlenbeck processes of mean 0 and deviation 1, smoothed once more with the same constant.

    Args:
        random: source of the noise.
        shape: (T, C).
        seconds: correlation time.
        fps: frames per second.
    """
    keep = math.exp(-1 / (seconds * fps))
    noise = random.standard_normal(shape)
    path = np.empty(shape)
    level = smooth = noise[0] if len(noise) else noise
    # Deviation of the smoothed process relative to the one that it follows.
    shrink = math.sqrt((1 - keep) * (1 + keep * keep) / (1 + keep) ** 3) * math.sqrt((1 + keep) / (1 - keep))
    for row, value in enumerate(noise):
        level = keep * level + math.sqrt(1 - keep * keep) * value
        smooth = keep * smooth + (1 - keep) * level
        path[row] = smooth / shrink
    return path


def blink_curve(random: np.random.Generator, count: int, fps: float, pace: MotionPace = PACE) -> np.ndarray:
    """Return how far blinks close the eyes, (T,) 0 to 1; they come as a Poisson process with a least gap."""
    clock, curve = np.arange(count) / fps, np.zeros(count)
    mean = 60 / pace.blinks_per_minute - pace.blink_gap
    time = random.exponential(mean)
    while time < count / fps:
        closing = 1 - np.abs(np.minimum(clock - time, 0)) / pace.blink_closing
        opening = 1 - np.maximum(clock - time, 0) / pace.blink_opening
        curve = np.maximum(curve, np.minimum(closing, opening).clip(0, 1))
        time += pace.blink_gap + random.exponential(mean)
    return curve * curve * (3 - 2 * curve)


def _add_gaze(actions: np.ndarray, gaze: np.ndarray) -> None:
    """Add slow movements of both eyes, (T, 2) to the left of the person and upwards, to the actions (T, 52)."""
    pairs = (
        (0, "eyeLookOutLeft", "eyeLookInLeft"),
        (0, "eyeLookInRight", "eyeLookOutRight"),
        (1, "eyeLookUpLeft", "eyeLookDownLeft"),
        (1, "eyeLookUpRight", "eyeLookDownRight"),
    )
    for axis, positive, negative in pairs:
        actions[:, PLACE[positive]] += gaze[:, axis].clip(0)
        actions[:, PLACE[negative]] += (-gaze[:, axis]).clip(0)


def _add_blinks(actions: np.ndarray, closed: np.ndarray) -> None:
    """Close the eyes of the actions (T, 52) by blinks (T,), which also stop a wide eye."""
    for side in ("Left", "Right"):
        blink, wide = PLACE[f"eyeBlink{side}"], PLACE[f"eyeWide{side}"]
        actions[:, blink] = actions[:, blink] + (1 - actions[:, blink]) * closed
        actions[:, wide] *= 1 - closed
