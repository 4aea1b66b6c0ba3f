"""Verbal claims about a voice, each with the measurement against which it can be checked.

A description may make only these claims about a voice:

| name | unit | what is claimed |
|---|---|---|
| relative level | dB | louder, as loud as, or quieter than the same speaker usually is in this recording |
| relative pitch | semitones | higher, as high as, or lower than usual for this speaker |
| relative rate | ratio | faster, as fast as, or slower than usual for this speaker |
| pitch | Hz | low, middle or high |
| spread | semitones | how lively the melody is: flat, moderately varied or lively |
| rate | syllables/s | slow, middle or fast |
| pauses | pauses | none, one or several |

Against other recordings (`voice_levels`), pitch, spread, rate, jitter and shimmer are low below the first quartile
of `REFERENCE` and high above the third. Pauses are not compared: those recordings are single sentences.

The absolute level is not a claim, because it depends on the microphone and its distance; only the level relative to
the speaker's usual one is. Relative claims need a second measurement of the same speaker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emotion_qwen.matching.phrases import PhraseFinder, Phrases
from emotion_qwen.media.perturbation import jitter_and_shimmer
from emotion_qwen.media.prosody import Prosody, prosody_of
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
"""Measurement -> (upper bound, excluded; word), ascending; the words are in `strings.VOICE_WORDS`."""
UNITS = {
    "level": "dB", "pitch": "Hz", "spread": "semitones", "rate": "syllables/s", "pauses": "pauses",
    "relative level": "dB", "relative pitch": "semitones", "relative rate": "ratio",
}  # fmt: skip
PHRASES: dict[str, Phrases] = {
    "low": (("the voice is low", "the pitch is low"), ("声音低沉", "音调偏低")),
    "middle pitch": (("the pitch is in the middle", "the voice is of middle pitch"), ("音调适中", "音高适中")),
    "high": (("the voice is high", "the pitch is high"), ("声音较高", "音调偏高")),
    "flat": (("the melody is flat", "the speech is monotonous"), ("语调平直", "语气平淡")),
    "varied": (("the melody varies moderately", "the pitch moves moderately"), ("语调略有起伏", "音高略有变化")),
    "lively": (("the melody is lively", "the pitch moves a lot"), ("语调起伏很大", "音高变化很大")),
    "slow": (("the speech is slow", "the person speaks slowly"), ("语速较慢", "说得慢")),
    "middle rate": (("the speech has a middle pace", "the pace is moderate"), ("语速适中", "说得不快不慢")),
    "fast": (("the speech is fast", "the person speaks fast"), ("语速较快", "说得快")),
    "no pause": (("there is no pause", "it comes without a pause"), ("没有停顿", "一口气说完")),
    "one pause": (("there is one pause", "it is broken by one pause"), ("停顿一次", "中间停了一下")),
    "pauses": (("there are several pauses", "pauses break it up"), ("停顿多次", "断断续续")),
    "quieter": (("the voice is quieter than usual", "the person speaks more softly than usual"),
                ("声音比平时轻", "说话比平时小声")),
    "usual level": (("the voice is as loud as usual",), ("音量与平时相近",)),
    "louder": (("the voice is louder than usual", "the person speaks up"), ("声音比平时响", "提高了音量")),
    "lower": (("the voice is lower than usual",), ("声音比平时低沉",)),
    "usual pitch": (("the pitch is as usual",), ("音高与平时相近",)),
    "higher": (("the voice is higher than usual", "the pitch goes up"), ("声音比平时高", "音调升高")),
    "slower": (("the speech is slower than usual",), ("语速比平时慢",)),
    "usual rate": (("the pace is as usual",), ("语速与平时相近",)),
    "faster": (("the speech is faster than usual", "the pace quickens"), ("语速比平时快", "越说越快")),
}  # fmt: skip
"""Word -> phrases without a number with which a text may claim it; the absolute level is not a claim."""
MEASURED = {word: name for name, scale in SCALES.items() for _, word in scale}
"""Word -> the measurement that it is about."""
REFERENCE: dict[str, tuple[float, float]] = {
    "pitch": (132.0, 235.0), "spread": (2.81, 4.85), "rate": (3.91, 4.89), "jitter": (2.09, 2.98),
    "shimmer": (9.53, 12.6),
}  # fmt: skip
"""Measurement -> first and third quartile of 749 recordings of acted speech: the training parts of EmoDB, RAVDESS
and nEMO in equal shares, made by `python -m recipes.evidence voices`."""
LEVEL_UNITS = {
    "pitch": "Hz", "spread": "semitones", "rate": "syllables/s", "jitter": "%", "shimmer": "%",
}  # fmt: skip
"""Measurement of a level -> its unit."""
_FINDER = PhraseFinder(PHRASES)


@dataclass(frozen=True)
class VoiceClaim:
    """A true statement about a voice.

    Attributes:
        name: the measurement, a key of `SCALES`.
        word: a key of `strings.VOICE_WORDS`.
        value: the measured value.
        unit: of `value`.
    """

    name: str
    word: str
    value: float
    unit: str

    def holds(self, value: float) -> bool:
        """Return whether the claim's word is true of another measurement of the same name."""
        return voice_word(self.name, value) == self.word

    def text(self, language: str = "en") -> str:
        """Return the claim as a sentence with its value, in "en" or "zh"."""
        word = in_language(VOICE_WORDS, language)[self.word]
        return in_language(VOICE_CLAIMS, language)[self.name].format(word=word, value=self.value)


def voice_word(name: str, value: float) -> str:
    """Return the word for a value of a measurement, a key of `strings.VOICE_WORDS`."""
    return next((word for bound, word in SCALES[name] if value < bound), SCALES[name][-1][1])


def voice_claims(prosody: Prosody | None, usual: Prosody | None = None) -> list[VoiceClaim]:
    """Return the claims that may be made about a voice; none for silence or sound without a voice.

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


@dataclass(frozen=True)
class VoiceLevel:
    """A measurement of a voice compared with other recordings.

    Attributes:
        name: a key of `REFERENCE`.
        value: the measured value.
        level: "low", "middle" or "high".
    """

    name: str
    value: float
    level: str


def level_measures(wave: np.ndarray, rate: int) -> dict[str, float]:
    """Return the measurements for `voice_levels` of (S,) float mono sound at `rate` Hz; none without a voice."""
    prosody = prosody_of(wave, rate)
    if prosody is None or prosody.voiced < VOICED or not prosody.pitch:
        return {}
    measures = {"pitch": prosody.pitch, "spread": prosody.spread}
    if prosody.rate:
        measures["rate"] = prosody.rate
    if perturbation := jitter_and_shimmer(wave, rate):
        measures |= {"jitter": 100 * perturbation[0], "shimmer": 100 * perturbation[1]}
    return measures


def voice_levels(measures: Mapping[str, float]) -> list[VoiceLevel]:
    """Compare the measurements of `level_measures` with `REFERENCE`, in its order."""
    levels = []
    for name, (low, high) in REFERENCE.items():
        if name in measures:
            value = measures[name]
            levels.append(VoiceLevel(name, value, "low" if value < low else "high" if value > high else "middle"))
    return levels


def voice_claims_in(text: str, language: str = "en") -> list[str]:
    """Return the words, keys of `PHRASES`, that a text claims of a voice, in its order."""
    return _FINDER.words(text, language)
