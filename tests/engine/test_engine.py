import numpy as np
import pytest
import torch

from emotion_qwen.engine.batches import TOKENS, fitting
from emotion_qwen.engine.encoding import BATCH
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import CheckpointError, SettingsError, ShapeError


def parts(count: int, side: int = 48) -> list[dict]:
    rng = np.random.default_rng(0)
    return [{"type": "image", "image": rng.integers(0, 255, (side, side, 3), dtype=np.uint8)} for _ in range(count)]


def slow_score(engine: Engine, view: dict | list[dict], question: str, answer: str) -> float:
    """One whole forward pass per answer, nothing cached and nothing batched."""
    shown = [view] if isinstance(view, dict) else view
    chat = [{"role": "user", "content": [*shown, {"type": "text", "text": question}]}]
    inputs = engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)
    word = torch.tensor(engine.processor.tokenizer(answer, add_special_tokens=False)["input_ids"])[None]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], word], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, word.shape[1]))
    with torch.no_grad():
        logits = engine.model(**inputs).logits[:, -word.shape[1] - 1 : -1].log_softmax(-1)
    return logits.gather(2, word[..., None]).sum().item()


def test_scores_equal_whole_forward_passes_for_short_and_long_answers(nano):
    shown = [*parts(2), *parts(1, side=64)]
    answers = ["happy", "deeply worried about it", "悲伤", "担忧"]
    scores = nano.score(shown, "How does this person feel?", answers)
    wanted = [[slow_score(nano, p, "How does this person feel?", a) for a in answers] for p in shown]
    assert torch.allclose(scores.log_likelihood, torch.tensor(wanted), atol=2e-4)
    assert scores.tokens.tolist() == [len(nano.processor.tokenizer(a)["input_ids"]) for a in answers]
    assert torch.allclose(scores.gate.sum(-1), torch.ones(3)) and scores.gate.shape == (3, 2)


def test_views_of_several_parts_and_of_none(nano):
    """Text stands beside a picture, or alone; what was asked before leaves no trace in it."""
    (shown,), said = parts(1), {"type": "text", "text": "They have just won. "}
    answers = ["happy", "deeply worried about it"]
    views = [[shown, said], [shown], [said], []]
    wanted = [[slow_score(nano, v, "How does this person feel?", a) for a in answers] for v in views]
    nano.model.model.rope_deltas = torch.tensor([[-7]])
    alone = [nano.score([view], "How does this person feel?", answers) for view in views]
    assert torch.allclose(torch.cat([one.log_likelihood for one in alone]), torch.tensor(wanted), atol=2e-4)
    assert alone[2].gate.tolist() == alone[3].gate.tolist() == [[0.0, 0.0]]
    together = nano.score(views, "How does this person feel?", answers)
    assert torch.allclose(together.log_likelihood, torch.tensor(wanted), atol=2e-4)
    assert torch.allclose(together.gate, torch.cat([one.gate for one in alone]), atol=1e-4)
    with pytest.raises(ShapeError, match="a view holds several visuals, expected at most one; score them one by one"):
        nano.score([[shown, shown]], "Emotion?", answers)


def test_batches_do_not_change_scores(nano):
    shown = parts(20)
    together = nano.score(shown, "情绪？", ["高兴", "悲伤"]).log_likelihood
    alone = torch.cat([nano.score([p], "情绪？", ["高兴", "悲伤"]).log_likelihood for p in shown])
    assert torch.allclose(together, alone, atol=1e-4)


def test_every_visual_may_have_its_own_question(nano):
    shown, answers = [*parts(2), *parts(1, side=64)], ["happy", "two red ones"]
    asked = ["Emotion?", "How many shapes are there in this picture, and what colour do they have?", "情绪？"]
    together = nano.score(shown, asked, answers)
    alone = [nano.score([p], q, answers) for p, q in zip(shown, asked, strict=True)]
    assert torch.allclose(together.log_likelihood, torch.cat([one.log_likelihood for one in alone]), atol=1e-4)
    assert torch.allclose(together.gate, torch.cat([one.gate for one in alone]), atol=1e-4)
    with pytest.raises(ShapeError, match="2 questions for 3 views; give one for all, or one for each"):
        nano.score(shown, asked[:2], answers)


def test_written_text_has_no_special_tokens_and_repeats(nano):
    first, second = nano.write(parts(2), "Describe the person's feelings.", max_new_tokens=8)
    assert nano.write(parts(1), "Describe the person's feelings.", max_new_tokens=8)[0] == first
    assert "<|" not in first + second


def test_chat_takes_several_turns_and_pictures(nano):
    one, two = parts(2)
    answer = nano.chat(
        [
            {"role": "user", "content": [one, two, {"type": "text", "text": "What do you see?"}]},
            {"role": "assistant", "content": "The person looks happy."},
            {"role": "user", "content": "再说一遍。"},
        ],
        max_new_tokens=6,
    )
    assert isinstance(answer, str)


def test_wrong_places_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no config.json"):
        Engine.load(tmp_path)
    with pytest.raises(SettingsError, match="unknown dtype 'float8'"):
        Engine.load(dtype="float8")
    with pytest.raises(
        SettingsError, match="device 'cuda:99' cannot be used here|device 'quantum' cannot be used here"
    ):
        Engine.load(device="quantum")


def test_bfloat16_runs(nano):
    half = Engine.load(device="cpu", dtype="bfloat16")
    scores = half.score(parts(1), "Emotion?", ["happy"])
    assert half.model.dtype == torch.bfloat16 and torch.isfinite(scores.log_likelihood).all()


def test_a_medium_that_stands_in_several_views_is_encoded_once(nano, monkeypatch):
    """Views of tokens are scored as those of media, in batches that keep to their bound."""
    encode, seen = nano.model.encode_media, []
    monkeypatch.setattr(nano.model, "encode_media", lambda i: seen.append(len(i.get("pixel_values", ()))) or encode(i))
    (shown,), said = parts(1), {"type": "text", "text": "They have just won. "}
    encoder = nano.encoder()
    views = encoder.views([[shown, said], [shown], [said]])
    encoder.views([[shown]])
    assert seen == [36]
    scores = nano.score(views, "Emotion?", ["happy", "sad"]).log_likelihood
    plain = nano.score([[shown, said], [shown], [said]], "Emotion?", ["happy", "sad"]).log_likelihood
    assert torch.allclose(scores, plain, atol=1e-4)
    assert [(cut.start, cut.stop) for cut in fitting([10] * 40)] == [(0, BATCH), (BATCH, 40)]
    assert [(cut.start, cut.stop) for cut in fitting([TOKENS + 1, 10, TOKENS // 2, 10])] == [(0, 1), (1, 3), (3, 4)]
    assert list(fitting([])) == []
