"""Train nano's byte-level BPE tokenizer, with Qwen's special tokens, for English and Chinese.

Chinese has no spaces, so label words are kept whole and every other character is separate before merging; otherwise
whole questions would become tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from emotion_qwen.processing.chat import SPECIAL_TOKENS


def train_tokenizer(texts: Iterable[str], whole: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer.

    Args:
        texts: texts from which merges are learned.
        whole: Chinese words that must not be split before merging.
        vocabulary: number of tokens, including special ones.
    """
    tokenizer = Tokenizer(models.BPE())
    words = "|".join(sorted(whole, key=len, reverse=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"{words}|[\\u3000-\\u303f\\u3400-\\u9fff\\uff00-\\uffef]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=4096,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
