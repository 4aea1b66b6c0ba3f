"""Voices, comments, and people who are seen, heard and read at once, as items of a task."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Item, evenly, labelled
from emotion_qwen.evaluation.tasks.pictures import PictureFile
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken_part
from emotion_qwen.extras import optional
from emotion_qwen.taxonomy import LabelSet, concept


def _needed(data: Path | None, *files: str) -> Path:
    for file in files:
        if data is None or not (data / file).is_file():
            raise DataError(f"{file} is needed and is not in {data}; give the folder that holds it with --data")
    assert data is not None
    return data


@dataclass(frozen=True)
class VoiceFile:
    """Labelled voices of one Parquet file, heard without picture or words.

    Voices are drawn one by one: two held-out speakers are too few to be drawn, and drawing them made intervals of a
    tenth of the width. What the interval says holds for these speakers only.

    Attributes:
        file: name in the data folder.
        labels: the classes, which are the choices.
        corpus: rows whose column `corpus` begins so; "" takes all.
    """

    file: str
    labels: LabelSet
    corpus: str = ""

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        _needed(data, self.file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        path = _needed(data, self.file) / self.file
        voices = optional("emotion_qwen.data.voices", "eval").read_voices(path, split, corpus=self.corpus)
        by_concept = {concept(label): label for label in self.labels.labels}
        items = []
        for language in languages:
            asked = emotion_question(self.labels, language)
            for row in evenly(len(voices), limit):
                label = by_concept[concept(voices.labels[row])]
                part = {"type": "audio", "audio": voices.waves[row]}
                items.append(labelled(voices.ids[row], language, (part,), asked, self.labels, label))
        return items


@dataclass(frozen=True)
class TextFile:
    """Comments of one Parquet file that have exactly one label, told as what somebody says.

    Attributes:
        file: name in the data folder.
        labels: the classes, which are the choices.
        source: rows whose column `source` begins so; "" takes all.
        language: of the texts where they are asked about in their own language alone; "" asks in every one.
    """

    file: str
    labels: LabelSet
    source: str = ""
    language: str = ""

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        _needed(data, self.file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        path = _needed(data, self.file) / self.file
        texts = optional("emotion_qwen.data.texts", "eval").read_texts(path, split, self.source)
        by_concept = {concept(label): label for label in self.labels.labels}
        items = []
        for language in (self.language,) if self.language else languages:
            asked = emotion_question(self.labels, language)
            for row in evenly(len(texts), limit):
                label = by_concept[texts.labels[row]]
                part = spoken_part(language, texts.texts[row])
                items.append(labelled(texts.ids[row], language, (part,), asked, self.labels, label))
        return items


@dataclass(frozen=True)
class Moments:
    """Artificial people: a face, a voice and a sentence of one emotion, drawn from their held-out parts.

    Attributes:
        faces: file of the faces.
        voices: file of the voices.
        texts: file of the comments.
        labels: the choices.
        channels: of "picture", "sound" and "words", those that are given; the moments are the same for all choices.
        count: how many.
    """

    faces: str
    voices: str
    texts: str
    labels: LabelSet
    channels: tuple[str, ...]
    count: int = 1200

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        _needed(data, self.faces, self.voices, self.texts)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; a limit takes the first ones, whose labels are drawn anyway."""
        folder = _needed(data, self.faces, self.voices, self.texts)
        face_labels, pixels = PictureFile(self.faces, self.labels, emotion_question).read(
            folder / self.faces, split, side
        )[1:]
        voices = optional("emotion_qwen.data.voices", "eval").read_voices(folder / self.voices, split)
        texts = optional("emotion_qwen.data.texts", "eval").read_texts(folder / self.texts, split)
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
            face, voice, text = (rng.choice(own[meant]) for own in rows)
            for language in languages:
                told = spoken_part(language, texts.texts[text])
                parts: dict[str, dict[str, Any]] = {
                    "picture": {"type": "image", "image": pixels[face]},
                    "sound": {"type": "audio", "audio": voices.waves[voice]},
                    "words": told,
                }
                given = tuple(parts[channel] for channel in self.channels)
                asked, label = emotion_question(self.labels, language), by_concept[meant]
                name = f"moments/{split}/{index}"
                # A few voices speak in many moments, which are not independent then.
                heard = f"voice {voices.ids[voice]}" if "sound" in self.channels else ""
                items.append(labelled(name, language, given, asked, self.labels, label, cluster=heard))
        return items
