"""Prompts with and without a picture through `generate`, the engine and the scheduler of one model."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from emotion_qwen.engine.engine import Engine
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.serving.scheduling.generation import Generation, Options
from emotion_qwen.serving.scheduling.scheduler import Scheduler
from emotion_qwen.serving.scheduling.turns import Turns

QUESTION = "the person shows"


def contents(seed: int = 0) -> list[list[dict[str, Any]]]:
    """Give a question with a picture, the same without one, and one with two pictures."""
    pixels = np.random.default_rng(seed).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    first, second = ({"type": "image", "image": picture} for picture in pixels)
    question = {"type": "text", "text": QUESTION}
    return [[first, question], [question], [first, second, question]]


def prepare(engine: Engine, content: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Tokenize one question as the only one of its conversation."""
    chat = [{"role": "user", "content": content}]
    return dict(engine.processor.apply_chat_template(chat, tokenize=True, add_generation_prompt=True))


def generated(engine: Engine, content: list[dict[str, Any]], count: int) -> list[int]:
    """Return the greedy tokens of `generate`, pixels and all."""
    inputs = prepare(engine, content)
    with torch.inference_mode():
        tokens = engine.model.generate(**inputs, max_new_tokens=count, do_sample=False)
    return tokens[0, inputs["input_ids"].shape[1] :].tolist()


def scheduled(engine: Engine, questions: list[list[dict[str, Any]]], count: int) -> list[list[int]]:
    """Return the greedy tokens of the scheduler, where all questions run at once."""
    running = Scheduler(engine, Turns(), slots=len(questions)).start()
    try:
        ends, generations = [], []
        for content in questions:
            ended = threading.Event()
            add = _collector(ended)
            generations.append(
                Generation(prepare(engine, content), add, Options(max_tokens=count), Sampler(Sampling()))
            )
            ends.append(ended)
            running.submit(generations[-1])
        assert all(ended.wait(120) for ended in ends)
    finally:
        running.close()
    return [generation.tokens for generation in generations]


def _collector(ended: threading.Event):
    def add(piece) -> None:
        if piece.finish:
            ended.set()

    return add
