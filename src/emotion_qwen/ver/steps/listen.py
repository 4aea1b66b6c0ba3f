"""What is said in a clip and how: words of subtitles or of a local Whisper, prosody measured and put in words.

A sentence about the voice is composed of measurements and thresholds that stand here; no model hears anything.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.media.sound import read_sound, sound_tracks
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.media.voice import measure
from emotion_qwen.ver.settings import ListenSettings
from emotion_qwen.ver.store.columns import SILENT, Row

FRAME = 0.02  # seconds
PAUSE = 0.25
"""Seconds of quiet inside speech from which it is a pause."""
_QUIET = 20.0  # dB under the loudest hundredth; below it is quiet
_LEVELS = ((-32.0, "quiet", "轻"), (-18.0, "of middle loudness", "音量适中"), (99.0, "loud", "响亮"))
_PITCHES = ((140.0, "low", "偏低"), (220.0, "of middle pitch", "适中"), (999.0, "high", "偏高"))
_SPREADS = ((1.5, "flat", "平直"), (3.5, "moderately varied", "有起伏"), (99.0, "lively", "起伏很大"))
_RATES = ((2.5, "slow", "较慢"), (5.0, "of middle pace", "适中"), (99.0, "fast", "较快"))


@dataclass(frozen=True)
class Prosody:
    """Measurements of a clip's sound.

    Attributes:
        level: decibels of full scale.
        pitch: median, Hz; 0 where nothing is voiced.
        spread: of the pitch, semitones.
        voiced: share of the frames that are voiced.
        rate: peaks of loudness that are voiced, about syllables, per second of speech; 0 without voice.
        pauses: how many.
        longest_pause: seconds.
    """

    level: float
    pitch: float
    spread: float
    voiced: float
    rate: float
    pauses: int
    longest_pause: float


@dataclass(frozen=True)
class ListenToClip:
    """Measure the voice of one clip, and write down its words where subtitles gave none."""

    settings: ListenSettings
    folder: str

    def __call__(self, item: Row) -> list[Row]:
        """Return one row; a clip without sound has empty sentences."""
        path = Path(self.folder) / item["media"]
        words, origin = json.loads(item["words"] or "[]"), "subtitles"
        prosody = None
        try:
            if sound_tracks(path):
                sound = read_sound(path, origin=0.0)
                prosody = prosody_of(sound.wave, sound.sample_rate)
        except MediaError:
            prosody = None  # a track that does not decode is no sound
        if prosody and not words and self.settings.whisper:
            heard = _recognizer(self.settings.whisper).words(sound.wave)
            words, origin = (
                [[round(one.start, 3), round(one.end, 3), one.text] for one in heard.utterances],
                heard.source,
            )
        return [
            {
                "clip": item["clip"], "words": json.dumps(words, ensure_ascii=False),
                "words_from": origin if words else "", "prosody": json.dumps(asdict(prosody)) if prosody else "",
                "voice_en": in_words(prosody, "en"), "voice_zh": in_words(prosody, "zh"),
            }
        ]  # fmt: skip

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return a row without a voice, as for a sound that does not decode; see `pools.Work`."""
        words = item["words"] or "[]"
        return [
            {
                "clip": item["clip"], "words": words, "words_from": "subtitles" if words != "[]" else "", "prosody": "",
                "voice_en": in_words(None, "en"), "voice_zh": in_words(None, "zh"),
            }
        ]  # fmt: skip


def prosody_of(wave: np.ndarray, rate: int) -> Prosody | None:
    """Measure (S,) float mono sound at `rate` Hz; None for silence or nearly none."""
    if len(wave) < 0.2 * rate:
        return None
    voice = measure(wave, rate)
    if voice.level < SILENT:
        return None
    length = round(FRAME * rate)
    frames = wave[: len(wave) // length * length].reshape(-1, length).astype(np.float64)
    loud = 10 * np.log10((frames**2).mean(1) + 1e-10)
    speech = loud > np.percentile(loud, 99) - _QUIET
    inside = np.flatnonzero(speech)
    gaps = np.diff(inside) - 1 if len(inside) else np.zeros(0, int)
    pauses = gaps[gaps * FRAME >= PAUSE] * FRAME
    spoken = (inside[-1] - inside[0] + 1) * FRAME - float(pauses.sum()) if len(inside) else 0.0
    peaks = _peaks(loud, speech) if voice.voiced > 0.05 else 0
    return Prosody(
        round(voice.level, 1), round(voice.pitch, 1), round(voice.spread, 2), round(voice.voiced, 3),
        round(float(peaks / spoken), 2) if spoken > 0.2 else 0.0, len(pauses), round(float(pauses.max(initial=0.0)), 2),
    )  # fmt: skip


def _peaks(loud: np.ndarray, speech: np.ndarray) -> int:
    """Count hills of the smoothed loudness that rise 2 dB above the valleys beside them: about one a syllable."""
    smooth = np.convolve(loud, np.hanning(7) / np.hanning(7).sum(), mode="same")
    count, valley, hill, rising = 0, smooth[0], smooth[0], True
    for value, spoken in zip(smooth, speech, strict=True):
        if rising:
            hill = max(hill, value)
            if value < hill - 2:
                count, rising, valley = count + int(spoken or hill > np.median(smooth)), False, value
        else:
            valley = min(valley, value)
            if value > valley + 2:
                rising, hill = True, value
    return count


def in_words(prosody: Prosody | None, language: str) -> str:
    """Say what was measured in one sentence, in "en" or "zh"; "" without sound."""
    if prosody is None:
        return ""
    place = 1 if language == "en" else 2
    level = _name(prosody.level, _LEVELS, place)
    if prosody.voiced < 0.05:
        if language == "en":
            return f"Sound without a voice, {level} ({prosody.level:.0f} dB)."
        return f"有声音但没有人声，{level}（{prosody.level:.0f} dB）。"
    pitch, spread, rate = (
        _name(value, table, place)
        for value, table in ((prosody.pitch, _PITCHES), (prosody.spread, _SPREADS), (prosody.rate, _RATES))
    )
    if language == "en":
        pauses = (
            f"{prosody.pauses} pause{'s' * (prosody.pauses > 1)}, the longest {prosody.longest_pause:.1f} s"
            if prosody.pauses
            else "no pause"
        )
        return (
            f"The voice is {level} ({prosody.level:.0f} dB), {pitch} ({prosody.pitch:.0f} Hz), {spread} in melody "
            f"({prosody.spread:.1f} semitones), {rate} (about {prosody.rate:.1f} syllables a second), {pauses}."
        )
    pauses = f"停顿 {prosody.pauses} 次，最长 {prosody.longest_pause:.1f} 秒" if prosody.pauses else "没有停顿"
    return (
        f"人声{level}（{prosody.level:.0f} dB），音高{pitch}（{prosody.pitch:.0f} Hz），"
        f"语调{spread}（{prosody.spread:.1f} 个半音），语速{rate}"
        f"（约每秒 {prosody.rate:.1f} 个音节），{pauses}。"
    )


def _name(value: float, table: tuple[tuple[float, str, str], ...], place: int) -> str:
    return str(next((row for row in table if value < row[0]), table[-1])[place])


@cache
def _recognizer(folder: str) -> Recognizer:
    """Load a recogniser, once a process; errors are those of `Recognizer.load`."""
    return Recognizer.load(folder)
