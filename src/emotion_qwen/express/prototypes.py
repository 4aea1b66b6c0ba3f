"""The seven emotions as facial actions: a hand-written table after the Facial Action Coding System, and its blends.

The action units of an emotion follow the prototypes of Ekman and Friesen's EMFACS and their reviews (Ekman, Friesen and
Hager, *Facial Action Coding System: Investigator's Guide*, 2002, table 10-1; Matsumoto et al., *Facial expressions of
emotion*, Handbook of Emotions, 2008). The blendshapes that show an action unit follow the descriptions of both (Apple,
`ARFaceAnchor.BlendShapeLocation`). The strengths are our choice, made by looking at rendered faces. A prototype shows
how actors express an emotion; people who feel it often show less, or something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.express.track import CHANNELS, EMOTIONS, PLACE, STRONGEST
from emotion_qwen.taxonomy import CONCEPTS, concept_of_word

NEUTRAL = "neutral"
ACTION_UNITS: Mapping[int, Mapping[str, float]] = MappingProxyType({
    1: {"browInnerUp": 1.0},
    2: {"browOuterUpLeft": 1.0, "browOuterUpRight": 1.0},
    4: {"browDownLeft": 1.0, "browDownRight": 1.0},
    5: {"eyeWideLeft": 1.0, "eyeWideRight": 1.0},
    6: {"cheekSquintLeft": 1.0, "cheekSquintRight": 1.0, "eyeSquintLeft": 0.4, "eyeSquintRight": 0.4},
    7: {"eyeSquintLeft": 1.0, "eyeSquintRight": 1.0},
    9: {"noseSneerLeft": 1.0, "noseSneerRight": 1.0},
    10: {"mouthUpperUpLeft": 1.0, "mouthUpperUpRight": 1.0},
    12: {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    15: {"mouthFrownLeft": 1.0, "mouthFrownRight": 1.0},
    16: {"mouthLowerDownLeft": 1.0, "mouthLowerDownRight": 1.0},
    17: {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.4},
    20: {"mouthStretchLeft": 1.0, "mouthStretchRight": 1.0},
    23: {"mouthRollUpper": 0.5, "mouthRollLower": 0.5, "mouthPressLeft": 0.5, "mouthPressRight": 0.5},
    24: {"mouthPressLeft": 1.0, "mouthPressRight": 1.0},
    25: {"mouthLowerDownLeft": 0.2, "mouthLowerDownRight": 0.2, "jawOpen": 0.08},
    26: {"jawOpen": 0.5},
    27: {"jawOpen": 1.0, "mouthFunnel": 0.3},
    43: {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    64: {"eyeLookDownLeft": 1.0, "eyeLookDownRight": 1.0},
})  # fmt: skip
"""Action unit of FACS -> the facial actions that show it, each with its strength at full action."""
EMOTION_UNITS: Mapping[str, Mapping[int, float]] = MappingProxyType({
    "anger": {4: 1.0, 5: 0.55, 7: 0.75, 9: 0.2, 23: 0.7, 24: 0.6, 17: 0.3},
    "disgust": {9: 1.0, 10: 0.75, 4: 0.4, 7: 0.5, 6: 0.4, 15: 0.25, 17: 0.35, 25: 0.3},
    "fear": {1: 1.0, 2: 0.6, 4: 0.45, 5: 1.0, 20: 0.85, 16: 0.35, 26: 0.55},
    "happiness": {12: 1.0, 6: 0.85, 25: 1.0, 26: 0.3},
    "neutral": {},
    "sadness": {1: 1.0, 4: 0.35, 15: 0.95, 17: 0.55, 43: 0.14, 64: 0.35},
    "surprise": {1: 0.95, 2: 1.0, 5: 0.9, 26: 0.7, 27: 0.5},
})  # fmt: skip
"""Emotion -> action unit -> strength, 0 to 1."""
HEAD_POSES: Mapping[str, tuple[float, float, float]] = MappingProxyType({
    "anger": (0.0, -4.0, 0.0), "disgust": (5.0, 2.0, -3.0), "fear": (0.0, 3.0, 0.0), "happiness": (0.0, 2.0, 3.0),
    "sadness": (0.0, -9.0, -4.0), "surprise": (0.0, 3.0, 0.0),
})  # fmt: skip
"""Emotion -> yaw, pitch and roll of the head in degrees; our choice."""


def prototype(emotion: str) -> np.ndarray:
    """Return the facial actions (52,) of an emotion at full strength, each 0 to 1."""
    values = np.zeros(len(CHANNELS))
    for unit, strength in EMOTION_UNITS[emotion].items():
        for channel, share in ACTION_UNITS[unit].items():
            values[PLACE[channel]] += strength * share
    return values.clip(0, 1)


PROTOTYPES = np.stack([prototype(emotion) for emotion in EMOTIONS])
"""(7, 52) facial actions of `EMOTIONS`."""
POSES = np.array([HEAD_POSES.get(emotion, (0.0, 0.0, 0.0)) for emotion in EMOTIONS])
"""(7, 3) head angles of `EMOTIONS`, degrees."""


def expression(weights: np.ndarray) -> np.ndarray:
    """Blend prototypes.

    Args:
        weights: (..., 7) strengths of `EMOTIONS`, 0 to 1.5.

    Returns:
        (..., 52) facial actions: the weighted sum of the prototypes, clipped to 0..1.
    """
    return (weights @ PROTOTYPES).clip(0, 1)


def emotion_weights(shares: Mapping[str, float], intensity: float = 1.0) -> np.ndarray:
    """Return the strengths (7,) of a blend.

    Args:
        shares: emotion -> share, 0 to 1, with a sum of at most 1; the rest is neutral. A word such as "sad" or "joy"
            means its emotion.
        intensity: 0 to 1.5, multiplies the shares of all emotions but neutral.

    Raises:
        SettingsError: an emotion is unknown, or a number is out of range.
    """
    check_intensity(intensity)
    weights = np.zeros(len(EMOTIONS))
    for word, share in shares.items():
        name = concept_of_word().get(word.strip().lower(), word)
        if name not in EMOTIONS:
            raise SettingsError(unknown_choice("emotion", word, EMOTIONS))
        if not 0 <= share <= 1:
            raise SettingsError(f"the share of {word!r} is {share:g}; expected 0 to 1, such as {word}:0.6")
        weights[EMOTIONS.index(name)] += share
    total = float(weights.sum())
    if total > 1 + 1e-6:
        raise SettingsError(f"the shares add up to {total:g}; expected at most 1, use --intensity for more")
    weights *= intensity
    weights[EMOTIONS.index(NEUTRAL)] = 0.0
    weights[EMOTIONS.index(NEUTRAL)] = max(0.0, 1.0 - float(weights.sum()))
    return weights


def check_intensity(intensity: float) -> None:
    """Refuse an intensity out of range.

    Raises:
        SettingsError: it is below 0, above `STRONGEST`, or not a number.
    """
    if not 0 <= intensity <= STRONGEST:
        raise SettingsError(f"intensity is {intensity:g}; expected 0 to {STRONGEST:g}")


def parse_shares(text: str) -> dict[str, float]:
    """Read shares such as "sadness:0.6,fear:0.4"; an emotion without a number has the share 1.

    Raises:
        SettingsError: a number cannot be read, or an emotion occurs twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        try:
            share = float(number) if colon else 1.0
        except ValueError:
            share = math.nan
        if not name or math.isnan(share) or name in shares:
            raise SettingsError(f"{text!r}: {part.strip()!r}; expected emotions with shares, as sadness:0.6,fear:0.4")
        shares[name] = share
    return shares


def circle_shares(valence: float, arousal: float) -> dict[str, float]:
    """Return the blend for a place in the plane of valence and arousal.

    The angle of the place is interpolated linearly between the two neighbouring emotions on the circle, at the angles
    of `taxonomy.CONCEPTS`; its distance from the centre relative to theirs is the share that is not neutral. This is
    interpolation between labels, not a learned map, and the positions of anger and fear nearly coincide.

    Raises:
        SettingsError: a number is not -1 to 1.
    """
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise SettingsError(f"valence {valence:g} and arousal {arousal:g}; expected two numbers from -1 to 1")
    circle = sorted(
        (math.atan2(CONCEPTS[name].arousal, CONCEPTS[name].valence), name) for name in EMOTIONS if name != NEUTRAL
    )
    angle, full = math.atan2(arousal, valence), 2 * math.pi
    gaps = [((angle - place) % full, (place - angle) % full, name) for place, name in circle]
    before, after = min(gaps, key=lambda gap: gap[0]), min(gaps, key=lambda gap: gap[1])
    total = before[0] + after[1]
    part = before[0] / total if total else 0.0
    shares = {before[2]: 1.0 - part}
    shares[after[2]] = shares.get(after[2], 0.0) + part
    radius = sum(share * math.hypot(CONCEPTS[name].valence, CONCEPTS[name].arousal) for name, share in shares.items())
    strength = min(math.hypot(valence, arousal) / radius, 1.0)
    return {name: share * strength for name, share in shares.items() if share * strength > 0}


def seven_shares(distribution: Mapping[str, float]) -> dict[str, float]:
    """Return shares of `EMOTIONS` that add up to 1, from those of labels of any set.

    A label of a narrower emotion counts for its broader one; a label that corresponds to none of the seven is left out.

    Raises:
        SettingsError: no label means one of the seven emotions, or a share is not a number.
    """
    shares = dict.fromkeys(EMOTIONS, 0.0)
    for label, share in distribution.items():
        name = concept_of_word().get(str(label).strip().lower(), "")
        while name and name not in shares:
            name = CONCEPTS[name].broader
        if name:
            shares[name] += max(float(share), 0.0)
    total = sum(shares.values())
    if not total > 0 or not math.isfinite(total):
        raise SettingsError(f"labels {', '.join(map(str, distribution))}; expected shares of {', '.join(EMOTIONS)}")
    return {name: share / total for name, share in shares.items()}
