"""Text, pictures, videos and sounds of 2 to 60 s: whichever way an answer is computed, its tokens stand where they were
trained. Scores, the server's scheduler and packed rows are compared with whole forward passes and `generate`."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from tests.engine.test_engine import slow_score
from tests.serving.test_scheduler import Answer, alone, prepare

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.manifest import Sample
from emotion_qwen.data.packing import fill_rows
from emotion_qwen.model.modeling import IGNORE
from emotion_qwen.records import Clip
from emotion_qwen.serving.scheduling.scheduler import Scheduler
from emotion_qwen.serving.scheduling.turns import Turns

SECONDS = (2, 10, 30, 60)
QUESTION = "How does this person feel?"
ANSWERS = ["deeply worried", "担忧"]
RATE = 16_000
NEW_TOKENS = 6
BOUND = 1e-5


def film(seconds: int) -> dict:
    """Return a video part of few frames, so that it is quick, and of two times at least."""
    count, rng = max(seconds // 4, 4), np.random.default_rng(seconds)
    frames = rng.integers(0, 255, (count, 48, 48, 3), dtype=np.uint8)
    return {"type": "video", "video": Clip(frames, np.arange(count) * (seconds / count), "film", duration=seconds)}


def sound(seconds: int) -> dict:
    return {"type": "audio", "audio": np.random.default_rng(seconds).normal(0, 0.1, seconds * RATE).astype(np.float32)}


def picture() -> dict:
    return {"type": "image", "image": np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


VIEWS = {
    "text": [text("They have just won. ")],
    "picture": [picture()],
    **{f"video of {seconds} s": [film(seconds), text("They have just won. ")] for seconds in SECONDS},
    "sound of 2 s": [sound(2)],
    "video of 10 s with its sound": [film(10), sound(10)],
    "video of 2 s with 10 s of sound": [film(2), sound(10)],
}
LONG = {
    "sound of 60 s": [sound(60)],
    "video of 30 s with its sound": [film(30), sound(30)],
    "video of 60 s with its sound": [film(60), sound(60)],
}
EACH = [*VIEWS, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)]
VIEWS |= LONG


@pytest.mark.parametrize("name", EACH)
def test_scores_are_those_of_whole_forward_passes(nano, name):
    found = nano.score([VIEWS[name]], QUESTION, ANSWERS).log_likelihood[0]
    wanted = [slow_score(nano, VIEWS[name], QUESTION, answer) for answer in ANSWERS]
    assert found.tolist() == pytest.approx(wanted, abs=BOUND, rel=1e-6)


def test_one_clip_may_be_both_the_video_and_the_sound_of_a_view(nano):
    frames, wave = film(2)["video"].frames, sound(2)["audio"]
    clip = Clip(frames, np.arange(len(frames)) / 2, "film", duration=2.0, wave=wave, sample_rate=RATE)
    both, apart = (
        [{"type": "video", "video": clip}, {"type": "audio", "audio": one}, text(QUESTION)] for one in (clip, wave)
    )
    scores = [nano.score([view], QUESTION, ANSWERS).log_likelihood for view in (both, apart)]
    assert torch.allclose(*scores, atol=BOUND)


@pytest.mark.parametrize(
    "names", [[n for n in VIEWS if n not in LONG], pytest.param(list(LONG), marks=pytest.mark.slow)]
)
def test_the_server_writes_what_generate_writes(nano, names):
    contents = [[*VIEWS[name], text(QUESTION)] for name in names]
    running = Scheduler(nano, Turns(), slots=4, queue=len(contents)).start()
    answers = [Answer(nano, content, max_tokens=NEW_TOKENS) for content in contents]
    for answer in answers:
        running.submit(answer.generation)
    written = {name: answer.wait().generation.tokens for name, answer in zip(names, answers, strict=True)}
    running.close()
    assert written == {name: alone(nano, content, NEW_TOKENS) for name, content in zip(names, contents, strict=True)}


@torch.no_grad()
@pytest.mark.parametrize("seconds", SECONDS)
def test_generate_writes_what_whole_forward_passes_make_likeliest(nano, seconds):
    content = [film(seconds), text(QUESTION)]
    written, inputs = alone(nano, content, NEW_TOKENS), prepare(nano, content)
    tokens = torch.tensor([written])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(written)))
    logits = nano.model(**inputs).logits[0, -len(written) - 1 : -1]
    assert logits.argmax(-1).tolist() == written


@torch.no_grad()
def test_packed_rows_hold_what_each_sample_is_alone(bare, processor):
    """Long and short videos in one row: the positions of each begin anew and count on behind its own last moment."""

    def talk(name: str, *parts: dict) -> Sample:
        question = {"role": "user", "content": [*parts, text(QUESTION)]}
        return Sample(name, (question, {"role": "assistant", "content": ANSWERS[0]}))

    samples = [talk(str(s), film(s)) for s in SECONDS] + [
        talk("p", picture()),
        talk("t"),
        talk("v", film(10), sound(2)),
    ]
    lengths = SampleCollator(processor)(samples)["attention_mask"].sum(1).tolist()
    width = max(lengths) + min(lengths) + 60
    order = [number for row in fill_rows(lengths, width) for number in row]
    batch = SampleCollator(processor, bare.model.get_rope_index, pack=width)(samples)
    assert len(batch["input_ids"]) < len(samples)
    batches = [SampleCollator(processor)([samples[number]]) for number in order]
    wanted = torch.cat([bare(**single, supervised_only=True).logits for single in batches])
    taught = sum(int((single["labels"] != IGNORE).sum()) for single in batches)
    logits = bare(**batch, supervised_only=True).logits
    assert len(logits) == taught and (logits - wanted).abs().max() <= BOUND


def test_the_answer_about_a_clip_of_twenty_seconds_is_a_sentence(nano, shared_data):
    """By the positions of transformers 5.3 and later it was "TheTheThe a frog."."""
    clip = {"type": "video", "path": str(shared_data / "clips" / "WolfgangLanger_Pexels.mp4")}
    (answer,) = nano.write([clip], "Describe the person's feelings.")
    assert re.fullmatch(r"The person [a-z]+( [a-z,]+)*\.", answer), answer
