"""Put lips that speak into a track of an emotion.

The division of mouth movements between speech and emotion follows the Facial Action Coding System's rules
for a speaking face (Ekman, Friesen and Hager, *FACS Manual*, 2002, chapter 11, and the instructions of its Final
Test): parted lips and the jaw (AU 25 to 27) are counted as speech; AU 10, 14, 16 to 18, 20 and 22 to 24 are an emotion
if they last longer than a syllable; corners of the mouth that are drawn up or down (AU 12, 15) are an emotion.

With e the emotion's strength of an action, l that of the lips, s how far the face speaks, r the share of the mouth at
rest and p that of pressed lips in a frame, the strength is

- (1 - s) e + l for the jaw and `mouthClose`: speech takes over, and between sentences the emotion returns;
- max((1 - p) e, l) for lips that are drawn apart: they meet for p, b and m;
- max((r + p) e, l) for lips that are pressed, rolled or pursed: they part for open sounds;
- max(e, l) for everything else, so a smile stays and a frown stays;

clipped to 0..1. The formulas are ours and not learned from recordings.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from emotion_qwen.errors import SettingsError
from emotion_qwen.express.track import CHANNELS, ExpressionTrack
from emotion_qwen.express.visemes import REST, SEAL, Visemes

SPEECH = ("jaw", "mouthClose", "tongueOut")
APART = ("mouthUpperUp", "mouthLowerDown")
TOGETHER = ("mouthPress", "mouthRoll", "mouthShrug", "mouthPucker", "mouthFunnel")
"""Prefixes of facial actions: those of speech, those that draw the lips apart, and those that press them."""
BRIDGED = 0.3
"""Seconds of rest between two sounds below which the face continues to speak; our choice."""
CLEAR = 0.3
"""Share of mouth shapes other than rest from which a face speaks in full; our choice."""
RELEASE = 0.15
"""Seconds in which the mouth comes to rest when a sound ends abruptly."""


def with_lips(track: ExpressionTrack, visemes: Visemes) -> ExpressionTrack:
    """Return a track whose mouth speaks.

    Args:
        track: of an emotion.
        visemes: at the frame rate of the track, from its first frame on.

    Raises:
        SettingsError: what is spoken is longer than the track.
    """
    if len(visemes.shares) > len(track.frames):
        raise SettingsError(
            f"what is spoken takes {visemes.seconds:.1f} s, the track {track.seconds:.1f} s; give at least "
            f"--seconds {np.ceil(visemes.seconds * 10) / 10:.1f}, or leave it out"
        )
    spoken = _until(visemes, len(track.frames), track.fps)
    lips = (spoken.shares @ spoken.poses).clip(0, 1)
    speaks = speaking(1 - spoken.share(REST), track.fps)[:, None]
    rest, seal = spoken.share(REST)[:, None], spoken.share(SEAL)[:, None]
    emotion = track.frames
    frames = np.maximum(emotion, lips)
    for names, values in (
        (SPEECH, (1 - speaks) * emotion + lips),
        (APART, np.maximum((1 - seal) * emotion, lips)),
        (TOGETHER, np.maximum((rest + seal) * emotion, lips)),
    ):
        columns = [place for place, name in enumerate(CHANNELS) if name.startswith(names)]
        frames[:, columns] = values[:, columns]
    details = track.provenance.details | {"lips": visemes.details}
    provenance = track.provenance.model_copy(update={"details": details})
    return replace(track, frames=frames.clip(0, 1), provenance=provenance)


def speaking(moving: np.ndarray, fps: float) -> np.ndarray:
    """Return the degree to which a face is speaking, (T,) 0 to 1, ignoring short pauses.

    Args:
        moving: (T,) share of mouth shapes other than rest.
        fps: frames per second.
    """
    size = 2 * round(BRIDGED / 2 * fps) + 1
    return uniform_filter1d(maximum_filter1d((moving / CLEAR).clip(0, 1), size), size, mode="nearest")


def _until(visemes: Visemes, count: int, fps: float) -> Visemes:
    """Return visemes of `count` frames: after the last, the mouth comes to rest."""
    added = count - len(visemes.shares)
    rest = np.eye(len(visemes.names))[visemes.names.index(REST)]
    part = np.clip((np.arange(added)[:, None] + 1) / (RELEASE * fps), 0, 1)
    return replace(visemes, shares=np.concatenate([visemes.shares, (1 - part) * visemes.shares[-1] + part * rest]))
