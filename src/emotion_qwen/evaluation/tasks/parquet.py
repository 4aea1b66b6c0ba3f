"""Labelled pictures, voices and texts, each set in one Parquet file, as items of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.task import Item, evenly, labelled
from emotion_qwen.evaluation.tasks.files import cell_text, parquet_rows
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken_part
from emotion_qwen.extras import optional
from emotion_qwen.taxonomy import LabelSet, concept, concept_of_word

if TYPE_CHECKING:
    from emotion_qwen.data.texts import Texts
    from emotion_qwen.data.voices import Voices


def file_in(data: Path | None, file: str) -> Path:
    """Return the path of a file in the data folder.

    Raises:
        DataError: no data folder was given, or the file is not in it.
    """
    if data is None:
        raise DataError(f"{file} is needed but no data folder was given; pass the folder that holds it with --data")
    if not (data / file).is_file():
        raise DataError(f"{str(data / file)!r} does not exist; pass the folder that holds it with --data")
    return data / file


@dataclass(frozen=True)
class FileSource:
    """Base of the sources that read one Parquet file.

    Attributes:
        file: name in the data folder.
        labels: the classes, which are the choices.
    """

    file: str
    labels: LabelSet

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        file_in(data, self.file)

    def unknown_label(self, name: str, label: str) -> DataError:
        """Compose the error for a row with a label that is none of the classes."""
        return DataError(
            f"{self.file}: {name} has the label {label!r}; expected one of {', '.join(self.labels.labels)}"
        )

    def person_items(
        self,
        rows: Voices | Texts,
        part: Callable[[int, str], dict[str, Any]],
        languages: Sequence[str],
        limit: int | None,
    ) -> list[Item]:
        """Return an item per row and language with the closed question about the person; `part` makes its message.

        Raises:
            DataError: a label is none of the classes.
        """
        by_concept, known = {concept(label): label for label in self.labels.labels}, concept_of_word()
        for row, label in enumerate(rows.labels):
            if known.get(label.strip().lower()) not in by_concept:
                raise self.unknown_label(rows.ids[row], label)
        items = []
        for language in languages:
            question = emotion_question(self.labels, language)
            for row in evenly(len(rows), limit):
                label = by_concept[concept(rows.labels[row])]
                items.append(labelled(rows.ids[row], language, (part(row, language),), question, self.labels, label))
        return items


@dataclass(frozen=True)
class PictureFile(FileSource):
    """Labelled pictures of one Parquet file, all with the same closed question.

    Attributes:
        question: composes the closed question from the labels in a language.
        crop: share of the side kept around the centre when pictures are resized.
        kept: classes whose pictures are used and that may be chosen; empty for all.
    """

    question: Callable[[LabelSet, str], str]
    crop: float = 1.0
    kept: tuple[str, ...] = ()

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        names_of, labels_of, media = self.read(file_in(data, self.file), split, side)
        kept = self.kept or self.labels.labels
        if not self.kept:
            for name, label in zip(names_of, labels_of, strict=True):
                if label not in kept:
                    raise self.unknown_label(name, label)
        rows = [row for row, name in enumerate(labels_of) if name in kept]
        rows = [rows[place] for place in evenly(len(rows), limit)]
        items = []
        for language in languages:
            names = dict(zip(self.labels.labels, self.labels.names(language), strict=True))
            question = self.question(self.labels, language)
            allowed = tuple(names[name] for name in self.kept)
            for row in rows:
                part = {"type": "image", "image": media[row]}
                group = labels_of[row]
                items.append(labelled(names_of[row], language, (part,), question, self.labels, group, allowed=allowed))
        return items

    def read(self, path: Path, split: str, side: int | None) -> tuple[Sequence[str], Sequence[str], Sequence[Any]]:
        """Return ids, labels and pictures of one split: as resized arrays, or as stored."""
        if side is not None:
            pictures = optional("emotion_qwen.data.pictures", "eval").read_pictures(path, split, side, crop=self.crop)
            return pictures.ids, pictures.labels, pictures.pixels
        return stored_pictures(path, split)


def stored_pictures(path: Path, split: str) -> tuple[list[str], list[str], list[Stored]]:
    """Return ids, labels and storage locations of the pictures of one split of a Parquet file; none is decoded.

    Raises:
        DataError: the file is not Parquet, a column is missing, a row has no id or label, or no picture has that split.
    """
    ids, labels, places = [], [], []
    for number, (row, stored) in enumerate(parquet_rows([path], ("id", "image", "label", "split")), 1):
        if row["split"] == split:
            name, label = cell_text(row["id"]), cell_text(row["label"])
            if not name or not label:
                raise DataError(f"{path.name}, row {number}: no {'label' if name else 'id'}; correct the row")
            ids.append(name)
            labels.append(label)
            places.append(stored(name))
    if not ids:
        raise DataError(f"{path.name}: no picture has split {split!r}; give another --split")
    return ids, labels, places


@dataclass(frozen=True)
class VoiceFile(FileSource):
    """Labelled voices of one Parquet file, without picture or words.

    The bootstrap draws single voices: two held-out speakers are too few to be drawn, and drawing them gave
    intervals of a tenth of the width. The interval applies only to these speakers.

    Attributes:
        corpus: prefix of the column `corpus` of the rows to take; "" takes all.
    """

    corpus: str = ""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        path = file_in(data, self.file)
        voices = optional("emotion_qwen.data.voices", "eval").read_voices(path, split, corpus=self.corpus)
        return self.person_items(voices, lambda row, _: {"type": "audio", "audio": voices.waves[row]}, languages, limit)


@dataclass(frozen=True)
class TextFile(FileSource):
    """Texts of one Parquet file that have exactly one label, presented as what a person says.

    Attributes:
        source: prefix of the column `source` of the rows to take; "" takes all.
        language: of the texts, if questions are asked in that language alone; "" asks in every language.
    """

    source: str = ""
    language: str = ""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        path = file_in(data, self.file)
        texts = optional("emotion_qwen.data.texts", "eval").read_texts(path, split, self.source)
        chosen = (self.language,) if self.language else languages
        return self.person_items(texts, lambda row, language: spoken_part(language, texts.texts[row]), chosen, limit)
