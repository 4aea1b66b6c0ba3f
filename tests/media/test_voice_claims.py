"""What may be claimed of a voice: words from measurements, relative to the speaker, whatever the recording's gain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.ver.films import tone

from emotion_qwen.media.prosody import Prosody, prosody_of
from emotion_qwen.media.voice_claims import (
    LEVEL_UNITS,
    MEASURED,
    PHRASES,
    REFERENCE,
    SCALES,
    UNITS,
    VoiceClaim,
    level_measures,
    voice_claims,
    voice_claims_in,
    voice_levels,
    voice_word,
)
from emotion_qwen.strings import VOICE_CLAIMS, VOICE_LEVELS, VOICE_WORDS

USUAL = Prosody(level=-25.0, pitch=180.0, spread=2.0, voiced=0.6, rate=4.0, pauses=1, longest_pause=0.4)


def words(claims: list[VoiceClaim]) -> dict[str, str]:
    return {claim.name: claim.word for claim in claims}


def test_every_measurement_has_a_word_a_unit_and_a_sentence_in_both_languages():
    assert SCALES.keys() == UNITS.keys() == VOICE_CLAIMS.keys()
    assert {word for scale in SCALES.values() for _, word in scale} == set(VOICE_WORDS)
    for name, scale in SCALES.items():
        assert [bound for bound, _ in scale] == sorted(bound for bound, _ in scale)
        for language in ("en", "zh"):
            assert "{" not in VoiceClaim(name, scale[0][1], 1.0, UNITS[name]).text(language)


def test_claims_relative_to_the_speaker_need_a_second_measurement():
    here = replace(USUAL, level=-20.0, pitch=240.0, rate=3.0, pauses=0)
    assert words(voice_claims(here)) == {
        "pitch": "high", "spread": "varied", "rate": "middle rate", "pauses": "no pause",
    }  # fmt: skip
    claims = voice_claims(here, USUAL)
    assert words(claims) | {"relative level": "louder", "relative pitch": "higher"} == words(claims)
    assert words(claims)["relative rate"] == "slower"
    values = {claim.name: (claim.value, claim.unit) for claim in claims}
    assert values["relative level"] == (5.0, "dB") and values["relative pitch"] == (4.98, "semitones")
    assert claims[0].text() == "The voice is louder than usual for this speaker (+5 dB)."
    assert claims[0].text("zh") == "声音比此人平时响亮（+5 dB）。"


def test_a_claim_is_checked_against_another_measurement():
    claim = voice_claims(replace(USUAL, level=-20.0), USUAL)[0]
    assert claim.holds(3.0) and claim.holds(12.0) and not claim.holds(2.9) and not claim.holds(-5.0)
    assert voice_word("pauses", 7) == "pauses" and voice_word("pitch", 140.0) == "middle pitch"


def test_silence_noise_and_an_unvoiced_comparison_give_no_such_claims():
    noise = prosody_of(np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32), 16000)
    assert voice_claims(None) == voice_claims(noise, USUAL) == []
    assert "relative level" not in words(voice_claims(USUAL, noise))


@pytest.mark.parametrize("gain", [-24.0, 12.0])
def test_the_gain_of_a_recording_changes_no_claim(gain):
    wave = tone(3.0, 160.0, 0.1)
    loud = np.concatenate([wave, 2 * wave])
    factor = np.float32(10 ** (gain / 20))

    def claims(part: np.ndarray, whole: np.ndarray) -> dict[str, str]:
        return words(voice_claims(prosody_of(part, 16000), prosody_of(whole, 16000)))

    assert claims(wave * factor, loud * factor) == claims(wave, loud)
    assert claims(wave, loud)["relative level"] == "quieter"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_phrase_is_found_again_as_its_own_word(language):
    column = 0 if language == "en" else 1
    phrases = [(phrase, word) for word, both in PHRASES.items() for phrase in both[column]]
    assert len({phrase for phrase, _ in phrases}) == len(phrases)
    for phrase, word in phrases:
        assert voice_claims_in(f"{phrase.capitalize()}.", language) == [word]
    assert voice_claims_in(" ".join(phrase for phrase, _ in phrases), language) == [word for _, word in phrases]
    assert {MEASURED[word] for word in PHRASES} == set(SCALES) - {"level"}
    assert voice_claims_in("the pitch is lower. the pace is moderately quick", "en") == [], "words end where they end"


def test_levels_are_low_and_high_outside_the_quartiles_of_other_recordings():
    assert REFERENCE.keys() == LEVEL_UNITS.keys() == VOICE_LEVELS.keys()
    assert all(low < high for low, high in REFERENCE.values())
    (low, high), (_, spread) = REFERENCE["pitch"], REFERENCE["spread"]
    measured = {"pitch": high + 1, "spread": spread, "jitter": REFERENCE["jitter"][0] - 0.01}
    assert [(each.name, each.level) for each in voice_levels(measured)] == [
        ("pitch", "high"), ("spread", "middle"), ("jitter", "low"),
    ]  # fmt: skip
    assert [each.level for each in voice_levels({"pitch": low})] == ["middle"]


def test_levels_are_measured_of_voices_only():
    steady = tone(2.0, 150.0)
    assert level_measures(steady, 16000)["pitch"] == pytest.approx(150.0, rel=0.02)
    assert level_measures(steady, 16000)["jitter"] < 0.5
    assert level_measures(np.zeros(16000, np.float32), 16000) == {}
