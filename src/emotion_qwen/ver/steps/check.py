"""Check every description by rules against the measurements, by an independent reading, and between the languages.

The reader gets a description whose emotion words are replaced by [...], so it judges the evidence and not the label.
The teacher is asked once more about each objection; then the clip is accepted or rejected. All objections are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from emotion_qwen.errors import MediaError
from emotion_qwen.taxonomy import concept
from emotion_qwen.ver.settings import CheckSettings
from emotion_qwen.ver.steps.facts import languages_fault, objections, without_emotions
from emotion_qwen.ver.store.columns import KEPT, REJECTED, Row, rejected
from emotion_qwen.ver.teachers.calls import Refused
from emotion_qwen.ver.teachers.description import Description, Teacher, Unusable
from emotion_qwen.ver.teachers.prompts import DISAGREE


@dataclass(frozen=True)
class CheckClip:
    """Check one described clip; the outcome is kept, revised or rejected, with all objections."""

    teacher: Teacher
    reader: Teacher | None
    second: Teacher | None
    settings: CheckSettings
    languages: tuple[str, ...]

    def __call__(self, item: Row) -> list[Row]:
        """Return one row."""
        records = {language: Description.unpacked(item[language]) for language in self.languages}
        history: list[list[str]] = []
        read: dict[str, str] = {}
        rounds = self.settings.rounds if self.teacher.revises else 0
        for turn in range(rounds + 1):
            faults, read = self._against(records, item)
            history.append([f"{language}: {fault}" if language else fault for language, fault in faults])
            if not faults or turn == rounds:
                break
            try:
                records |= self._revised(item, faults)
            except (Unusable, Refused, MediaError) as error:
                history[-1].append(f"no usable revision: {error}")
                break
        left = history[-1]
        label = records[self.languages[0]].emotions[0]
        return [
            {
                "clip": item["clip"], "status": REJECTED if left else KEPT, "reason": "; ".join(left), "label": label,
                **{language: record.packed() for language, record in records.items()}, "rounds": len(history) - 1,
                "objections": json.dumps(history, ensure_ascii=False), "read": json.dumps(read),
                "second": self._second_label(item), "teacher": item["teacher"],
            }
        ]  # fmt: skip

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `pools.Work`."""
        return rejected(item, reason)

    def _against(self, records: dict[str, Description], item: Row) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Return all objections as (language, objection), with "" for both languages, and the labels that the reader
        gave.
        """
        faults = [
            (lang, fault) for lang, record in records.items() for fault in objections(record, item, lang, self.settings)
        ]
        if len(records) == 2 and (fault := languages_fault(*records.values())):
            faults.append(("", fault))
        read: dict[str, str] = {}
        if self.reader is None or faults:  # do not spend a call on a description that will be revised
            return faults, read
        for language, record in records.items():
            try:
                read[language] = self.reader.read(
                    without_emotions(f"{record.description}\n{record.reasoning}"), language
                )
            except (Unusable, Refused) as error:
                faults.append((language, f"reading: {error}"))
                continue
            if read[language] == "unclear" or concept(read[language]) != concept(record.emotions[0]):
                faults.append(
                    (language, f"reading: labelled {record.emotions[0]!r}, the text reads as {read[language]!r}")
                )
        return faults, read

    def _revised(self, item: Row, faults: Sequence[tuple[str, str]]) -> dict[str, Description]:
        """Ask again for every language that an objection concerns; "" concerns both."""
        concerned = [lang for lang in self.languages if any(about in (lang, "") for about, _ in faults)]
        return {
            lang: self.teacher.describe(
                item, lang, [fault if about else DISAGREE[lang] for about, fault in faults if about in (lang, "")]
            )
            for lang in concerned
        }

    def _second_label(self, item: Row) -> str:
        """Return the label of the second teacher for a sample of the clips, drawn by the clip's name."""
        drawn = int(hashlib.sha256(item["clip"].encode()).hexdigest()[:8], 16) / 2**32
        if self.second is None or drawn >= self.settings.second_share:
            return ""
        try:
            return self.second.describe(item, self.languages[0]).emotions[0]
        except (Unusable, Refused, MediaError):
            return "unusable"
