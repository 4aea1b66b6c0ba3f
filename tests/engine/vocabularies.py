"""Two vocabularies: the shipped model's, and one made as Qwen's is."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from emotion_qwen.engine.vocabulary import Vocabulary

QWEN_WORDS = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"
TEXTS = [
    '{"seen": "The person looks happy.", "why": "sadly, it is so"}',
    "这个人看起来很高兴。",
    "悲伤，愤怒！",
    "🥓😐 café",
]


@pytest.fixture(scope="session")
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
    return Vocabulary(whole, len(whole) + 7, [whole.eos_token_id, whole.pad_token_id])


@pytest.fixture(scope="session")
def nano_words(processor) -> Vocabulary:
    return Vocabulary(processor.tokenizer, 4096, [processor.tokenizer.eos_token_id])


@pytest.fixture(params=["qwen_like", "nano_words"])
def vocabulary(request) -> Vocabulary:
    return request.getfixturevalue(request.param)
