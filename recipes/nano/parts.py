"""The kinds of parts in nano's training data: `kind: recipes/nano/parts.py:NAME` in the settings of a training run.

Each function reads one part; its keyword-only parameters are the options that the settings may give.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emotion_qwen.data.pictures import Pictures, read_pictures
from emotion_qwen.data.texts import read_texts
from emotion_qwen.data.voices import read_voices
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.evaluation.tasks.prompts import OBJECTS
from recipes.nano.pictures import PicturesPart
from recipes.nano.questions import FEELINGS
from recipes.nano.scenes import SIDE, ScenesPart
from recipes.nano.senses import SensesPart
from recipes.nano.shape_interviews import COPYING, KINDS_TRAINED
from recipes.nano.shape_part import ShapesPart
from recipes.nano.shape_questions import KINDS_ASKED
from recipes.nano.texts import TextsPart, balanced
from recipes.nano.voices import VoicesPart

FACE_SIDE = 48
"""Side of a face picture, in pixels."""


def pictures(
    name: str,
    domain: str,
    split: str,
    path: Path,
    *,
    side: int = FACE_SIDE,
    crop: float = 1.0,
    cap: int | None = None,
    seed: int = 0,
    strength: float | None = None,
    closed: float = 0.5,
    blank: float = 0.0,
    variants: int | None = None,
    moved: float = 0.0,
) -> PicturesPart:
    """Read labelled pictures of emotions or objects, at most `cap` of each label; see `PicturesPart`."""
    pictures = read_pictures(path, split, side, crop=crop)
    rows = [i for i, label in enumerate(pictures.labels) if label in FEELINGS or label in OBJECTS]
    if cap is not None:
        rng = np.random.default_rng(0)
        by_label: dict[str, list[int]] = {}
        for i in rng.permutation(rows).tolist():
            by_label.setdefault(pictures.labels[i], []).append(i)
        rows = sorted(i for members in by_label.values() for i in members[:cap])
    kept = Pictures(
        pictures.name,
        pictures.pixels[rows],
        tuple(pictures.labels[i] for i in rows),
        tuple(pictures.ids[i] for i in rows),
    )
    return PicturesPart(name, domain, kept, seed, strength, closed, blank, variants, moved)


def scenes(
    name: str, domain: str, split: str, path: Path, *, backgrounds: str, captured: bool = False, seed: int = 0
) -> ScenesPart:
    """Read faces, and background pictures from the file `backgrounds` in the same folder; see `ScenesPart`."""
    around = read_pictures(path.parent / backgrounds, split, SIDE)
    return ScenesPart(name, domain, read_pictures(path, split, FACE_SIDE), around, captured, seed)


def senses(
    name: str,
    domain: str,
    split: str,
    path: Path,
    *,
    voices: str,
    texts: str,
    balance: float = 0.5,
    size: int = 20000,
    seed: int = 0,
    strength: float | None = 0.7,
    varied: bool = True,
    closed: float = 0.6,
    moved: float = 0.15,
) -> SensesPart:
    """Read faces, and voices and comments from files in the same folder; see `SensesPart`."""
    return SensesPart(
        name,
        domain,
        read_pictures(path, split, FACE_SIDE),
        read_voices(path.parent / voices, split),
        _labelled_texts(path.parent / texts, split, balance),
        size,
        seed,
        strength,
        varied,
        closed,
        moved,
    )


def shapes(
    name: str,
    domain: str,
    split: str,
    *,
    size: int = 20000,
    side: int = 64,
    questions: int = 1,
    kinds: Sequence[str] = (),
    drawn: bool = True,
    described: float = 0.5,
    scenes: Sequence[str] = (),
) -> ShapesPart:
    """Describe drawn shapes, which have no file; see `ShapesPart`.

    Raises:
        DataError: a kind of question is unknown.
    """
    for chosen, allowed in ((kinds, KINDS_TRAINED if drawn else COPYING), (scenes, KINDS_ASKED)):
        for kind in chosen:
            if kind not in allowed:
                raise DataError(f"part {name!r}: {unknown_choice('kind of question', kind, allowed)}")
    return ShapesPart(name, domain, split, size, side, questions, tuple(kinds), drawn, described, tuple(scenes))


def texts(
    name: str, domain: str, split: str, path: Path, *, seed: int = 0, balance: float = 0.0, turns: int = 1
) -> TextsPart:
    """Read comments, repeating those with rarer labels by `balanced`; see `TextsPart`."""
    rows = _labelled_texts(path, split, balance)
    return TextsPart(name, domain, tuple(text for text, _ in rows), tuple(label for _, label in rows), seed, turns)


def voices(
    name: str, domain: str, split: str, path: Path, *, seed: int = 0, varied: bool = True, closed: float = 0.6
) -> VoicesPart:
    """Read voices; see `VoicesPart`."""
    return VoicesPart(name, domain, read_voices(path, split), seed, varied, closed)


def _labelled_texts(path: Path, split: str, balance: float) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a split, with the rarer labels repeated."""
    texts = read_texts(path, split)
    return balanced(list(zip(texts.texts, texts.labels, strict=True)), balance)
