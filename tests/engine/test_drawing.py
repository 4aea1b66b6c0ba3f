"""Drawn answers are those of `generate`, and the log-likelihoods those of plain passes that see the media."""

import numpy as np
import pytest
import torch
from tests.training.training_runs import noise_clip, tone

from emotion_qwen.engine.drawing import answer_likelihoods, draw_answers
from emotion_qwen.engine.sampling import Sampling

ANSWERS = [["happiness", "悲伤", "deeply worried"], ["neutral", "anger and fear", "a"]]
QUESTION = {"type": "text", "text": "How does this person feel?"}


def picture(seed: int) -> dict:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    return {"type": "image", "image": pixels}


def video(seed: int) -> dict:
    return {"type": "video", "video": noise_clip(seed)}


def sound(pitch: float) -> dict:
    return {"type": "audio", "audio": tone(pitch)}


def prompts(processor, *contents, side="right"):
    """Inputs without media, and the whole."""
    chats = [[{"role": "user", "content": [*content, QUESTION]}] for content in contents]
    return processor.apply_chat_template(chats, tokenize=True, add_generation_prompt=True, padding_side=side)


def tokens(processor, text: str) -> list[int]:
    return [*processor.tokenizer(text)["input_ids"], processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]


def plain(model, processor, content, answer: list[int], temperature: float) -> torch.Tensor:
    """One whole forward pass with the media's pixels and waves: nothing encoded before, nothing shared."""
    inputs = prompts(processor, content)
    word = torch.tensor([answer])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], word], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
    logits = model(**inputs).logits[0, -len(answer) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, word[0][:, None])[:, 0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kinds", [(picture, video), (sound, picture), (video, sound)])
def test_likelihoods_are_those_of_plain_passes_with_media(bare, processor, kinds, side):
    contents = [[kinds[0](1)], [kinds[1](2), {"type": "text", "text": "They have just won. "}]]
    inputs = prompts(processor, *contents, side=side)
    answers = [[tokens(processor, text) for text in group] for group in ANSWERS]
    with torch.no_grad():
        given = answer_likelihoods(bare, inputs, bare.encode_media(inputs), answers, temperature=1.3)
        for row, (content, group) in enumerate(zip(contents, answers, strict=True)):
            for number, answer in enumerate(group):
                wanted = plain(bare, processor, content, answer, 1.3)
                assert given.present[row, number].sum() == len(answer)
                assert torch.allclose(given.tokens[row, number, : len(answer)], wanted, atol=1e-4)
                assert not given.tokens[row, number, len(answer) :].any()
    assert (given.entropy[given.present] > 0).all()


def test_a_drawn_placeholder_is_no_place_for_a_medium(bare, processor):
    content, pads = [picture(1)], [processor.image_token_id, processor.audio_token_id]
    inputs = prompts(processor, content)
    encoded = bare.encode_media(inputs)
    with torch.no_grad():
        given = answer_likelihoods(bare, inputs, encoded, [[[*pads, 40]]])
        prompt = bare.model(**{k: inputs[k] for k in ("input_ids", "attention_mask")}, mm_encoder_outputs=encoded,
                            position_ids=bare.model.get_rope_index(**inputs)[0], use_cache=True)  # fmt: skip
        following = inputs["input_ids"].shape[1] + int(bare.model.get_rope_index(**inputs)[1])
        rest = bare.model.language_model(
            input_ids=torch.tensor([pads]), position_ids=(following + torch.arange(2)).expand(3, 1, -1),
            past_key_values=prompt.past_key_values,
        )  # fmt: skip
        states = torch.cat([prompt.last_hidden_state[0, -1:], rest.last_hidden_state[0]])
        wanted = bare.lm_head(states).log_softmax(-1).gather(1, torch.tensor([*pads, 40])[:, None])[:, 0]
    assert torch.allclose(given.tokens[0, 0], wanted, atol=1e-4)


def test_gradients_are_those_of_plain_passes(bare, processor, monkeypatch):
    """Also where logits are computed in pieces and again in the backward pass."""
    content, weight = [picture(1)], bare.model.language_model.layers[0].mlp.up_proj.weight
    answers = [tokens(processor, text) for text in ANSWERS[0]]
    wanted = torch.autograd.grad(sum(plain(bare, processor, content, a, 1.0).sum() for a in answers), weight)[0]
    inputs = prompts(processor, content)
    for most in (1024, 3):
        monkeypatch.setattr("emotion_qwen.engine.drawing.POSITIONS", most)
        given = answer_likelihoods(bare, inputs, bare.encode_media(inputs), [answers])
        assert torch.allclose(torch.autograd.grad(given.tokens.sum(), weight)[0], wanted, atol=1e-4)


def test_greedy_answers_are_those_of_generate(bare, processor):
    contents = [[picture(1)], [video(2)], [sound(200.0)]]
    inputs = prompts(processor, *contents)
    ends = [processor.tokenizer.eos_token_id]
    drawn = draw_answers(bare, inputs, bare.encode_media(inputs), 1, Sampling(), 12, ends)
    for content, (answer,) in zip(contents, drawn, strict=True):
        alone = prompts(processor, content)
        wanted = bare.generate(**alone, max_new_tokens=12, do_sample=False)[0, alone["input_ids"].shape[1] :]
        assert list(answer.tokens) == wanted.tolist()
        assert answer.finished == (answer.tokens[-1] in ends)


def test_a_seed_gives_the_same_answers_wherever_their_prompts_stand(bare, processor):
    contents = [[picture(seed)] for seed in range(3)]
    whole = prompts(processor, *contents)
    arguments = {"count": 4, "sampling": Sampling(1.0, seed=7), "max_new_tokens": 6, "ends": [0]}
    together = draw_answers(bare, whole, bare.encode_media(whole), **arguments)
    single = prompts(processor, contents[1])
    alone = draw_answers(bare, single, bare.encode_media(single), first=1, **arguments)
    assert alone[0] == together[1] and len(set(together[1])) > 1
    other = draw_answers(bare, single, bare.encode_media(single), first=0, **arguments)
    assert other[0] != alone[0]
    assert all(len(answer.tokens) == 6 and not answer.finished for answer in alone[0])
