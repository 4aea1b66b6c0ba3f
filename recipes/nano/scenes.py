"""Faces pasted into pictures of objects: scenes in which a small model must find the face first.

The position of the face is known, so a scene can be shown unchanged, or with its face captured exactly as by
`faces.capture` for a tracked face. Used only to measure the effect of Facial Emotion Capture.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from emotion_qwen.data.pictures import Pictures
from emotion_qwen.faces import capture
from emotion_qwen.records import FaceTrack, Sample
from recipes.nano.pictures import as_sample
from recipes.nano.questions import ask_face

SIDE = 64
FACE_SIDES = (26, 36)
"""Smallest and largest side of a pasted face, in pixels: readable, but less than a third of the scene."""
STRENGTH = 0.5  # of capture, the default of the processor's settings


def paste_face(face: np.ndarray, background: np.ndarray, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Paste a face at a random position into a picture.

    Args:
        face: (S, S, 3) uint8.
        background: (H, W, 3) uint8, resized to `SIDE`.
        rng: draws size and position.

    Returns:
        The (SIDE, SIDE, 3) uint8 scene, and the face's (4,) float32 box x1, y1, x2, y2 in pixels.
    """
    size = rng.randint(*FACE_SIDES)
    left, top = rng.randint(0, SIDE - size), rng.randint(0, SIDE - size)
    scene = np.array(Image.fromarray(background).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    scene[top : top + size, left : left + size] = Image.fromarray(face).resize((size, size), Image.Resampling.BICUBIC)
    return scene, np.array([left, top, left + size, top + size], dtype=np.float32)


def capture_face(scene: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Fade out everything but the face in `box`, as capture does for a track of one frame."""
    track = FaceTrack(1, np.array([0]), box[None], np.array([1.0], dtype=np.float32))
    return capture(scene[None], [track], STRENGTH, margin=0.1)[0]


@dataclass(frozen=True, eq=False)
class ScenesPart:
    """Labelled faces in scenes, each with a closed or open question about the person.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        faces: labelled faces.
        backgrounds: pictures of objects.
        captured: fade out all but the face.
        seed: seed of backgrounds, positions and questions.
    """

    name: str
    domain: str
    faces: Pictures
    backgrounds: Pictures
    captured: bool = False
    seed: int = 0

    @property
    def identity(self) -> str:
        """A hash of both kinds of pictures."""
        ids = "\n".join((*self.faces.ids, *self.backgrounds.ids, str(self.captured), str(self.seed)))
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.faces)

    def scene(self, index: int, turn: int) -> np.ndarray:
        """Return face `index` in the scene of this turn, (SIDE, SIDE, 3) uint8."""
        rng = random.Random(f"scene/{self.seed}/{index}/{turn}")
        background = self.backgrounds.pixels[rng.randrange(len(self.backgrounds))]
        scene, box = paste_face(self.faces.pixels[index], background, rng)
        return capture_face(scene, box) if self.captured else scene

    def sample(self, index: int, turn: int) -> Sample:
        """Return face `index` with the question of this turn."""
        rng = random.Random(f"question/{self.seed}/{index}/{turn}")
        label = self.faces.labels[index]
        exchange = ask_face(label, rng, rng.random() < 0.5)
        name = f"{self.name}/{self.faces.ids[index]}/{turn}"
        return as_sample(name, self.scene(index, turn), exchange, {"emotion": label})
