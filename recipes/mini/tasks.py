"""The tasks that mini is measured by besides the package's: `emotion-qwen eval --tasks recipes/mini/tasks.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.data.pictures import square_pixels
from emotion_qwen.evaluation.task import Item, Task, evenly, labelled
from emotion_qwen.evaluation.tasks import TASKS as PACKAGE_TASKS
from emotion_qwen.evaluation.tasks.parquet import PictureFile, VoiceFile, file_in
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken_part
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import LabelSet, label_set
from recipes.mini.eyes_data import EMOTIONS, emotion_targets
from recipes.mini.label_choices import CLUE, WEIBO

FERPLUS8, FER7, RAVDESS8 = label_set("ferplus8"), label_set("fer7"), label_set("ravdess8")
RESEARCH = "research only; see the data's README"


@dataclass(frozen=True)
class VotedFaces:
    """Faces with the votes of ten people, of which more than half name one emotion.

    Attributes:
        file: with the columns id, image, votes, split.
        labels: the classes, in the order of the votes.
    """

    file: str
    labels: LabelSet

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        file_in(data, self.file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        table = pq.read_table(file_in(data, self.file), columns=["id", "image", "votes", "split"])
        rows = [row for row in table.to_pylist() if row["split"] == split and max(emotion_targets(row["votes"])) > 0.5]
        items = []
        for language in languages:
            question = emotion_question(self.labels, language)
            for place in evenly(len(rows), limit):
                shares = emotion_targets(rows[place]["votes"])
                label = EMOTIONS[int(np.argmax(shares))]
                part = {"type": "image", "image": square_pixels(rows[place]["image"], side or 48)}
                items.append(labelled(rows[place]["id"], language, (part,), question, self.labels, label))
        return items


@dataclass(frozen=True)
class LabelledLines:
    """Texts of one source with one label each, told as what somebody says, in their own language.

    Attributes:
        file: with the columns id, text, label, source, split.
        source: what the column `source` begins with.
        labels: the classes.
        language: of the texts.
    """

    file: str
    source: str
    labels: LabelSet
    language: str

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        file_in(data, self.file)

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; asked in the language of the texts alone."""
        table = pq.read_table(file_in(data, self.file), columns=["id", "text", "label", "source", "split"])
        rows = [
            row for row in table.to_pylist()
            if row["split"] == split and row["source"].startswith(self.source) and row["label"] in self.labels.labels
        ]  # fmt: skip
        question = emotion_question(self.labels, self.language)
        return [
            labelled(row["id"], self.language, (spoken_part(self.language, row["text"]),), question, self.labels,
                     row["label"])
            for row in (rows[place] for place in evenly(len(rows), limit))
        ]  # fmt: skip


def _voices(name: str, title: str, file: str, labels: LabelSet, corpus: str = "") -> Task:
    source = VoiceFile(file, labels, corpus)
    return Task(name, title, "emotion", source, score=LabelScores(labels), needs=file, licence=RESEARCH)


TASKS: tuple[Task, ...] = (
    Task(
        "ferplus",
        "FER+, 8 emotions, more than half of the votes",
        "emotion",
        VotedFaces("faces_ferplus.parquet", FERPLUS8),
        score=LabelScores(FERPLUS8),
        needs="faces_ferplus.parquet",
        licence=RESEARCH,
    ),
    Task(
        "rafdb",
        "RAF-DB, 7 emotions; trained nothing",
        "emotion",
        PictureFile("faces_rafdb.parquet", FER7, emotion_question),
        score=LabelScores(FER7),
        needs="faces_rafdb.parquet",
        licence=RESEARCH,
    ),
    _voices("ravdess_voices", "RAVDESS, 8 emotions", "speech_ravdess.parquet", RAVDESS8),
    _voices("nemo", "nEMO (Polish), 6 emotions", "speech_more.parquet", WEIBO, "nEMO"),
    Task(
        "clue",
        "CLUEmotion2020, 7 emotions",
        "emotion",
        LabelledLines("text_emotion_zh.parquet", "CLUEbenchmark", CLUE, "zh"),
        score=LabelScores(CLUE),
        needs="text_emotion_zh.parquet",
        licence=RESEARCH,
    ),
)
"""By name: `recipes/mini/tasks.py:ferplus` is one of them."""
MEASURED = ("ferplus", "fer", "rafdb", "emodb", "ravdess_voices", "nemo", "goemotions", "clue", "cifar")
BY_NAME = {**PACKAGE_TASKS, **{task.name: task for task in TASKS}}
"""Name -> task, of the package and of this file."""
