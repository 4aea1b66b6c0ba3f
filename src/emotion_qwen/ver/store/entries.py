"""The clips of a set after review: those that nobody excludes and those that were restored, corrected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from emotion_qwen.ver.settings import ExportSettings
from emotion_qwen.ver.store.columns import KEPT, Row
from emotion_qwen.ver.store.decisions import EDITABLE, FILE, Decisions, Verdict
from emotion_qwen.ver.store.folder import SetFolder

Texts = dict[str, dict[str, Any]]
LEAKS = "shows the same as benchmark"
"""Beginning of the only reason for which a clip cannot be restored: a set must not contain the pictures of a test."""
_BLANK: dict[str, Any] = {
    **dict.fromkeys(("description", "reasoning", "body", "voice", "scene", "context"), ""), "facial_cues": [],
    "emotions": [], "valence": None, "arousal": None,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A clip of the set, ready for export.

    Attributes:
        row: the row of the clip with its provenance.
        texts: language -> fields of the description, corrected.
        split: "train", "validation" or "test".
        media: path of the clip below the folder of the set.
        verdict: of the reviewers; None if nobody decided.
        episodes: `{"onset", "offset", "label"}` in seconds, from reviewers; None if nobody gave any.
        corrected: field -> `{"by", "at"}`, and "from" with the teacher's value unless the field is a text.
        restored: why the build rejected the clip that reviewers restored, or "".
    """

    row: Row
    texts: Texts
    split: str
    media: str
    verdict: Verdict | None
    episodes: list[dict[str, Any]] | None = None
    corrected: dict[str, dict[str, Any]] = field(default_factory=dict)
    restored: str = ""


def split_of(group: str, settings: ExportSettings) -> str:
    """Return the split of a group, chosen by hash so that it stays the same when the set grows."""
    drawn = int(hashlib.sha256(group.encode("utf-8", "backslashreplace")).hexdigest()[:12], 16) / 16**12
    if drawn < settings.test:
        return "test"
    return "validation" if drawn < settings.test + settings.validation else "train"


def accepted(row: Row) -> bool:
    """Return whether the build accepted a clip, given a row of `SetFolder.outcomes`."""
    return bool(row["step"] in ("check", "critic") and row["status"] == KEPT)


def obstacle(row: Row) -> str:
    """Return why reviewers cannot restore a clip that the build rejected, or ""."""
    if not row.get("media"):
        return "it has no video"
    return "it shows pictures of a benchmark" if (row["reason"] or "").startswith(LEAKS) else ""


def texts_of(row: Row, languages: tuple[str, ...]) -> Texts:
    """Return the teacher's descriptions by language; they are blank for a clip that was not described."""
    return {language: json.loads(row.get(language) or "null") or dict(_BLANK) for language in languages}


def apply_corrections(texts: Texts, edits: dict[str, dict[str, str]], corrections: dict[str, Any]) -> Texts:
    """Return the texts with edits and corrections; a corrected label replaces the first of the emotions."""
    changed = {}
    for language, before in texts.items():
        after = {**before, **edits.get(language, {})}
        after |= {name: corrections[name] for name in ("valence", "arousal") if name in corrections}
        if label := corrections.get("label"):
            after["emotions"] = [label, *(emotion for emotion in before["emotions"][1:] if emotion != label)]
        changed[language] = after
    return changed


def missing_fields(texts: Texts) -> list[str]:
    """Return the fields that a clip needs in the set and does not have."""
    first = next(iter(texts.values()))
    empty = [] if first["emotions"] else ["label"]
    empty += [name for name in ("valence", "arousal") if first[name] is None]
    return empty + [f"{name} ({language})" for language in texts for name in EDITABLE if not texts[language][name]]


def entries(folder: SetFolder) -> Iterator[Entry]:
    """Yield the clips of the set in order, one in memory at a time.

    These are the clips that the build accepted and no reviewer excludes, and those that it rejected and reviewers keep.
    """
    path = folder.output / FILE
    verdicts = Decisions(path).verdicts() if path.is_file() else {}
    for row in folder.outcomes():
        verdict = verdicts.get(row["clip"])
        if not (verdict.keep if verdict else accepted(row)) or (not accepted(row) and obstacle(row)):
            continue
        entry = _entry(row, verdict, folder)
        if accepted(row) or not missing_fields(entry.texts):
            yield entry


def _entry(row: Row, verdict: Verdict | None, folder: SetFolder) -> Entry:
    teacher = texts_of(row, folder.settings.describe.languages)
    split = split_of(row["group"] or row["source_id"], folder.settings.export)
    media, restored = f"clips/{row['media']}", "" if accepted(row) else str(row["reason"])
    if verdict is None:
        return Entry(row, teacher, split, media, None)
    texts = apply_corrections(teacher, verdict.edits, verdict.corrections)
    first = next(iter(teacher.values()))
    before = {"label": (first["emotions"] or [None])[0], "valence": first["valence"], "arousal": first["arousal"]}
    corrected: dict[str, dict[str, Any]] = {}
    for name, decision in verdict.sources.items():
        corrected[name] = {"by": decision.reviewer, "at": decision.at}
        corrected[name] |= {"from": before[name]} if name in before else {}
    return Entry(row, texts, split, media, verdict, verdict.corrections.get("episodes"), corrected, restored)
