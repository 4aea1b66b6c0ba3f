"""The columns of every table, and their special values."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
KEPT, REJECTED = "kept", "rejected"
NOBODY, UNKNOWN = -1, -2
"""Values for the speaker: no visible person; unknown, because there is no sound or no face."""
COLUMNS: dict[str, dict[str, str]] = {
    "segment": {
        "clip": "text", "source_id": "text", "path": "text", "source": "text", "license": "text", "group": "text",
        "known": "text", "start": "number", "end": "number", "first_frame": "count", "frames": "count",
        "first_stamp": "count", "end_stamp": "count", "unit": "text", "counted": "flag", "turned": "flag",
        "width": "count", "height": "count", "source_seconds": "number", "words": "text", "status": "text",
        "reason": "text", "warnings": "text",
    },
    "cut": {
        "clip": "text", "media": "text", "copied": "flag", "seconds": "number", "status": "text", "reason": "text",
    },
    "look": {
        "clip": "text", "status": "text", "reason": "text", "tracks": "text", "people": "count",
        "most_people": "count", "coverage": "number", "face_size": "number", "step": "number", "sharpness": "number",
        "level": "number", "speaker": "count", "mouth": "number", "smile": "number", "shares": "text", "hashes": "text",
    },
    "select": {"clip": "text", "status": "text", "reason": "text"},
    "listen": {
        "clip": "text", "words": "text", "words_from": "text", "prosody": "text", "voice_en": "text",
        "voice_zh": "text",
    },
    "describe": {"clip": "text", "status": "text", "reason": "text", "en": "text", "zh": "text", "teacher": "text"},
    "check": {
        "clip": "text", "status": "text", "reason": "text", "label": "text", "en": "text", "zh": "text",
        "rounds": "count", "objections": "text", "read": "text", "second": "text", "teacher": "text",
    },
    "critic": {
        "clip": "text", "status": "text", "reason": "text", "verdict": "text", "label": "text", "en": "text",
        "zh": "text", "criticism": "text", "before": "text",
    },
}  # fmt: skip
"""Step -> column -> "text", "number", "count" or "flag"; every column may be empty."""
TYPES = {"text": "string", "number": "float64", "count": "int64", "flag": "bool_"}
"""Kind of a column -> the Arrow type."""


def kept(item: Row, **values: Any) -> list[Row]:
    """Return the single row of a clip that a step keeps."""
    return [{"clip": item["clip"], "status": KEPT, "reason": "", **values}]


def rejected(item: Row, reason: str) -> list[Row]:
    """Return the single row of a clip that a step rejects."""
    return [{"clip": item["clip"], "status": REJECTED, "reason": reason}]


def speaker_of(item: Row) -> int:
    """Return the person who likely speaks, `NOBODY` or `UNKNOWN`."""
    return NOBODY if item["speaker"] is None else int(item["speaker"])
