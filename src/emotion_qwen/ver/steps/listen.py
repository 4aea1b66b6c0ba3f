"""Words of a clip, from subtitles or a local Whisper model, and its prosody, measured and described in words.

A sentence about the voice is composed of measurements and the words for them, without a model.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from emotion_qwen.errors import MediaError
from emotion_qwen.media.prosody import Prosody, prosody_of
from emotion_qwen.media.sound import read_sound, sound_tracks
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.media.voice_claims import VOICED, voice_word
from emotion_qwen.strings import VOICE_WORDS, in_language
from emotion_qwen.ver.settings import ListenSettings
from emotion_qwen.ver.store.columns import Row

MEASUREMENTS = ("level", "pitch", "spread", "rate")
_SENTENCES = {
    "en": {
        "noise": "Sound without a voice, {level} ({voice.level:.0f} dB).",
        "voice": (
            "The voice is {level} ({voice.level:.0f} dB), {pitch} ({voice.pitch:.0f} Hz), {spread} in melody "
            "({voice.spread:.1f} semitones), {rate} (about {voice.rate:.1f} syllables per second), {pauses}."
        ),
        "pauses": "{voice.pauses} pauses, the longest {voice.longest_pause:.1f} s",
        "one pause": "1 pause, the longest {voice.longest_pause:.1f} s",
        "no pause": "no pause",
    },
    "zh": {
        "noise": "有声音但没有人声，{level}（{voice.level:.0f} dB）。",
        "voice": (
            "人声{level}（{voice.level:.0f} dB），音高{pitch}（{voice.pitch:.0f} Hz），"
            "语调{spread}（{voice.spread:.1f} 个半音），语速{rate}（约每秒 {voice.rate:.1f} 个音节），{pauses}。"
        ),
        "pauses": "停顿 {voice.pauses} 次，最长 {voice.longest_pause:.1f} 秒",
        "one pause": "停顿 1 次，最长 {voice.longest_pause:.1f} 秒",
        "no pause": "没有停顿",
    },
}


@dataclass(frozen=True)
class ListenToClip:
    """Measure the voice of one clip, and transcribe its words if there are no subtitles."""

    settings: ListenSettings
    folder: str

    def __call__(self, item: Row) -> list[Row]:
        """Return one row; a clip without sound has empty sentences."""
        path = Path(self.folder) / item["media"]
        try:
            sound = read_sound(path, origin=0.0) if sound_tracks(path) else None
        except MediaError:
            sound = None  # a track that cannot be decoded counts as no sound
        prosody = prosody_of(sound.wave, sound.sample_rate) if sound else None
        if sound and prosody and item["words"] in (None, "", "[]") and self.settings.whisper:
            speech = _recognizer(self.settings.whisper).words(sound.wave)
            words = [
                [round(utterance.start, 3), round(utterance.end, 3), utterance.text] for utterance in speech.utterances
            ]
            return _row({**item, "words": json.dumps(words, ensure_ascii=False)}, prosody, speech.source)
        return _row(item, prosody)

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return a row without a voice, as for a track that cannot be decoded; see `pools.Work`."""
        return _row(item, None)


def _row(item: Row, prosody: Prosody | None, words_from: str = "subtitles") -> list[Row]:
    words = item["words"] or "[]"
    return [
        {
            "clip": item["clip"], "words": words, "words_from": words_from if words != "[]" else "",
            "prosody": json.dumps(asdict(prosody)) if prosody else "",
            **{f"voice_{language}": in_words(prosody, language) for language in _SENTENCES},
        }
    ]  # fmt: skip


def in_words(prosody: Prosody | None, language: str) -> str:
    """Describe the measurements in one sentence, in "en" or "zh"; "" without sound."""
    if prosody is None:
        return ""
    words = in_language(VOICE_WORDS, language)
    names = {name: words[voice_word(name, getattr(prosody, name))] for name in MEASUREMENTS}
    sentences = _SENTENCES[language]
    pauses = sentences[("no pause", "one pause", "pauses")[min(prosody.pauses, 2)]].format(voice=prosody)
    form = sentences["noise" if prosody.voiced < VOICED else "voice"]
    return form.format(voice=prosody, pauses=pauses, **names)


@cache
def _recognizer(folder: str) -> Recognizer:
    """Load a recogniser, once per process; errors are those of `Recognizer.load`."""
    return Recognizer.load(folder)
