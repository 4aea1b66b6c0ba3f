"""The JSON Schema (2020-12) of a report, derived from the records, so that it cannot say anything else than they do.

pydantic gives the structure; the descriptions are the records' own docstrings; what types do not tell (shares lie in
0..1, a cue has one of two kinds) stands in one table. `python -m emotion_qwen.views.schema` writes it to standard
output, or to the file it is given.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from emotion_qwen import records
from emotion_qwen.records import ABOUT, CHANNELS, GENERATED, MEASURED, EmotionReport

VERSION = "2.0.0"
"""Major: a reader of the one before may fail. Minor: something is added. Patch: only descriptions."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_SHARE: Schema = {"minimum": 0, "maximum": 1}
_SIGNED: Schema = {"minimum": -1, "maximum": 1}
_SECONDS: Schema = {"minimum": 0}
# "record.field" -> what its type does not tell. A field of numbers gets it at every number.
_BOUNDS: dict[str, Schema] = {
    "EmotionReport.language": {"enum": ["en", "zh"]},
    "EmotionReport.distribution": _SHARE,
    "EmotionReport.gate": _SHARE,
    "EmotionReport.valence_arousal": _SIGNED,
    "Person.person": {"minimum": 0},
    "Person.frames": {"minimum": 1},
    "Person.distribution": _SHARE,
    "Person.gate": _SHARE,
    "Person.valence_arousal": _SIGNED,
    "Person.start": _SECONDS,
    "Person.end": _SECONDS,
    "Seen.time": _SECONDS,
    "Moment.distribution": _SHARE,
    "Moment.raw": _SHARE,
    "Moment.valence_arousal": _SIGNED,
    "Moment.channels": {"enum": list(CHANNELS)},
    "Episode.share": _SHARE,
    "EmotionReport.about": {"enum": list(ABOUT)},
    "Gap.start": _SECONDS,
    "Gap.end": _SECONDS,
    "Seen.distribution": _SHARE,
    "Cue.modality": {"enum": list(CHANNELS)},
    "Cue.kind": {"enum": [MEASURED, GENERATED]},
    "Sentence.kind": {"enum": [MEASURED, GENERATED]},
    "Channel.channel": {"enum": list(CHANNELS)},
    "Channel.distribution": _SHARE,
    "Channel.weight": _SHARE,
    "Uncertainty.confidence": _SHARE,
    "Uncertainty.entropy": _SHARE,
    "Uncertainty.threshold": _SHARE,
}


@cache
def report_schema() -> Schema:
    """Return the schema of what `as_json` writes; the caller must not change it."""
    found = TypeAdapter(EmotionReport).json_schema(mode="serialization")
    nested = found.pop("$defs")
    top = _described("EmotionReport", found)
    return {
        "$schema": DIALECT,
        "$id": f"urn:emotion-qwen:schema:emotion-report:{VERSION}",
        "version": VERSION,
        **top,
        "$defs": {name: _described(name, schema) for name, schema in sorted(nested.items())},
    }


def write_schema(path: Path) -> None:
    """Write the schema as readable JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(), encoding="utf-8")


def _text() -> str:
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


def _described(name: str, schema: Schema) -> Schema:
    """Close one record's schema: every field is written, nothing else is, and each says what it is."""
    record = getattr(records, name)
    told = _field_docs(record)
    fields = {}
    for field, given in schema["properties"].items():
        kept = {key: value for key, value in given.items() if key not in ("title", "default")}
        kept = _bounded(kept, _BOUNDS.get(f"{name}.{field}", {}))
        fields[field] = {**kept, "description": told[field]} if field in told else kept
    return {
        "title": name,
        "description": (inspect.getdoc(record) or "").split("\n\n")[0].replace("\n", " "),
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _bounded(schema: Schema, bound: Schema) -> Schema:
    """Put a bound on the values inside a list or a table, or else on the value itself."""
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            return {**schema, key: _bounded(schema[key], bound)}
    if "prefixItems" in schema:
        return {**schema, "prefixItems": [_bounded(one, bound) for one in schema["prefixItems"]]}
    return {**schema, **bound}


def _field_docs(record: type) -> dict[str, str]:
    """Read what a record says of its fields: under `Attributes:`, or in a string behind a field."""
    told = {}
    listed = re.search(r"^Attributes:\n(.*?)(?:\n\S|\Z)", inspect.getdoc(record) or "", re.DOTALL | re.MULTILINE)
    if listed:
        for field, text in re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", listed.group(1), re.MULTILINE):
            told[field] = " ".join(text.split())
    body = ast.parse(inspect.getsource(record)).body[0].body  # type: ignore[attr-defined]
    for field, after in pairwise(body):
        behind = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and behind:
            told[field.target.id] = " ".join(str(after.value.value).split())  # type: ignore[union-attr]
    return told


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_schema(Path(sys.argv[1]))
    else:
        sys.stdout.write(_text())
