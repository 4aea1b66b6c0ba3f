import json

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from emotion_qwen.errors import SettingsError
from emotion_qwen.inference.constrained import StructuredSampler
from emotion_qwen.inference.grammar import UNSAFE, Choice, Free, Literal, checked, json_object
from emotion_qwen.inference.vocabulary import Vocabulary

QWEN_WORDS = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"
TEXTS = [
    '{"seen": "The person looks happy.", "why": "sadly, it is so"}',
    "这个人看起来很高兴。",
    "悲伤，愤怒！",
    "🥓😐 café",
]
GRAMMAR = json_object(
    {
        "seen": [Literal('The "person" looks'), Free(9, begins=" ")],
        "含义": [Free(5)],
        "end": [Choice(("joy", "joyful", "悲伤", 'a "b"'))],
    }
)


@pytest.fixture(scope="module")
def qwen_like() -> Vocabulary:
    """Return a tokenizer made as Qwen's is, normalising, with added tokens at the end and logits beyond them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    return Vocabulary(whole, len(whole) + 7)


@pytest.fixture(scope="module")
def nano_words(processor) -> Vocabulary:
    return Vocabulary(processor.tokenizer, 4096)


@pytest.fixture(params=["qwen_like", "nano_words"])
def vocabulary(request) -> Vocabulary:
    return request.getfixturevalue(request.param)


def sampler(vocabulary: Vocabulary, grammar=GRAMMAR, prompt: int = 0) -> StructuredSampler:
    tokenizer = vocabulary.tokenizer
    return StructuredSampler(grammar, vocabulary, prompt, [tokenizer.eos_token_id, tokenizer.pad_token_id])


def drawn_tokens(held: StructuredSampler, vocabulary: Vocabulary, temperature: float, seed: int, rows: int = 3):
    """Write with logits from a die; a row that has ended is padded."""
    end, dice = vocabulary.tokenizer.eos_token_id, torch.Generator().manual_seed(seed)
    written = torch.zeros(rows, 0, dtype=torch.long)
    while not (written == end).any(1).all():
        assert written.shape[1] < held.max_new_tokens
        scores = held(written, 6 * torch.randn(rows, vocabulary.size, generator=dice))
        tokens = scores.argmax(1, keepdim=True)
        if temperature:
            tokens = (scores / temperature).softmax(1).multinomial(1, generator=dice)
        tokens[(written == end).any(1)] = vocabulary.tokenizer.pad_token_id
        written = torch.cat([written, tokens], 1)
    return written


def drawn(held: StructuredSampler, vocabulary: Vocabulary, temperature: float, seed: int, rows: int = 3) -> list[str]:
    written = drawn_tokens(held, vocabulary, temperature, seed, rows)
    return vocabulary.tokenizer.batch_decode(written, skip_special_tokens=True)


def test_whatever_is_drawn_parses(vocabulary):
    """Random logits, from greedy to all but uniform: all of it parses, in whole characters."""
    for seed in range(6):
        for temperature in (0, 0.01, 0.7, 1.5, 5, 100):
            for text in drawn(sampler(vocabulary), vocabulary, temperature, seed):
                found = json.loads(text)
                assert list(found) == ["seen", "含义", "end"] and found["end"] in ("joy", "joyful", "悲伤", 'a "b"')
                assert found["seen"].startswith('The "person" looks ') and found["含义"]
                assert not set(found["seen"][12:] + found["含义"]) & set(UNSAFE)
                assert "tool_call" not in text


def test_a_slot_ends_at_a_whole_character_and_in_time(qwen_like):
    held = sampler(qwen_like, [Literal('"'), Free(3), Literal('"')])
    quote, first, second, third = (qwen_like.bytes[byte] for byte in b'"\xe7\x9b\xb2')
    zero = torch.zeros(1, qwen_like.size)

    def chance(*written: int) -> torch.Tensor:
        return held(torch.tensor([[quote, *written]]), zero)[0]

    assert chance()[first] == 0 and chance()[quote] == -torch.inf
    assert chance(first)[quote] == -torch.inf and chance(first)[second] == 0
    assert chance(first, second, third)[quote] == 0 and chance(first, second, third).isfinite().sum() == 1
    letter = qwen_like.bytes[ord("a")]
    assert chance(letter)[quote] == 0
    last = chance(letter, letter)
    assert last[letter].isfinite() and last[first] == -torch.inf  # it could not end in time
    assert held.max_new_tokens == 6


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
def test_bytes_that_break_a_text_have_no_chance(qwen_like, begun, byte):
    held = sampler(qwen_like, [Free(8)])
    written = torch.tensor([[qwen_like.bytes[one] for one in begun]], dtype=torch.long)
    scores = held(written, torch.zeros(1, qwen_like.size))[0]
    assert scores[qwen_like.bytes[byte]] == -torch.inf and scores.isfinite().any()


def test_rows_at_different_places_do_not_know_of_each_other(vocabulary):
    """In a batch, in another order and by a new sampler, a row is held as it is alone."""
    written = drawn_tokens(sampler(vocabulary), vocabulary, 1.5, seed=1)
    order, differ = [2, 0, 1], 0
    for length in range(0, written.shape[1], 4):
        scores = torch.randn(3, vocabulary.size, generator=torch.Generator().manual_seed(length))
        together = sampler(vocabulary)(written[:, :length], scores)
        assert torch.equal(sampler(vocabulary)(written[order, :length], scores[order]), together[order])
        for row in range(3):
            alone = sampler(vocabulary, prompt=2)(
                torch.nn.functional.pad(written[row : row + 1, :length], (2, 0)), scores[row : row + 1]
            )
            assert torch.equal(alone[0], together[row])
        differ += not torch.equal(together[0].isfinite(), together[1].isfinite())
    assert differ > 2


def test_every_row_may_have_its_own_grammar_and_end_at_its_own_time(vocabulary):
    short, long = [Literal("no")], json_object({"a": [Free(12)]})
    held = sampler(vocabulary, [short, long])
    one, other = drawn(held, vocabulary, 0.7, seed=0, rows=2)
    assert one == "no" and list(json.loads(other)) == ["a"]
    beams = drawn(held, vocabulary, 0.7, seed=0, rows=4)  # two of each stand side by side
    assert beams[:2] == ["no", "no"] and all(json.loads(text) for text in beams[2:])


def test_a_model_that_has_finished_may_close_the_slot(vocabulary):
    held = sampler(vocabulary, json_object({"a": [Free(12)]}))
    begun = torch.tensor([[*vocabulary.encode('{"a": "'), vocabulary.bytes[ord("x")]]])
    scores = torch.zeros(1, vocabulary.size)
    scores[0, vocabulary.tokenizer.eos_token_id] = 9.0
    assert held(begun, scores).argmax() == vocabulary.encode('"}')[0]


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_broken_logits_break_no_structure(vocabulary, broken):
    held = sampler(vocabulary, json_object({"a": [Choice(("x", "yes"))]}))
    scores = held(torch.tensor([vocabulary.encode('{"a": "')]), torch.full((1, vocabulary.size), broken))
    assert scores.isfinite().any() and not scores.isnan().any() and scores.max() == 0


def test_both_of_two_options_can_be_reached_where_one_begins_the_other(vocabulary):
    held = sampler(vocabulary, json_object({"a": [Choice(("joy", "joyful"))]}))
    found = {json.loads(drawn(held, vocabulary, 5, seed, rows=1)[0])["a"] for seed in range(20)}
    assert found == {"joy", "joyful"}


@pytest.mark.parametrize("text", ["<|im_end|>", "e\u0301", "<tool_call>", "\ufffd", "🥓"])
def test_a_fixed_text_is_written_as_it_stands(vocabulary, text):
    """Also one that the tokenizer would change, or that has a meaning of its own."""
    assert b"".join(vocabulary.texts[token] for token in vocabulary.encode(text)) == text.encode()
    (told,) = drawn(sampler(vocabulary, [Literal(text)]), vocabulary, 1, seed=0, rows=1)
    assert told == text


@pytest.mark.parametrize(
    ("grammar", "fault"),
    [
        ([Free(3), Free(3)], "two slots stand side by side"),
        ([Choice(("a",)), Literal(""), Free(3)], "two slots stand side by side"),
        ([Free(0)], "a slot of 0 tokens; expected 1 or more"),
        ([Free(3), Literal("x")], "after a slot stands 'x'; expected a text whose first character is ASCII"),
        ([Free(3, forbidden="。"), Literal("。")], "after a slot stands '。'"),
        ([Free(3, begins='"')], "a slot that begins with '\"'"),
        ([Choice(())], r"a choice among \[\]; expected one text or more"),
        ([Choice(("a", ""))], "none of them empty"),
    ],
)
def test_a_grammar_that_cannot_be_held_is_refused(grammar, fault):
    with pytest.raises(SettingsError, match=fault):
        checked(grammar)


def test_an_object_forbids_what_would_need_an_escape():
    with pytest.raises(SettingsError, match="does not forbid `UNSAFE`"):
        json_object({"a": [Free(3, forbidden='"')]})
    with pytest.raises(SettingsError, match="an object without fields"):
        json_object({})
    assert json_object({'k"': [Literal("a\nb")]}) == (Literal('{"k\\"": "a\\nb"}'),)


def test_tokenizers_of_other_kinds_are_refused(qwen_like):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "▁hello": 1}, unk_token="[UNK]"))
    with pytest.raises(SettingsError, match="expected a byte-level one"):
        Vocabulary(PreTrainedTokenizerFast(tokenizer_object=words), 2)
    with pytest.raises(SettingsError, match="no token for the byte"):
        Vocabulary(qwen_like.tokenizer, 40)
    with pytest.raises(SettingsError, match="does not fit the grammar"):
        sampler(qwen_like)(torch.tensor([[5, 5]]), torch.zeros(1, qwen_like.size))
