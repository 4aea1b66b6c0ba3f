"""What prompts have in common passes the language model once, and nothing is scored differently for it."""

import numpy as np
import pytest
import torch
from tests.engine.test_engine import parts, slow_score

from emotion_qwen.engine.scoring import LEAST, SPARE
from emotion_qwen.errors import RequestError, ShapeError
from emotion_qwen.processing.chat import AUDIO_PAD
from emotion_qwen.records import Clip

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


def test_every_view_is_scored_for_its_own_answers(engine, passed):
    """Rows differ in length, in the number of answers and in their lengths; some have a picture."""
    first, second = parts(2)
    views = [[first], [], [second, {"type": "text", "text": "They have won. "}], []]
    questions = [QUESTION, "Emotion?", QUESTION, "Why is the man in the picture so unhappy about it?"]
    answers = [["happy", "deeply worried about it"], ANSWERS, ["sad"], ["deeply", "悲伤", "he lost"]]
    scores = engine.score_each(views, questions, answers)
    for view, question, texts, score in zip(views, questions, answers, scores, strict=True):
        wanted = [slow_score(engine, view, question, text) for text in texts]
        assert score.log_likelihood == pytest.approx(wanted, abs=1e-4)
        assert score.tokens == [
            len(engine.processor.tokenizer(t, add_special_tokens=False)["input_ids"]) for t in texts
        ]
    assert [rows for rows, _ in passed[:3]] == [1, 4, 4], "the beginning once, then prompts and answers together"
    assert sum(scores[0].gate) == pytest.approx(1) and scores[1].gate == [0, 0]
    with pytest.raises(ShapeError, match="2 lists of answers for 4 views; give one for each"):
        engine.score_each(views, questions, answers[:2])


def test_greedy_is_told_by_the_likeliest_tokens(engine):
    """Answers of one and of several tokens; that of greedy decoding is made token by token with whole passes."""
    tokenizer, question = engine.processor.tokenizer, "How does this person feel?"
    text = engine.write([[]], question, 3)[0]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    single = tokenizer.decode(ids[:1])
    (score,) = engine.score_each([[]], [question], [[single, text, f"{text} afraid", "afraid"]])
    assert score.tokens[:2] == [1, len(ids)] and len(ids) > 1
    assert score.greedy[0] is True and score.greedy[1] is True and score.greedy[2:] == [False, False]


@pytest.mark.parametrize("most", [16, 1])
def test_plain_text_is_scored_as_by_a_whole_pass_whatever_is_beside_it(engine, monkeypatch, most):
    monkeypatch.setattr("emotion_qwen.engine.engine.TOGETHER", most)
    monkeypatch.setattr("emotion_qwen.engine.scoring.POSITIONS", 3)
    beginnings = ["The person", "", "It was said that the"]
    continuations = [" shows", "The person looks happy today.", " cat looks at the picture"]
    scores = engine.score_texts(beginnings, continuations)
    for beginning, continuation, score in zip(beginnings, continuations, scores, strict=True):
        words = [
            engine.processor.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (beginning, continuation)
        ]
        ids, count = torch.tensor([words[0] + words[1]]), len(words[1]) - (not words[0])
        with torch.no_grad():
            logits = engine.model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits[0, -count - 1 : -1]
        targets = ids[0, -count:]
        wanted = logits.log_softmax(-1).gather(1, targets[:, None]).sum().item()
        assert score.log_likelihood == pytest.approx([wanted], abs=1e-4) and score.tokens == [count]
        assert score.greedy == [bool((logits.argmax(-1) == targets).all())]
    with pytest.raises(RequestError, match="'' has no token to score; give a longer text"):
        engine.score_texts(["The"], [""])


# --- one visual in several views -------------------------------------------------------------------------------------


@pytest.fixture
def long_visuals(monkeypatch):
    """Treat even nano's visuals as long ones."""
    monkeypatch.setattr("emotion_qwen.engine.batches.LONG", 2)


def clip_part(seconds: int = 3) -> dict:
    frames = np.random.default_rng(seconds).integers(0, 255, (seconds * 2, 56, 72, 3), dtype=np.uint8)
    times = np.arange(seconds * 2) / 2
    return {"type": "video", "video": Clip(frames, times, source="made", duration=float(seconds))}


def about_one_clip() -> list[list[dict]]:
    """Views of one video alone, with words, with context, with both, and with a sound; and of another video."""
    film, other = clip_part(3), clip_part(4)
    words, context = {"type": "text", "text": "They have just won. "}, {"type": "text", "text": "Context: a final, "}
    wave = {"type": "audio", "audio": np.sin(np.arange(8000, dtype=np.float32) / 7) / 3}
    return [[film], [words], [film, words], [other, context], [film, wave, words], [film, context], [other], []]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_views_of_one_visual_score_as_whole_passes(engine, attention, long_visuals, monkeypatch):
    monkeypatch.setattr(engine.model.config.text_config, "_attn_implementation", attention)
    views = about_one_clip()
    output = engine.score(views, QUESTION, ANSWERS)
    wanted = torch.tensor([[slow_score(engine, view, QUESTION, answer) for answer in ANSWERS] for view in views])
    assert torch.allclose(output.log_likelihood, wanted, atol=1e-4)
    assert (wanted[0] - wanted[6]).abs().max() > 0.01, "the two videos differ"


def test_views_of_one_visual_with_questions_of_their_own(engine, long_visuals):
    """What rows share ends at different places."""
    views = about_one_clip()[:5]
    questions = [QUESTION, "Why?", "Emotion?", QUESTION, "什么情绪？"]
    output = engine.score(views, questions, ANSWERS[1:3])
    wanted = [[slow_score(engine, v, q, a) for a in ANSWERS[1:3]] for v, q in zip(views, questions, strict=True)]
    assert torch.allclose(output.log_likelihood, torch.tensor(wanted), atol=1e-4)


def test_a_visual_passes_once_however_many_views_it_has(engine, passed, long_visuals):
    views = [view for view in about_one_clip() if view and view[0]["type"] == "video"]
    engine.score(views, QUESTION, ["happy", "sad"])
    assert [rows for rows, _ in passed] == [1, 1, 1, 1], "each video, then all that is asked about it"
    starts, asked = ([tokens for _, tokens in passed[place::2]] for place in (0, 1))
    alone = [prompt_length(engine, [clip_part(seconds)]) for seconds in (3, 4)]
    assert all(0.5 * whole < start < whole for start, whole in zip(starts, alone, strict=True))
    rests = [prompt_length(engine, view) - starts[view[0] == views[2][0]] for view in views]
    answers = [len(engine.processor.tokenizer(a, add_special_tokens=False)["input_ids"]) - 1 for a in ("happy", "sad")]
    assert sum(asked) <= sum(rests) + len(views) * sum(answers), "nothing is filled up"


def test_common_words_and_sounds_pass_once(engine, passed, long_visuals):
    """After one video: the same words before two questions, and two sounds of one length that differ."""
    film, words = clip_part(3), {"type": "text", "text": "They have just won the game. "}
    waves = [{"type": "audio", "audio": np.sin(np.arange(8000, dtype=np.float32) / pace) / 3} for pace in (7, 30)]
    views = [[film, words], [film, words], [film, waves[0], words], [film, waves[1], words], [film, waves[1]]]
    questions = [QUESTION, "Why?", *[QUESTION] * 3]
    output = engine.score(views, questions, ["happy"])
    assert [rows for rows, _ in passed] == [1, 1]
    lengths = [prompt_length(engine, view) - passed[0][1] for view in views]  # of "Why?", two or three tokens too many
    sound = int((engine.processor(audio=[waves[0]["audio"]], text=AUDIO_PAD)["mm_token_type_ids"] == 3).sum())
    assert passed[1][1] < sum(lengths) - sound - 5, "the second sound passes once, and so do the words behind the video"
    wanted = torch.tensor([[slow_score(engine, v, q, "happy")] for v, q in zip(views, questions, strict=True)])
    assert torch.allclose(output.log_likelihood, wanted, atol=1e-4)
    assert (wanted[2] - wanted[3]).abs().max() > 1e-3, "the sounds differ"


def test_the_text_before_many_visuals_passes_once(engine, passed, long_visuals):
    words = {"type": "text", "text": "Oh. "}
    pictures = [{"type": "image", "image": part["image"]} for part in parts(8)]
    views = [[picture, *more] for picture in pictures for more in ((), (words,))]
    output = engine.score(views, QUESTION, ANSWERS)
    (first, text), (rows, visual), (trees, _) = passed
    assert (first, rows, trees) == (1, 8, 8) and text >= LEAST and 7 * text > SPARE and visual > 2
    wanted = torch.tensor([[slow_score(engine, view, QUESTION, answer) for answer in ANSWERS] for view in views])
    assert torch.allclose(output.log_likelihood, wanted, atol=1e-4) and (wanted[0] - wanted[2]).abs().max() > 1e-3


def test_two_videos_of_one_size_are_not_taken_for_each_other(engine, passed, long_visuals):
    """Their tokens are the same placeholders: they pass together, and each view continues from its own."""
    bright, dark = clip_part(3), clip_part(3)
    dark["video"].frames[:] = dark["video"].frames // 9
    words = {"type": "text", "text": "Oh. "}
    views = [[dark], [bright, words], [bright], [dark, words]]
    output = engine.score(views, QUESTION, ANSWERS)
    assert [rows for rows, _ in passed] == [2, 2], "both videos, then what is asked about each, with the answers"
    wanted = torch.tensor([[slow_score(engine, view, QUESTION, answer) for answer in ANSWERS] for view in views])
    assert torch.allclose(output.log_likelihood, wanted, atol=1e-4) and (wanted[0] - wanted[2]).abs().max() > 0.01
