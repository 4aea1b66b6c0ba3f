"""The JSON Schema (2020-12) of a report, derived by pydantic from the records, so that the two cannot disagree.

Bounds are the annotations of the records, descriptions their attribute docstrings. `python -m
emotion_qwen.views.schema` writes the schema to standard output, or to the file it is given.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from emotion_qwen.records import OMITTED_IF_EMPTY, EmotionReport

VERSION = "3.2.0"
"""Major: readers of the previous version may fail. Minor: additions. Patch: only descriptions."""
_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)
_ORDER = ("title", "description", "type", "properties", "required", "additionalProperties")
"""Order of the keywords of a record."""
_LAST = ("enum", "minimum", "maximum", "description")
"""Keywords that come last in a field, after the others in alphabetical order."""


class _Generator(GenerateJsonSchema):
    """Leaves out the titles and defaults of fields, and writes the keywords in the order of the committed file."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        alternatives = super().nullable_schema(schema)
        value = alternatives["anyOf"][0]
        # pydantic 2 puts the bounds of a number next to the alternatives; those of a list stay with its items.
        alternatives |= {key: value.pop(key) for key in ("minimum", "maximum") if key in value}
        return alternatives

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        value["$defs"] = {name: _sorted(record) for name, record in sorted(value["$defs"].items())}
        return value


def _sorted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_sorted(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "description" in schema:
        # Only the first paragraph of a record's docstring, which may also contain an example.
        schema["description"] = schema["description"].split("\n\n")[0].replace("\n", " ")
    if "properties" in schema:
        schema["properties"] = {name: _sorted(field) for name, field in schema["properties"].items()}
        return {key: schema[key] for key in _ORDER}
    places = {key: place for place, key in enumerate(_LAST, 1)}
    return {key: _sorted(schema[key]) for key in sorted(schema, key=lambda key: (places.get(key, 0), key))}


@cache
def report_schema() -> dict[str, Any]:
    """Return the schema of the output of `as_json`; the caller must not modify it."""
    # pydantic applies a configuration only to dataclasses inside another type.
    adapter = TypeAdapter(tuple[EmotionReport], config=_CONFIG)
    records = adapter.json_schema(mode="serialization", schema_generator=_Generator)["$defs"]
    for name, optional in OMITTED_IF_EMPTY.items():
        records[name]["required"] = [field for field in records[name]["required"] if field not in optional]
    report = records.pop("EmotionReport")
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:emotion-qwen:schema:emotion-report:{VERSION}",
        "version": VERSION,
        **report,
        "$defs": records,
    }


def write_schema(path: Path) -> None:
    """Write the schema as readable JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(), encoding="utf-8")


def _text() -> str:
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_schema(Path(sys.argv[1]))
    else:
        sys.stdout.write(_text())
