"""Labelled voices as a part of a mixture, and their augmentation, because there are few."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass

import numpy as np

from emotion_qwen.data.voices import Voices
from emotion_qwen.records import Sample
from recipes.nano.questions import ask_voice

SPEEDS = (0.88, 1.12)
"""Lowest and highest speed; the pitch changes with it, as if another person spoke."""
GAINS = (-9.0, 6.0)  # dB
NOISES = (20.0, 45.0)  # dB below the voice
SHIFT = 0.15  # share of the length, in either direction


def vary(wave: np.ndarray, rng: random.Random) -> np.ndarray:
    """Draw a random variant of a voice: speed and pitch, loudness, noise, and start; the length is unchanged."""
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
        seed: seed of questions and augmentation.
        varied: whether a sound is varied every turn.
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
        """A hash of the ids and of the processing of the sounds."""
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
        content = [{"type": "audio", "audio": heard}, {"type": "text", "text": exchange.question}]
        messages = ({"role": "user", "content": content}, {"role": "assistant", "content": exchange.answer})
        return Sample(f"{self.name}/{self.voices.ids[index]}/{turn}", messages, {"emotion": label})
