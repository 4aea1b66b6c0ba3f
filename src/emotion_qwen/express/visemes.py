"""Visemes of a text, of a recorded voice, or of both, by the optional package `openfacefx` (extra `lips`).

The package (MIT, numpy only, no downloads) turns spelling into phonemes by a dictionary of a few words and by rules for
English letters, spreads them over a time by typical durations, and blends the mouth shapes of neighbours; of a sound,
it measures only the loudness. It does not recognise speech, so the result is a rough approximation of lip movements.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.express.track import CHANNELS, MOST_SECONDS, PLACE, check_seconds
from emotion_qwen.extras import optional
from emotion_qwen.media.sound import SAMPLE_RATE, read_sound
from emotion_qwen.media.voice_activity import voice_spans

PACKAGE, EXTRA = "openfacefx", "lips"
REST, SEAL = "sil", "PP"
"""The visemes of a mouth at rest, and of lips pressed together for p, b and m."""
PHONEMES_PER_SECOND = 12.0
"""Rate at which a text without a sound is spoken; our choice."""
MARGIN = 0.25
"""Seconds at rest before and after a text without a sound."""


@dataclass(frozen=True, eq=False)
class Visemes:
    """Mouth shapes over time.

    Attributes:
        names: of the V visemes.
        shares: (T, V) share of each viseme in a frame; a row adds up to 1.
        poses: (V, 52) facial actions of each viseme at full share, 0 to 1.
        seconds: length of what is spoken.
        sound: the sound as WAV (16 kHz, 16-bit, mono); None for a text alone.
        details: package with its version, and inputs, for the provenance.
    """

    names: tuple[str, ...]
    shares: np.ndarray
    poses: np.ndarray
    seconds: float
    sound: bytes | None
    details: dict[str, Any]

    def share(self, name: str) -> np.ndarray:
        """Return the share of a viseme over time, (T,)."""
        return self.shares[:, self.names.index(name)]


def spoken_visemes(fps: float, text: str | None = None, sound: Path | None = None) -> Visemes:
    """Return the visemes of a text, of a voice, or of a text that a voice speaks.

    A text alone is spoken at `PHONEMES_PER_SECOND`. A sound alone opens and closes the mouth by its loudness. With
    both, the words are spread over the spans in which a voice is active (over the whole sound if none is found), by
    their numbers of phonemes, and the opening of the mouth is multiplied by the square root of the loudness (0 to 1);
    pressed lips stay as they are.

    Args:
        fps: frames per second.
        text: English words.
        sound: a sound, or a video with sound.

    Raises:
        DataError: the text takes longer than a track may be.
        MediaError: the sound cannot be read, is silent, or is longer than a track may be.
        MissingPackage: `openfacefx` is not installed.
        SettingsError: neither is given, or the text has no word, or letters, numbers or signs that would be left out.
    """
    if text is None and sound is None:
        raise SettingsError("neither a text nor a sound is given; expected what the face is to say")
    words = [] if text is None else _words(text)
    package = optional(PACKAGE, EXTRA)
    details: dict[str, Any] = {"package": f"{PACKAGE} {package.__version__}"}
    if text is not None:
        details["say"] = text
    if sound is None:
        segments, seconds = _read_aloud(package, words)
        check_seconds(seconds)
        return _visemes(package, _blended(package, segments, fps), fps, seconds, None, details)
    details["sound"] = sound.name
    with _as_wav(sound) as (path, spans, seconds):
        loudness = np.asarray(package.energy_envelope(str(path), fps=fps)[1])
        if not loudness.any():
            raise MediaError(f"{str(sound)!r} is silent, or too quiet; expected a recording of speech")
        if text is None:
            track = package.generate_from_energy(str(path), fps=fps, epsilon=0.0)
            shares = _sampled(track, package.VISEMES, len(loudness), fps)
        else:
            segments = package.anchored_segments(" ".join(words), seconds, _anchors(package, words, spans, seconds))
            shares = _damped_by(loudness, _blended(package, segments, fps), package.VISEMES)
        return _visemes(package, shares, fps, seconds, path.read_bytes(), details)


def _words(text: str) -> list[str]:
    """Return the words of an English text; nothing that is spoken is left out silently.

    Raises:
        SettingsError: there is no word, or a letter outside a to z, or a number or sign.
    """
    for word in text.split():
        if any(letter.isalpha() and not letter.isascii() for letter in word):
            raise SettingsError(
                f"{word!r} has letters that {PACKAGE} cannot read; expected English words, or give a sound alone"
            )
        if any(letter.isnumeric() or letter in "&%@#" or unicodedata.category(letter)[0] == "S" for letter in word):
            raise SettingsError(f"{word!r} has a number or a sign; write it in words, such as twenty-four percent")
    words = re.findall(r"[A-Za-z']+", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    words = [word for word in words if word.strip("'")]
    if not words:
        raise SettingsError(f"the text to say is {text!r}; expected a sentence of English words")
    return words


def _read_aloud(package: ModuleType, words: Sequence[str]) -> tuple[list[Any], float]:
    """Return the phonemes of words at their times, and the length in seconds."""
    phonemes = package.G2P().phrase(" ".join(words))
    end = MARGIN + len(phonemes) / PHONEMES_PER_SECOND
    rest = package.PhonemeSegment
    spoken = package.NaiveAligner().align(phonemes, end - MARGIN, start=MARGIN)
    return [rest(REST, 0.0, MARGIN), *spoken, rest(REST, end, end + MARGIN)], end + MARGIN


def _anchors(
    package: ModuleType, words: Sequence[str], spans: Sequence[tuple[float, float]], seconds: float
) -> list[Any]:
    """Return the words spoken in each span of a voice: a word belongs where the middle of its phonemes is."""
    reader = package.G2P()
    counts = np.array([len(reader.word(word)) for word in words], float)
    lengths = np.array([end - start for start, end in spans])
    middles = (counts.cumsum() - counts / 2) / counts.sum() * lengths.sum()
    place = np.searchsorted(lengths.cumsum()[:-1], middles)
    anchors = []
    for number, (start, end) in enumerate(spans):
        here = [word for word, span in zip(words, place, strict=True) if span == number]
        if here:
            anchors.append(package.Anchor(" ".join(here), start, min(end, seconds)))
    return anchors


def _blended(package: ModuleType, segments: Sequence[Any], fps: float) -> np.ndarray:
    """Return the shares of visemes (T, V) for phonemes, each blended into its neighbours.

    The package's rules and timings after JALI (Edwards et al., SIGGRAPH 2016) are used, because without them the mouth
    hangs open at rest and hardly moves within a word. They leave the jaw open under pressed lips, so the other
    shapes are reduced here in favour of these.
    """
    shares = np.array(package.build_viseme_curves(segments, fps=fps, params=package.CoartParams(jali=True))[1])
    seal = list(package.VISEMES).index(SEAL)
    others = np.delete(np.arange(shares.shape[1]), seal)
    room = 1 - shares[:, seal].clip(0, 1)
    shares[:, others] *= np.minimum(room / np.maximum(shares[:, others].sum(1), 1e-9), 1)[:, None]
    return shares


@contextmanager
def _as_wav(sound: Path) -> Iterator[tuple[Path, list[tuple[float, float]], float]]:
    """Return a sound as a WAV file, with the spans in which a voice is active and the length, both in seconds.

    Raises:
        MediaError: the sound cannot be read, or is longer than a track may be.
    """
    recording = read_sound(sound, end=MOST_SECONDS + 1)
    if recording.duration > MOST_SECONDS:
        raise MediaError(f"{str(sound)!r} is longer than {MOST_SECONDS:g} s; cut it into parts")
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-lips-") as folder:
        path = Path(folder) / "sound.wav"
        with wave.open(str(path), "wb") as target:
            target.setnchannels(1)
            target.setsampwidth(2)
            target.setframerate(SAMPLE_RATE)
            target.writeframes((recording.wave.clip(-1, 1) * 32767).astype("<i2").tobytes())
        # The detector misses some voices: one of 24 recordings of RAVDESS, a frightened one.
        yield path, voice_spans(recording.wave) or [(0.0, recording.duration)], recording.duration


def _sampled(track: Any, names: Sequence[str], count: int, fps: float) -> np.ndarray:
    """Return the curves of a track of the package at frames, (T, V)."""
    shares, clock = np.zeros((count, len(names))), np.arange(count) / fps
    for channel in track.channels:
        times, values = [key.time for key in channel.keys], [key.value for key in channel.keys]
        shares[:, list(names).index(channel.name)] = np.interp(clock, times, values)
    return shares


def _damped_by(loudness: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return shares (T, V) with the open mouth shapes scaled by the root of the loudness (T',), 0 to 1."""
    clock = np.minimum(np.arange(len(shares)), len(loudness) - 1)
    moving = np.array([name not in (REST, SEAL) for name in names])
    return np.where(moving, shares * np.sqrt(loudness[clock])[:, None], shares)


def _visemes(
    package: ModuleType, shares: np.ndarray, fps: float, seconds: float, sound: bytes | None, details: dict[str, Any]
) -> Visemes:
    """Return visemes of the frames of `seconds`; the mouth at rest takes the remaining share of each."""
    names = tuple(package.VISEMES)
    rest = names.index(REST)
    shares = np.asarray(shares, float)[: max(round(seconds * fps), 1)].clip(0, 1)
    shares[:, rest] = 0
    shares[:, rest] = (1 - shares.sum(1)).clip(0, 1)
    poses = np.zeros((len(names), len(CHANNELS)))
    for row, name in enumerate(names):
        for action, strength in package.PRESETS["arkit"].get(name, ()):
            # The package's table puts the tongue out of the mouth for t, d, l and n, whose tongue stays inside.
            poses[row, PLACE[action]] = 0.0 if action == "tongueOut" else strength
    return Visemes(names, shares, poses, seconds, sound, details)
