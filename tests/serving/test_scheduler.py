"""The scheduler against the engine's own `generate`: same tokens, whoever else runs."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch

from emotion_qwen.engine.constrained import ANY_OBJECT, SchemaGuide
from emotion_qwen.engine.engine import Engine, _without_media
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.errors import RequestError, SettingsError
from emotion_qwen.serving.scheduling.cache import PagedCache
from emotion_qwen.serving.scheduling.generation import Generation, GenerationOutput, Options
from emotion_qwen.serving.scheduling.scheduler import QueueFull, Scheduler
from emotion_qwen.serving.scheduling.shared import SharedEngine
from emotion_qwen.serving.scheduling.turns import YIELD, Stopped, Turns


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

    def __init__(self, engine: Engine, content: list[dict], constraint=None, **sampling) -> None:
        self.pieces: list[GenerationOutput] = []
        self.ended = threading.Event()
        drawn = Sampling(**{name: sampling.pop(name) for name in ("temperature", "top_p", "seed") if name in sampling})
        sampler = Sampler(drawn, constraint)
        self.generation = Generation(prepare(engine, content), self.add, Options(**sampling), sampler)

    def add(self, piece: GenerationOutput) -> None:
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
    running = Scheduler(nano, Turns(), slots=4, queue=32).start()
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
    assert scheduler.running == 0 and scheduler._cache.pages == 0


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


def test_a_schema_is_kept_and_ignore_eos_writes_exactly_so_many(nano, ask):
    schema = {"type": "object", "properties": {"n": {"type": "boolean"}}, "required": ["n"]}
    schema["additionalProperties"] = False
    answer = ask(CHATS[1], constraint=SchemaGuide(schema, nano.vocabulary).begin(), max_tokens=40).wait()
    assert answer.finish == "stop" and json.loads(answer.text)["n"] in (True, False)
    assert len(ask(CHATS[1], max_tokens=64, ignore_eos=True).wait().generation.tokens) == 64


def test_a_schema_that_cannot_be_kept_ends_its_own_answer_only(nano, ask, scheduler, monkeypatch):
    def too_complex(logits):
        raise RequestError("too complex")

    broken, whole = SchemaGuide(ANY_OBJECT, nano.vocabulary).begin(), ask(CHATS[1], max_tokens=40)
    monkeypatch.setattr(broken, "hold", too_complex)
    answer = ask(CHATS[0], constraint=broken, max_tokens=40).wait()
    assert answer.finish == "schema" and whole.wait().generation.tokens == alone(nano, CHATS[1], 40)
    assert scheduler.alive and scheduler.running == 0


def test_the_deadline_ends_an_answer(ask):
    late = ask(CHATS[1], max_tokens=3000, ignore_eos=True)
    late.generation.deadline = time.monotonic() + 0.1
    assert late.wait().finish == "timeout" and 0 < len(late.generation.tokens) < 3000


def test_the_queue_is_bounded_and_a_closed_scheduler_takes_nothing(nano):
    small = Scheduler(nano, Turns(), slots=1, queue=1)
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
    running = Scheduler(nano, Turns(), slots=4)
    whole = Answer(nano, CHATS[1], max_tokens=5)
    running.submit(broken.generation)
    running.submit(whole.generation)
    running.start()
    assert broken.wait().finish == "error" and whole.wait().generation.tokens == alone(nano, CHATS[1], 5)
    running.close()


def test_the_engine_takes_turns_with_the_scheduler(nano, scheduler, ask):
    shared = SharedEngine(scheduler)
    long = ask(CHATS[1], max_tokens=400, ignore_eos=True)
    scores = shared.score([CHATS[0][0]], "Emotion?", ["happy", "sad"]).log_likelihood
    assert shared.write([CHATS[0][0]], "Emotion?", 4) == nano.write([CHATS[0][0]], "Emotion?", 4)
    assert not long.ended.is_set(), "the answer should still be running"
    long.generation.cancel()
    long.wait()
    assert torch.allclose(scores, nano.score([CHATS[0][0]], "Emotion?", ["happy", "sad"]).log_likelihood, atol=1e-4)


def test_every_pass_of_the_shared_engine_waits_for_its_turn(nano, scheduler):
    """Encoding media, too: while somebody else has the turn, no pass of any kind begins."""
    shared = SharedEngine(scheduler)
    view, done = CHATS[0][0], threading.Event()
    ways = [
        lambda: shared.encoder().views([view]),
        lambda: shared.score([text("It rains.")], "Emotion?", ["happy", "sad"]),
        lambda: shared.write([text("It rains.")], "Emotion?", 2),
    ]
    for way in ways:
        done.clear()
        thread = threading.Thread(target=lambda way=way: (way(), done.set()))
        with scheduler.turns:
            thread.start()
            assert not done.wait(0.3), "it went ahead out of turn"
        assert done.wait(30), "it never came to its turn"
        thread.join()


def test_others_come_between_two_batches_of_a_long_question(nano, scheduler, monkeypatch):
    """A report with many views must not hold up whoever is being answered until all of them are done."""
    turns, between = scheduler.turns, []
    shared = SharedEngine(scheduler)
    monkeypatch.setattr(SharedEngine, "tokens_together", 50)  # two of these views
    batch = SharedEngine._score_batch

    def counted(self, *args):
        found = batch(self, *args)
        waiter = threading.Thread(target=lambda: between.append(turns.__enter__() or turns.__exit__()))
        waiter.start()
        waiter.join(10)
        return found

    monkeypatch.setattr(SharedEngine, "_score_batch", counted)
    shared.score([text(f"It rains {number}.") for number in range(6)], "Emotion?", ["happy", "sad"])
    assert len(between) == 3


def test_beside_answers_a_report_has_the_model_for_a_quarter_of_the_time():
    turns, began, held = Turns(), time.monotonic(), 0.0
    turns.busy = lambda: True
    for _ in range(4):
        with turns.beside_answers():
            time.sleep(0.02)
            held += 0.02
    took = time.monotonic() - began
    assert took - 0.02 >= 0.95 * YIELD * (held - 0.02)
    turns.busy = lambda: False
    with turns.beside_answers():
        assert time.monotonic() - began - took < 0.05, "nobody is being answered, so there is nothing to wait for"


def test_work_that_nobody_waits_for_ends_at_its_next_turn(nano, scheduler):
    turns, stop = scheduler.turns, threading.Event()
    shared = SharedEngine(scheduler)
    with turns.until(stop):
        shared.write([text("It rains.")], "Emotion?", 1)
        stop.set()
        with pytest.raises(Stopped):
            shared.write([text("It rains.")], "Emotion?", 1)
    assert shared.write([text("It rains.")], "Emotion?", 1), "the next work of this thread is not concerned"


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_report_writes_what_the_engine_alone_writes(nano, scheduler, ask, temperature):
    """Free and held to a schema, drawn by a seed, beside others; the media are encoded before."""
    shared, sampling = SharedEngine(scheduler), Sampling(temperature, seed=4)
    views = [CHATS[0][0], [CHATS[3][1], text("It rains.")]]
    schema = {"type": "object", "properties": {"n": {"enum": ["one", "two", "three"]}}, "required": ["n"]}
    neighbour = ask(CHATS[1], max_tokens=60, ignore_eos=True)
    for given in (None, {**schema, "additionalProperties": False}):
        told = {"sampling": sampling, "schema": given}
        assert shared.write(views, "Emotion?", 12, **told) == nano.write(views, "Emotion?", 12, **told)
    neighbour.wait()


def test_work_beyond_the_context_is_refused_in_one_line(nano, scheduler):
    long = [text("rain " * 6000)]
    for engine in (nano, SharedEngine(scheduler)):
        for way in (lambda e=engine: e.score(long, "Emotion?", ["happy"]), lambda e=engine: e.write(long, "Emotion?")):
            with pytest.raises(RequestError, match=r"^\d+,\d+ tokens of question; the model's context is 4,096 tokens"):
                way()


def test_a_row_that_cannot_be_given_leaves_no_half_admitted_request(nano, monkeypatch):
    """Memory ends at the second of two prompts that were read together: both are read again, each has one row."""
    running = Scheduler(nano, Turns(), slots=4)
    answers = [Answer(nano, CHATS[number], max_tokens=8) for number in (1, 4)]
    admit, calls = PagedCache.admit, []

    def failing(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return admit(self, *args)

    monkeypatch.setattr(PagedCache, "admit", failing)
    for answer in answers:
        running.submit(answer.generation)
    running.start()
    assert [answer.wait().generation.tokens for answer in answers] == [alone(nano, CHATS[n], 8) for n in (1, 4)]
    assert len(calls) == 4 and running.running == running.waiting == 0
    running.close()


@pytest.mark.parametrize("where", ["pass", "growth"])
def test_a_fault_of_one_answer_ends_no_other(nano, monkeypatch, where):
    """Three run together; whatever holds the second one fails, as if memory ended there."""
    running = Scheduler(nano, Turns(), slots=4)
    answers = [Answer(nano, CHATS[number], max_tokens=40, ignore_eos=True) for number in (1, 4, 5)]
    culprit = answers[1].generation
    whole, grown = running._pass, running._cache.extend

    def failing_pass(chosen):
        if where == "pass" and culprit in chosen and len(culprit.tokens) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(chosen)

    def failing_growth(row):
        if where == "growth" and row is culprit.row and len(culprit.tokens) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        grown(row)

    monkeypatch.setattr(running, "_pass", failing_pass)
    monkeypatch.setattr(running._cache, "extend", failing_growth)
    for answer in answers:
        running.submit(answer.generation)
    running.start()
    assert answers[1].wait().finish == "error" and len(culprit.tokens) == 5
    for answer, content in ((answers[0], CHATS[1]), (answers[2], CHATS[5])):
        tokens = answer.wait().generation.tokens
        assert answer.finish == "length" and len(tokens) == 40
        plain = alone(nano, content, 40)
        assert tokens[: len(plain)] == plain
    assert running._cache.pages == 0
    running.close()


def test_a_long_and_a_short_answer_run_together_as_alone(nano, ask):
    long = [text("It rains. " * 120), text("What is a dog?")]
    wanted = [alone(nano, content, 40) for content in (long, CHATS[1])]
    answers = [ask(content, max_tokens=40) for content in (long, CHATS[1])]
    assert [answer.wait().generation.tokens for answer in answers] == wanted


def test_closing_ends_also_a_request_whose_prompt_is_just_being_read(nano):
    running = Scheduler(nano, Turns(), slots=1).start()
    answer = Answer(nano, CHATS[1], max_tokens=3000, ignore_eos=True)
    with running.turns:  # the prompt waits for its turn
        running.submit(answer.generation)
        time.sleep(0.2)
        closing = threading.Thread(target=running.close)
        closing.start()
        time.sleep(0.1)
    assert answer.wait().finish == "cancelled" and len(answer.generation.tokens) <= 2
    closing.join(10)
    assert not running.alive


def test_a_fault_of_the_loop_is_told_to_all_who_wait(nano, monkeypatch):
    """Also to those whose prompt was being read: nobody may wait for ever."""
    running = Scheduler(nano, Turns(), slots=2)
    answers = [Answer(nano, CHATS[1], max_tokens=3) for _ in range(3)]
    monkeypatch.setattr(running, "_prefill", lambda chosen: 1 + "1")
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    for answer in answers:
        running.submit(answer.generation)
    running.start()
    assert [answer.wait().finish for answer in answers] == ["error"] * 3
    running._thread.join(5)
    assert not running.alive


def test_pixels_are_dropped_once_they_were_read(nano, ask):
    answer = ask(CHATS[0], max_tokens=2).wait()
    assert not answer.generation.inputs and answer.generation.prompt_tokens > 10


def test_tokens_come_as_often_as_their_share(nano):
    """Of 2000 draws; a share of 0 never comes, and top_p leaves out the tail."""
    logits = torch.tensor([0.0, 1.0, -torch.inf, 2.0])
    for top_p, kept in ((1.0, logits), (0.9, torch.tensor([-torch.inf, 1.0, -torch.inf, 2.0]))):
        one = Sampler(Sampling(temperature=0.7, top_p=top_p, seed=3))
        counts = torch.bincount(torch.tensor([one.choose(logits) for _ in range(2000)]), minlength=4) / 2000
        assert torch.allclose(counts, (kept / 0.7).softmax(-1), atol=0.03) and counts[2] == 0


def test_no_slot_is_no_server(nano):
    with pytest.raises(SettingsError, match="0 slots"):
        Scheduler(nano, Turns(), slots=0)
