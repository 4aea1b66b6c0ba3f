"""An invented stand-in for the optional package `openfacefx`, with the part of its interface that we use.

Every letter is a phoneme: p, b and m press the lips, o rounds them, all others open the mouth; nothing is blended.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

VISEMES = ["sil", "PP", "aa", "O"]
PRESETS = {
    "arkit": {
        "PP": (("mouthPressLeft", 0.5), ("mouthPressRight", 0.5)),
        "aa": (("jawOpen", 0.6), ("mouthLowerDownLeft", 0.1), ("tongueOut", 0.3)),
        "O": (("mouthFunnel", 0.7), ("jawOpen", 0.4)),
    }
}


@dataclass
class PhonemeSegment:
    phoneme: str
    start: float
    end: float


@dataclass
class Anchor:
    text: str
    start: float
    end: float


@dataclass
class CoartParams:
    jali: bool = False


@dataclass
class FaceTrack:
    channels: list = field(default_factory=list)


class G2P:
    def word(self, word: str) -> list[str]:
        return [letter for letter in word.lower() if letter.isalpha()]

    def phrase(self, text: str) -> list[str]:
        return [letter for word in text.split() for letter in self.word(word)]


class NaiveAligner:
    def align(self, phonemes: list[str], total_duration: float, start: float = 0.0) -> list[PhonemeSegment]:
        step = total_duration / max(len(phonemes), 1)
        return [PhonemeSegment(name, start + n * step, start + (n + 1) * step) for n, name in enumerate(phonemes)]


def anchored_segments(transcript: str, duration: float, anchors: list[Anchor]) -> list[PhonemeSegment]:
    assert " ".join(anchor.text for anchor in anchors) == transcript
    segments, last = [], 0.0
    for anchor in anchors:
        segments.append(PhonemeSegment("sil", last, anchor.start))
        segments += NaiveAligner().align(G2P().phrase(anchor.text), anchor.end - anchor.start, anchor.start)
        last = anchor.end
    return [*segments, PhonemeSegment("sil", last, duration)]


def build_viseme_curves(segments, fps: float, params: CoartParams) -> tuple[np.ndarray, np.ndarray]:
    assert params.jali
    clock = np.arange(round(segments[-1].end * fps) + 1) / fps
    shares = np.zeros((len(clock), len(VISEMES)))
    for segment in segments:
        now = (clock >= segment.start - 1e-9) & (clock < segment.end - 1e-9)
        kind = "PP" if segment.phoneme in "pbm" else "O" if segment.phoneme == "o" else "aa"
        shares[now, VISEMES.index("sil" if segment.phoneme == "sil" else kind)] = 0.9 if kind == "PP" else 1.0
        shares[now, VISEMES.index("aa")] += 0.5 * (kind == "PP")  # as with the rules after JALI, the jaw stays open
    return clock, shares


def energy_envelope(path: str, fps: float) -> tuple[np.ndarray, np.ndarray]:
    with wave.open(str(path)) as file:
        rate, count = file.getframerate(), file.getnframes()
        samples = np.abs(np.frombuffer(file.readframes(count), "<i2") / 32768)
    edges = np.arange(round(count / rate * fps) + 1) * rate / fps
    levels = np.array([samples[int(edge) : int(edge + rate / fps)].max(initial=0) for edge in edges])
    return edges / rate, levels / max(levels.max(), 1e-9) * (levels.max() > 1e-3)


def generate_from_energy(path: str, fps: float, epsilon: float) -> FaceTrack:
    times, levels = energy_envelope(path, fps)
    keys = [SimpleNamespace(time=time, value=value) for time, value in zip(times, levels, strict=True)]
    return FaceTrack([SimpleNamespace(name="aa", keys=keys)])


def write_voice(path: Path, loudness: list[float], step: float = 0.25) -> Path:
    """Write a tone whose amplitude changes every `step` seconds, as WAV of 8 kHz."""
    levels = np.repeat(loudness, round(8000 * step))
    tone = levels * np.sin(2 * np.pi * 200 * np.arange(len(levels)) / 8000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((32767 * tone).astype("<i2").tobytes())
    return path


MODULE = SimpleNamespace(
    __version__="9.9.9", VISEMES=VISEMES, PRESETS=PRESETS, PhonemeSegment=PhonemeSegment, Anchor=Anchor,
    CoartParams=CoartParams, G2P=G2P, NaiveAligner=NaiveAligner, anchored_segments=anchored_segments,
    build_viseme_curves=build_viseme_curves, energy_envelope=energy_envelope,
    generate_from_energy=generate_from_energy,
)  # fmt: skip
