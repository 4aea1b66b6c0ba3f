"""Whatever is drawn fits: walks through what is allowed, by random and by broken logits, end in JSON of the schema."""

import json
import threading

import pytest
import torch
from llguidance import LLParserLimits

from emotion_qwen.analysis.forms import FORMS
from emotion_qwen.analysis.reasoning import UNSAFE, Prompt
from emotion_qwen.engine import constrained
from emotion_qwen.engine.constrained import ANY_OBJECT, SchemaGuide
from emotion_qwen.engine.sampling import Sampler, SamplerProcessor, Sampling
from emotion_qwen.engine.vocabulary import Vocabulary
from emotion_qwen.errors import RequestError
from emotion_qwen.taxonomy import label_set

pytest_plugins = ("tests.engine.vocabularies",)


def closed(**properties) -> dict:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


SCHEMAS = {
    "object": {
        "type": "object", "required": ["b"], "additionalProperties": False,
        "properties": {"a": {"type": "null"}, "b": {"enum": ["x", "é", 3]}, "c": {"type": "string", "maxLength": 3}},
    },
    "numbers": {
        "type": "array", "items": {"type": "integer", "minimum": -2, "maximum": 11}, "minItems": 2, "maxItems": 3,
    },
    "references": {"$ref": "#/$defs/n", "$defs": {"n": {"type": ["integer", "boolean"]}}},
    "pair": {
        "type": "array", "prefixItems": [{"const": "a"}, {"type": "string", "minLength": 2, "maxLength": 2}],
        "minItems": 2, "items": False,
    },
    "either": {"anyOf": [closed(), {"type": "integer", "minimum": 5, "maximum": 7}]},
    "tree": {
        "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 2}}, "$ref": "#/$defs/n",
    },
    "pattern": {"type": "string", "pattern": "^[a-c]{2,4}é?$"},
}  # fmt: skip


def fits(name: str, value) -> bool:
    """Judge a value by other means than the schema."""
    if name == "object":
        names = [key for key in "abc" if key in value]
        return list(value) == names and value["b"] in ("x", "é", 3) and len(value.get("c", "")) <= 3
    if name == "numbers":
        return 2 <= len(value) <= 3 and all(type(one) is int and -2 <= one <= 11 for one in value)
    if name == "tree":
        return isinstance(value, list) and len(value) <= 2 and all(fits(name, one) for one in value)
    if name == "pattern":
        letters = value.removesuffix("é")
        return 2 <= len(letters) <= 4 and set(letters) <= set("abc")
    if name == "pair":
        return value[0] == "a" and len(value) == 2 and len(value[1]) == 2
    return isinstance(value, int) if name == "references" else value in ({}, 5, 6, 7)


def drawn_tokens(grammar: SchemaGuide, temperature: float, seed: int, rows: int = 3, most: int = 400) -> torch.Tensor:
    """Write with logits from a die as `generate` does; a row that has ended is padded."""
    vocabulary, held = grammar.vocabulary, SamplerProcessor(Sampling(temperature, seed), grammar)
    end, dice = vocabulary.tokenizer.eos_token_id, torch.Generator().manual_seed(seed)
    written = torch.zeros(rows, 0, dtype=torch.long)
    ended = torch.zeros(rows, dtype=torch.bool)
    while not ended.all():
        assert written.shape[1] < most, "no end in time"
        scores = held(written, 6 * torch.randn(rows, vocabulary.size, generator=dice))
        tokens = scores.argmax(1, keepdim=True)
        tokens[ended] = vocabulary.tokenizer.pad_token_id
        written = torch.cat([written, tokens], 1)
        ended |= torch.isin(tokens[:, 0], torch.tensor([end, *vocabulary.ends]))
    return written


def drawn(grammar: SchemaGuide, temperature: float, seed: int, rows: int = 3, most: int = 400) -> list[str]:
    written = drawn_tokens(grammar, temperature, seed, rows, most)
    return grammar.vocabulary.tokenizer.batch_decode(written, skip_special_tokens=True)


@pytest.mark.parametrize("name", SCHEMAS)
def test_whatever_is_drawn_fits_the_schema(name, vocabulary):
    """Random logits, from greedy to all but uniform."""
    grammar, found = SchemaGuide(SCHEMAS[name], vocabulary), set()
    for temperature in (0, 0.01, 1.5, 5, 100):
        for text in drawn(grammar, temperature, seed=1, rows=8):
            assert fits(name, json.loads(text)), text
            found.add(text)
    assert len(found) >= (3 if name == "either" else 4)


def longest_walk(vocabulary: Vocabulary, schema: dict) -> bytes:
    """Write the longest answer: at every step the shortest token that closes nothing, where there is one."""
    constraint, written = SchemaGuide(schema, vocabulary).begin(), []
    by_length = sorted(range(vocabulary.size), key=lambda t: (b'"' in vocabulary.texts[t], len(vocabulary.texts[t])))
    while not constraint.complete:
        chances = constraint.hold(torch.zeros(vocabulary.size)).isfinite()
        token = next(token for token in by_length if chances[token])
        written.append(token)
        constraint.take(token)
    return written


@pytest.mark.parametrize("language", ["en", "zh"])
def test_steps_parse_and_end_within_their_bound_whatever_is_drawn(vocabulary, language):
    labels = label_set("dfew7")
    prompt = Prompt(FORMS["steps"], ("picture", "words"), labels, language)
    steps = tuple(step.name for step in prompt.steps)
    grammar, most = SchemaGuide(prompt.schema, vocabulary), prompt.most_tokens
    for seed, temperature in enumerate((0, 0.01, 0.7, 1.5, 5, 100)):
        for text in drawn(grammar, temperature, seed, most=most):
            found = json.loads(text)
            assert tuple(found) == steps and found["conclusion"] in labels.names(language)
            assert not set("".join(found.values())) & set(UNSAFE)
    walk = longest_walk(vocabulary, prompt.schema)
    assert json.loads(vocabulary.decode(walk)) and most // 5 < len(walk) < most


def test_any_object_holds_values_of_every_kind(vocabulary):
    """Objects, lists, numbers and truth values, not only texts; and what is drawn is an object."""
    for value in ({}, {"a": [1, -2.5e3, None], "b": {"c": True, "d": "\\é\n"}}, {"": [[], {}]}):
        constraint = SchemaGuide(ANY_OBJECT, vocabulary).begin()
        for token in vocabulary.encode(json.dumps(value, ensure_ascii=False)):
            assert constraint.hold(torch.zeros(vocabulary.size))[token].isfinite()
            constraint.take(token)
        assert constraint.complete
    whole = 0
    for seed in range(8):
        constraint, dice, written = SchemaGuide(ANY_OBJECT, vocabulary).begin(), torch.Generator().manual_seed(seed), []
        while not constraint.complete and len(written) < 200:
            written.append(int(constraint.hold(6 * torch.randn(vocabulary.size, generator=dice)).argmax()))
            constraint.take(written[-1])
        if constraint.complete:
            whole += isinstance(json.loads(vocabulary.decode(written)), dict)
    assert whole


def test_all_options_can_be_reached_where_one_begins_the_other(vocabulary):
    options = ["joy", "joyful", "joyfully", 'a "b"', "悲伤"]
    grammar = SchemaGuide(closed(a={"enum": options}), vocabulary)
    found = {json.loads(text)["a"] for seed in range(14) for text in drawn(grammar, 5, seed, rows=20)}
    assert found == set(options)


@pytest.mark.parametrize("option", ["joy", "joyful"])
def test_a_model_that_wants_an_option_gets_it(vocabulary, option):
    """Its own spelling is greedily followed to the end, also where the option goes on behind another one."""
    constraint = SchemaGuide({"enum": ["joy", "joyful"]}, vocabulary).begin()
    wanted = vocabulary.encode(f'"{option}"')
    for token in wanted:
        logits = torch.zeros(vocabulary.size)
        logits[token] = 5.0
        assert int(constraint.hold(logits).argmax()) == token
        constraint.take(token)
    assert constraint.complete


@pytest.mark.parametrize("text", ["<|im_end|>", "e\u0301", "<tool_call>", "\ufffd", "🥓"])
def test_a_fixed_text_is_written_as_it_stands(vocabulary, text):
    """Also one that the tokenizer would change, or that has a meaning of its own."""
    grammar = SchemaGuide({"enum": [text]}, vocabulary)
    (written,) = drawn_tokens(grammar, 1, seed=0, rows=1).tolist()
    assert vocabulary.decode(written).decode() == json.dumps(text, ensure_ascii=False)


def test_a_fixed_text_is_written_in_the_tokenizers_own_tokens(vocabulary):
    """A model was taught these; letter by letter it would not know its own words."""
    (written,) = drawn_tokens(
        SchemaGuide({"const": "The person looks happy."}, vocabulary), 100, seed=0, rows=1
    ).tolist()
    assert tuple(written[:-1]) == vocabulary.encode('"The person looks happy."')


def test_a_string_ends_at_a_whole_character(qwen_like):
    quote, first, second, third = (qwen_like.bytes[byte] for byte in b'"\xe7\x9b\xb2')
    grammar = SchemaGuide({"type": "string", "minLength": 1, "maxLength": 2}, qwen_like)

    def chance(*written: int) -> torch.Tensor:
        constraint = grammar.begin()
        for token in (quote, *written):
            constraint.take(token)
        return constraint.hold(torch.zeros(qwen_like.size)).isfinite()

    assert chance()[first] and not chance()[quote]
    assert not chance(first)[quote] and chance(first)[second]
    assert chance(first, second, third)[quote] and chance(first, second, third)[first]
    letter = qwen_like.bytes[ord("a")]
    assert chance(letter, letter).sum() == 1 and chance(letter, letter)[quote]


@pytest.mark.parametrize(
    ("begun", "byte"),
    [
        (b"\xef\xbf", 0xBD),  # the sign of a lost character
        (b"\xe0", 0x80),  # longer than it need be
        (b"\xed", 0xA0),  # half a surrogate pair
        (b"\xf4", 0x90),  # beyond Unicode
        (b"\xc2", 0x85),  # a control character
        (b"\xe2\x80", 0xAE),  # turns the direction of writing
        (b"", 0xC0),
        (b"", 0x80),
        (b"", ord("\\")),
    ],
)
def test_bytes_that_break_a_step_have_no_chance(qwen_like, begun, byte):
    constraint = SchemaGuide(Prompt(FORMS["steps"], (), label_set("dfew7"), "zh").schema, qwen_like).begin()
    for token in qwen_like.encode('{"meaning": "我觉得这个人很'):
        constraint.take(token)
    for one in begun:
        constraint.take(qwen_like.bytes[one])
    scores = constraint.hold(torch.zeros(qwen_like.size))
    assert scores[qwen_like.bytes[byte]] == -torch.inf and scores.isfinite().any()


def test_rows_at_different_places_do_not_know_of_each_other(vocabulary):
    """In a batch a row is held as it is alone."""
    grammar = SchemaGuide(Prompt(FORMS["steps"], ("picture",), label_set("dfew7"), "en").schema, vocabulary)
    written = drawn_tokens(grammar, 1.5, seed=1, most=1000)
    sampling = Sampling(1.5, seed=2)
    together, alone = SamplerProcessor(sampling, grammar), [Sampler(sampling, grammar.begin(), row) for row in range(3)]
    differ = 0
    for length in range(written.shape[1]):
        scores = torch.randn(3, vocabulary.size, generator=torch.Generator().manual_seed(length))
        chosen = together(written[:, :length], scores).argmax(1).tolist()
        for row, choice in enumerate(alone):
            if length:
                choice.take(int(written[row, length - 1]))
            assert choice.choose(scores[row]) == chosen[row]
        differ += chosen[0] != chosen[1]
    assert differ > 2


@pytest.mark.parametrize(
    ("schema", "written", "closing"),
    [
        (closed(a={"type": "string"}), '{"a": "x', '"'),
        (closed(a={"type": "string"}), '{"a": "x\\"y', '"'),
        (closed(a={"type": "array", "items": {"type": "string"}}), '{"a": ["x"', "]"),
        (closed(a={"type": "array", "items": {"type": "array"}}), '{"a": [[]', "]"),
        (closed(a={"type": "number"}), '{"a": 0.5', "}"),
        (closed(a={"type": "number"}, b={"type": "null"}), '{"a": 0.5', ","),
        (ANY_OBJECT, '{"a": 1', "}"),
    ],
)
def test_a_model_that_has_finished_closes_what_is_open(vocabulary, schema, written, closing):
    constraint = SchemaGuide(schema, vocabulary).begin()
    for byte in written.encode():
        constraint.take(vocabulary.bytes[byte])
    scores = torch.zeros(vocabulary.size)
    scores[vocabulary.ends[0]] = 9.0
    assert int(constraint.hold(scores).argmax()) == vocabulary.bytes[ord(closing)]


@pytest.mark.parametrize("written", ['{"a": "', '{"a": "x", "b": [', "{"])
def test_a_model_that_wants_to_end_leaves_nothing_empty(vocabulary, written):
    """One that was taught sentences would end at once; that is no answer."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array"}}}
    constraint = SchemaGuide(schema, vocabulary).begin()
    for byte in written.encode():
        constraint.take(vocabulary.bytes[byte])
    scores = torch.zeros(vocabulary.size)
    scores[vocabulary.ends[0]] = 9.0
    held = constraint.hold(scores)
    assert len(set(held[held.isfinite()].tolist())) == 1, "the end counts for nothing"


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_broken_logits_break_no_structure(vocabulary, broken):
    constraint = SchemaGuide({"enum": ["x", "yes"]}, vocabulary).begin()
    constraint.take(vocabulary.bytes[ord('"')])
    scores = constraint.hold(torch.full((vocabulary.size,), broken))
    assert scores.isfinite().any() and not scores.isnan().any() and scores.max() == 0


def test_a_token_that_does_not_fit_is_told(qwen_like):
    constraint = SchemaGuide(ANY_OBJECT, qwen_like).begin()
    with pytest.raises(RequestError, match="token 5 does not fit the schema"):
        constraint.take(5)


def nested(depth: int) -> dict:
    schema: dict = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "str"}, "Invalid type: str"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead and look-behind, is not supported"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "string", "format": "int32"}, "Unknown format: int32"),
        ({"$ref": "#/$defs/x"}, "Pointer '/$defs/x' does not exist"),
        ({"$ref": "https://example.com/a.json"}, "does not fetch resources"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "no JSON value fits it"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "'a' is unsatisfiable"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "minimum (2) is greater than maximum (1)"),
        ({"type": "string", "maxLength": -1}, "Expected positive integer for 'maxLength', got -1"),
        ({"enum": []}, "anyOf is empty"),
        ({"enum": "x"}, "enum must be an array"),
        ({"not": {}}, 'Unimplemented keys: ["not"]'),
        ({"type": "string", "x-guidance": {"lenient": True}, "if": {}}, 'Unimplemented keys: ["if"]'),
        ({"type": "object", "properties": {f"k{i}": {"type": "string"} for i in range(600)}}, "more than 500 objects"),
        ({"type": "object", "required": [f"k{i}" for i in range(9_000)]}, "letters, expected at most 32,768"),
        ({"type": "object", "patternProperties": {f"^k{i}x$": {} for i in range(40)}}, "has 40 patternProperties"),
        ({"type": "integer", "multipleOf": 999_983}, "multipleOf, decimals written without a point, sum to more"),
        ({"type": "number", "multipleOf": 0.99983}, "sum to more than 10000; leave some out"),
        ({"type": "number", "multipleOf": float("nan")}, "sum to more than 10000; leave some out"),
        ({"type": "number", "multipleOf": 1e300}, "sum to more than 10000; leave some out"),
        (closed(**{f"k{i}": {"type": "integer", "multipleOf": 97} for i in range(200)}), "sum to more than 10000"),
        ({"const": {1, 2}}, "the schema is no JSON Schema"),
        (nested(5000), "more than 500 objects"),
        (nested(400), "the schema is no JSON Schema"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_refused_by_name(schema, told, qwen_like):
    with pytest.raises(RequestError) as caught:
        SchemaGuide(schema, qwen_like)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_the_largest_chain_of_references_that_is_let_in_ends_no_process(qwen_like):
    """Some 1,500 of them overflow the stack of a thread, and with it goes the server."""
    links = {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(240)}
    schema = {"$defs": {**links, "d240": {"type": "null"}}, "$ref": "#/$defs/d0"}
    found = []
    thread = threading.Thread(target=lambda: found.append(SchemaGuide(schema, qwen_like)))
    thread.start()
    thread.join()
    assert found


def test_a_schema_that_becomes_too_complex_on_the_way_ends_its_answer(qwen_like, monkeypatch):
    """What is kept of a schema is bounded; here at less than the states of this one."""
    monkeypatch.setattr(constrained, "_LIMITS", LLParserLimits(max_lexer_states=300, verbose_errors=False))
    constraint = SchemaGuide({"type": "string", "pattern": "^(a|b)*a(a|b){200}$"}, qwen_like).begin()
    dice = torch.Generator().manual_seed(0)
    with pytest.raises(RequestError, match="the schema became too complex .*; give a simpler one"):
        for _ in range(1000):
            constraint.take(int(constraint.hold(torch.randn(qwen_like.size, generator=dice)).argmax()))
