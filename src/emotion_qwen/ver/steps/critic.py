"""The critic: accept, revise or discard every description that passed the check, each with its reason.

Rules come first (`objections`): they cost nothing and quote what they refer to. If they object to nothing, a model
may be asked for its judgement (`critic.teacher`). The verdicts are:

- accept: there are no objections.
- revise: the objections also show what would be right. A teacher that can revise writes the description again; else
  contradicted sentences are removed, and a label that differs from the stated emotion is corrected. If neither is
  possible, the clip waits for a reviewer.
- discard: sources contradict the label and each other, more than half of the sentences are contradicted, or the
  objections remain after the revision.

A revised description and its earlier version become a pair in `preferences.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from emotion_qwen.errors import MediaError
from emotion_qwen.taxonomy import CONCEPTS, concept, label_set
from emotion_qwen.ver.settings import CheckSettings, CriticSettings
from emotion_qwen.ver.steps.facts import languages_fault, length_fault, objections
from emotion_qwen.ver.steps.objections import ABOUT_LABEL, Objection, label_objections, text_objections
from emotion_qwen.ver.store.columns import KEPT, REJECTED, Row, rejected
from emotion_qwen.ver.teachers.calls import Refused
from emotion_qwen.ver.teachers.description import Description, Teacher, Unusable
from emotion_qwen.ver.teachers.prompts import VERDICTS
from emotion_qwen.verify.checking import split_sentences

ACCEPT, REVISE, DISCARD = VERDICTS
MOST = 0.5
"""Largest share of the sentences of a description that may be contradicted."""


class DescriptionJudge(Protocol):
    """Interface of a model that judges descriptions."""

    def judge(self, item: Row, record: Description, language: str) -> tuple[str, str]:
        """Return one of `VERDICTS` and its reason.

        Raises:
            Unusable: there was no usable answer.
        """
        ...


@dataclass(frozen=True)
class Critique:
    """The critic's verdict.

    Attributes:
        verdict: one of `VERDICTS`.
        reason: why; "" for an accepted description.
        objections: to the description as it was.
        revised: language -> the revised description; empty unless the verdict is "revise" and a revision was found.
    """

    verdict: str
    reason: str = ""
    objections: tuple[Objection, ...] = ()
    revised: Mapping[str, Description] | None = None


@dataclass(frozen=True)
class CriticizeClip:
    """Judge one described clip."""

    settings: CriticSettings
    check: CheckSettings
    labels: str
    languages: tuple[str, ...]
    teacher: Teacher | None = None
    judge: DescriptionJudge | None = None

    def __call__(self, item: Row) -> list[Row]:
        """Return one row."""
        records = {language: Description.unpacked(item[language]) for language in self.languages}
        critique = self.criticize(records, item)
        texts = critique.revised or records
        stays = critique.verdict == ACCEPT or bool(critique.revised)
        before = {language: record.packed() for language, record in records.items()} if critique.revised else {}
        return [
            {
                "clip": item["clip"], "status": KEPT if stays else REJECTED, "verdict": critique.verdict,
                "reason": "" if stays else f"{critique.verdict}: {critique.reason}",
                "criticism": json.dumps([objection.packed() for objection in critique.objections], ensure_ascii=False),
                "label": texts[self.languages[0]].emotions[0], "before": json.dumps(before, ensure_ascii=False),
                **{language: record.packed() for language, record in texts.items()},
            }
        ]  # fmt: skip

    def lost(self, item: Row, reason: str) -> list[Row]:
        """Return one rejected row; see `pools.Work`."""
        return rejected(item, reason)

    def criticize(self, records: Mapping[str, Description], item: Row) -> Critique:
        """Judge the descriptions of a clip, one per language."""
        against = self.objections(records, item)
        if not against:
            return self._judged(records, item)
        reason = "; ".join(objection.text for objection in against)
        if self.teacher is not None and self.teacher.revises:
            revised = self._asked(records, item, against)
            left = self.objections(revised, item) if revised else against
            if not left:
                return Critique(REVISE, reason, against, revised)
            return Critique(DISCARD, f"after a revision: {'; '.join(objection.text for objection in left)}", against)
        return self._repaired(records, item, against, reason)

    def objections(self, records: Mapping[str, Description], item: Row) -> tuple[Objection, ...]:
        """Return all objections to the descriptions of a clip, those to the label first.

        The check's own rule for labels is replaced by the critic's, which uses more sources and ignores emotions
        without a label.
        """
        labels, against = label_set(self.labels), list[Objection]()
        for language, record in records.items():
            against += label_objections(record, item, language, labels, self.settings)
            against += text_objections(record, item, language)
            rules = objections(record, item, language, self.check)
            against += [Objection("rule", fault, language) for fault in rules if not fault.startswith("label:")]
        if len(records) == 2 and (fault := languages_fault(*records.values())):
            against.append(Objection("rule", fault))
        unique = list(dict.fromkeys(against))
        return tuple(sorted(unique, key=lambda objection: objection.kind not in ABOUT_LABEL))

    def _judged(self, records: Mapping[str, Description], item: Row) -> Critique:
        """Ask the model, if there is one, about descriptions to which no rule objects."""
        for language, record in records.items() if self.judge else ():
            assert self.judge is not None
            try:
                verdict, reason = self.judge.judge(item, record, language)
            except (Unusable, Refused, MediaError) as error:
                return Critique(DISCARD, f"no usable judgement: {error}")
            if verdict == ACCEPT:
                continue
            against = (Objection("teacher", reason, language),)
            if verdict == DISCARD or self.teacher is None or not self.teacher.revises:
                return Critique(verdict, reason, against)
            revised = self._asked(records, item, against)
            if not revised or self.objections(revised, item):
                return Critique(DISCARD, f"no usable revision: {reason}", against)
            return Critique(REVISE, reason, against, revised)
        return Critique(ACCEPT)

    def _asked(
        self, records: Mapping[str, Description], item: Row, against: Sequence[Objection]
    ) -> dict[str, Description]:
        """Have the teacher describe the clip again in the languages concerned; nothing if it does not."""
        assert self.teacher is not None
        revised = dict(records)
        for language in records:
            texts = [objection.text for objection in against if objection.language in (language, "")]
            if texts:
                try:
                    revised[language] = self.teacher.describe(item, language, texts)
                except (Unusable, Refused, MediaError):
                    return {}
        return revised

    def _repaired(
        self, records: Mapping[str, Description], item: Row, against: tuple[Objection, ...], reason: str
    ) -> Critique:
        """Correct the label and remove sentences, as far as the objections show what would be right."""
        label = [objection for objection in against if objection.kind in ABOUT_LABEL]
        supported = {objection.label for objection in label}
        if len(supported) > 1:
            return Critique(DISCARD, f"no label has the support of all evidence: {reason}", against)
        wrong = {
            language: {objection.sentence for objection in against if objection.language == language} - {""}
            for language in records
        }
        revised: dict[str, Description] = {}
        for language, record in records.items():
            shorter = _without(record, wrong[language])
            if shorter is None or length_fault(shorter, language, self.check):
                return Critique(DISCARD, f"too little of the description is left: {reason}", against)
            revised[language] = shorter
        if label:
            named = supported.pop()
            if not named or not any(objection.kind == "words" for objection in label):
                return Critique(REVISE, reason, against)  # the words fit the label, so they would have to change, too
            revised = {language: _relabelled(record, named) for language, record in revised.items()}
        return Critique(REVISE, reason, against, None if self.objections(revised, item) else revised)


def _without(record: Description, sentences: set[str]) -> Description | None:
    """Return a description without sentences; None if more than `MOST` of them would go."""

    def kept(text: str) -> str:
        joint = "" if any("\u4e00" <= letter <= "\u9fff" for letter in text) else " "
        return joint.join(sentence for sentence in split_sentences(text) if sentence not in sentences)

    every = split_sentences(record.description)
    if sum(sentence in sentences for sentence in every) > MOST * len(every):
        return None
    if not sentences:
        return record
    texts: dict[str, Any] = {
        name: kept(getattr(record, name)) for name in ("voice", "context", "reasoning", "description")
    }
    cues = tuple(text for cue in record.facial_cues if (text := kept(cue)))
    return replace(record, facial_cues=cues, **texts)


def _relabelled(record: Description, label: str) -> Description:
    """Return a description with another first label; numbers that contradict it become those of the label."""
    meaning = CONCEPTS[concept(label)]
    valence, arousal = record.valence, record.arousal
    if valence * meaning.valence < 0:
        valence, arousal = meaning.valence, meaning.arousal
    emotions = (label, *(emotion for emotion in record.emotions[1:] if emotion != label))
    return replace(record, emotions=emotions, valence=valence, arousal=arousal)
