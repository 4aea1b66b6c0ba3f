"""What prompts have in common passes the language model once, and nothing is scored differently for it."""

import numpy as np
import pytest
import torch
from tests.engine.test_engine import parts, slow_score

from emotion_qwen.engine.scoring import LEAST

QUESTION = "How does this person feel?"
ANSWERS = ["happy", "deeply worried about it", "deeply", "悲伤"]


@pytest.fixture
def passed(bare, monkeypatch):
    """The (rows, tokens) of every pass of the language model."""
    sizes, forward = [], bare.model.language_model.forward

    def count(input_ids=None, inputs_embeds=None, **inputs):
        sizes.append(tuple((inputs_embeds if input_ids is None else input_ids).shape[:2]))
        return forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **inputs)

    monkeypatch.setattr(bare.model.language_model, "forward", count)
    return sizes


@pytest.fixture
def engine(bare, processor):
    from emotion_qwen.engine.engine import Engine

    return Engine(bare, processor)


def prompt_length(engine, view) -> int:
    chat = [{"role": "user", "content": [*view, {"type": "text", "text": QUESTION}]}]
    return engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)["input_ids"].shape[1]


def test_the_common_beginning_and_all_answers_pass_once(engine, passed):
    said = {"type": "text", "text": "They have just won. "}
    views = [[one, *more] for one, more in zip(parts(3), ([], [said], [said, said]), strict=True)]
    lengths = [prompt_length(engine, view) for view in views]
    tokens = [len(engine.processor.tokenizer(a, add_special_tokens=False)["input_ids"]) for a in ANSWERS]
    engine.score(views, QUESTION, ANSWERS)
    (first_rows, shared), prompts, answers = passed
    assert first_rows == 1 and shared >= LEAST
    assert prompts == (3, max(lengths) - shared), "padding counted"
    assert answers == (3, sum(tokens) - len(tokens)), "the last token of an answer predicts nothing"


def test_batches_of_one_call_share_the_beginning(engine, passed, monkeypatch):
    monkeypatch.setattr(engine, "tokens_together", 100)
    engine.score([[one] for one in parts(6)], QUESTION, ["happy", "sad"])
    assert [rows for rows, _ in passed].count(1) == 1 and len(passed) > 3


def test_one_view_passes_whole(engine, passed):
    (view,) = parts(1)
    engine.score([view], QUESTION, ["happy", "sad"])
    assert passed == [(1, prompt_length(engine, [view]))]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_are_those_of_whole_passes(engine, attention, monkeypatch):
    """Rows of unequal lengths, equal rows, one without a picture, one that is shorter than what others share."""
    monkeypatch.setattr(engine.model.config.text_config, "_attn_implementation", attention)
    first, second = parts(2)
    texts = [{"type": "text", "text": text} for text in ("Yes. ", "They have just won a long game. ")]
    views = [[first], [first, texts[1]], [texts[0]], [second, texts[0]], [], [first]]
    found = engine.score(views, QUESTION, ANSWERS)
    wanted = torch.tensor([[slow_score(engine, view, QUESTION, answer) for answer in ANSWERS] for view in views])
    assert torch.allclose(found.log_likelihood, wanted, atol=1e-4)
    assert torch.equal(found.log_likelihood[0], found.log_likelihood[5])
    assert np.ptp(wanted[:, 1].numpy()) > 0.1, "the views differ"
    questions = [QUESTION, QUESTION, "Emotion?", "什么情绪？", QUESTION, "Why?"]  # ends what rows share
    found = engine.score(views, questions, ANSWERS)
    wanted = [[slow_score(engine, v, q, a) for a in ANSWERS] for v, q in zip(views, questions, strict=True)]
    assert torch.allclose(found.log_likelihood, torch.tensor(wanted), atol=1e-4)
