"""Labelled voices from Parquet files, as waves ready for batches, and what is drawn over them so that few suffice.

A voice file has the columns `id`, `audio` (encoded bytes), `label`, `speaker` and `split`. Speakers never stand on both
sides of a split, and can be left out one by one.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.data.questions import ask_voice
from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.media.sound import SoundBytes, read_sound
from emotion_qwen.records import Sample

COLUMNS = ("id", "audio", "label", "speaker", "split")
SPEEDS = (0.88, 1.12)
"""Slowest and fastest; the pitch moves along, which is another voice saying the same."""
GAINS = (-9.0, 6.0)  # dB
NOISES = (20.0, 45.0)  # dB under the voice
SHIFT = 0.15  # of the length, either way


@dataclass(frozen=True)
class Voices:
    """Labelled sounds: `waves` are (S,) float32 mono at 16 kHz."""

    name: str
    waves: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    speakers: tuple[int, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_voices(
    path: Path, split: str | None = None, *, speakers: Collection[int] | None = None, corpus: str = ""
) -> Voices:
    """Read one split of a voice file, or the voices of some speakers.

    Args:
        path: Parquet file with `COLUMNS`.
        split: "train" or "validation"; None takes both.
        speakers: take only these; None takes all.
        corpus: takes only rows whose column `corpus` begins so; "" takes all.

    Raises:
        DataError: the file is missing, lacks a column, holds no such voice, or one that cannot be decoded.
    """
    if not path.is_file():
        raise DataError(f"voice file {str(path)!r} does not exist; give a Parquet file with {', '.join(COLUMNS)}")
    schema = pq.read_schema(path).names
    columns = [*COLUMNS, *(("corpus",) if corpus else ())]
    missing = sorted(set(columns) - set(schema))
    if missing:
        raise DataError(f"{path.name}: missing column(s) {missing}; it has {schema}")
    rows = pq.read_table(path, columns=columns).to_pylist()
    rows = [row for row in rows if not corpus or row["corpus"].startswith(corpus)]
    chosen = [row for row in rows if split in (None, row["split"]) and (speakers is None or row["speaker"] in speakers)]
    if not chosen:
        known = sorted({row["split"] for row in rows}), sorted({row["speaker"] for row in rows})
        raise DataError(
            f"{path.name}: no voice has split {split!r} and a speaker of {speakers}; it has splits {known[0]} and "
            f"speakers {known[1]}"
        )
    return Voices(
        path.stem,
        tuple(decode(row["audio"], f"{path.name}: {row['id']}") for row in chosen),
        tuple(row["label"] for row in chosen),
        tuple(row["speaker"] for row in chosen),
        tuple(row["id"] for row in chosen),
    )


def decode(data: bytes, place: str = "sound") -> np.ndarray:
    """Decode an encoded sound to (S,) float32 mono at 16 kHz, as a clip's sound is read.

    Raises:
        DataError: it cannot be read, has no sample, or is damaged; the message begins with `place`.
    """
    try:
        sound = read_sound(SoundBytes(data, "sound"))
    except MediaError as error:
        raise DataError(f"{place}: the sound cannot be decoded ({error}); expected FLAC, WAV or MP3 bytes") from error
    if sound.warnings:  # a clip is read as far as it goes; nobody should learn from half a voice
        raise DataError(f"{place}: the sound is not whole ({'; '.join(sound.warnings)}); leave the row out")
    return sound.wave


def vary(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    """Draw another rendering of a voice: speed and pitch, loudness, noise, and when it begins; the length stays."""
    speed = rng.uniform(*SPEEDS)
    count = int(len(wave) / speed)
    moved = np.interp(np.arange(count) * speed, np.arange(len(wave)), wave)
    varied = np.zeros(len(wave))
    first = round(rng.uniform(-SHIFT, SHIFT) * len(wave)) + (len(wave) - count) // 2
    begin, end = max(first, 0), min(first + count, len(wave))
    varied[begin:end] = moved[begin - first : end - first]
    level = math.sqrt(float(np.mean(varied**2)) + 1e-12)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, level * 10 ** (-rng.uniform(*NOISES) / 20), len(wave))
    return ((varied + noise) * 10 ** (rng.uniform(*GAINS) / 20)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class VoicesPart:
    """Labelled voices, each with one question about the speaker.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        voices: the sounds.
        seed: of questions and of what is drawn over the sounds.
        varied: whether a sound comes in another rendering every turn.
        closed: share of questions that name the choices.
    """

    name: str
    domain: str
    voices: Voices
    seed: int = 0
    varied: bool = True
    closed: float = 0.6

    @property
    def identity(self) -> str:
        """A hash of ids and of what is done to the sounds."""
        done = f"{self.seed} {self.varied} {self.closed}"
        return hashlib.sha256("\n".join((*self.voices.ids, done)).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.voices)

    def sample(self, index: int, turn: int) -> Sample:
        """Return voice `index` with the question of this turn."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        label, wave = self.voices.labels[index], self.voices.waves[index]
        exchange = ask_voice(label, rng, rng.random() < self.closed)
        heard = vary(wave, rng) if self.varied else wave
        asked = [{"type": "audio", "audio": heard}, {"type": "text", "text": exchange.question}]
        messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": exchange.answer})
        return Sample(f"{self.name}/{self.voices.ids[index]}/{turn}", messages, {"emotion": label})
