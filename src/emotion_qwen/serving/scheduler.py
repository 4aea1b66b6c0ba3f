"""Continuous batching: requests come and go while all that are running get one token from every pass of the model.

One thread owns the loop: admit (prefill a few prompts together), copy into rows of the cache, decode all rows, hand out
what is sure, drop who has gone. A greedy answer is that of `generate` for the request alone: every row has its own
positions and sees only itself. A sampled answer depends on its seed and not on its neighbours.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import torch

from emotion_qwen.errors import EmotionQwenError, RequestError, SettingsError
from emotion_qwen.inference.engine import Engine
from emotion_qwen.model.modeling import MEDIA, SOUND
from emotion_qwen.serving.cache import SlotCache
from emotion_qwen.serving.generation import Generation, Piece, TokenShare
from emotion_qwen.serving.turns import Turns

log = logging.getLogger(__name__)
FAULTS = (RuntimeError, ValueError, IndexError, KeyError, EmotionQwenError)
"""What a pass of the model may raise: out of memory, or inputs that contradict each other."""
PREFILLED_TOGETHER = 8
PREFILL_TOKENS = 4096  # of prompts prefilled together, so that running answers do not wait long


class QueueFull(EmotionQwenError):
    """More requests wait than the queue holds."""


class Scheduler:
    """Run requests on one model.

    Args:
        engine: a loaded model.
        turns: shared with whoever else uses the model.
        slots: requests that run at once.
        queue: requests that may wait.
        context: tokens of prompt and answer together; None is what the model was made for.

    Raises:
        SettingsError: a model with sliding attention, or fewer than one slot.
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
        self._cache = SlotCache(text.num_hidden_layers, slots, engine.device)
        self._running: list[Generation] = []  # by row of the cache
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._closing = self._ending = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self.steps = self.written = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the model."""
        return len(self._running)

    def start(self) -> Scheduler:
        """Start the thread."""
        self._thread.start()
        return self

    def submit(self, generation: Generation) -> None:
        """Queue a request.

        Raises:
            QueueFull: as many wait as may, or the scheduler closes.
        """
        with self._changed:
            if self._closing or len(self._waiting) >= self.queue + max(self.slots - self.running, 0):
                raise QueueFull(f"{len(self._waiting)} requests wait, the queue holds {self.queue}; try again later")
            self._waiting.append(generation)
            self._changed.notify()

    def close(self, patience: float = 0.0) -> None:
        """Take no more requests, let the others end for at most `patience` seconds, cancel what is left, and stop."""
        until = time.monotonic() + patience
        with self._changed:
            self._closing = True
            self._changed.notify()
        while (self._running or self._waiting) and time.monotonic() < until:
            time.sleep(0.02)
        self._ending = True  # a flag and no list of them: some may be between queue and row just now
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
            for one in [*self._running, *self._waiting]:
                self._tell(one, "", finish="error")
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
                log.error("a pass of the model failed: %s", str(error).splitlines()[0] if str(error) else type(error))
                while self._running:
                    self._end(0, "error")
                self._cache = SlotCache(len(self._cache.layers), self.slots, self.engine.device)

    def _await_work(self) -> bool:
        with self._changed:
            while not (self._waiting or self._running):
                if self._closing:
                    return False
                self._changed.wait()
        return True

    def _over(self, one: Generation) -> str | None:
        """Return why an answer ends here although it is not whole; None if it goes on."""
        if one.cancelled or self._ending:
            return "cancelled"
        return "timeout" if time.monotonic() > one.deadline else None

    def _drop_waiting(self) -> None:
        """Take out of the queue who has gone or ran out of time."""
        with self._changed:
            gone = [(one, finish) for one in self._waiting if (finish := self._over(one))]
        for one, finish in gone:
            self._leave_queue(one)
            self._tell(one, "", finish=finish)

    def _drop_running(self) -> None:
        """Free the rows of those who have gone or ran out of time."""
        for row in reversed(range(len(self._running))):
            if finish := self._over(self._running[row]):
                self._end(row, finish)

    def _leave_queue(self, one: Generation) -> None:
        with self._changed:
            self._waiting.remove(one)

    def _admit(self) -> None:
        """Read the prompts of those who wait, as far as there are rows; they stay in the queue until they have one."""
        chosen: list[Generation] = []
        tokens = 0
        with self._changed:
            for one in itertools.islice(self._waiting, min(self.slots - len(self._running), PREFILLED_TOGETHER)):
                tokens += one.prompt_tokens
                if chosen and tokens > PREFILL_TOKENS:
                    break
                chosen.append(one)
        if not chosen or self._admit_together(chosen):
            return
        for one in chosen:  # the fault is one request's; the others must not pay for it
            if not self._admit_together([one]):
                self._leave_queue(one)
                self._tell(one, "", finish="error")

    def _admit_together(self, chosen: Sequence[Generation]) -> bool:
        """Give requests a row and their first token; return False, and leave all as it was, if that cannot be."""
        first = len(self._running)
        try:
            logits = self._prefill(chosen)
        except FAULTS as error:
            while self._cache.running > first:
                self._cache.release(self._cache.running - 1)
            if len(chosen) == 1:
                log.error("a prompt could not be read: %s", type(error).__name__)
            return False
        with self._changed:
            for one in chosen:
                self._waiting.remove(one)
                self._running.append(one)
                one.inputs = {}  # pixels may be many
        self._take(logits, range(first, len(self._running)))
        return True

    def _prefill(self, chosen: Sequence[Generation]) -> torch.Tensor:
        """Read several prompts in one pass, padded on the right, into rows of the cache.

        Returns:
            (B, vocabulary) logits of their first tokens.
        """
        inputs = join_inputs([one.inputs for one in chosen], self.engine.device)
        model = self.engine.model
        with self.turns:
            encoded = model.encode_media(inputs)
            seen = {key: value for key, value in inputs.items() if key not in MEDIA and key not in SOUND}
            outputs = model.model(**seen, mm_encoder_outputs=encoded or None, use_cache=True)
            last = inputs["attention_mask"].sum(1) - 1
            rows = torch.arange(len(chosen), device=last.device)
            logits = model.lm_head(outputs.last_hidden_state[rows, last]).float()
            deltas = model.model.rope_deltas.flatten().tolist()  # state of the module: read before anybody else's turn
        for number, one in enumerate(chosen):
            one.delta = int(deltas[number])
            self._cache.admit(outputs.past_key_values, number, one.prompt_tokens)
        return logits

    def _step(self) -> None:
        """Write one token for everybody."""
        model, device = self.engine.model, self.engine.device
        tokens = torch.tensor([[one.tokens[-1]] for one in self._running], device=device)
        places = [length + one.delta for length, one in zip(self._cache.lengths, self._running, strict=True)]
        mask = self._cache.begin_step()
        with self.turns:
            outputs = model.model.language_model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=torch.tensor(places, device=device)[None, :, None].expand(3, -1, -1),
                past_key_values=self._cache,
                use_cache=True,
            )
            logits = model.lm_head(outputs.last_hidden_state[:, -1]).float()
        self.steps += 1
        self._take(logits, range(len(self._running)))

    def _take(self, logits: torch.Tensor, rows: range) -> None:
        """Choose the next token of the given rows from their (B, vocabulary) logits; rows that end are freed."""
        likeliest = logits.argmax(-1).tolist()
        ended: list[tuple[int, str]] = []
        for number, row in enumerate(rows):
            try:
                finish = self._write(self._running[row], logits[number], likeliest[number])
            except RequestError:  # of this request's schema; nobody else is concerned
                finish = "schema"
            if finish:
                ended.append((row, finish))
        for row, finish in reversed(ended):
            self._end(row, finish)

    def _write(self, one: Generation, logits: torch.Tensor, likeliest: int) -> str | None:
        """Add one token to an answer; return why it ends, if it does."""
        token = likeliest if one.plain else one.choose(logits)
        share = one.share(logits, token)
        one.tokens.append(token)
        self.written += 1
        if token in self.ends and not one.sampling.ignore_eos:
            return "stop"
        if one.constraint is not None:
            one.constraint.take(token)
        text = one.writer.add(self._texts[token])
        if text or share:
            self._tell(one, text, share)
        if one.writer.stopped or (one.constraint is not None and one.constraint.complete):
            return "stop"
        return "length" if len(one.tokens) >= one.sampling.max_tokens else None

    def _end(self, row: int, finish: str) -> None:
        one, last = self._running[row], self._running.pop()
        if last is not one:
            self._running[row] = last
        try:
            self._cache.release(row)
        finally:  # whatever became of the row, somebody waits for the end
            self._tell(one, one.writer.close() if finish in ("stop", "length") else "", finish=finish)

    def _tell(self, one: Generation, text: str, share: TokenShare | None = None, finish: str | None = None) -> None:
        one.finished = finish is not None
        try:
            one.notify(Piece(text, (share,) if share else (), finish, len(one.tokens)))
        except RuntimeError:  # the reader's event loop is gone
            one.cancel()


def join_inputs(all_inputs: Sequence[dict[str, torch.Tensor]], device: torch.device) -> dict[str, torch.Tensor]:
    """Join the inputs of single conversations: texts padded on the right, media one after another."""
    joined: dict[str, torch.Tensor] = {}
    length = max(inputs["input_ids"].shape[1] for inputs in all_inputs)
    for key in dict.fromkeys(key for inputs in all_inputs for key in inputs):
        values = [inputs[key] for inputs in all_inputs if key in inputs]
        if key in ("input_ids", "attention_mask", "mm_token_type_ids"):
            values = [torch.nn.functional.pad(value, (0, length - value.shape[1])) for value in values]
        joined[key] = torch.cat(values).to(device)
    return joined
