"""The tasks that are used for nano only: `emotion-qwen eval --tasks recipes/nano/tasks.py`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emotion_qwen.data.texts import read_texts
from emotion_qwen.data.voices import read_voices
from emotion_qwen.evaluation.scoring.closed import score_closed
from emotion_qwen.evaluation.task import Item, Task, evenly, labelled
from emotion_qwen.evaluation.tasks import TASKS as PACKAGE_TASKS
from emotion_qwen.evaluation.tasks.parquet import PictureFile, file_in
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken_part
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import LabelSet, concept, label_set
from recipes.nano import parts
from recipes.nano.shape_questions import shapes_item
from recipes.nano.shapes import render

SHAPES_SIDE = 64
SHAPES_ITEMS = 5000


@dataclass(frozen=True)
class PastedFaces:
    """Labelled faces pasted into pictures of objects (`recipes.nano.scenes`), unchanged or captured.

    Attributes:
        faces: file of the faces.
        things: file of the background pictures.
        labels: the classes, which are the choices.
        captured: fade out everything but the face.
    """

    faces: str
    things: str
    labels: LabelSet
    captured: bool = False

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        for file in (self.faces, self.things):
            file_in(data, file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; scenes keep their own side."""
        self.check(data)
        faces = file_in(data, self.faces)
        part = parts.scenes("scenes", "emotion", split, faces, backgrounds=self.things, captured=self.captured)
        items = []
        for language in languages:
            question = emotion_question(self.labels, language)
            for row in evenly(len(part), limit):
                label, picture = part.faces.labels[row], {"type": "image", "image": part.scene(row, 0)}
                name = f"scenes/{part.faces.ids[row]}"
                items.append(labelled(name, language, (picture,), question, self.labels, label))
        return items


@dataclass(frozen=True)
class DrawnShapes:
    """Questions about drawn scenes, each with its own wording and choices; scenes are drawn again from their index
    every time.
    """

    count: int = SHAPES_ITEMS
    side: int = SHAPES_SIDE

    def check(self, data: Path | None) -> None:
        """See `Source`; scenes need no data."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; scenes keep their own side, at which the smallest shape is still visible.

        A limit takes the first ones: kinds of questions alternate with the index, so evenly spaced items could skip
        some.
        """
        items = []
        for index in range(self.count if limit is None else min(limit, self.count)):
            drawn = shapes_item(index, split)
            part = {"type": "image", "image": render(drawn.scene, self.side)}
            for language in languages:
                question = drawn.questions[language]
                name = f"shapes/{split}/{index}"
                items.append(
                    Item(name, language, (part,), question.text, question.choices, question.answer, question.kind)
                )
        return items


@dataclass(frozen=True)
class Moments:
    """Artificial moments: a face, a voice and a sentence with one emotion, drawn from the held-out parts.

    Attributes:
        faces: file of the faces.
        voices: file of the voices.
        texts: file of the comments.
        labels: the choices.
        channels: the given ones of "picture", "sound" and "words"; the moments are the same for all combinations.
        count: number of moments.
    """

    faces: str
    voices: str
    texts: str
    labels: LabelSet
    channels: tuple[str, ...]
    count: int = 1200

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        for file in (self.faces, self.voices, self.texts):
            file_in(data, file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; a limit takes the first ones, whose labels alternate."""
        faces = PictureFile(self.faces, self.labels, emotion_question)
        _, face_labels, pixels = faces.read(file_in(data, self.faces), split, side)
        voices = read_voices(file_in(data, self.voices), split)
        texts = read_texts(file_in(data, self.texts), split)
        rows: list[dict[str, list[int]]] = []
        for labels in (face_labels, voices.labels, texts.labels):
            rows.append({})
            for row, label in enumerate(labels):
                rows[-1].setdefault(concept(label), []).append(row)
        by_concept = {concept(label): label for label in self.labels.labels}
        shared = sorted(set(by_concept).intersection(*rows))
        items = []
        for index in range(self.count if limit is None else min(limit, self.count)):
            rng = random.Random(f"moments/{split}/{index}")
            meant = shared[index % len(shared)]
            face, voice, text = (rng.choice(by_label[meant]) for by_label in rows)
            for language in languages:
                words = spoken_part(language, texts.texts[text])
                parts: dict[str, dict[str, Any]] = {
                    "picture": {"type": "image", "image": pixels[face]},
                    "sound": {"type": "audio", "audio": voices.waves[voice]},
                    "words": words,
                }
                given = tuple(parts[channel] for channel in self.channels)
                question, label = emotion_question(self.labels, language), by_concept[meant]
                name = f"moments/{split}/{index}"
                # A voice occurs in several moments, which are then not independent.
                heard = f"voice {voices.ids[voice]}" if "sound" in self.channels else ""
                items.append(labelled(name, language, given, question, self.labels, label, cluster=heard))
        return items


FER, CIFAR, EMODB, GOEMOTIONS = (PACKAGE_TASKS[name] for name in ("fer", "cifar", "emodb", "goemotions"))
FER7 = label_set("fer7")
CHANNELS = ("picture", "sound", "words")
CHOICES: tuple[tuple[str, ...], ...] = (
    CHANNELS, ("picture", "sound"), ("picture", "words"), ("sound", "words"), ("picture",), ("sound",), ("words",),
)  # fmt: skip
"""Combinations of channels with which the same moments are asked about."""


def moments_name(channels: Sequence[str]) -> str:
    """Name the task of artificial moments with these channels."""
    return "moments" if len(channels) == len(CHANNELS) else "_".join(("moments", *channels))


def _with_terms(task: Task, *sources: Task) -> Task:
    """Return a task with the files and terms of other tasks."""
    needs, licence, access = (
        mark.join(getattr(source, key) for source in sources)
        for key, mark in (("needs", ", "), ("licence", "; "), ("access", "; "))
    )
    return replace(task, needs=needs, licence=licence, access=access)


TASKS: tuple[Task, ...] = (
    _with_terms(
        Task(
            "scenes",
            "Faces in scenes, 7 emotions",
            "emotion",
            PastedFaces(FER.needs, CIFAR.needs, FER7),
            score=LabelScores(FER7),
        ),
        FER,
        CIFAR,
    ),
    _with_terms(
        Task(
            "captured",
            "The same faces, captured",
            "emotion",
            PastedFaces(FER.needs, CIFAR.needs, FER7, captured=True),
            score=LabelScores(FER7),
        ),
        FER,
        CIFAR,
    ),
    Task(
        "shapes",
        "Drawn shapes",
        "general",
        DrawnShapes(),
        less_blank=False,
        score=score_closed,
        needs="no files, the shapes are drawn",
        licence="Apache-2.0, as this package",
        access="drawn on demand",
    ),
    *(
        _with_terms(
            Task(
                moments_name(channels),
                f"Artificial moments, {' and '.join(channels)}",
                "emotion",
                Moments(FER.needs, EMODB.needs, GOEMOTIONS.needs, FER7, channels),
                score=LabelScores(FER7),
            ),
            FER,
            EMODB,
            GOEMOTIONS,
        )
        for channels in CHOICES
    ),
)
"""Selected by name, for example `recipes/nano/tasks.py:shapes`."""
BY_NAME = {**PACKAGE_TASKS, **{task.name: task for task in TASKS}}
"""Name -> task, of the package and of this file."""
