"""The engine of reports on a server: its passes wait for their turn, and the scheduler writes what it has to say."""

from __future__ import annotations

import threading
from typing import Any

import torch
from transformers import BatchFeature

from emotion_qwen.engine.constrained import SchemaGuide
from emotion_qwen.engine.encoding import Encoder
from emotion_qwen.engine.engine import Engine
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.engine.vocabulary import Vocabulary
from emotion_qwen.errors import RequestError
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.serving.scheduling.generation import Generation, GenerationOutput, Options
from emotion_qwen.serving.scheduling.scheduler import Scheduler
from emotion_qwen.serving.scheduling.turns import POLL, Stopped, Turns

TOKENS_TOGETHER = 2048
ENCODED_TOGETHER = 8
"""Tokens and media that a report gives to the model at once: answers wait for it."""


class SharedEncoder(Encoder):
    """An encoder whose model others use, too: every batch of media waits for its turn, but is prepared before.

    Args:
        model: in evaluation mode.
        processor: the model's own.
        turns: shared with all other users of the model.
    """

    together = ENCODED_TOGETHER

    def __init__(
        self, model: EmotionQwenForConditionalGeneration, processor: EmotionQwenProcessor, turns: Turns
    ) -> None:
        super().__init__(model, processor)
        self._turns = turns

    def _pass(self, inputs: BatchFeature) -> dict[str, Any]:
        with self._turns.beside_answers():
            encoded = super()._pass(inputs)
            if self.model.device.type == "cuda":
                torch.cuda.synchronize(self.model.device)  # the time of a turn is the model's, not that of asking it
            return encoded


class SharedEngine(Engine):
    """An engine whose model others use, too.

    Every batch is small and waits for its turn. What is to be written is written by the scheduler, among all answers.

    Args:
        scheduler: of the model; its engine's model, processor and name are used.
    """

    written_together = 1
    tokens_together = TOKENS_TOGETHER

    def __init__(self, scheduler: Scheduler) -> None:
        engine = scheduler.engine
        super().__init__(engine.model, engine.processor, engine.name, engine.folder)
        self.scheduler, self.turns, self._engine = scheduler, scheduler.turns, engine

    @property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """The tokens of the model; one table for all."""
        return self._engine.vocabulary

    @property
    def context(self) -> int:
        """Tokens of question and answer together, at most."""
        return self.scheduler.context

    def encoder(self) -> Encoder:
        """Return an encoder as `Engine.encoder` does."""
        return SharedEncoder(self.model, self.processor, self.turns)

    def _score_batch(self, *args: Any) -> Any:
        with self.turns.beside_answers():
            return super()._score_batch(*args)

    def _generate(
        self,
        inputs: BatchFeature,
        max_new_tokens: int,
        sampling: Sampling,
        grammar: SchemaGuide | None = None,
        first: int = 0,
    ) -> list[str]:
        ended = threading.Event()
        finishes: list[str] = []

        def notice(piece: GenerationOutput) -> None:
            if piece.finish:
                finishes.append(piece.finish)
                ended.set()

        room = self.context - inputs["input_ids"].shape[1]
        options = Options(max(1, min(max_new_tokens, room)))
        sampler = Sampler(sampling, grammar.begin() if grammar else None, first)
        self.turns.check()  # a short answer may be whole before the first look below
        generation = Generation(dict(inputs), notice, options, sampler)
        self.scheduler.submit(generation, bounded=False)
        try:
            while not ended.wait(POLL):
                self.turns.check()
        finally:
            generation.cancel()
        if finishes[0] == "schema":
            raise RequestError("the schema became too complex on the way; give a simpler one")
        if finishes[0] not in ("stop", "length"):
            raise Stopped(f"an answer ended before it was whole ({finishes[0]})")
        return [self.processor.tokenizer.decode(generation.tokens, skip_special_tokens=True).strip()]

    def provenance(self) -> dict[str, Any]:
        """Name the model as `Engine.provenance` does."""
        with self.turns:
            return super().provenance()
