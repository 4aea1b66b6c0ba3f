"""Parts of a mixture that are made from labelled data: pictures and texts that are asked about, and the shapes world.

What is asked, and how a picture is augmented, is drawn from (seed, index, turn) alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emotion_qwen.data.augment import augment
from emotion_qwen.data.mixture import Part, SampleList
from emotion_qwen.data.pictures import Pictures, moving, read_pictures
from emotion_qwen.data.questions import (
    FEELINGS,
    OBJECTS,
    Exchange,
    ask_blank,
    ask_face,
    ask_object,
    ask_text,
    ask_texts,
)
from emotion_qwen.data.texts import read_texts
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.records import Clip, Sample

BLANK = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # zeros after normalising
DRAWN = 1 << 30  # turns of the shapes world never repeat a scene before this index


@dataclass(frozen=True, eq=False)
class PicturesPart:
    """Labelled pictures, each with one question about it.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        pictures: all of one kind.
        seed: of questions and augmentation.
        strength: of augmentation, 0 to 1; None leaves pictures exactly as they are.
        closed: share of questions that name the choices.
        blank: share of closed questions asked about an empty picture, whose answer is any label.
        variants: different augmentations of a picture; None draws a new one every turn. A cache of features needs few.
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
        """A hash of ids and of what is done to the pictures."""
        done = f"{self.seed} {self.strength} {self.closed} {self.blank} {self.variants}"
        done += f" {self.moved}" if self.moved else ""  # runs from before there were moving clips go on
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


@dataclass(frozen=True)
class ShapesPart:
    """The drawn shapes world; every turn shows scenes that were never shown before."""

    name: str
    domain: str
    split: str
    size: int
    side: int = 64
    questions: int = 1
    """Asked about a scene; more than one come with descriptions now and then, see `shape_captions`."""
    kinds: tuple[str, ...] = ()
    """Of the questions beside a scene's own; none is all of them."""
    drawn: bool = True
    """False asks without a picture, `kinds` alone."""
    described: float = 0.5
    """Share of the scenes with several questions that are described, too."""
    scenes: tuple[str, ...] = ()
    """Kinds of question whose scenes are drawn: only those of counting hold groups of every size; none is all kinds."""

    @property
    def identity(self) -> str:
        """What decides the samples."""
        told = str(self.described) if self.drawn else "undrawn"
        scenes = ("scenes", *self.scenes) if self.scenes else ()
        return " ".join(("shapes", self.split, str(self.side), str(self.questions), told, *self.kinds, *scenes))

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, turn: int) -> Sample:
        """Return a scene with its question, in English and Chinese by turns."""
        from emotion_qwen.data.shape_captions import copying_conversation, shapes_conversation
        from emotion_qwen.data.shape_interviews import COPYING, KINDS_TRAINED
        from emotion_qwen.data.shape_questions import KINDS_ASKED, shapes_sample

        place = turn * self.size + index
        language = ("en", "zh")[random.Random(place).randrange(2)]
        if not self.drawn:
            return copying_conversation(place % DRAWN, self.split, language, self.questions, self.kinds or COPYING)
        if self.scenes:
            round_, slot = divmod(place, len(self.scenes))
            place = round_ * len(KINDS_ASKED) + KINDS_ASKED.index(self.scenes[slot])
        if self.questions > 1:
            kinds = self.kinds or KINDS_TRAINED
            number, share = place % DRAWN, self.described
            return shapes_conversation(number, self.split, language, self.questions, kinds, self.side, described=share)
        return shapes_sample(place % DRAWN, self.split, language, self.side)


@dataclass(frozen=True, eq=False)
class TextsPart:
    """Labelled comments without a picture: which emotion the writer shows.

    Args:
        name: of the part.
        domain: "emotion" or "general".
        texts: the comments.
        labels: one a comment.
        seed: of the questions.
        turns: comments of one conversation; with several, the first is asked about and the others follow bare, which
            teaches more for as many tokens.
    """

    name: str
    domain: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int = 0
    turns: int = 1

    @property
    def identity(self) -> str:
        """A hash of the texts and labels, and of the turns if there are several."""
        more = (str(self.turns),) if self.turns > 1 else ()
        return hashlib.sha256("\n".join((*self.texts, *self.labels, *more)).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return -(-len(self.texts) // self.turns)

    def sample(self, index: int, turn: int) -> Sample:
        """Return comment `index`, or a conversation about several, with the questions of this turn."""
        rng = random.Random(f"{self.seed}/{index}/{turn}")
        if self.turns == 1:
            exchanges, labels = [ask_text(self.texts[index], self.labels[index], rng)], {"emotion": self.labels[index]}
        else:
            rows = [rng.randrange(len(self.texts)) for _ in range(self.turns)]
            exchanges, labels = ask_texts([(self.texts[row], self.labels[row]) for row in rows], rng), {}
        messages: list[dict[str, Any]] = []
        for exchange in exchanges:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        return Sample(f"{self.name}/{index}/{turn}", tuple(messages), labels)


def as_sample(name: str, picture: np.ndarray | Clip, exchange: Exchange, labels: dict[str, str]) -> Sample:
    """Put a (S, S, 3) uint8 picture or a clip and an exchange into a conversation."""
    kind = "video" if isinstance(picture, Clip) else "image"
    asked = [{"type": kind, kind: picture}, {"type": "text", "text": exchange.question}]
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": exchange.answer})
    return Sample(name, messages, labels)


def read_part(kind: str, name: str, domain: str, path: Path | None, split: str, **options: Any) -> Part:
    """Open a part of a mixture.

    Args:
        kind: a key of `READERS`.
        name: of the part.
        domain: "emotion" or "general".
        path: of its file; shapes have none.
        split: "train" or "validation".
        options: what the kind takes.

    Raises:
        DataError: an unknown kind or option, or a file that cannot be read.
    """
    if kind not in READERS:
        raise DataError(unknown_choice("kind of data", kind, READERS))
    read, known = READERS[kind]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise DataError(f"part {name!r}: {unknown_choice('option', unknown[0], known)}")
    if path is None and kind != "shapes":
        raise DataError(f"part {name!r} of kind {kind!r} has no path; give the file")
    return read(name, domain, path, split, options)


def _read_pictures(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    side, crop, cap = (options.pop(key, value) for key, value in (("side", 48), ("crop", 1.0), ("cap", None)))
    pictures = read_pictures(path, split, side, crop=crop)
    rows = [i for i, label in enumerate(pictures.labels) if label in FEELINGS or label in OBJECTS]
    if cap is not None:
        rng = np.random.default_rng(0)
        by_label: dict[str, list[int]] = {}
        for i in rng.permutation(rows).tolist():
            by_label.setdefault(pictures.labels[i], []).append(i)
        rows = sorted(i for members in by_label.values() for i in members[:cap])
    kept = Pictures(
        pictures.name, pictures.pixels[rows], tuple(pictures.labels[i] for i in rows),
        tuple(pictures.ids[i] for i in rows),
    )  # fmt: skip
    return PicturesPart(name, domain, kept, **options)


def _read_scenes(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    from emotion_qwen.data.scenes import SIDE, ScenesPart

    if "backgrounds" not in options:
        raise DataError(f"part {name!r} of kind 'scenes' has no backgrounds; give a picture file beside {path.name}")
    faces, things = read_pictures(path, split, 48), path.parent / options.pop("backgrounds")
    return ScenesPart(name, domain, faces, read_pictures(things, split, SIDE), **options)


def _read_shapes(name: str, domain: str, path: Path | None, split: str, options: dict[str, Any]) -> Part:
    from emotion_qwen.data.shape_interviews import COPYING, KINDS_TRAINED
    from emotion_qwen.data.shape_questions import KINDS_ASKED

    kinds, scenes = (tuple(options.pop(key, ())) for key in ("kinds", "scenes"))
    known = KINDS_TRAINED if options.get("drawn", True) else COPYING
    for told, allowed in ((kinds, known), (scenes, KINDS_ASKED)):
        for kind in told:
            if kind not in allowed:
                raise DataError(f"part {name!r}: {unknown_choice('kind of question', kind, allowed)}")
    return ShapesPart(name, domain, split, kinds=kinds, scenes=scenes, **{"size": 20000, **options})


def _read_texts(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    rows = _labelled_texts(path, split, options.pop("balance", 0.0))
    return TextsPart(name, domain, tuple(t for t, _ in rows), tuple(label for _, label in rows), **options)


def _labelled_texts(path: Path, split: str, balance: float) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a split, the rarer labels repeated."""
    texts = read_texts(path, split)
    return balanced(list(zip(texts.texts, texts.labels, strict=True)), balance)


def balanced(rows: Sequence[tuple[Any, str]], power: float) -> list[tuple[Any, str]]:
    """Repeat the rows of rarer labels: 0 leaves the rows as they are, 1 gives every label as many as the commonest.

    Args:
        rows: (what, label).
        power: a label with n rows gets n (N / n)^power of them, N being those of the commonest.

    Raises:
        DataError: the power lies outside 0..1.
    """
    if not 0 <= power <= 1:
        raise DataError(f"balance {power}; expected 0 (labels as often as they come) to 1 (all equally often)")
    by_label: dict[str, list[tuple[Any, str]]] = {}
    for row in rows:
        by_label.setdefault(row[1], []).append(row)
    most = max(map(len, by_label.values()))
    wanted = {label: round(len(own) * (most / len(own)) ** power) for label, own in by_label.items()}
    return [own[place % len(own)] for label, own in by_label.items() for place in range(wanted[label])]


def _read_voices(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    from emotion_qwen.data.voices import VoicesPart, read_voices

    return VoicesPart(name, domain, read_voices(path, split), **options)


def _read_senses(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    from emotion_qwen.data.senses import SensesPart
    from emotion_qwen.data.voices import read_voices

    for key in ("voices", "texts"):
        if key not in options:
            raise DataError(f"part {name!r} of kind 'senses' has no {key}; give a file of them beside {path.name}")
    faces, voices = read_pictures(path, split, 48), read_voices(path.parent / options.pop("voices"), split)
    texts = _labelled_texts(path.parent / options.pop("texts"), split, options.pop("balance", 0.5))
    return SensesPart(name, domain, faces, voices, texts, **options)


def _read_manifest(name: str, domain: str, path: Path, split: str, options: dict[str, Any]) -> Part:
    from emotion_qwen.data.manifest import read_manifest

    path = path / "manifest.jsonl" if path.is_dir() else path  # a folder is a set that `ver build` made
    return SampleList(name, domain, read_manifest(path, split=split, **options))


READERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "manifest": (_read_manifest, ("media_root", "max_rejected", "rejected")),
    "pictures": (_read_pictures, ("side", "crop", "cap", "seed", "strength", "closed", "blank", "variants", "moved")),
    "scenes": (_read_scenes, ("backgrounds", "captured", "seed")),
    "senses": (
        _read_senses,
        ("voices", "texts", "balance", "size", "seed", "strength", "varied", "closed", "moved"),
    ),
    "shapes": (_read_shapes, ("size", "side", "questions", "kinds", "drawn", "described", "scenes")),
    "texts": (_read_texts, ("seed", "balance", "turns")),
    "voices": (_read_voices, ("seed", "varied", "closed")),
}
"""Kind of data -> how it is opened, and the options it takes."""
