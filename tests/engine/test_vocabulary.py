import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from emotion_qwen.engine.vocabulary import Vocabulary, _letters
from emotion_qwen.errors import SettingsError

pytest_plugins = ("tests.engine.vocabularies",)


@pytest.mark.parametrize("text", ["Happy 世界 é 😀\n", "<|im_end|>", "e\u0301", "<tool_call>", "\ufffd", ""])
def test_a_text_and_its_tokens_are_the_same_bytes(vocabulary, text):
    """Also of a text that the tokenizer would change, or that has a meaning of its own."""
    assert vocabulary.decode(vocabulary.encode(text)) == text.encode()


def test_the_tokenizers_own_tokens_are_taken_where_they_are_the_text(vocabulary):
    text = "The person looks happy. 这个人看起来很高兴。"
    assert list(vocabulary.encode(text)) == vocabulary.tokenizer(text)["input_ids"]


def test_tokens_that_end_or_fill_a_reply_are_no_text(qwen_like):
    tokenizer = qwen_like.tokenizer
    assert qwen_like.texts[tokenizer.eos_token_id] == qwen_like.texts[tokenizer.pad_token_id] == b""
    assert qwen_like.texts[len(tokenizer) :] == [b""] * 7, "logits beyond the tokenizer's tokens"
    assert qwen_like.texts[tokenizer.convert_tokens_to_ids("<tool_call>")] == b"<tool_call>", "as `decode` shows it"


def test_tokenizers_of_other_kinds_are_refused(qwen_like):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "▁hello": 1}, unk_token="[UNK]"))
    with pytest.raises(SettingsError, match="expected a byte-level one"):
        Vocabulary(PreTrainedTokenizerFast(tokenizer_object=words), 2, [0])
    with pytest.raises(SettingsError, match="no token for the byte"):
        Vocabulary(qwen_like.tokenizer, 40, [0])


def test_a_tokenizer_without_control_characters_serves():
    """SmolLM2's has no token for some control characters, nor for planes without characters."""
    letters = [letter for letter, byte in _letters().items() if byte not in (0x04, 0x1D, 0xF1, 0xF2, 0xF5, 0xFF)]
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer), len(letters), [0])
    text = "happy\t世界 😀\U000e0001"
    assert vocabulary.decode(vocabulary.encode(text)) == text.encode() and vocabulary.matched
    with pytest.raises(SettingsError, match=r"no token for the byte 0x04 of 'a\\x04'; leave it out"):
        vocabulary.encode("a\x04")
