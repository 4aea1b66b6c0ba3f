"""A set under review: its clips, kept or rejected by the build, and the decisions about them."""

from __future__ import annotations

import io
import json
import threading
import zlib
from collections import Counter
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from PIL import Image

from emotion_qwen.errors import DataError
from emotion_qwen.media.clip import read_clip
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.export import export
from emotion_qwen.ver.stats import reviewer_agreement
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.corrections import check_corrections
from emotion_qwen.ver.store.decisions import ACTIONS, FILE, Decision, Decisions, disputed
from emotion_qwen.ver.store.entries import accepted, apply_corrections, missing_fields, obstacle, texts_of
from emotion_qwen.ver.store.folder import SetFolder
from emotion_qwen.views.colours import colour_of, ink_on

_SHOWN = (
    "clip", "label", "source", "start", "end", "people", "speaker", "teacher", "voice_en", "voice_zh", "license",
    "media", "step", "reason", "verdict",
)  # fmt: skip
_PACKED = ("en", "zh", "tracks", "words", "objections", "read", "criticism")
_THUMBNAIL = ClipSettings.of({"fps": 0.01, "min_frames": 2, "max_frames": 2, "working_side": 160}, "thumbnail")


class Reviews:
    """A set under review: its clips, packed in memory, and the decisions about them.

    Args:
        folder: of the set.

    Raises:
        DataError: the check is not done, or no clip can be looked at.
    """

    def __init__(self, folder: SetFolder) -> None:
        self.folder = folder
        self.decisions = Decisions(folder.output / FILE)
        self.languages: tuple[str, ...] = folder.settings.describe.languages
        labels = label_set(folder.settings.describe.labels)
        self.labels = labels.labels
        self.names = {
            language: dict(zip(labels.labels, labels.names(language), strict=True)) for language in ("en", "zh")
        }
        self._clips: dict[str, bytes] = {}
        self._index: dict[str, Row] = {}  # the clips that the build accepted
        self._rejected: dict[str, Row] = {}
        self._lock = threading.Lock()
        for row in folder.outcomes():
            name, shown = row["clip"], _shown(row, self.languages)
            self._clips[name] = zlib.compress(json.dumps(shown, ensure_ascii=False).encode())
            if shown["accepted"]:
                self._index[name] = {"clip": name, "label": shown["label"]}
            else:
                facts = {key: shown[key] for key in ("step", "reason", "media", "obstacle")}
                self._rejected[name] = {"clip": name, "label": shown["label"], **facts}
        if not self._index and not any(entry["media"] for entry in self._rejected.values()):
            raise DataError(f"set {str(folder.output)!r} holds no clip with a video; there is nothing to review")

    def overview(self, reviewer: str) -> Row:
        """Return the accepted clips with the reviewer's decisions, the names of labels, and what `progress` returns."""
        return {
            "clips": self._listed(self._index, reviewer),
            "rejected": len(self._rejected),
            "actions": ACTIONS,
            "languages": self.languages,
            "names": self.names,
            "colours": {label: [colour_of(label), ink_on(colour_of(label))] for label in self.labels},
            **self.progress(reviewer),
        }

    def rejected(self, reviewer: str) -> Row:
        """Return the clips that the build rejected, with step, reason and the reviewer's decision."""
        return {"clips": self._listed(self._rejected, reviewer)}

    def progress(self, reviewer: str) -> Row:
        """Return how many accepted clips each reviewer has decided, and the agreement.

        Other reviewers are named only to a reviewer who has decided.
        """
        decided = Counter(
            name for clip, latest in self.decisions.latest().items() if clip in self._index for name in latest
        )
        shown = dict(decided.most_common()) if decided[reviewer] else {}
        return {"decided": shown, "total": len(self._index), "agreement": self.agreed(reviewer)}

    def clip(self, name: str, reviewer: str) -> Row:
        """Return one clip with its texts and facts, and the decisions that the reviewer may see.

        Raises:
            DataError: there is no such clip.
        """
        return {**self._facts(name), "decisions": self.visible(name, reviewer)}

    def visible(self, name: str, reviewer: str) -> list[Row]:
        """Return the decisions about a clip that a reviewer may see: none before the reviewer's own decision."""
        decisions = self.decisions.latest(name).get(name, {})
        return [asdict(decision) for decision in decisions.values()] if reviewer in decisions else []

    def decide(self, fields: Row) -> Row:
        """Store a decision and return the data that the page shows after it; see `_after`.

        Raises:
            DataError: the request is invalid.
        """
        name, reviewer = str(fields.get("clip", "")), str(fields.get("reviewer", "")).strip()
        action, facts = str(fields.get("action", "")), self._facts(name)
        edits = fields.get("edits") or {}
        if not isinstance(edits, dict) or not all(isinstance(texts, dict) for texts in edits.values()):
            raise DataError(f"edits {edits!r}; expected language -> field -> text")
        corrections = check_corrections(fields.get("corrections") or {}, self.labels, facts["seconds"])
        teacher = {language: facts[language] for language in self.languages}
        corrections = _changed(corrections, teacher[self.languages[0]])
        if action in ("accept", "edit") and not facts["accepted"]:
            if facts["obstacle"]:
                raise DataError(f"clip {name!r} cannot be restored: {facts['obstacle']}")
            if missing := missing_fields(apply_corrections(teacher, edits, corrections)):
                raise DataError(f"clip {name!r} has no complete description; to restore it, add {', '.join(missing)}")
        self.decisions.add(name, reviewer, action, edits, str(fields.get("note", "")), corrections)
        return self._after(name, reviewer)

    def undo(self, fields: Row) -> Row:
        """Undo the last decision of a reviewer and return its clip and action, and the data that the page shows after
        it.

        Raises:
            DataError: there is nothing to undo.
        """
        undone: Decision = self.decisions.undo(str(fields.get("reviewer", "")))
        return {"clip": undone.clip, "action": undone.action, **self._after(undone.clip, undone.reviewer)}

    def agreed(self, reviewer: str) -> Row:
        """Return the agreement over the clips that this reviewer has decided; others stay hidden."""
        history = self.decisions.history()
        mine = {name: made for name, made in history.items() if any(decision.reviewer == reviewer for decision in made)}
        return reviewer_agreement(mine)

    def export(self) -> Row:
        """Write the decisions into the set; errors are those of `export`."""
        with self._lock:
            export(self.folder)
        figures = json.loads((self.folder.output / "stats.json").read_text(encoding="utf-8"))
        # no agreement: it covers clips that only others decided
        return {name: figures[name] for name in ("clips", "hours", "corrected", "restored")}

    def media(self, name: str) -> Path | None:
        """Return the file of a clip in this set, or None."""
        clip = name.removesuffix(".mp4")
        known = name.endswith(".mp4") and (clip in self._index or bool(self._rejected.get(clip, {}).get("media")))
        return self.folder.clips / name if known else None

    def _facts(self, name: str) -> Row:
        if name not in self._clips:
            raise DataError(f"clip {name!r} is not in this set; reload the page")
        facts: Row = json.loads(zlib.decompress(self._clips[name]))
        return facts

    def _listed(self, index: dict[str, Row], reviewer: str) -> list[Row]:
        latest = self.decisions.latest()
        return [_entry(entry, latest.get(name, {}), reviewer) for name, entry in index.items()]

    def _after(self, name: str, reviewer: str) -> Row:
        """Return the visible decisions about a clip, its entry in the list, and what `progress` returns."""
        entry = self._index.get(name) or self._rejected[name]
        latest = self.decisions.latest(name).get(name, {})
        shown = {"decisions": self.visible(name, reviewer), "entry": _entry(entry, latest, reviewer)}
        return shown | self.progress(reviewer)


def _entry(entry: Row, decisions: dict[str, Decision], reviewer: str) -> Row:
    """Return an entry of the list with the reviewer's action and label, and whether others disagree."""
    mine = decisions.get(reviewer)
    if mine is None:
        return {**entry, "own": "", "conflict": False}
    label = mine.corrections.get("label", entry["label"])
    return {**entry, "label": label, "own": mine.action, "conflict": disputed(decisions.values())}


def _shown(row: Row, languages: tuple[str, ...]) -> Row:
    """Return the data that the page shows of a clip; columns of steps that it did not reach are None."""
    shown: Row = {name: row.get(name) for name in _SHOWN}
    for name in _PACKED:
        shown[name] = json.loads(row[name]) if row.get(name) else None
    shown |= texts_of(row, languages)
    first = shown[languages[0]]["emotions"]
    kept = accepted(row)
    return shown | {
        "label": first[0] if first else "",
        "seconds": row.get("seconds") or 0.0,
        "accepted": kept,
        "obstacle": "" if kept else obstacle(row),
    }


def _changed(corrections: Row, teacher: Row) -> Row:
    """Return the corrections without those that repeat the teacher's values."""
    given = {"label": next(iter(teacher["emotions"]), None), **{name: teacher[name] for name in ("valence", "arousal")}}
    return {name: value for name, value in corrections.items() if name not in given or value != given[name]}


@lru_cache(maxsize=4096)
def clip_thumbnail(path: Path) -> bytes:
    """Return a small JPEG of the middle of a clip.

    Raises:
        MediaError: it cannot be read.
    """
    frames = read_clip(path, _THUMBNAIL).frames
    packed = io.BytesIO()
    Image.fromarray(frames[len(frames) // 2]).save(packed, "JPEG", quality=70)
    return packed.getvalue()
