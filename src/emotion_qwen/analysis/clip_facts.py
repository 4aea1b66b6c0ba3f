"""The facts of a clip that was read, which `facts_text` presents to a model."""

from __future__ import annotations

import numpy as np

from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import Outline
from emotion_qwen.media.prosody import prosody_of
from emotion_qwen.media.voice_claims import voice_claims
from emotion_qwen.records import Clip
from emotion_qwen.verify.facts import ClipFacts, Stretch, person_facts, two_likeliest

CHANGES, WORDS = 3, 4
"""Maximum number of changes of the voice and of utterances that the facts list, so that a prompt stays short."""
SPOKEN = 0.8
"""Shortest section of voice that is compared with the whole voice, seconds."""


def facts_of(reading: ClipReading, outline: Outline) -> ClipFacts:
    """Return the facts of a clip, in the language of its reading.

    Args:
        reading: of the clip.
        outline: its people and conclusion.
    """
    clip, language = reading.prepared.clip, reading.language
    seconds = 0.0 if clip.still else round(clip.duration, 1)
    return ClipFacts(
        language,
        seconds,
        tuple(person_facts(person, seconds, language) for person in outline.people),
        tuple(_voice(reading, seconds)),
        clip.utterances[:WORDS],
        two_likeliest(outline.conclusion.distribution, language),
        reading.context.strip(),
    )


def _voice(reading: ClipReading, seconds: float) -> list[Stretch]:
    """Return the claims about the voice as a whole, and where it changes most."""
    clip, spans = reading.prepared.clip, reading.prepared.voice
    if clip.wave is None or not spans or "sound" not in reading.channels:
        return []
    rate = clip.sample_rate
    pieces = [clip.wave[_sample(start, clip) : _sample(end, clip)] for start, end in spans]
    usual = prosody_of(np.concatenate(pieces), rate)
    voice = [Stretch(claim.word, 0.0, seconds) for claim in voice_claims(usual)]
    changes: list[tuple[float, Stretch]] = []
    for (start, end), piece in zip(spans, pieces, strict=True):
        if end - start < SPOKEN or len(spans) < 2:
            continue
        for claim in voice_claims(prosody_of(piece, rate), usual):
            if claim.name.startswith("relative") and not claim.word.startswith("usual"):
                size = abs(claim.value - 1) * 5 if claim.unit == "ratio" else abs(claim.value)
                changes.append((size, Stretch(claim.word, round(start, 1), round(end, 1))))
    largest = sorted(changes, key=lambda pair: -pair[0])[:CHANGES]
    return voice + sorted((stretch for _, stretch in largest), key=lambda stretch: stretch.start)


def _sample(time: float, clip: Clip) -> int:
    return max(round((time - clip.wave_start) * clip.sample_rate), 0)
