"""Video Emotion Reasoning: the held-out part of a built set, scored for label, clues and agreement between languages.

Read from a manifest (`data.manifest`): JSON Lines with `labels.emotion`, media in the first message, and the reference
description per language as `labels.description_en` and `labels.description_zh`; without these, the assistant's last
answer written in that language.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.task import Item, Task, labelled
from emotion_qwen.evaluation.tasks.files import BenchmarkReader, ReadRows, cell_text, needed, read_utf8
from emotion_qwen.evaluation.tasks.prompts import spoken_part
from emotion_qwen.evaluation.tasks.scorers import LabelScores, language_agreement, score_reasons
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import LabelSet, label_set

MEDIA = ("image", "video", "audio")
QUESTION = {
    "en": 'Which emotion does the person show? Begin with "Emotion: " and one of: {labels}. Then say in one or two '
    "sentences by which signs it is to be seen or heard.",
    "zh": "这个人表现出哪种情绪？请以“情绪：”开头，从中选一个：{labels}。然后用一两句话说明依据。",
}
_CHINESE = re.compile("[一-鿿]")


class Reasoned(NamedTuple):
    """One clip: media parts, spoken words, label and the reference description in one language."""

    parts: tuple[dict[str, Any], ...]
    words: str
    label: str
    text: str


@dataclass(frozen=True)
class VerSet(BenchmarkReader):
    """Samples of one split of a manifest; `set_name` names the label set."""

    set_name: str = "fer7"

    def read(self, home: Path, split: str, language: str) -> ReadRows:
        """See `BenchmarkReader`."""
        table, missing = ReadRows(), []
        path = needed(home, "manifest.jsonl", f"{split}.jsonl", "*.jsonl")[0]
        for number, line in enumerate(read_utf8(path).split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if record.get("split", split) != split:
                    continue
                name, row = cell_text(record["id"]), _reasoned(record, path.parent, label_set(self.set_name), language)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                table.fault("not a sample of a manifest", f"line {number} ({type(error).__name__}: {error})")
                continue
            except DataError as error:
                table.fault(str(error), f"line {number}")
                continue
            files = [Path(part[part["type"]]) for part in row.parts]
            missing += [os.path.relpath(file, path.parent) for file in files if not file.is_file()]
            table.add(name, row)
        if not table.rows:
            raise DataError(f"{path}: no usable sample of split {split!r} in {language!r}; give a built set")
        table.expect_media("media files", missing, len(table.rows))
        return table

    def item(self, name: str, row: Reasoned, language: str) -> Item:
        """See `BenchmarkReader`."""
        labels = label_set(self.set_name)
        joined = (", " if language == "en" else "、").join(labels.names(language))
        parts = list(row.parts)
        if row.words:
            parts.append(spoken_part(language, row.words))
        question = QUESTION[language].format(labels=joined)
        return labelled(name, language, parts, question, labels, row.label, references=(row.label, row.text))


def _reasoned(record: dict[str, Any], folder: Path, labels: LabelSet, language: str) -> Reasoned:
    labels_of, content = record["labels"], record["messages"][0]["content"]
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in MEDIA]
    if not parts:
        raise DataError("no picture, video or sound in the first message")
    label = labels_of["emotion"] if labels_of["emotion"] in labels.labels else match_label(labels_of["emotion"], labels)
    if label is None:
        raise DataError(f"emotion {labels_of['emotion']!r} is not a label of {labels.name}")
    text = labels_of.get(f"description_{language}") or _last_answer(record["messages"], language)
    if not text:
        raise DataError(f"no description in {language!r}")
    media = tuple({**part, part["type"]: folder / part[part["type"]]} for part in parts)
    return Reasoned(media, str(labels_of.get("words", "")).strip(), label, text)


def _last_answer(messages: list[dict[str, Any]], language: str) -> str:
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    texts = [text for text in answers if isinstance(text, str) and bool(_CHINESE.search(text)) == (language == "zh")]
    return texts[-1] if texts else ""


def ver_task(labels: str = "fer7") -> Task:
    """Make the task for a label set.

    Raises:
        SettingsError: the label set is unknown.
    """
    return Task(
        "ver",
        "VER, a held-out part of a built set",
        "emotion",
        VerSet(("ver",), set_name=label_set(labels).name),
        answered="text",
        score=LabelScores(label_set(labels)),
        also={"clue overlap": score_reasons},
        between_languages=language_agreement,
        max_new_tokens=256,
        splits=("test", "validation"),
        needs="manifest.jsonl of a built set, with its media",
        licence="that of the videos in the built set",
        access="build your own",
        options={"labels": "label set, such as fer7 or mer6"},
        make=ver_task,
    )


TASK = ver_task()
