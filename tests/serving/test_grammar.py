"""Schemas kept token by token: random walks through what is allowed always end in JSON that fits."""

from __future__ import annotations

import json
import random

import pytest

from emotion_qwen.errors import RequestError
from emotion_qwen.serving.grammar import Grammar, Vocabulary
from emotion_qwen.serving.tokens import TokenBytes, Writer

SCHEMAS = {
    "object": {
        "type": "object", "required": ["b"],
        "properties": {"a": {"type": "null"}, "b": {"enum": ["x", "é", 3]}, "c": {"type": "string", "maxLength": 3}},
    },
    "numbers": {"items": {"type": "number", "minimum": -2, "maximum": 1}, "minItems": 2, "maxItems": 3},
    "references": {"$ref": "#/$defs/n", "$defs": {"n": {"type": ["integer", "boolean"]}}},
    "pair": {"prefixItems": [{"const": "a"}, {"type": "string", "minLength": 2, "maxLength": 2}]},
    "either": {"anyOf": [{"type": "object", "properties": {}}, {"type": "integer", "minimum": 5, "maximum": 7}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(processor):
    return Vocabulary(TokenBytes(processor.tokenizer, 4096).pieces, [2])


def walk(grammar: Grammar, vocabulary: Vocabulary, chance: random.Random, longest: int = 60) -> str | None:
    """Write any answer that is allowed; None if it is not whole in time."""
    written = b""
    for _ in range(longest):
        if grammar.complete:
            return written.decode()
        token = chance.choice(grammar.allowed().nonzero().flatten().tolist())
        if token == 2:
            return written.decode()
        written += vocabulary.pieces[token]
        grammar.take(token)
    return None


def fits(name: str, value: object) -> bool:
    if name == "object":
        return (
            list(value) == [k for k in "abc" if k in value]
            and value["b"] in ("x", "é", 3)
            and len(value.get("c", "")) <= 3
        )
    if name == "numbers":
        return 2 <= len(value) <= 3 and all(-2 <= one <= 1 for one in value)
    if name == "references":
        return isinstance(value, int)
    if name == "pair":
        return value[0] == "a" and len(value[1]) == 2
    return value == {} or value in (5, 6, 7)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_walk_ends_in_what_the_schema_says(name, vocabulary):
    found = set()
    for seed in range(25):
        text = walk(Grammar(SCHEMAS[name], vocabulary), vocabulary, random.Random(seed))
        if text is not None:
            found.add(text)
            assert fits(name, json.loads(text)), text
    assert len(found) >= 4 or name == "either"


def test_without_a_schema_any_object_comes(vocabulary):
    texts = [walk(Grammar(None, vocabulary), vocabulary, random.Random(seed), 400) for seed in range(20)]
    assert all(isinstance(json.loads(text), dict) for text in texts if text) and any(texts)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "str"}, "schema.type is 'str', expected one of object, array"),
        ({"type": "string", "pattern": "a"}, "schema: keyword 'pattern' is not supported; known are"),
        ({"$ref": "#/$defs/x"}, "leads nowhere; expected '#/$defs/NAME'"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "refers to itself"),
        ({"properties": {}, "required": ["a"]}, "'a' is required and stands not in 'properties'"),
        ({"type": "number", "minimum": 0.5}, "expected whole numbers within 1000 of zero"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no JSON value fits the schema"),
        ({"type": "string", "maxLength": -1}, "schema.maxLength is -1, expected a whole number"),
        ({"enum": []}, "schema.enum must be a list with at least one entry"),
        ({"items": 3}, "schema[] is int, expected a JSON Schema object"),
        ({"allOf": [{}, {}]}, "schema.allOf joins 2 schemas; only one is supported, merge them"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(schema, told, vocabulary):
    with pytest.raises(RequestError) as caught:
        Grammar(schema, vocabulary)
    assert told in str(caught.value)


def test_tokens_give_back_the_text(processor):
    told = TokenBytes(processor.tokenizer, 5000)
    text = "Happy 世界 é 😀\n"
    assert told.text(processor.tokenizer(text)["input_ids"]) == text
    assert told[2] == told[4999] == b"" and len(told.pieces) == 5000


def test_a_writer_gives_whole_letters_and_holds_back_what_may_be_a_stop():
    writer = Writer(["END", "NO"])
    assert [writer.add(bytes([byte])) for byte in "é".encode()] == ["", "é"]
    assert writer.add(b"an E") == "an " and writer.add(b"N") == "" and writer.add(b"x") == "ENx"
    assert writer.add(b"and EN") == "and " and writer.add(b"D more") == "" and writer.stopped
    assert writer.close() == "" and Writer(["ab"]).close() == ""
    open_ended = Writer(["abc"])
    assert open_ended.add(b"xab\xff") == "xab\N{REPLACEMENT CHARACTER}" and open_ended.add(b"ab") == ""
    assert open_ended.close() == "ab"
