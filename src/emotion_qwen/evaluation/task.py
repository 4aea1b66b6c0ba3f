"""Tasks: closed questions about pictures with known answers, by name, for the skill that they test.

A task says what is asked and where its items come from; it knows no model. Two kinds of source stand here: a Parquet
file of labelled pictures, and the drawn shapes world. A further kind (a manifest of clips, say) is a further class
with `check` and `items`, and a further row of `TASKS`.

Only the parts held out from training are offered: "validation", and "test" if it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emotion_qwen.data.questions import OBJECT_CLOSED, OBJECT_SET
from emotion_qwen.errors import DataError, SettingsError, unknown_choice
from emotion_qwen.evaluation.extras import optional
from emotion_qwen.processing.chat import LANGUAGES, label_question
from emotion_qwen.taxonomy import LabelSet, label_set

DOMAINS = ("emotion", "general")
SPLITS = ("validation", "test")
SHAPES_SIDE = 64
SHAPES_ITEMS = 5000


@dataclass(frozen=True, eq=False)
class Item:
    """One question with its answer.

    Attributes:
        id: the same for every language and every model; unique within its task.
        language: "en" or "zh".
        part: the message part that is asked about.
        question: as the model reads it.
        choices: the answers whose likelihood is compared.
        answer: the right one of them.
        group: the class that the item counts for in scores per class; English, whatever the language. Items of one
            group are answered together, so it helps if they share choices.
        allowed: the choices that may be chosen; empty for all.
    """

    id: str
    language: str
    part: dict[str, Any]
    question: str
    choices: tuple[str, ...]
    answer: str
    group: str
    allowed: tuple[str, ...] = ()


class Source(Protocol):
    """Where the items of a task come from."""

    def check(self, data: Path | None) -> None:
        """Raise DataError now if the items cannot be had from this folder."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int, limit: int | None
    ) -> list[Item]:
        """Return the items; the arguments are those of `Task.items`."""


@dataclass(frozen=True)
class PictureFile:
    """Labelled pictures of one Parquet file, all asked the same closed question.

    Attributes:
        file: name in the data folder.
        labels: the classes, which are the choices.
        question: composes the closed question from the labels in a language.
        crop: share of the side kept around the centre.
        kept: classes whose pictures are asked about, and which may be chosen; empty for all.
    """

    file: str
    labels: LabelSet
    question: Callable[[LabelSet, str], str]
    crop: float = 1.0
    kept: tuple[str, ...] = ()

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        if data is None:
            raise DataError(f"{self.file} is needed but no data folder came; give the folder that holds it with --data")
        if not (data / self.file).is_file():
            raise DataError(f"{str(data / self.file)!r} does not exist; give the folder that holds it with --data")

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        self.check(data)
        assert data is not None
        pictures = optional("emotion_qwen.data.pictures").read_pictures(data / self.file, split, side, crop=self.crop)
        kept = self.kept or self.labels.labels
        rows = [row for row, name in enumerate(pictures.labels) if name in kept]
        rows = [rows[place] for place in evenly(len(rows), limit)]
        items = []
        for language in languages:
            names = dict(zip(self.labels.labels, self.labels.names(language), strict=True))
            asked, choices = self.question(self.labels, language), tuple(names.values())
            allowed = tuple(names[name] for name in self.kept)
            for row in rows:
                part = {"type": "image", "image": pictures.pixels[row]}
                group = pictures.labels[row]
                items.append(Item(pictures.ids[row], language, part, asked, choices, names[group], group, allowed))
        return items


@dataclass(frozen=True)
class DrawnShapes:
    """Questions about drawn scenes, each with its own words and choices; drawn anew from their number every time."""

    count: int = SHAPES_ITEMS
    side: int = SHAPES_SIDE

    def check(self, data: Path | None) -> None:
        """See `Source`; scenes need no data."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int, limit: int | None
    ) -> list[Item]:
        """See `Source`; scenes keep their own side, on which the smallest shape is still to be seen.

        A limit takes the first ones: kinds of question follow each other with the number, so steps could skip some.
        """
        from emotion_qwen.data.shape_questions import shapes_item
        from emotion_qwen.data.shapes import render

        items = []
        for index in range(self.count if limit is None else min(limit, self.count)):
            drawn = shapes_item(index, split)
            part = {"type": "image", "image": render(drawn.scene, self.side)}
            for language in languages:
                asked = drawn.questions[language]
                name = f"shapes/{split}/{index}"
                items.append(Item(name, language, part, asked.text, asked.choices, asked.answer, asked.kind))
        return items


@dataclass(frozen=True)
class PastedFaces:
    """Labelled faces pasted into pictures of things (`data.scenes`), plain or captured.

    Attributes:
        faces: file of the faces.
        things: file of the pictures around them.
        labels: the classes, which are the choices.
        captured: wash out everything but the face.
    """

    faces: str
    things: str
    labels: LabelSet
    captured: bool = False

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        for file in (self.faces, self.things):
            PictureFile(file, self.labels, label_question).check(data)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int, limit: int | None
    ) -> list[Item]:
        """See `Source`; scenes keep their own side."""
        self.check(data)
        assert data is not None
        optional("emotion_qwen.data.pictures")
        from emotion_qwen.data.parts import read_part

        options = {"backgrounds": self.things, "captured": self.captured}
        part: Any = read_part("scenes", "scenes", "emotion", data / self.faces, split, **options)
        items = []
        for language in languages:
            names = dict(zip(self.labels.labels, self.labels.names(language), strict=True))
            asked = label_question(self.labels, language)
            for row in evenly(len(part), limit):
                label, picture = part.faces.labels[row], {"type": "image", "image": part.scene(row, 0)}
                name = f"scenes/{part.faces.ids[row]}"
                items.append(Item(name, language, picture, asked, tuple(names.values()), names[label], label))
        return items


@dataclass(frozen=True)
class Task:
    """A benchmark of closed questions.

    Attributes:
        name: how commands and folders call it.
        title: how pages and figures call it.
        domain: the skill that it tests, one of `DOMAINS`.
        source: of its items.
        faces: every picture is a person crop, to be read by the views that `analyze` reads (`prepare.person_views`).
        less_blank: compare likelihoods less those for an empty picture (`inference.scoring`), not the plain ones.
    """

    name: str
    title: str
    domain: str
    source: Source
    faces: bool = False
    less_blank: bool = True

    def items(
        self,
        data: Path | None,
        *,
        side: int,
        languages: Sequence[str] = ("en",),
        split: str = "validation",
        limit: int | None = None,
    ) -> list[Item]:
        """Read or draw the items.

        Args:
            data: folder of the Parquet files; a drawn task needs none.
            side: pixels to which pictures of a file are brought, the side that the model was trained on.
            languages: of "en" and "zh"; every item comes once in each.
            split: "validation" or "test".
            limit: so many items, evenly spaced over a file, the first of a drawn world; None is all.

        Raises:
            DataError: the file is missing, or holds nothing of that split.
            SettingsError: a split or language that is not offered.
            MissingPackage: pyarrow is not installed.
        """
        if split not in SPLITS:
            raise SettingsError(unknown_choice("split", split, SPLITS))
        for language in languages:
            if language not in LANGUAGES:
                raise SettingsError(unknown_choice("language", language, LANGUAGES))
        return self.source.items(data, split, languages, side, limit)


def object_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about the object of a picture, in the words that training uses too."""
    joined = (", " if language == "en" else "、").join(labels.names(language))
    return OBJECT_CLOSED[language][0].format(labels=joined)


def evenly(count: int, limit: int | None) -> list[int]:
    """Return `limit` places evenly spaced over `count`; all if there are no more. Files stand in order of labels."""
    chosen = count if limit is None else min(limit, count)
    return [int(place) for place in np.arange(chosen) * count // max(chosen, 1)]


def chosen_tasks(names: str) -> tuple[Task, ...]:
    """Return the tasks of a comma-separated list, each once, in the order of `TASKS`.

    Raises:
        SettingsError: an unknown task, or none at all.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    for name in asked or [""]:
        if name not in TASKS:
            raise SettingsError(unknown_choice("task", name, TASKS))
    return tuple(task for name, task in TASKS.items() if name in asked)


_FER7 = label_set("fer7")
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "fer",
            "FER2013, 7 emotions",
            "emotion",
            PictureFile("faces_fer_aligned.parquet", _FER7, label_question),
            faces=True,
        ),
        Task(
            "lfw",
            "LFW, happiness or neutral",
            "emotion",
            PictureFile("faces_lfw_expressions.parquet", _FER7, label_question, 0.85, ("happiness", "neutral")),
            faces=True,
        ),
        Task(
            "cifar",
            "CIFAR-10, 10 objects",
            "general",
            PictureFile("pictures_cifar10.parquet", OBJECT_SET, object_question),
        ),
        Task(
            "scenes",
            "Faces in scenes, 7 emotions",
            "emotion",
            PastedFaces("faces_fer_aligned.parquet", "pictures_cifar10.parquet", _FER7),
        ),
        Task(
            "captured",
            "The same faces, captured",
            "emotion",
            PastedFaces("faces_fer_aligned.parquet", "pictures_cifar10.parquet", _FER7, captured=True),
        ),
        Task("shapes", "Drawn shapes", "general", DrawnShapes(), less_blank=False),
    )
}
