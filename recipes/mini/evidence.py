"""Movements of the face and qualities of the voice as evidence of emotions.

Faces after the prototypes of Ekman and Friesen (EMFACS) as measured by Du, Tao and Martinez (PNAS 2014), voices after
the review of Juslin and Laukka (Psychological Bulletin 2003). These are tendencies of acted and posed emotion:
one observation is evidence of several emotions and proof of none.
"""

from __future__ import annotations

from collections.abc import Iterable

SPEAKS_FOR: dict[str, tuple[str, ...]] = {
    "happiness": ("smile", "broad smile", "upper lip raised", "eyes narrowed", "higher", "louder", "faster", "lively"),
    "sadness": (
        "mouth corners down", "inner brows raised", "eyes almost closed", "gaze lowered", "head down", "quieter",
        "lower", "slower", "flat", "slow", "pauses",
    ),
    "anger": (
        "brows lowered", "brows strongly lowered", "lips pressed", "eyes narrowed", "louder", "faster", "fast",
    ),
    "surprise": (
        "brows raised", "inner brows raised", "eyes wide", "mouth open", "mouth wide open", "higher", "lively",
    ),
    "fear": ("eyes wide", "inner brows raised", "brows raised", "mouth stretched", "higher", "faster", "fast"),
    "disgust": ("upper lip raised", "brows lowered", "brows strongly lowered", "eyes narrowed", "lips pushed forward"),
    "contempt": ("lips pressed", "eyes narrowed", "head up"),
    "neutral": ("mouth closed", "no smile", "head forward", "flat", "usual level", "usual pitch", "usual rate"),
    "calm": ("mouth closed", "quieter", "lower", "slow", "flat"),
    "boredom": ("eyes almost closed", "gaze lowered", "lower", "slow", "flat"),
}  # fmt: skip
"""Concept -> words of `face_claims.PHRASES` and `voice_claims.PHRASES`."""


def emotions_of(word: str) -> frozenset[str]:
    """Return the concepts of which an observation is evidence; none if it is evidence of nothing."""
    return frozenset(emotion for emotion, words in SPEAKS_FOR.items() if word in words)


def speaking_for(emotion: str, words: Iterable[str]) -> list[str]:
    """Return the observations that are evidence of a concept, in their order."""
    return [word for word in words if word in SPEAKS_FOR.get(emotion, ())]


def speaking_against(emotion: str, words: Iterable[str]) -> list[str]:
    """Return the observations that are evidence of other concepts but not of this one, in their order."""
    return [word for word in words if emotion not in (concepts := emotions_of(word)) and concepts - {"neutral"}]
