"""SmolLM2 as our language model: the logits and greedy tokens of transformers' Llama, with pictures around, too.

Measured with transformers 5.23 and torch 2.13 in fp32: the logits are equal to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.mixed_prompts import contents, generated, scheduled

from emotion_qwen.convert.text_model import convert_text_model
from emotion_qwen.engine.engine import Engine

pytestmark = pytest.mark.mini

PROMPTS = (
    "What is the capital of France?", "Write a haiku about rain.", "12 + 30 = ?", "Name three colours.",
    "Why is the sky blue?", "Translate to French: good morning.", "Who wrote Hamlet?", "List:\n\n1. apple\n2.",
    "How do people show that they are sad?", "A man smiles and raises his brows. What does he feel?", "你好，你是谁？",
    "Complete: the opposite of hot is", "What is 7 times 8?", "Give me a recipe with two eggs.", "Define gravity.",
    "She said: 'I'm  fine.' How does she feel?", "Sort: 3, 1, 2", "Is a whale a fish?", "Say hello in Spanish.",
    "Explain in one sentence what a neural network is.",
)  # fmt: skip
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def gguf_file(fetched) -> Path:
    pytest.importorskip("gguf", reason="reading GGUF files needs the extra gguf")
    return next(fetched("smollm2").glob("*.gguf"))


@pytest.fixture(scope="module")
def engine(gguf_file, tmp_path_factory) -> Engine:
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    convert_text_model(gguf_file, folder)
    return Engine.load(folder, device="cpu")


@pytest.fixture(scope="module")
def llama(gguf_file):
    """The same file by transformers' own reader."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def batch(engine):
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    return engine.processor.apply_chat_template(chats, add_generation_prompt=True, tokenize=True, return_tensors="pt")


@torch.inference_mode()
def test_logits_are_those_of_the_llama(engine, llama, batch):
    for row, mask in zip(batch["input_ids"][:5], batch["attention_mask"][:5], strict=True):
        ids = row[mask.bool()][None]
        ours = engine.model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits
        assert (ours - llama(ids).logits).abs().max() < 1e-4


@torch.inference_mode()
def test_greedy_tokens_of_twenty_prompts_are_those_of_the_llama(engine, llama, batch):
    """The prompts run as one batch, padded on the left, in both models; the first three also alone."""
    mask = batch["attention_mask"]
    assert len(set(mask.sum(1).tolist())) > 5
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    made = engine.model.generate(**batch, **options)
    expected = llama.generate(batch["input_ids"], attention_mask=mask, pad_token_id=0, eos_token_id=2, **options)
    assert torch.equal(made, expected)
    for row, row_mask, answer in zip(batch["input_ids"][:3], mask[:3], made, strict=False):
        ids = row[row_mask.bool()][None]
        alone = llama.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, eos_token_id=2, **options)[
            0, ids.shape[1] :
        ]
        assert torch.equal(answer[len(row) :][: len(alone)], alone)
    texts = engine.processor.tokenizer.batch_decode(made[:, len(row) :], skip_special_tokens=True)
    assert "Paris" in texts[0] and len(set(texts)) > 15


@torch.inference_mode()
def test_a_picture_in_the_prompt_breaks_nothing(engine, llama):
    """With the new vision transformer a picture says nothing, but it passes through every way of answering."""
    questions = contents()
    answers = [generated(engine, content, NEW_TOKENS) for content in questions]
    assert scheduled(engine, questions, NEW_TOKENS) == answers
    chats = [[{"role": "user", "content": content}] for content in questions]
    texts = [text.strip() for text in engine.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)]
    assert [engine.chat(chat, NEW_TOKENS) for chat in chats] == texts
    ids = engine.processor.apply_chat_template(chats[1], add_generation_prompt=True, tokenize=True)["input_ids"]
    expected = llama.generate(
        ids, attention_mask=torch.ones_like(ids), pad_token_id=0, eos_token_id=2, max_new_tokens=NEW_TOKENS,
        do_sample=False,
    )  # fmt: skip
    assert answers[1] == expected[0, ids.shape[1] :].tolist()


def test_the_tokenizer_takes_digits_one_by_one_and_loses_nothing(engine):
    """As SmolLM2's own: digits are split off first, so blanks and line breaks before one stay together."""
    tokenizer = engine.processor.tokenizer
    assert tokenizer.tokenize("it\n\n1. In  2024") == ["it", "ĊĊ", "1", ".", "ĠIn", "ĠĠ", "2", "0", "2", "4"]
    for text in (*PROMPTS, "naïve café 😀\t\r\n  x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|audio_pad|>")
    assert tokenizer.convert_tokens_to_ids(list(special)) == [0, 1, 2, 3, 6, 10] and len(tokenizer) == 49152
