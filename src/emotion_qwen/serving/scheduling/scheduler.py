"""Continuous batching: every forward pass generates one token for each running request.

One thread runs the loop: admit requests (prefill some prompts together), copy them into the cache, generate one token
per request, pass on final text, drop cancelled requests. A greedy answer equals that of `generate` for the request
alone, as every row has its own positions and attends only to itself. A sampled answer depends on its seed and not on
the batch.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch

from emotion_qwen.engine.encoding import ENCODED, join_encoded
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import EmotionQwenError, RequestError, SettingsError
from emotion_qwen.model.modeling import MEDIA, SOUND
from emotion_qwen.serving.scheduling.cache import PagedCache, Row, use_pages
from emotion_qwen.serving.scheduling.generation import Generation, GenerationOutput, TokenShare
from emotion_qwen.serving.scheduling.turns import Turns

log = logging.getLogger(__name__)
FAULTS = (RuntimeError, ValueError, IndexError, KeyError, EmotionQwenError)
"""Errors of a forward pass: out of memory, or inconsistent inputs."""
PREFILLED_TOGETHER = 8
PREFILL_TOKENS = 4096  # maximum per prefill of several prompts, which delays running answers


class QueueFull(EmotionQwenError):
    """The queue is full."""


class Scheduler:
    """Runs requests on one model.

    Args:
        engine: a loaded model.
        turns: shared with the other users of the model.
        slots: maximum number of running requests.
        queue: maximum number of waiting requests.
        context: maximum tokens of prompt and answer together; None is the model's limit.

    Raises:
        SettingsError: the model has sliding attention, or there are fewer than one slot.
    """

    def __init__(
        self, engine: Engine, turns: Turns, slots: int = 16, queue: int = 64, context: int | None = None
    ) -> None:
        text = engine.model.config.text_config
        if slots < 1 or "sliding_attention" in (text.layer_types or ()):
            raise SettingsError(f"{slots} slots for layers {set(text.layer_types or ())}; expected full attention only")
        self.engine, self.turns, self.slots, self.queue = engine, turns, slots, queue
        self.context = min(context or text.max_position_embeddings, text.max_position_embeddings)
        self.ends, self._texts = frozenset(engine.ends), engine.vocabulary.texts
        use_pages(text)
        self._cache = PagedCache(text.num_hidden_layers, engine.device)
        self._running: list[Generation] = []
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._closing = self._ending = False
        turns.busy = lambda: bool(self._running or self._waiting)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self.steps = self.written = 0

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of running requests."""
        return len(self._running)

    def start(self) -> Scheduler:
        """Start the thread."""
        self._thread.start()
        return self

    def submit(self, generation: Generation, *, bounded: bool = True) -> None:
        """Queue a request.

        Args:
            generation: the request.
            bounded: refuse it if the queue is full; False if the caller bounds their number.

        Raises:
            QueueFull: the queue is full, or the scheduler is closing.
        """
        with self._changed:
            full = bounded and len(self._waiting) >= self.queue + max(self.slots - self.running, 0)
            if self._closing or full:
                raise QueueFull(f"{len(self._waiting)} requests wait, the queue holds {self.queue}; try again later")
            self._waiting.append(generation)
            self._changed.notify()

    def close(self, patience: float = 0.0) -> None:
        """Accept no more requests, wait `patience` seconds for the others, cancel the rest, and stop the thread."""
        until = time.monotonic() + patience
        with self._changed:
            self._closing = True
            self._changed.notify()
        while (self._running or self._waiting) and time.monotonic() < until:
            time.sleep(0.02)
        self._ending = True  # a flag, because requests being admitted are in no list
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException:
            with self._changed:
                self._closing = True
            for generation in [*self._running, *self._waiting]:
                self._notify(generation, "", finish="error")
            raise

    @torch.inference_mode()
    def _loop(self) -> None:
        while self._await_work():
            self._drop_waiting()
            try:
                self._admit()
                self._drop_running()
                if self._running:
                    self._step()
            except FAULTS as error:
                log.error("the scheduler failed: %s", str(error).splitlines()[0] if str(error) else type(error))
                for generation in [*self._running]:
                    self._end(generation, "error")
                self._cache = PagedCache(len(self._cache.layers), self.engine.device)

    def _await_work(self) -> bool:
        with self._changed:
            while not (self._waiting or self._running):
                if self._closing:
                    return False
                self._changed.wait()
        return True

    def _reason_to_end(self, generation: Generation) -> str | None:
        """Return why an unfinished answer must end now, or None."""
        if generation.cancelled or self._ending:
            return "cancelled"
        return "timeout" if time.monotonic() > generation.deadline else None

    def _drop_waiting(self) -> None:
        """Remove cancelled and timed-out requests from the queue."""
        with self._changed:
            dropped = [(waiting, finish) for waiting in self._waiting if (finish := self._reason_to_end(waiting))]
        for waiting, finish in dropped:
            self._leave_queue(waiting)
            self._notify(waiting, "", finish=finish)

    def _drop_running(self) -> None:
        """End cancelled and timed-out answers."""
        for generation in [*self._running]:
            if finish := self._reason_to_end(generation):
                self._end(generation, finish)

    def _leave_queue(self, generation: Generation) -> None:
        with self._changed:
            self._waiting.remove(generation)

    def _admit(self) -> None:
        """Prefill waiting requests while slots are free; they stay in the queue until they have a slot."""
        chosen: list[Generation] = []
        tokens = 0
        with self._changed:
            for waiting in itertools.islice(self._waiting, min(self.slots - len(self._running), PREFILLED_TOGETHER)):
                tokens += waiting.prompt_tokens
                if chosen and (tokens > PREFILL_TOKENS or waiting.encoded != chosen[0].encoded):
                    break
                chosen.append(waiting)
        if not chosen or self._admit_together(chosen):
            return
        for waiting in chosen:  # the fault is one request's; the others must not pay for it
            if not self._admit_together([waiting]):
                self._leave_queue(waiting)
                self._notify(waiting, "", finish="error")

    def _admit_together(self, chosen: Sequence[Generation]) -> bool:
        """Give requests a row and their first token; if impossible, return False and leave everything unchanged."""
        try:
            logits = self._prefill(chosen)
        except FAULTS as error:
            for generation in chosen:
                self._release(generation)
            if len(chosen) == 1:
                log.error("a prompt could not be read: %s", type(error).__name__)
            return False
        with self._changed:
            for generation in chosen:
                self._waiting.remove(generation)
                self._running.append(generation)
                generation.inputs = {}  # pixels may be many
        self._take(logits, chosen)
        return True

    def _prefill(self, chosen: Sequence[Generation]) -> torch.Tensor:
        """Read several prompts in one pass, padded on the right, into rows of the cache.

        Returns:
            (B, vocabulary) logits of their first tokens.
        """
        inputs = join_inputs([generation.inputs for generation in chosen], self.engine.device)
        model = self.engine.model
        with self.turns:
            encoded = model.encode_media(inputs)
            text_inputs = {key: value for key, value in inputs.items() if key not in (*MEDIA, *SOUND, ENCODED)}
            outputs = model.model(**text_inputs, mm_encoder_outputs=encoded or None, use_cache=True)
            last = inputs["attention_mask"].sum(1) - 1
            rows = torch.arange(len(chosen), device=last.device)
            logits = model.lm_head(outputs.last_hidden_state[rows, last]).float()
            deltas = (
                model.model.rope_deltas.flatten().tolist()
            )  # state of the module: read before another turn changes it
        for number, generation in enumerate(chosen):
            generation.delta = int(deltas[number])
            generation.row = self._cache.admit(outputs.past_key_values, number, generation.prompt_tokens)
        return logits

    def _step(self) -> None:
        """Generate one token for every running request."""
        for generation in [*self._running]:
            try:
                self._cache.extend(_row(generation))
            except FAULTS as error:  # out of memory for this request
                log.error("an answer of %d tokens could not grow: %s", _row(generation).length, type(error).__name__)
                self._end(generation, "error")
        if self._running:
            self.steps += 1
            self._advance(sorted(self._running, key=lambda generation: _row(generation).length))

    def _advance(self, chosen: Sequence[Generation]) -> None:
        """Generate one token for some answers; if the pass fails, retry with each half until the cause is isolated."""
        try:
            logits = self._pass(chosen)
        except FAULTS as error:
            log.error("a pass for %d answers failed: %s", len(chosen), type(error).__name__)
            if len(chosen) == 1:
                self._end(chosen[0], "error")
                return
            self._advance(chosen[: len(chosen) // 2])
            self._advance(chosen[len(chosen) // 2 :])
            return
        self._take(logits, chosen)

    def _pass(self, chosen: Sequence[Generation]) -> torch.Tensor:
        """Return the (B, vocabulary) logits of the next tokens of some answers."""
        model, device = self.engine.model, self.engine.device
        rows = [_row(generation) for generation in chosen]
        tokens = torch.tensor([[generation.tokens[-1]] for generation in chosen], device=device)
        places = [row.length + generation.delta for row, generation in zip(rows, chosen, strict=True)]
        mask = self._cache.begin_step(rows)
        with self.turns:
            outputs = model.model.language_model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=torch.tensor(places, device=device)[None, :, None].expand(3, -1, -1),
                past_key_values=self._cache,
                use_cache=True,
            )
            logits = model.lm_head(outputs.last_hidden_state[:, -1]).float()
        self._cache.end_step(rows)
        return logits

    def _take(self, logits: torch.Tensor, chosen: Sequence[Generation]) -> None:
        """Select the next tokens of some answers from (B, vocabulary) logits; finished answers free their row."""
        likeliest = logits.argmax(-1).tolist()
        for number, generation in enumerate(chosen):
            try:
                finish = self._write(generation, logits[number], likeliest[number])
            except RequestError:  # of this request's schema only
                finish = "schema"
            if finish:
                self._end(generation, finish)

    def _write(self, generation: Generation, logits: torch.Tensor, likeliest: int) -> str | None:
        """Add one token to an answer; return the reason if it ends."""
        token = likeliest if generation.sampler.greedy else generation.sampler.choose(logits)
        share = generation.share(logits, token)
        generation.tokens.append(token)
        self.written += 1
        if token in self.ends and not generation.options.ignore_eos:
            return "stop"
        generation.sampler.take(token)
        text = generation.detokenizer.add(self._texts[token])
        if text or share:
            self._notify(generation, text, share)
        if generation.detokenizer.stopped or generation.sampler.complete:
            return "stop"
        return "length" if len(generation.tokens) >= generation.options.max_tokens else None

    def _end(self, generation: Generation, finish: str) -> None:
        self._running.remove(generation)
        try:
            self._release(generation)
        finally:  # the reader waits for the end in any case
            text = generation.detokenizer.close() if finish in ("stop", "length") else ""
            self._notify(generation, text, finish=finish)

    def _release(self, generation: Generation) -> None:
        if generation.row is not None:
            self._cache.release(generation.row)
            generation.row = None

    def _notify(
        self, generation: Generation, text: str, share: TokenShare | None = None, finish: str | None = None
    ) -> None:
        generation.finished = finish is not None
        try:
            generation.notify(GenerationOutput(text, (share,) if share else (), finish, len(generation.tokens)))
        except RuntimeError:  # the reader's event loop is closed
            generation.cancel()


def _row(generation: Generation) -> Row:
    assert generation.row is not None  # set for all running requests
    return generation.row


def join_inputs(all_inputs: Sequence[dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """Join the inputs of single conversations: texts padded on the right, media one after another."""
    joined: dict[str, Any] = {}
    length = max(inputs["input_ids"].shape[1] for inputs in all_inputs)
    encoded = [inputs[ENCODED] for inputs in all_inputs if ENCODED in inputs]
    if encoded:
        joined[ENCODED] = join_encoded(encoded)
    for key in dict.fromkeys(key for inputs in all_inputs for key in inputs if key != ENCODED):
        values = [inputs[key] for inputs in all_inputs if key in inputs]
        if key in ("input_ids", "attention_mask", "mm_token_type_ids"):
            values = [torch.nn.functional.pad(value, (0, length - value.shape[1])) for value in values]
        joined[key] = torch.cat(values).to(device)
    return joined
