import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from tests.views.reports import KINDS, two_people

from emotion_qwen.records import OMITTED_IF_EMPTY, EmotionReport
from emotion_qwen.views.render import as_json
from emotion_qwen.views.schema import VERSION, report_schema, write_schema

MOVEMENT = {"name": "jaw", "word": "mouth open", "start": 1.0, "end": 2.0, "peak": 1.5, "value": 0.3}
COMMITTED = Path(__file__).parents[2] / "docs" / "schema" / "emotion_report.schema.json"
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}


def faults(value, schema, place="$"):
    """List what is wrong with a value by the words of JSON Schema that ours uses; an unknown word is a fault, too."""
    root = report_schema()
    known = {
        "$ref", "$defs", "$schema", "$id", "version", "title", "description", "type", "properties", "required",
        "additionalProperties", "items", "prefixItems", "minItems", "maxItems", "anyOf", "enum", "minimum", "maximum",
        "exclusiveMinimum",
    }  # fmt: skip
    found = [f"{place}: schema word {word}" for word in set(schema) - known]
    if "$ref" in schema:
        return found + faults(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], place)
    if "anyOf" in schema:
        return found + (
            [] if any(not faults(value, one, place) for one in schema["anyOf"]) else [f"{place}: none fits"]
        )
    kind = schema.get("type")
    if kind == "null":
        return found + ([] if value is None else [f"{place}: not null"])
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [*found, f"{place}: not {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: {value!r} not in enum")
    if value < schema["minimum"] if "minimum" in schema else False:
        found.append(f"{place}: below minimum")
    if value > schema["maximum"] if "maximum" in schema else False:
        found.append(f"{place}: above maximum")
    if isinstance(value, dict):
        fields, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{place}: lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            if name not in fields and rest is False:
                found.append(f"{place}: has {name}")
            elif name in fields or isinstance(rest, dict):
                found += faults(item, fields.get(name, rest), f"{place}.{name}")
    if isinstance(value, list):
        places = schema.get("prefixItems", [schema.get("items", {})] * len(value))
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{place}: {len(value)} items")
        for number, (item, one) in enumerate(zip(value, places, strict=False)):
            found += faults(item, one, f"{place}[{number}]")
    return found


def test_the_committed_schema_is_the_one_of_the_records(tmp_path):
    write_schema(tmp_path / "new" / "schema.json")
    written = (tmp_path / "new" / "schema.json").read_text(encoding="utf-8")
    assert COMMITTED.read_text(encoding="utf-8") == written, (
        "records or bounds have changed: raise VERSION, and run "
        "python -m emotion_qwen.views.schema docs/schema/emotion_report.schema.json"
    )


def test_the_module_writes_the_schema():
    done = subprocess.run(
        [sys.executable, "-m", "emotion_qwen.views.schema"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == report_schema()


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_fits_after_rounding(kind):
    line = as_json(KINDS[kind]())
    assert not faults(json.loads(line), report_schema())
    assert as_json(TypeAdapter(EmotionReport).validate_json(line)) == line  # and pydantic reads it back


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda r: r.update(mood="good"), "$: has mood"),
        (lambda r: r.pop("summary"), "$: lacks summary"),
        (lambda r: r.update(language="fr"), "$.language: 'fr' not in enum"),
        (lambda r: r["cues"][0].update(kind="guessed"), "$.cues[0].kind: 'guessed' not in enum"),
        (lambda r: r["distribution"].update(happy=1.2), "$.distribution.happy: above maximum"),
        (lambda r: r["people"][0]["seen"][0].update(box=[0, 0, 1]), "$.people[0].seen[0].box: 3 items"),
        (lambda r: r["timeline"][3].update(valence_arousal=[0, -2]), "$.timeline[3].valence_arousal: none fits"),
        (lambda r: r["uncertainty"].update(sure=True), "$.uncertainty: none fits"),
        (lambda r: r["people"][0].update(face=[{**MOVEMENT, "end": -1.0}]), "$.people[0].face[0].end: below minimum"),
        (lambda r: r["utterances"][0].update(start="now"), "$.utterances[0].start: not number"),
    ],
)
def test_what_does_not_fit_is_refused(change, fault):
    report = json.loads(as_json(two_people()))
    change(report)
    assert faults(report, report_schema()) == [fault]


def test_everything_is_closed_named_and_described():
    schema = report_schema()
    assert schema["$schema"].endswith("2020-12/schema") and schema["$id"].endswith(VERSION)
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    for record in (schema, *schema["$defs"].values()):
        assert record["additionalProperties"] is False and record["description"]
        optional = OMITTED_IF_EMPTY.get(record["title"], ())
        assert record["required"] == [name for name in record["properties"] if name not in optional]
    told = schema["properties"]
    assert told["gate"]["description"] == 'mean fusion weights, "general" and "emotion".'
    assert schema["$defs"]["Moment"]["properties"]["distribution"]["description"] == "Smoothed."
    assert all("description" in field for field in told.values())
