"""The voices for mini's audio side: five corpora, their speakers, and random augmentation.

EmoDB (German), RAVDESS (English), nEMO (Polish) and emotiontts (Korean) are used for training. URDU is used only for
measurement, because its terms are for research and its recordings come from television. So is the Taiwanese set, whose
files do not state which of them come from YouTube.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.progress import track
from scipy.signal import fftconvolve

from emotion_qwen.data.voices import decode_voice
from emotion_qwen.media.sound import SAMPLE_RATE

LABELS = ("anger", "boredom", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""All labels of the corpora; each corpus has some of them."""
CORPORA = {
    "EmoDB": ("speech_emodb.parquet", ""),
    "RAVDESS": ("speech_ravdess.parquet", ""),
    "nEMO": ("speech_more.parquet", "nEMO"),
    "emotiontts": ("speech_more.parquet", "emotiontts"),
    "URDU": ("speech_more.parquet", "URDU"),
}
"""Corpus -> its file, and how its rows in that file are marked."""
TRAINING = ("EmoDB", "RAVDESS", "nEMO", "emotiontts")

SPEEDS = (0.88, 1.14)
"""Slowest and fastest; the pitch changes with the speed, as if another person spoke."""
GAINS = (-24.0, 12.0)  # dB
SIGNAL_TO_NOISE = (5.0, 40.0)  # dB
ECHOES = (0.1, 0.6)  # seconds until an echo has lost 60 dB
CUTOFFS = (3000.0, 7000.0)  # Hz
SHORTEST, LONGEST = 1.2, 2.0
"""Seconds of the drawn part of a voice: about the length used by a report around a moment, and one window."""


@dataclass(frozen=True)
class Voice:
    """One labelled sound.

    Attributes:
        identifier: of the row.
        corpus: a key of `CORPORA`.
        label: one of `LABELS`.
        speaker: unique among all corpora.
        split: "train" or "validation".
        wave: (S,) float16 mono at 16 kHz.
    """

    identifier: str
    corpus: str
    label: str
    speaker: str
    split: str
    wave: np.ndarray


def read_corpora(data: Path, cache: Path) -> list[Voice]:
    """Decode all corpora once and keep the waves in a file; the order of voices is fixed."""
    if not cache.is_file():
        cache.parent.mkdir(parents=True, exist_ok=True)
        rows, waves = [], []
        for corpus, (file, marked) in CORPORA.items():
            table = pq.read_table(data / file).to_pylist()
            for row in track([row for row in table if row.get("corpus", "").startswith(marked)], corpus):
                rows.append([row["id"], corpus, row["label"], f"{corpus} {row['speaker']}", row["split"]])
                waves.append(decode_voice(row["audio"], row["id"]).astype(np.float16))
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, wave=np.concatenate(waves), length=[len(wave) for wave in waves], rows=json.dumps(rows))
        partial.rename(cache)
    stored = np.load(cache)
    ends = np.cumsum(stored["length"])
    pieces = np.split(stored["wave"], ends[:-1])
    rows = json.loads(str(stored["rows"]))
    return [
        Voice(identifier, corpus, label, speaker, split, wave)
        for (identifier, corpus, label, speaker, split), wave in zip(rows, pieces, strict=True)
    ]


def labels_of(voices: list[Voice]) -> dict[str, tuple[str, ...]]:
    """Return the labels that each corpus has."""
    return {
        corpus: tuple(label for label in LABELS if any((v.corpus, v.label) == (corpus, label) for v in voices))
        for corpus in CORPORA
    }


def folds(voices: list[Voice], count: int, seed: int = 0) -> np.ndarray:
    """Deal the speakers of every corpus into folds; returns (N,) fold numbers, no speaker in two of them."""
    random, fold_of = np.random.default_rng(seed), {}
    for place, corpus in enumerate(CORPORA):
        speakers = sorted({voice.speaker for voice in voices if voice.corpus == corpus})
        for number, speaker in enumerate(random.permutation(speakers).tolist()):
            fold_of[speaker] = (number + place * 3) % count
    return np.array([fold_of[voice.speaker] for voice in voices])


def vary(voice: np.ndarray, others: list[Voice], random: np.random.Generator) -> np.ndarray:
    """Draw a random rendering of a voice: a part of it, its speed and pitch, a room, noise, bandwidth and level.

    Args:
        voice: (S,) mono at 16 kHz.
        others: voices that may be heard in the background.
        random: source of randomness.

    Returns:
        (S',) float32.
    """
    wave: np.ndarray = voice.astype(np.float32)
    speed = random.uniform(*SPEEDS)
    wave = np.interp(np.arange(int(len(wave) / speed)) * speed, np.arange(len(wave)), wave).astype(np.float32)
    length = min(
        round((LONGEST if random.random() < 0.5 else random.uniform(SHORTEST, LONGEST)) * SAMPLE_RATE), len(wave)
    )
    first = int(random.integers(0, len(wave) - length + 1))
    wave = wave[first : first + length]
    if random.random() < 0.4:
        wave = _room(wave, random)
    if random.random() < 0.7:
        level = float(np.sqrt(np.mean(wave**2))) + 1e-6
        noise = _noise(len(wave), others, random)
        wave = wave + noise * level * 10 ** (-random.uniform(*SIGNAL_TO_NOISE) / 20)
    if random.random() < 0.2:
        spectrum = np.fft.rfft(wave)
        spectrum[int(random.uniform(*CUTOFFS) / (SAMPLE_RATE / 2) * len(spectrum)) :] *= 0.01
        wave = np.fft.irfft(spectrum, len(wave))
    wave = wave * 10 ** (random.uniform(*GAINS) / 20)
    return np.clip(wave, -1, 1).astype(np.float32) if random.random() < 0.5 else wave.astype(np.float32)


def _room(wave: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add the echoes of a drawn room: noise that fades."""
    fading = random.uniform(*ECHOES)
    time = np.arange(int(fading * SAMPLE_RATE)) / SAMPLE_RATE
    echo = random.normal(size=len(time)) * 10 ** (-3 * time / fading)
    echo *= random.uniform(0.2, 0.9) / np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    return fftconvolve(wave, echo)[: len(wave)].astype(np.float32)


def _noise(length: int, others: list[Voice], random: np.random.Generator) -> np.ndarray:
    """Draw noise of level 1: white, pink, or three other voices at once."""
    if random.random() < 0.3:
        picked = [others[int(random.integers(len(others)))].wave.astype(np.float32) for _ in range(3)]
        noise: np.ndarray = np.sum([np.resize(wave, length) for wave in picked], axis=0)
    else:
        spectrum = np.fft.rfft(random.normal(size=length))
        if random.random() < 0.6:
            spectrum /= np.sqrt(np.arange(len(spectrum)) + 1.0)
        noise = np.fft.irfft(spectrum, length)
    return noise / (float(np.sqrt(np.mean(noise**2))) + 1e-6)
