"""Writes the guide to the fields of a report from its JSON Schema: `python docs/field_guide.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SCHEMA = DOCS / "schema" / "emotion_report.schema.json"
PAGE = DOCS / "reference" / "fields.md"
HEAD = """# Every field of a report

Made by `python docs/field_guide.py` from the [JSON Schema](../schema/emotion_report.schema.json), version {version};
do not edit.

`emotion-qwen analyze --json` prints reports, `--output` stores them, one per line, and the server returns them. Times
are seconds from the start of the file, shares are 0 to 1, boxes are x1, y1, x2, y2 as shares of the width and height of
the upright picture. All fields are present unless marked *optional*. [Tables](../guides/export.md) contain the same
values with one row per clip, person, window or frame.
"""
TAIL = """
## Provenance

Keys of `provenance`; some are present only where they apply.

| key | meaning |
| --- | --- |
"""
RECORD_ORDER = (
    "Person", "Seen", "FacialMovement", "Moment", "Episode", "Gap", "Cue", "Sentence", "Channel", "Uncertainty",
    "Utterance", "Verification", "LabelledExample",
)  # fmt: skip


PROVENANCE = {
    "model": "name of the model, or of its folder",
    "weights": "first digits of the SHA-256 of the weights",
    "base_weights": "likewise, of the base of an adapter",
    "dtype": "number format of the computation",
    "label_set": "name of the label set, or the labels themselves if they are your own",
    "examples": "with labelled examples: a hash of their index, their number, and how many count with which weight",
    "label_set_trained": "whether the model was trained on this label set; null if its training is not known",
    "prompt": "first digits of the SHA-256 of chat template and questions",
    "clip_settings": "frames per second, limits of frames and pixels, and the handling of faces",
    "hearing_settings": "settings of the audio input; null without one",
    "channels": "channels that the clip has",
    "frames": "number of analyzed frames",
    "fps": "analyzed frames per second; null for a picture",
    "seconds": "times of the first and the last analyzed frame",
    "words_from": "source of the words, or the recognizer",
    "heard_seconds": "length of the sound that was used",
    "size": "height and width of the upright picture, pixels",
    "warnings": "what a reader should know: damaged files, untrained labels, ignored sound",
    "took": "seconds of computation",
    "reasoning": "form, temperature and seed of the reasoning, and the beginnings that were given",
    "shares_from": "how a service gave shares of labels: answers, first token or repeated; absent for a local model",
    "facial_actions": "names of the facial actions in order, each with its measured error",
    "asked": "options of the request",
    "file": "size in bytes and modification time (nanoseconds since 1970) of the clip",
}
"""Keys of `provenance` -> meaning. They are open: a later version may add some."""


def field_guide(schema: dict[str, Any]) -> str:
    """Return the page as Markdown.

    Raises:
        KeyError: a field has no description, or a record has no place in `RECORD_ORDER`.
    """
    records = [schema, *(schema["$defs"][name] for name in (*RECORD_ORDER, *sorted(schema["$defs"])))]
    unique = {record["title"]: record for record in records}
    if len(unique) != len(RECORD_ORDER) + 1:
        raise KeyError(f"RECORD_ORDER lacks {sorted(set(unique) - set(RECORD_ORDER))}")
    keys = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in PROVENANCE.items())
    return HEAD.format(version=schema["version"]) + "".join(map(_record, unique.values())) + TAIL + keys


def _record(record: dict[str, Any]) -> str:
    rows = [f"\n## {record['title']}\n\n{record['description']}\n\n| field | type | meaning |\n| --- | --- | --- |\n"]
    for name, field in record["properties"].items():
        optional = "" if name in record["required"] else " *(optional)*"
        rows.append(f"| `{name}`{optional} | {_type(field)} | {_sentence(field['description'])} |\n")
    return "".join(rows)


def _type(field: dict[str, Any]) -> str:
    """Describe the type of a field in a few words, with its bounds."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        inner = {key: value for key, value in field.items() if key in ("minimum", "maximum")}
        parts = ["null" if part.get("type") == "null" else _type({**inner, **part}) for part in field["anyOf"]]
        return " or ".join(parts)
    if "enum" in field:
        return "one of " + ", ".join(f'"{value}"' for value in field["enum"])
    if field["type"] == "array":
        if "prefixItems" in field:
            bounds = {key: field[key] for key in ("minimum", "maximum") if key in field}
            first = _type({**bounds, **field["prefixItems"][0]})
            return f"list of {len(field['prefixItems'])}: {first}"
        return f"list of {_type(field['items'])}"
    if field["type"] == "object":
        values = field.get("additionalProperties")
        return f"object: name to {_type(values)}" if isinstance(values, dict) else "object"
    low, high = field.get("minimum"), field.get("maximum")
    bounds = f" {low} to {high}" if high is not None else f" from {low}" if low is not None else ""
    return {"number": "number", "integer": "whole number", "boolean": "true or false"}.get(
        field["type"], field["type"]
    ) + bounds


def _sentence(text: str) -> str:
    """Return a description as a sentence about JSON, which has null where Python has None."""
    text = text.replace("None", "null").replace("|", "\\|").replace(" -> ", " → ")
    return text if text.startswith("x1") else text[0].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(field_guide(json.loads(SCHEMA.read_text(encoding="utf-8"))), encoding="utf-8")
