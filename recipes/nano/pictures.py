"""Labelled pictures as a part of a mixture: each with one question, some as moving clips, some replaced by blanks.

Question and augmentation depend only on (seed, index, turn).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from emotion_qwen.data.pictures import Pictures
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.records import Clip, Sample
from recipes.nano.augment import augment
from recipes.nano.questions import FEELINGS, Exchange, ask_blank, ask_face, ask_object

BLANK = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # zero after normalisation
SPEED = 4.0  # frames per second of a moving clip
FRAMES = (4, 6, 8)
DRIFT, ZOOM = 0.10, 0.12  # maximum shares of the side, over a whole clip


@dataclass(frozen=True, eq=False)
class PicturesPart:
    """Labelled pictures, each with one question about it.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        pictures: all of one kind.
        seed: seed of questions and augmentation.
        strength: strength of augmentation, 0 to 1; None leaves pictures unchanged.
        closed: share of questions that name the choices.
        blank: share of closed questions asked about an empty picture, whose answer is any label.
        variants: number of augmentations of a picture; None draws a new one every turn. A cache of features needs few.
        moved: share of the pictures that become short moving clips.
    """

    name: str
    domain: str
    pictures: Pictures
    seed: int = 0
    strength: float | None = None
    closed: float = 0.5
    blank: float = 0.0
    variants: int | None = None
    moved: float = 0.0

    @property
    def identity(self) -> str:
        """A hash of the ids and of the processing of the pictures."""
        done = f"{self.seed} {self.strength} {self.closed} {self.blank} {self.variants}"
        done += f" {self.moved}" if self.moved else ""  # keeps the identity of runs from before moving clips
        return hashlib.sha256("\n".join((*self.pictures.ids, done)).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int, turn: int) -> Sample:
        """Return picture `index` with the question of this turn."""
        rng = random.Random(f"{self.seed}/{self.name}/{index}/{turn}")
        label, closed = self.pictures.labels[index], rng.random() < self.closed
        kind = "emotion" if label in FEELINGS else "object"
        name = f"{self.name}/{self.pictures.ids[index]}/{turn}"
        if closed and rng.random() < self.blank:
            empty = np.broadcast_to(np.array(BLANK, np.uint8), self.pictures.pixels[index].shape)
            return as_sample(name, empty.copy(), ask_blank(rng), {})
        exchange = (ask_face if kind == "emotion" else ask_object)(label, rng, closed)
        picture = self._picture(index, turn)
        moves = self.moved and rng.random() < self.moved
        return as_sample(name, moving(picture, rng) if moves else picture, exchange, {kind: label})

    def _picture(self, index: int, turn: int) -> np.ndarray:
        if self.strength is None:
            return self.pictures.pixels[index]
        variant = turn if self.variants is None else turn % self.variants
        drawn = hashlib.sha256(f"{self.seed}/{self.name}/{index}/{variant}".encode()).digest()[:7]
        generator = torch.Generator().manual_seed(int.from_bytes(drawn, "big"))
        pixels = torch.from_numpy(self.pictures.pixels[index]).permute(2, 0, 1)[None].float() / 255
        return (augment(pixels, self.strength, generator)[0] * 255).round().byte().permute(1, 2, 0).numpy()


def as_sample(name: str, picture: np.ndarray | Clip, exchange: Exchange, labels: dict[str, str]) -> Sample:
    """Compose a conversation from a (S, S, 3) uint8 picture or a clip and an exchange."""
    kind = "video" if isinstance(picture, Clip) else "image"
    content = [{"type": kind, kind: picture}, {"type": "text", "text": exchange.question}]
    messages = ({"role": "user", "content": content}, {"role": "assistant", "content": exchange.answer})
    return Sample(name, messages, labels)


def moving(picture: np.ndarray, rng: random.Random, source: str = "moving picture") -> Clip:
    """Turn a still picture into a short clip: a window that drifts and zooms slowly over it.

    Args:
        picture: (S, S, 3) uint8.
        rng: draws length, direction and zoom.
        source: name of the clip.

    Returns:
        A clip of 4 to 8 frames (T, S, S, 3), `SPEED` frames per second.
    """
    count, side = rng.choice(FRAMES), len(picture)
    start, stop = ([rng.uniform(-DRIFT, DRIFT), rng.uniform(-DRIFT, DRIFT), rng.uniform(0, ZOOM)] for _ in range(2))
    image = Image.fromarray(np.pad(picture, ((side // 4,) * 2, (side // 4,) * 2, (0, 0)), mode="edge"))
    frames = []
    for share in np.linspace(0, 1, count):
        across, down, zoom = (a + (b - a) * share for a, b in zip(start, stop, strict=True))
        half = side * (1 - zoom) / 2
        x, y = side * 0.75 + across * side, side * 0.75 + down * side
        box = (x - half, y - half, x + half, y + half)
        frames.append(np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box)))
    times = np.arange(count) / SPEED
    return Clip(np.stack(frames), times, source, duration=count / SPEED, size=(side, side))
