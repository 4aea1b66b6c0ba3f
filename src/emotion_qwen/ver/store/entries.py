"""The accepted clips of a set after review: without rejected, flagged and disputed clips, with edits applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emotion_qwen.ver.settings import ExportSettings
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.decisions import FILE, Decisions, Verdict
from emotion_qwen.ver.store.folder import SetFolder


@dataclass(frozen=True)
class Entry:
    """An accepted clip, ready for export: its row with provenance, texts by language, split and verdict."""

    row: Row
    texts: dict[str, dict[str, Any]]
    split: str
    media: str
    verdict: Verdict | None


def split_of(group: str, settings: ExportSettings) -> str:
    """Return the split of a group, chosen by hash so that it stays the same when the set grows."""
    drawn = int(hashlib.sha256(group.encode("utf-8", "backslashreplace")).hexdigest()[:12], 16) / 16**12
    if drawn < settings.test:
        return "test"
    return "validation" if drawn < settings.test + settings.validation else "train"


def entries(folder: SetFolder) -> Iterator[Entry]:
    """Yield the accepted clips that no reviewer excludes, in order, one in memory at a time."""
    path = folder.output / FILE
    verdicts = Decisions(path).verdicts() if path.is_file() else {}
    for row in folder.evidence("listen", "describe", "check"):
        verdict = verdicts.get(row["clip"])
        if verdict is not None and not verdict.keep:
            continue
        texts: dict[str, dict[str, Any]] = {
            language: json.loads(row[language]) for language in folder.settings.describe.languages
        }
        for language, fields in (verdict.edits if verdict else {}).items():
            texts.get(language, {}).update(fields)
        split = split_of(row["group"] or row["source_id"], folder.settings.export)
        yield Entry(row, texts, split, f"clips/{row['media']}", verdict)
