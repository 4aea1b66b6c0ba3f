"""What may be claimed of a voice in words, each claim with the measurement that it can be checked against.

A description may say these things of a voice and no others:

| name | unit | what is claimed |
|---|---|---|
| relative level | dB | louder, as loud as, or quieter than the same speaker usually is in this recording |
| relative pitch | semitones | higher, as high as, or lower than usual for this speaker |
| relative rate | ratio | faster, as fast as, or slower than usual for this speaker |
| pitch | Hz | low, middle or high |
| spread | semitones | how lively the melody is: flat, moderately varied or lively |
| rate | syllables/s | slow, middle or fast |
| pauses | pauses | none, one or several |

The level alone is no claim, because it depends on the microphone and its distance; only the level against the speaker's
own is. Relative claims need a second measurement of the same speaker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emotion_qwen.media.prosody import Prosody
from emotion_qwen.strings import VOICE_CLAIMS, VOICE_WORDS, in_language

VOICED = 0.05
"""Share of voiced frames below which there is sound but no voice to describe."""
SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "level": ((-32.0, "quiet"), (-18.0, "middle level"), (math.inf, "loud")),
    "pitch": ((140.0, "low"), (220.0, "middle pitch"), (math.inf, "high")),
    "spread": ((1.5, "flat"), (3.5, "varied"), (math.inf, "lively")),
    "rate": ((2.5, "slow"), (5.0, "middle rate"), (math.inf, "fast")),
    "pauses": ((1.0, "no pause"), (2.0, "one pause"), (math.inf, "pauses")),
    "relative level": ((-3.0, "quieter"), (3.0, "usual level"), (math.inf, "louder")),
    "relative pitch": ((-2.0, "lower"), (2.0, "usual pitch"), (math.inf, "higher")),
    "relative rate": ((0.83, "slower"), (1.2, "usual rate"), (math.inf, "faster")),
}
"""Measurement -> (upper bound, excluded; word), ascending; the words stand in `strings.VOICE_WORDS`."""
UNITS = {
    "level": "dB", "pitch": "Hz", "spread": "semitones", "rate": "syllables/s", "pauses": "pauses",
    "relative level": "dB", "relative pitch": "semitones", "relative rate": "ratio",
}  # fmt: skip


@dataclass(frozen=True)
class VoiceClaim:
    """One thing that is true of a voice.

    Attributes:
        name: the measurement, a key of `SCALES`.
        word: a key of `strings.VOICE_WORDS`.
        value: what was measured.
        unit: of `value`.
    """

    name: str
    word: str
    value: float
    unit: str

    def holds(self, value: float) -> bool:
        """Tell whether the claim's word is true of another measurement of the same name."""
        return voice_word(self.name, value) == self.word

    def text(self, language: str = "en") -> str:
        """Return the claim as a sentence with its value, in "en" or "zh"."""
        word = in_language(VOICE_WORDS, language)[self.word]
        return in_language(VOICE_CLAIMS, language)[self.name].format(word=word, value=self.value)


def voice_word(name: str, value: float) -> str:
    """Return the word for a value of a measurement, a key of `strings.VOICE_WORDS`."""
    return next((word for bound, word in SCALES[name] if value < bound), SCALES[name][-1][1])


def voice_claims(prosody: Prosody | None, usual: Prosody | None = None) -> list[VoiceClaim]:
    """Return what may be claimed of a voice; nothing of silence or of sound without a voice.

    Args:
        prosody: measured on the stretch that is described.
        usual: measured on everything that the same speaker says in this recording; None gives no relative claims.
    """
    if prosody is None or prosody.voiced < VOICED or not prosody.pitch:
        return []
    values: dict[str, float] = {}
    if usual is not None and usual.voiced >= VOICED and usual.pitch:
        values["relative level"] = prosody.level - usual.level
        values["relative pitch"] = 12 * math.log2(prosody.pitch / usual.pitch)
        if usual.rate and prosody.rate:
            values["relative rate"] = prosody.rate / usual.rate
    values |= {"pitch": prosody.pitch, "spread": prosody.spread}
    if prosody.rate:
        values["rate"] = prosody.rate
    values["pauses"] = float(prosody.pauses)
    return [VoiceClaim(name, voice_word(name, value), round(value, 2), UNITS[name]) for name, value in values.items()]
