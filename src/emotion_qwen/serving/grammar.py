"""Answers that must be JSON of a given schema: at every token, only those go on that keep the answer possible.

A schema becomes a regular expression over bytes; its Brzozowski derivatives (Brzozowski 1964, J. ACM 11:481) are the
states of the answer so far. Objects are written compactly and in the order of the schema, so that a small model cannot
run away into white space. What a regular expression cannot say (recursion) or is not done here is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from emotion_qwen.errors import RequestError

DEPTH, GENERIC_DEPTH = 16, 2
INTEGER_DIGITS, FRACTION_DIGITS = 15, 6
SMALL_RANGE = 1000
_IGNORED = {
    "title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "format",
    "additionalProperties", "deprecated", "readOnly", "writeOnly",
}  # fmt: skip
_KNOWN = {
    "type", "enum", "const", "properties", "required", "items", "prefixItems", "minItems", "maxItems", "minLength",
    "maxLength", "minimum", "maximum", "anyOf", "oneOf", "allOf", "$ref",
}  # fmt: skip
_KNOWN_NAMES = ", ".join(sorted(_KNOWN))
_KINDS = ("object", "array", "string", "integer", "number", "boolean", "null")


class Node:
    """A regular expression over bytes; equal ones are the same object, so that they can be looked up fast."""

    __slots__ = ("kind", "nullable", "parts", "steps")

    def __init__(self, kind: str, parts: tuple, nullable: bool) -> None:
        self.kind, self.parts, self.nullable = kind, parts, nullable
        self.steps: dict[int, Node] = {}


class Expressions:
    """Make and derive expressions; each grammar has its own table, which goes when the grammar goes."""

    def __init__(self) -> None:
        self._made: dict[tuple, Node] = {}
        self.nothing = self._node("nothing", (), False)
        self.end = self._node("end", (), True)

    def _node(self, kind: str, parts: tuple, nullable: bool) -> Node:
        key = (kind, *(id(part) if isinstance(part, Node) else part for part in parts))
        if key not in self._made:
            self._made[key] = Node(kind, parts, nullable)
        return self._made[key]

    def one_of(self, values: Iterable[int]) -> Node:
        """One byte out of several."""
        return self._node("byte", (frozenset(values),), False)

    def text(self, text: str) -> Node:
        """Exactly this text."""
        return self.chain([self.one_of([byte]) for byte in text.encode("utf-8")])

    def chain(self, parts: Sequence[Node]) -> Node:
        """One after the other."""
        found = self.end
        for part in reversed(parts):
            if part is self.nothing or found is self.nothing:
                return self.nothing
            if part is self.end:
                continue
            found = part if found is self.end else self._pair(part, found)
        return found

    def _pair(self, first: Node, second: Node) -> Node:
        if first.kind == "chain":  # kept leaning to the right, so that equal ones are the same
            return self._pair(first.parts[0], self._pair(first.parts[1], second))
        return self._node("chain", (first, second), first.nullable and second.nullable)

    def either(self, parts: Iterable[Node]) -> Node:
        """Any of them."""
        flat: dict[int, Node] = {}
        for part in parts:
            for one in part.parts if part.kind == "either" else (part,):
                if one is not self.nothing:
                    flat[id(one)] = one
        chosen = [flat[key] for key in sorted(flat)]
        if len(chosen) < 2:
            return chosen[0] if chosen else self.nothing
        return self._node("either", tuple(chosen), any(one.nullable for one in chosen))

    def repeat(self, part: Node, least: int = 0, most: int | None = None) -> Node:
        """From `least` to `most` times; None is any number."""
        if most is not None and most < least:
            return self.nothing
        if most == 0:
            return self.end
        return self._node("repeat", (part, least, most), least == 0 or part.nullable)

    def step(self, node: Node, byte: int) -> Node:
        """Return what may follow after one byte; `nothing` if the byte may not come."""
        if byte not in node.steps:
            node.steps[byte] = self._derive(node, byte)
        return node.steps[byte]

    def _derive(self, node: Node, byte: int) -> Node:
        if node.kind == "byte":
            return self.end if byte in node.parts[0] else self.nothing
        if node.kind == "either":
            return self.either(self.step(part, byte) for part in node.parts)
        if node.kind == "chain":
            first, second = node.parts
            begun = self.chain([self.step(first, byte), second])
            return self.either([begun, self.step(second, byte)]) if first.nullable else begun
        if node.kind == "repeat":
            part, least, most = node.parts
            rest = self.repeat(part, max(least - 1, 0), None if most is None else most - 1)
            return self.chain([self.step(part, byte), rest])
        return self.nothing


class _Compiler:
    """Schema to expression."""

    def __init__(self, schema: Mapping[str, Any], make: Expressions) -> None:
        self.schema, self.make = schema, make
        more = make.one_of(range(0x80, 0xC0))
        plain = make.one_of(set(range(0x20, 0x80)) - {0x22, 0x5C, 0x7F})
        hexes = make.one_of(b"0123456789abcdef")
        escaped = make.chain([make.one_of(b"\\"), make.one_of(b'"\\/bfnrt')])
        code = make.chain([make.text("\\u"), make.one_of(b"012345678"), make.repeat(hexes, 3, 3)])  # no surrogates
        self.letter = make.either([
            plain, escaped, code,
            make.chain([make.one_of(range(0xC2, 0xE0)), more]),
            make.chain([make.one_of([0xE0]), make.one_of(range(0xA0, 0xC0)), more]),
            make.chain([make.one_of({*range(0xE1, 0xF0)} - {0xED}), more, more]),
            make.chain([make.one_of(range(0xF1, 0xF4)), more, more, more]),
        ])  # fmt: skip

    def of(self, schema: Any, place: str = "schema", stack: tuple[str, ...] = ()) -> Node:
        """Compile one schema; `place` is told in errors, `stack` are the references on the way here."""
        if schema is True or schema == {}:
            return self.anything(GENERIC_DEPTH)
        if not isinstance(schema, Mapping):
            raise RequestError(f"{place} is {type(schema).__name__}, expected a JSON Schema object")
        if place.count(".") > DEPTH:
            raise RequestError(f"{place} lies more than {DEPTH} levels deep; give a flatter schema")
        unknown = sorted(set(schema) - _IGNORED - _KNOWN)
        if unknown:
            raise RequestError(f"{place}: keyword {unknown[0]!r} is not supported; known are {_KNOWN_NAMES}")
        if "$ref" in schema:
            return self._reference(schema["$ref"], place, stack)
        if "const" in schema:
            return self._literal(schema["const"])
        if "enum" in schema:
            return self.make.either(self._literal(value) for value in _listed(schema["enum"], f"{place}.enum"))
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                options = _listed(schema[key], f"{place}.{key}")
                if key == "allOf" and len(options) > 1:
                    raise RequestError(f"{place}.allOf joins {len(options)} schemas; only one is supported, merge them")
                return self.make.either(self.of(one, f"{place}.{key}", stack) for one in options)
        kinds = schema.get("type", _guess_kind(schema))
        return self.make.either(
            self._kind(kind, schema, place, stack) for kind in ([kinds] if isinstance(kinds, str) else kinds)
        )

    def _kind(self, kind: Any, schema: Mapping[str, Any], place: str, stack: tuple[str, ...]) -> Node:
        if kind == "object":
            return self._object(schema, place, stack)
        if kind == "array":
            return self._array(schema, place, stack)
        if kind == "string":
            least, most = _count(schema, "minLength", place, 0), _count(schema, "maxLength", place, None)
            quote = self.make.text('"')
            return self.make.chain([quote, self.make.repeat(self.letter, least or 0, most), quote])
        if kind in ("integer", "number"):
            return self._number(kind, schema, place)
        if kind == "boolean":
            return self.make.either([self.make.text("true"), self.make.text("false")])
        if kind == "null":
            return self.make.text("null")
        raise RequestError(f"{place}.type is {kind!r}, expected one of {', '.join(_KINDS)}")

    def _reference(self, name: Any, place: str, stack: tuple[str, ...]) -> Node:
        if name in stack:
            raise RequestError(f"{place}: {name!r} refers to itself, which is not supported; unroll it")
        target: Any = self.schema
        for part in str(name).removeprefix("#").split("/")[1:]:
            target = target.get(part) if isinstance(target, Mapping) else None
        if not str(name).startswith("#/") or target is None:
            raise RequestError(f"{place}: $ref {name!r} leads nowhere; expected '#/$defs/NAME' of this schema")
        return self.of(target, f"{place}.{str(name).rpartition('/')[2]}", (*stack, name))

    def _literal(self, value: Any) -> Node:
        return self.make.text(json.dumps(value, ensure_ascii=False))

    def _object(self, schema: Mapping[str, Any], place: str, stack: tuple[str, ...]) -> Node:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise RequestError(f"{place}: 'properties' must be an object and 'required' a list")
        missing = [name for name in required if name not in properties]
        if missing:
            raise RequestError(f"{place}: {missing[0]!r} is required and stands not in 'properties'; describe it there")
        rest = {True: self.make.end, False: self.make.end}  # by whether the next property would be the first
        for name in reversed(properties):
            value = self.of(properties[name], f"{place}.{name}", stack)
            told = [self.make.text(f"{json.dumps(name, ensure_ascii=False)}: "), value, rest[False]]
            first, later = self.make.chain(told), self.make.chain([self.make.text(", "), *told])
            if name not in required:
                first, later = self.make.either([first, rest[True]]), self.make.either([later, rest[False]])
            rest = {True: first, False: later}
        return self.make.chain([self.make.text("{"), rest[True], self.make.text("}")])

    def _array(self, schema: Mapping[str, Any], place: str, stack: tuple[str, ...]) -> Node:
        make, comma = self.make, self.make.text(", ")
        if "prefixItems" in schema:
            parts = [
                self.of(one, f"{place}[]", stack) for one in _listed(schema["prefixItems"], f"{place}.prefixItems")
            ]
            joined = [part for number, one in enumerate(parts) for part in ([comma, one] if number else [one])]
            return make.chain([make.text("["), *joined, make.text("]")])
        item = self.of(schema.get("items", True), f"{place}[]", stack)
        least, most = _count(schema, "minItems", place, 0) or 0, _count(schema, "maxItems", place, None)
        more = make.repeat(make.chain([comma, item]), max(least - 1, 0), None if most is None else most - 1)
        full = make.nothing if most == 0 else make.chain([item, more])
        return make.chain([make.text("["), full if least else make.either([make.end, full]), make.text("]")])

    def _number(self, kind: str, schema: Mapping[str, Any], place: str) -> Node:
        make, low, high = self.make, schema.get("minimum"), schema.get("maximum")
        digit = make.one_of(b"0123456789")
        fraction = make.chain([make.text("."), make.repeat(digit, 1, FRACTION_DIGITS)])
        tail = make.either([make.end, fraction]) if kind == "number" else make.end
        if low is None and high is None:
            whole = make.either(
                [make.text("0"), make.chain([make.one_of(b"123456789"), make.repeat(digit, 0, INTEGER_DIGITS - 1)])]
            )
            return make.chain([make.either([make.end, make.text("-")]), whole, tail])
        limits = (-SMALL_RANGE if low is None else low, SMALL_RANGE if high is None else high)
        if not all(isinstance(one, int | float) and one == int(one) and abs(one) <= SMALL_RANGE for one in limits):
            raise RequestError(
                f"{place}: minimum {low!r} and maximum {high!r}; expected whole numbers within {SMALL_RANGE} of zero"
            )
        low, high = (int(one) for one in limits)
        found = [make.text(str(number)) for number in range(low, high + 1)]
        if kind == "number":  # "3.5" lies between 3 and 4, "-3.5" between -4 and -3
            found += [make.chain([make.text(str(number)), fraction]) for number in range(max(low, 0), high)]
            found += [make.chain([make.text(f"-{-number}"), fraction]) for number in range(low + 1, min(high, -1) + 1)]
            found += [make.chain([make.text("-0"), fraction])] if low < 0 <= high else []
        return make.either(found)

    def anything(self, depth: int) -> Node:
        """Compile "any JSON value", of at most `depth` levels of objects and arrays."""
        make = self.make
        found = [self._kind(kind, {}, "value", ()) for kind in ("string", "number", "boolean", "null")]
        if depth:
            return make.either([*found, self.any_object(depth), self._any_array(depth)])
        return make.either(found)

    def any_object(self, depth: int) -> Node:
        """Compile "any JSON object"."""
        make = self.make
        pair = make.chain([self._kind("string", {}, "key", ()), make.text(": "), self.anything(depth - 1)])
        return self._listing("{", pair, "}")

    def _any_array(self, depth: int) -> Node:
        return self._listing("[", self.anything(depth - 1), "]")

    def _listing(self, opening: str, one: Node, closing: str) -> Node:
        make = self.make
        more = make.repeat(make.chain([make.text(", "), one]))
        return make.chain([make.text(opening), make.either([make.end, make.chain([one, more])]), make.text(closing)])


def _listed(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RequestError(f"{place} must be a list with at least one entry")
    return value


def _count(schema: Mapping[str, Any], key: str, place: str, default: int | None) -> int | None:
    value = schema.get(key, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10_000):
        raise RequestError(f"{place}.{key} is {value!r}, expected a whole number from 0 to 10000")
    return value


def _guess_kind(schema: Mapping[str, Any]) -> Any:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else list(_KINDS[2:])


class Vocabulary:
    """The tokens of a model as a tree of bytes, with the tokens that end at each place.

    Args:
        pieces: bytes of every token; empty for special ones.
        ends: tokens that end an answer.
    """

    def __init__(self, pieces: Sequence[bytes], ends: Sequence[int]) -> None:
        self.pieces, self.ends, self.size = pieces, tuple(ends), len(pieces)
        self.root: tuple[dict, list[int]] = ({}, [])
        for token, piece in enumerate(pieces):
            place = self.root
            for byte in piece:
                place = place[0].setdefault(byte, ({}, []))
            if piece:
                place[1].append(token)


class Grammar:
    """One answer on its way.

    Args:
        schema: JSON Schema of the answer; None is any JSON object.
        vocabulary: of the model.

    Raises:
        RequestError: the schema says what is not supported here.
    """

    def __init__(self, schema: Mapping[str, Any] | None, vocabulary: Vocabulary) -> None:
        self._make, self._vocabulary = Expressions(), vocabulary
        compiler = _Compiler(schema or {}, self._make)
        self._state = compiler.any_object(GENERIC_DEPTH) if schema is None else compiler.of(schema)
        if self._state is self._make.nothing:
            raise RequestError("no JSON value fits the schema; check its limits")
        self._allowed: dict[int, torch.Tensor] = {}

    def allowed(self) -> torch.Tensor:
        """Return (vocabulary,) bool: the tokens that may come now."""
        key = id(self._state)  # expressions live as long as the grammar
        if key not in self._allowed:
            found: list[int] = []
            self._walk(self._state, self._vocabulary.root, found)
            if self._state.nullable:
                found += self._vocabulary.ends
            mask = torch.zeros(self._vocabulary.size, dtype=torch.bool)
            mask[found] = True
            self._allowed[key] = mask
        return self._allowed[key]

    def _walk(self, state: Node, place: tuple[dict, list[int]], found: list[int]) -> None:
        for byte, below in place[0].items():
            after = self._make.step(state, byte)
            if after is not self._make.nothing:
                found += below[1]
                self._walk(after, below, found)

    def take(self, token: int) -> None:
        """Go on by one token."""
        for byte in self._vocabulary.pieces[token]:
            self._state = self._make.step(self._state, byte)

    @property
    def complete(self) -> bool:
        """Whether nothing may follow any more."""
        return self._state is self._make.end
