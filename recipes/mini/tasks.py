"""Tasks for the parts of the shared data that the package's tasks do not read: `emotion-qwen eval --tasks
recipes/mini/tasks.py`.

Each set is read in its layout of `docs/guides/data.md`. Questions about pictures and voices are those of `analyze`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.data.pictures import square_pixels
from emotion_qwen.data.voices import decode_voice
from emotion_qwen.evaluation.scoring.closed import score_closed
from emotion_qwen.evaluation.scoring.numbers import EMOBANK, score_numbers
from emotion_qwen.evaluation.task import OURS, Item, Task, evenly, labelled
from emotion_qwen.evaluation.tasks import TASKS as PACKAGE_TASKS
from emotion_qwen.evaluation.tasks.parquet import PictureFile, VoiceFile, file_in
from emotion_qwen.evaluation.tasks.prompts import (
    EMOBANK_OURS,
    POLARITY_OURS,
    emotion_question,
    polarity_names,
    spoken_part,
)
from emotion_qwen.evaluation.tasks.scorers import LabelScores
from emotion_qwen.taxonomy import LabelSet, label_set
from recipes.mini.eyes_data import EMOTIONS, emotion_targets
from recipes.mini.label_choices import CLUE, ISEAR, WEIBO

FERPLUS8, FER7 = label_set("ferplus8"), label_set("fer7")
URDU = LabelSet(
    "urdu4",
    ("anger", "happiness", "neutral", "sadness"),
    ("愤怒", "高兴", "中性", "悲伤"),
    "URDU-Dataset, Latif et al., FIT 2018",
)
RESEARCH = "research only; see the data's README"
CAUSES, SUPPORT = "text_emotion_cause.parquet", "text_support_esconv.parquet"
BEFORE = 6
"""Turns of a talk before the supporter's, which are shown."""


@dataclass(frozen=True)
class SharedFile:
    """The rows of one file of the shared data.

    Attributes:
        file: its name.
    """

    file: str

    def check(self, data: Path | None) -> None:
        """See `Source`."""
        file_in(data, self.file)


@dataclass(frozen=True)
class VotedFaces(SharedFile):
    """Faces with the votes of ten people, of which more than half name one emotion.

    Attributes:
        file: with the columns id, image, votes, split.
        labels: the classes, in the order of the votes.
    """

    labels: LabelSet

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
class LabelledLines(SharedFile):
    """Texts of one source with one label each, presented as speech, in their own language.

    Attributes:
        file: with the columns id, text, label, split.
        source: what the column `source` begins with; empty for files without it.
        labels: the classes.
        language: of the texts.
    """

    source: str
    labels: LabelSet
    language: str

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; asked in the language of the texts alone."""
        columns = ["id", "text", "label", "split", *(["source"] if self.source else [])]
        rows = [
            row for row in pq.read_table(file_in(data, self.file), columns=columns).to_pylist()
            if row["split"] == split and row["label"] in self.labels.labels
            and row.get("source", "").startswith(self.source)
        ]  # fmt: skip
        question = emotion_question(self.labels, self.language)
        return [
            labelled(row["id"], self.language, (spoken_part(self.language, row["text"]),), question, self.labels,
                     row["label"])
            for row in (rows[place] for place in evenly(len(rows), limit))
        ]  # fmt: skip


@dataclass(frozen=True)
class SentimentVoices(VoiceFile):
    """Voices that are positive, neutral or negative."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        columns = ["id", "audio", "label", "corpus", "split"]
        table = pq.read_table(file_in(data, self.file), columns=columns, filters=[("split", "=", split)])
        rows = [row for row in table.to_pylist() if row["corpus"].startswith(self.corpus)]
        items, names = [], polarity_names("en")
        for language in languages:
            words = dict(zip(names, polarity_names(language), strict=True))
            for row in (rows[place] for place in evenly(len(rows), limit)):
                part = {"type": "audio", "audio": decode_voice(row["audio"], row["id"])}
                label = row["label"]
                items.append(
                    Item(
                        row["id"], language, (part,), POLARITY_OURS[language], tuple(words.values()), words[label],
                        label, references=(label,), options=names,
                    )
                )  # fmt: skip
        return items


@dataclass(frozen=True)
class RatedTexts(SharedFile):
    """Sentences of EmoBank with valence, arousal and dominance from 1 to 5."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        rows = pq.read_table(file_in(data, self.file), filters=[("split", "=", split)]).to_pylist()
        items = []
        for language in languages:
            for row in (rows[place] for place in evenly(len(rows), limit)):
                ratings = tuple(f"{row[name]:g}" for name in EMOBANK.dimensions)
                part = spoken_part(language, row["text"])
                items.append(
                    Item(
                        row["id"],
                        language,
                        (part,),
                        EMOBANK_OURS[language],
                        (),
                        ", ".join(ratings),
                        "",
                        references=ratings,
                    )
                )
        return items


@dataclass(frozen=True)
class CauseTurns(SharedFile):
    """Which turn causes the emotion of the last one? Targets with exactly one cause, which is not in the future."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`; asked in the language of the dialogue alone."""
        rows = [
            row for row in pq.read_table(file_in(data, self.file), filters=[("split", "=", split)]).to_pylist()
            if len(row["causes"]) == 1 and row["causes"][0] <= row["target"] and row["target"] > 1
        ]  # fmt: skip
        return [self._item(rows[place]) for place in evenly(len(rows), limit)]

    def _item(self, row: dict[str, Any]) -> Item:
        target = row["target"]
        turns = [
            f"{number}. {turn['speaker']}: {turn['text']}" if turn["speaker"] else f"{number}. {turn['text']}"
            for number, turn in enumerate(row["turns"][:target], start=1)
        ]
        question = _CAUSE[row["lang"]].format(turns="\n".join(turns), target=target, emotion=row["emotion"])
        numbers = tuple(map(str, range(1, target + 1)))
        group = row["source"].partition(" ")[0]
        dialogue = row["id"].rpartition("_")[0]
        return Item(row["id"], row["lang"], (), question, numbers, str(row["causes"][0]), group, cluster=dialogue)


_CAUSE = {
    "en": "{turns}\nThe emotion of turn {target} is {emotion}. Which turn causes it? Answer with its number.",
    "zh": "{turns}\n第 {target} 句的情绪是 {emotion}。是哪一句引起的？请只回答它的编号。",
}


@dataclass(frozen=True)
class SupportStrategies(SharedFile):
    """Which of seven strategies does the supporter use? "Other" and the first turn of a talk are left out."""

    def items(
        self, data: Path | None, split: str, languages: Sequence[str], side: int | None, limit: int | None
    ) -> list[Item]:
        """See `Source`."""
        talks = pq.read_table(file_in(data, self.file), filters=[("split", "=", split)]).to_pylist()
        asked = [
            (talk, number) for talk in talks for number, turn in enumerate(talk["turns"])
            if number and turn["strategy"] in STRATEGIES
        ]  # fmt: skip
        items = []
        for talk, number in (asked[place] for place in evenly(len(asked), limit)):
            shown = talk["turns"][max(0, number - BEFORE) : number + 1]
            text = "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in shown)
            answer = talk["turns"][number]["strategy"]
            question = f"{text}\nWhich strategy of support is the last line? Choose one: {', '.join(STRATEGIES)}."
            name = f"{talk['id']}/{number}"
            items.append(Item(name, "en", (), question, STRATEGIES, answer, answer, cluster=talk["id"]))
        return items


STRATEGIES = (
    "Questions", "Restatement or Paraphrasing", "Reflection of feelings", "Self-disclosure",
    "Affirmation and Reassurance", "Providing Suggestions", "Information",
)  # fmt: skip
"""Of ESConv (Liu et al., ACL 2021), as its annotation writes them."""


def _emotion(name: str, title: str, source: Any, labels: LabelSet, languages: tuple[str, ...] = ("en", "zh")) -> Task:
    score = LabelScores(labels)
    prompts = {OURS: languages}
    return Task(name, title, "emotion", source, score=score, needs=source.file, licence=RESEARCH, prompts=prompts)


TASKS: tuple[Task, ...] = (
    _emotion(
        "ferplus_votes",
        "FER+, 8 emotions, more than half of the votes",
        VotedFaces("faces_ferplus.parquet", FERPLUS8),
        FERPLUS8,
    ),
    _emotion(
        "rafdb_aligned",
        "RAF-DB, 7 emotions, never trained on",
        PictureFile("faces_rafdb.parquet", FER7, emotion_question),
        FER7,
    ),
    _emotion("nemo6", "nEMO (Polish), 6 emotions", VoiceFile("speech_more.parquet", WEIBO, "nEMO"), WEIBO),
    _emotion("urdu", "URDU talk shows, 4 emotions", VoiceFile("speech_more.parquet", URDU, "URDU"), URDU),
    replace(
        _emotion(
            "taiwan",
            "Mandarin of Taiwan, positive, neutral, negative",
            SentimentVoices("speech_more.parquet", FER7, "Chinese-Speech"),
            FER7,
        ),
        score=score_closed,
    ),
    _emotion(
        "clue",
        "CLUEmotion2020, 7 emotions",
        LabelledLines("text_emotion_zh.parquet", "CLUEbenchmark", CLUE, "zh"),
        CLUE,
        ("zh",),
    ),
    _emotion(
        "weibo",
        "SMP2020 Weibo, 6 emotions",
        LabelledLines("text_emotion_zh.parquet", "jieyuwang", WEIBO, "zh"),
        WEIBO,
        ("zh",),
    ),
    _emotion(
        "isear",
        "ISEAR, 7 emotions of situations",
        LabelledLines("text_isear.parquet", "", ISEAR, "en"),
        ISEAR,
        ("en",),
    ),
    Task(
        "emobank_texts",
        "EmoBank, valence, arousal and dominance",
        "emotion",
        RatedTexts("text_vad_emobank.parquet"),
        answered="text",
        max_new_tokens=32,
        score=partial(score_numbers, scale=EMOBANK),
        headline="CCC, mean",
        needs="text_vad_emobank.parquet",
        licence="CC BY-SA 4.0",
    ),
    *(
        Task(
            name,
            title,
            "general",
            source,
            less_blank=False,
            score=score_closed,
            needs=source.file,
            licence=RESEARCH,
            prompts={OURS: languages},
        )
        for name, title, source, languages in (
            ("emotion_causes", "Which turn causes the emotion (ECF, RECCON)", CauseTurns(CAUSES), ("en", "zh")),
            ("support_strategies", "ESConv, 7 strategies of support", SupportStrategies(SUPPORT), ("en",)),
        )
    ),
)
"""By name: `recipes/mini/tasks.py:ferplus_votes` is one of them."""
MEASURED = (
    "ferplus_votes", "fer", "rafdb_aligned", "emodb", "ravdess_voices", "nemo6", "goemotions", "clue", "cifar",
)  # fmt: skip
BY_NAME = {**PACKAGE_TASKS, **{task.name: task for task in TASKS}}
"""Name -> task, of the package and of this file."""
