"""Shared code for benchmarks of questions about one picture, with options, yes or no, or a free answer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.scoring.replies import LETTERS
from emotion_qwen.evaluation.task import Item
from emotion_qwen.evaluation.tasks.files import PICTURES, VIDEOS, BenchmarkReader, Media, ReadRows

YES_NO = ("yes", "no")


class Question(NamedTuple):
    """One question about one picture.

    Attributes:
        image: the picture, or its path; None for a question without one.
        text: of the question.
        answers: the correct one (the letter of an option, yes or no), or those of several annotators.
        group: unit by which scores are broken down.
        picture: name of the picture; the bootstrap draws its questions together. Empty for the question alone.
        options: texts of the lettered options; empty for other questions.
        hint: context that comes with the question.
        more: further pictures of the question.
        span: part of a video, as start and end in seconds; empty for all of it.
    """

    image: Stored | Path | None
    text: str
    answers: tuple[str, ...]
    group: str = ""
    picture: str = ""
    options: tuple[str, ...] = ()
    hint: str = ""
    more: tuple[Stored, ...] = ()
    span: tuple[float, ...] = ()


@dataclass(frozen=True)
class PictureQuestions(BenchmarkReader):
    """Base class whose rows are `Question` records; a subclass reads them and composes the prompts."""

    choices: ClassVar[tuple[str, ...]] = ()
    """The answers of every question without options; empty for free answers."""

    @abstractmethod
    def ask(self, row: Question, language: str) -> str:
        """Compose the question in the selected wording."""

    def item(self, name: str, row: Question, language: str) -> Item:
        """See `BenchmarkReader`; a question without a picture has no media part."""
        return Item(
            name,
            language,
            self.media(row),
            self.ask(row, language),
            tuple(LETTERS[: len(row.options)]) or self.choices,
            row.answers[0],
            row.group,
            references=row.answers if len(row.answers) > 1 else (),
            cluster=row.picture,
            options=row.options,
        )

    def media(self, row: Question) -> tuple[dict[str, Any], ...]:
        """Return the message parts with the pictures, or the video, of a question."""
        if row.image is None:
            return ()
        if isinstance(row.image, Path) and row.image.suffix.lower() in VIDEOS:
            return ({"type": "video", "video": row.image, **dict(zip(("start", "end"), row.span, strict=False))},)
        return tuple({"type": "image", "image": image} for image in (row.image, *row.more))


def add_question(table: ReadRows, name: str, row: Question) -> None:
    """Add a row, or report a fault if it asks nothing."""
    if row.text.strip():
        table.add(name, row)
    else:
        table.fault("no question", name)


def is_letter_of(letter: str, options: tuple[str, ...]) -> bool:
    """Return whether an answer is the letter of one of the options."""
    return len(letter) == 1 and letter in LETTERS[: len(options)]


def find_pictures(table: ReadRows, home: Path) -> None:
    """Set the path of every picture that is a file of its own, and report the missing ones."""
    loose = {name: row for name, row in table.rows.items() if isinstance(row.image, Path)}
    if not loose:
        return
    paths = table.find("pictures", Media(home, PICTURES), [row.picture for row in loose.values()])
    for name, row in loose.items():
        table.rows[name] = row._replace(image=paths.get(row.picture, row.image))
