"""The scheduler against the engine's own `generate`: same tokens, whoever else runs."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from emotion_qwen.errors import SettingsError
from emotion_qwen.inference.engine import Engine, _without_media
from emotion_qwen.serving.grammar import Grammar
from emotion_qwen.serving.scheduler import Generation, Piece, QueueFull, Sampling, Scheduler
from emotion_qwen.serving.turns import FairLock, SharedEngine


def picture(seed: int, side: int = 48) -> dict:
    return {
        "type": "image",
        "image": np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8),
    }


def film(seed: int) -> dict:
    from emotion_qwen.records import Clip

    frames = np.random.default_rng(seed).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)
    return {"type": "video", "video": Clip(frames, np.arange(4) / 2, "film")}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


CHATS = [
    [picture(0), text("Which emotion does the person show?")],
    [text("What is a dog?")],
    [film(1), text("Say in one sentence how the person feels.")],
    [picture(2, 64), picture(3), text("What stands on the left, and what on the right of these?")],
    [text("情绪？")],
    [picture(4), text("How many shapes are there?")],
]


def prepare(engine: Engine, content: list[dict]) -> dict[str, torch.Tensor]:
    chat = [{"role": "user", "content": content}]
    return dict(engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True))


def alone(engine: Engine, content: list[dict], count: int) -> list[int]:
    inputs = prepare(engine, content)
    with torch.inference_mode():
        tokens = engine.model.generate(
            **_without_media(inputs), mm_encoder_outputs=engine.model.encode_media(inputs), max_new_tokens=count,
            do_sample=False,
        )  # fmt: skip
    return tokens[0, inputs["input_ids"].shape[1] :].tolist()


class Answer:
    """Collects the pieces of one request."""

    def __init__(self, engine: Engine, content: list[dict], grammar=None, **sampling) -> None:
        self.pieces: list[Piece] = []
        self.ended = threading.Event()
        self.generation = Generation(prepare(engine, content), Sampling(**sampling), self.add, grammar)

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        if piece.finish:
            self.ended.set()

    def wait(self) -> Answer:
        assert self.ended.wait(60), "no end within a minute"
        return self

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def finish(self) -> str | None:
        return self.pieces[-1].finish


@pytest.fixture(scope="module")
def scheduler(nano):
    running = Scheduler(nano, FairLock(), slots=4, queue=32).start()
    yield running
    running.close()


@pytest.fixture
def ask(nano, scheduler):
    def submit(content: list[dict], **sampling) -> Answer:
        answer = Answer(nano, content, **sampling)
        scheduler.submit(answer.generation)
        return answer

    return submit


def test_greedy_answers_are_those_of_generate_whoever_else_runs(nano, ask, scheduler):
    """Twelve requests of mixed media and lengths share four rows, so that rows are freed, moved and used again."""
    wanted = [alone(nano, content, 10 + 3 * number) for number, content in enumerate(CHATS * 2)]
    answers = [ask(content, max_tokens=10 + 3 * number) for number, content in enumerate(CHATS * 2)]
    for answer, tokens in zip(answers, wanted, strict=True):
        assert answer.wait().generation.tokens == tokens
        plain = nano.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        assert answer.text == plain and answer.finish == ("stop" if tokens[-1] in scheduler.ends else "length")
    assert scheduler.running == scheduler.waiting == 0


def test_a_request_admitted_while_others_decode_changes_nothing(nano, ask):
    wanted = [alone(nano, content, 40) for content in CHATS[:3]]
    answers = []
    for content in CHATS[:3]:
        answers.append(ask(content, max_tokens=40))
        time.sleep(0.05)
    assert [answer.wait().generation.tokens for answer in answers] == wanted


def test_cancelling_frees_the_row_and_the_others_go_on(nano, ask, scheduler):
    long = [ask(CHATS[1], max_tokens=2000, ignore_eos=True) for _ in range(4)]
    waiting = ask(CHATS[0], max_tokens=5)
    while not long[0].generation.tokens:
        time.sleep(0.01)
    for answer in long:
        answer.generation.cancel()
    assert [answer.wait().finish for answer in long] == ["cancelled"] * 4
    assert waiting.wait().generation.tokens == alone(nano, CHATS[0], 5)
    assert scheduler.running == 0 and scheduler._cache.columns == 128


def test_sampling_depends_on_the_seed_and_not_on_the_neighbours(ask):
    options = {"max_tokens": 12, "temperature": 1.2, "top_p": 0.95, "ignore_eos": True}
    one = ask(CHATS[0], seed=7, **options).wait().generation.tokens
    crowd = [ask(CHATS[0], seed=seed, **options) for seed in (7, 8, 9)]
    same, *others = [answer.wait().generation.tokens for answer in crowd]
    assert same == one and one not in others
    tiny = ask(CHATS[0], seed=3, max_tokens=12, temperature=1.0, top_p=1e-6, ignore_eos=True).wait()
    greedy = ask(CHATS[0], max_tokens=12, ignore_eos=True).wait()
    assert tiny.generation.tokens == greedy.generation.tokens


def test_stop_strings_end_the_answer_and_are_not_told(nano, ask):
    plain = ask(CHATS[2], max_tokens=20).wait().text
    stop = plain[4:7]
    answer = ask(CHATS[2], max_tokens=20, stop=(stop, "never there")).wait()
    assert answer.finish == "stop" and answer.text == plain[: plain.index(stop)]


def test_logprobs_are_those_of_the_model(nano, ask):
    answer = ask(CHATS[0], max_tokens=4, logprobs=3, ignore_eos=True).wait()
    shares = [share for piece in answer.pieces for share in piece.tokens]
    inputs = prepare(nano, CHATS[0])
    with torch.inference_mode():
        first = nano.model(**inputs).logits[0, -1].log_softmax(-1)
    assert len(shares) == 4 and [share.token for share in shares] == answer.generation.tokens
    assert shares[0].logprob == pytest.approx(float(first.max()), abs=1e-4)
    assert [token for token, _ in shares[0].top] == first.topk(3).indices.tolist()


def test_a_grammar_is_kept_and_ignore_eos_writes_exactly_so_many(nano, ask, scheduler):
    grammar = Grammar(
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, scheduler.vocabulary
    )
    answer = ask(CHATS[1], grammar=grammar, max_tokens=40).wait()
    assert answer.finish == "stop" and answer.text.startswith('{"n": ') and answer.text.endswith("}")
    assert len(ask(CHATS[1], max_tokens=64, ignore_eos=True).wait().generation.tokens) == 64


def test_the_deadline_ends_an_answer(ask):
    late = ask(CHATS[1], max_tokens=3000, ignore_eos=True)
    late.generation.deadline = time.monotonic() + 0.1
    assert late.wait().finish == "timeout" and 0 < len(late.generation.tokens) < 3000


def test_the_queue_is_bounded_and_a_closed_scheduler_takes_nothing(nano):
    small = Scheduler(nano, FairLock(), slots=1, queue=1)
    answers = [Answer(nano, CHATS[1], max_tokens=3) for _ in range(3)]
    for answer in answers[:2]:
        small.submit(answer.generation)
    with pytest.raises(QueueFull, match="2 requests wait, the queue holds 1; try again later"):
        small.submit(answers[2].generation)
    small.start()
    small.close(patience=30)
    assert [answer.finish in ("stop", "length") for answer in answers[:2]] == [True, True]
    with pytest.raises(QueueFull):
        small.submit(answers[2].generation)


def test_a_broken_prompt_fails_alone(nano, ask):
    broken = Answer(nano, CHATS[0], max_tokens=5)
    broken.generation.inputs["image_grid_thw"] = torch.tensor([[1, 2, 2]])
    running = Scheduler(nano, FairLock(), slots=4)
    whole = Answer(nano, CHATS[1], max_tokens=5)
    running.submit(broken.generation)
    running.submit(whole.generation)
    running.start()
    assert broken.wait().finish == "error" and whole.wait().generation.tokens == alone(nano, CHATS[1], 5)
    running.close()


def test_the_engine_takes_turns_with_the_scheduler(nano, scheduler, ask):
    shared = SharedEngine(nano, scheduler.turns)
    long = ask(CHATS[1], max_tokens=400, ignore_eos=True)
    scores = shared.score([CHATS[0][0]], "Emotion?", ["happy", "sad"]).log_likelihood
    assert shared.write([CHATS[0][0]], "Emotion?", 4) == nano.write([CHATS[0][0]], "Emotion?", 4)
    assert not long.ended.is_set(), "the answer should still be running"
    long.generation.cancel()
    long.wait()
    assert torch.allclose(scores, nano.score([CHATS[0][0]], "Emotion?", ["happy", "sad"]).log_likelihood, atol=1e-4)


def test_no_slot_is_no_server(nano):
    with pytest.raises(SettingsError, match="0 slots"):
        Scheduler(nano, FairLock(), slots=0)
