"""Artificial moments that combine faces, voices and sentences with the same emotion.

No available data set has all three for the same person, so each moment is artificial: a face, a voice and a sentence
with the same label, drawn independently. They teach the model to combine channels, any of which may be missing
(modality dropout): every moment has one of the seven combinations of channels, in the shares of `CHOICES`. Occasionally
there is only the question, and every label is an equally good answer; this makes the likelihoods that `analysis.reader`
subtracts equal.

In a share of the moments, a still face becomes a short moving clip with a slow drift and zoom.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from emotion_qwen.data.pictures import Pictures
from emotion_qwen.data.voices import Voices
from emotion_qwen.questions import TOLD
from emotion_qwen.records import Sample
from recipes.nano.augment import augment
from recipes.nano.pictures import moving
from recipes.nano.questions import FEELINGS, VOICE_FEELINGS, ask_bare, ask_face, ask_voice
from recipes.nano.voices import vary

CHOICES: dict[tuple[str, ...], float] = {
    ("picture", "sound", "words"): 0.24,
    ("picture", "sound"): 0.14,
    ("picture", "words"): 0.14,
    ("sound", "words"): 0.12,
    ("sound",): 0.14,
    ("words",): 0.12,
    ("picture",): 0.06,
    (): 0.04,
}
"""Channels of a moment -> share of moments with exactly these channels."""
AS_CONTEXT = 0.25
"""Share of sentences given as context instead of spoken words."""


@dataclass(frozen=True, eq=False)
class SensesPart:
    """Moments of one emotion in up to three channels, each with one question about the person.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        faces: labelled faces.
        voices: labelled voices.
        texts: (text, label) pairs.
        size: number of moments per turn.
        seed: seed of all random draws.
        strength: strength of the faces' augmentation, 0 to 1; None leaves them unchanged.
        varied: whether voices are varied every time.
        closed: share of questions that name the choices.
        moved: share of the pictures that become moving clips.
        choices: channels -> share, like `CHOICES`.
    """

    name: str
    domain: str
    faces: Pictures
    voices: Voices
    texts: Sequence[tuple[str, str]]
    size: int = 20000
    seed: int = 0
    strength: float | None = 0.7
    varied: bool = True
    closed: float = 0.6
    moved: float = 0.15
    choices: Mapping[tuple[str, ...], float] = field(default_factory=lambda: CHOICES)

    @property
    def identity(self) -> str:
        """A hash of the ids and of the processing."""
        done = f"{self.size} {self.seed} {self.strength} {self.varied} {self.closed} {self.moved} {self.choices}"
        identity = (*self.faces.ids, *self.voices.ids, *(text for text, _ in self.texts), done)
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return self.size

    def __post_init__(self) -> None:
        rows: dict[str, dict[str, list[int]]] = {}
        for channel, labels in (
            ("picture", self.faces.labels),
            ("sound", self.voices.labels),
            ("words", [label for _, label in self.texts]),
        ):
            for row, label in enumerate(labels):
                rows.setdefault(channel, {}).setdefault(label, []).append(row)
        object.__setattr__(self, "_rows", rows)

    def sample(self, index: int, turn: int) -> Sample:
        """Return a moment with its question; every index and turn gives a different one."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        wanted = rng.choices(list(self.choices), weights=list(self.choices.values()))[0]
        name = f"{self.name}/{index}/{turn}"
        if not wanted:
            exchange = ask_bare(rng)
            return self._as_sample(name, [], exchange, {})
        label = self._label(wanted, rng)
        available = [channel for channel in wanted if label in self._rows[channel]]
        parts = [self._part(channel, label, rng) for channel in available]
        closed = rng.random() < self.closed
        ask = ask_voice if "sound" in available and "picture" not in available else ask_face
        return self._as_sample(name, parts, ask(label, rng, closed), {"emotion": label})

    _rows: dict[str, dict[str, list[int]]] = field(init=False, repr=False, default_factory=dict)

    def _label(self, wanted: tuple[str, ...], rng: random.Random) -> str:
        """Draw a label: with its frequency for a single channel, uniformly for several, so that none is favoured."""
        if len(wanted) == 1:
            rows = self._rows[wanted[0]]
            known = [label for label in rows if label in VOICE_FEELINGS]
            return rng.choices(known, weights=[len(rows[label]) for label in known])[0]
        return rng.choice([label for label in FEELINGS if any(label in self._rows[channel] for channel in wanted)])

    def _part(self, channel: str, label: str, rng: random.Random) -> dict[str, Any]:
        row = rng.choice(self._rows[channel][label])
        if channel == "picture":
            return self._picture(row, rng)
        if channel == "sound":
            wave = self.voices.waves[row]
            return {"type": "audio", "audio": vary(wave, rng) if self.varied else wave}
        form = "context" if rng.random() < AS_CONTEXT else "words"
        text = TOLD[form][rng.choice(list(TOLD[form]))].format(text=self.texts[row][0])
        return {"type": "text", "text": text}

    def _picture(self, row: int, rng: random.Random) -> dict[str, Any]:
        pixels = self.faces.pixels[row]
        if self.strength is not None:
            generator = torch.Generator().manual_seed(rng.getrandbits(48))
            batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
            varied = augment(batch, self.strength, generator)[0] * 255
            pixels = varied.round().byte().permute(1, 2, 0).numpy()
        if rng.random() < self.moved:
            return {"type": "video", "video": moving(pixels, rng)}
        return {"type": "image", "image": pixels}

    def _as_sample(self, name: str, parts: list[dict[str, Any]], exchange: Any, labels: dict[str, str]) -> Sample:
        content = [*parts, {"type": "text", "text": exchange.question}]
        messages = ({"role": "user", "content": content}, {"role": "assistant", "content": exchange.answer})
        return Sample(name, messages, labels)
