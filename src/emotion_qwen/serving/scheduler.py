"""Continuous batching: requests come and go while all that are running get one token from every pass of the model.

One thread owns the loop: admit (prefill a few prompts together), copy into rows of the cache, decode all rows, hand out
what is sure, drop who has gone. A greedy answer is that of `generate` for the request alone: every row has its own
positions and sees only itself. A sampled answer depends on its seed and not on its neighbours.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from emotion_qwen.errors import EmotionQwenError, SettingsError
from emotion_qwen.inference.engine import Engine
from emotion_qwen.model.modeling import MEDIA, SOUND
from emotion_qwen.serving.cache import SlotCache
from emotion_qwen.serving.grammar import Grammar, Vocabulary
from emotion_qwen.serving.tokens import TokenBytes, Writer
from emotion_qwen.serving.turns import FairLock

log = logging.getLogger(__name__)
PREFILLED_TOGETHER = 8
PREFILL_TOKENS = 4096  # of prompts prefilled together, so that running answers do not wait long


class QueueFull(EmotionQwenError):
    """More requests wait than the queue holds."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is written.

    Attributes:
        max_tokens: at most so many tokens.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens that together have this share.
        seed: of the choice; None takes another one each time.
        stop: texts at which the answer ends.
        logprobs: how many of the likeliest tokens are told with each token; None tells none.
        ignore_eos: go on behind the end of the answer, for measurements.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class TokenShare:
    """One token of an answer: its number, its log-likelihood, and the likeliest ones in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """What is new in an answer.

    Attributes:
        text: sure by now; may be empty.
        tokens: told if they were asked for.
        finish: "stop", "length", "cancelled", "timeout" or "error"; None while the answer goes on.
        count: tokens written so far.
    """

    text: str
    tokens: tuple[TokenShare, ...] = ()
    finish: str | None = None
    count: int = 0


@dataclass(eq=False)
class Generation:
    """A request on its way. `cancel` may be called from any thread.

    Args:
        inputs: of one conversation, as the processor returns them.
        sampling: how it is written.
        notify: called with every `Piece`, from the scheduler's thread; must not block.
        grammar: what the answer must fit.
        deadline: `time.monotonic()` at which it ends.
    """

    inputs: dict[str, torch.Tensor]
    sampling: Sampling
    notify: Callable[[Piece], None]
    grammar: Grammar | None = None
    deadline: float = math.inf
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    delta: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        self.writer = Writer(self.sampling.stop)
        self.random: torch.Generator | None = None
        if self.sampling.temperature > 0:
            self.random = torch.Generator()
            self.random.manual_seed(self.sampling.seed) if self.sampling.seed is not None else self.random.seed()

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt."""
        return self.inputs["input_ids"].shape[1]

    def cancel(self) -> None:
        """Ask for the end; the row is free after the token that is being written."""
        self.cancelled = True


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
        self, engine: Engine, turns: FairLock, slots: int = 16, queue: int = 64, context: int | None = None
    ) -> None:
        text = engine.model.config.text_config
        if slots < 1 or "sliding_attention" in (text.layer_types or ()):
            raise SettingsError(f"{slots} slots for layers {set(text.layer_types or ())}; expected full attention only")
        self.engine, self.turns, self.slots, self.queue = engine, turns, slots, queue
        self.context = min(context or text.max_position_embeddings, text.max_position_embeddings)
        end = engine.model.generation_config.eos_token_id
        self.ends = frozenset([end] if isinstance(end, int) else end or [engine.processor.tokenizer.eos_token_id])
        self.token_bytes = TokenBytes(engine.processor.tokenizer, text.vocab_size)
        self._vocabulary: Vocabulary | None = None
        self._cache = SlotCache(text.num_hidden_layers, slots, engine.device)
        self._running: list[Generation] = []  # by row of the cache
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self.steps = self.written = 0

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens as a tree, made when first needed."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self.token_bytes.pieces, sorted(self.ends))
        return self._vocabulary

    def token_name(self, token: int) -> str:
        """Name a token that has no text, such as the end of an answer."""
        return self.engine.processor.tokenizer.convert_ids_to_tokens(token) or ""

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
        for generation in [*self._running, *self._waiting]:
            generation.cancel()
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

    def _loop(self) -> None:
        while self._await_work():
            self._drop_waiting()
            try:
                self._admit()
                if self._running:
                    self._step()
            except (RuntimeError, ValueError, IndexError) as error:  # out of memory, or a fault of ours
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

    def _drop_waiting(self) -> None:
        """Take out of the queue who has gone or ran out of time."""
        now = time.monotonic()
        with self._changed:
            gone = [one for one in self._waiting if one.cancelled or now > one.deadline]
            for one in gone:
                self._waiting.remove(one)
        for one in gone:
            self._tell(one, "", finish="cancelled" if one.cancelled else "timeout")

    def _admit(self) -> None:
        chosen: list[Generation] = []
        with self._changed:
            free, tokens = self.slots - len(self._running), 0
            while self._waiting and len(chosen) < min(free, PREFILLED_TOGETHER):
                tokens += self._waiting[0].prompt_tokens
                if chosen and tokens > PREFILL_TOKENS:
                    break
                chosen.append(self._waiting.popleft())
        if not chosen:
            return
        try:
            self._prefill(chosen)
        except (RuntimeError, ValueError, IndexError, KeyError, EmotionQwenError) as error:
            if len(chosen) == 1:
                log.error("a prompt could not be read: %s", type(error).__name__)
                self._tell(chosen[0], "", finish="error")
                return
            for one in chosen:  # the fault is one request's; the others must not pay for it
                self._admit_alone(one)

    def _admit_alone(self, generation: Generation) -> None:
        try:
            self._prefill([generation])
        except (RuntimeError, ValueError, IndexError, KeyError, EmotionQwenError) as error:
            log.error("a prompt could not be read: %s", type(error).__name__)
            self._tell(generation, "", finish="error")

    @torch.inference_mode()
    def _prefill(self, chosen: Sequence[Generation]) -> None:
        """Read several prompts in one pass, padded on the right, and give each a row."""
        inputs = join_inputs([one.inputs for one in chosen], self.engine.device)
        model = self.engine.model
        with self.turns:
            encoded = model.encode_media(inputs)
            seen = {key: value for key, value in inputs.items() if key not in MEDIA and key not in SOUND}
            outputs = model.model(**seen, mm_encoder_outputs=encoded or None, use_cache=True)
            last = inputs["attention_mask"].sum(1) - 1
            rows = torch.arange(len(chosen), device=last.device)
            logits = model.lm_head(outputs.last_hidden_state[rows, last]).float().cpu()
            deltas = model.model.rope_deltas.flatten().tolist()  # state of the module: read before anybody else's turn
        for number, one in enumerate(chosen):
            one.delta = int(deltas[number])
            self._cache.admit(outputs.past_key_values, number, one.prompt_tokens)
            self._running.append(one)
        first = len(self._running) - len(chosen)
        self._take(logits, range(first, len(self._running)))

    @torch.inference_mode()
    def _step(self) -> None:
        """Write one token for everybody."""
        for row in reversed(range(len(self._running))):
            one = self._running[row]
            if one.cancelled or time.monotonic() > one.deadline:
                self._end(row, "cancelled" if one.cancelled else "timeout")
        if not self._running:
            return
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
            logits = model.lm_head(outputs.last_hidden_state[:, -1]).float().cpu()
        self.steps += 1
        self._take(logits, range(len(self._running)))

    def _take(self, logits: torch.Tensor, rows: range) -> None:
        """Choose the next token of the given rows from their (B, vocabulary) logits; rows that end are freed."""
        likeliest = logits.argmax(-1).tolist()
        ended: list[tuple[int, str]] = []
        for number, row in enumerate(rows):
            one = self._running[row]
            finish = self._write(one, logits[number], likeliest[number])
            if finish:
                ended.append((row, finish))
        for row, finish in reversed(ended):
            self._end(row, finish)

    def _write(self, one: Generation, logits: torch.Tensor, likeliest: int) -> str | None:
        """Add one token to an answer; return why it ends, if it does."""
        plain = one.grammar is None and one.random is None
        token = likeliest if plain else choose(logits, one)
        share = _share(logits, token, one.sampling.logprobs)
        one.tokens.append(token)
        self.written += 1
        if token in self.ends and not one.sampling.ignore_eos:
            return "stop"
        if one.grammar is not None:
            one.grammar.take(token)
        text = one.writer.add(self.token_bytes[token])
        if text or share:
            self._tell(one, text, share)
        if one.writer.stopped or (one.grammar is not None and one.grammar.complete):
            return "stop"
        return "length" if len(one.tokens) >= one.sampling.max_tokens else None

    def _end(self, row: int, finish: str) -> None:
        one, last = self._running[row], self._running.pop()
        if last is not one:
            self._running[row] = last
        self._cache.release(row)
        self._tell(one, one.writer.close() if finish in ("stop", "length") else "", finish=finish)

    def _tell(self, one: Generation, text: str, share: TokenShare | None = None, finish: str | None = None) -> None:
        one.finished = finish is not None
        try:
            one.notify(Piece(text, (share,) if share else (), finish, len(one.tokens)))
        except RuntimeError:  # the reader's event loop is gone
            one.cancel()


def choose(logits: torch.Tensor, one: Generation) -> int:
    """Choose a token from (vocabulary,) logits, by the request's grammar, temperature, share and own chance."""
    if one.grammar is not None:
        logits = logits.masked_fill(~one.grammar.allowed(), -math.inf)
    if one.random is None:
        return int(logits.argmax())
    shares = (logits / one.sampling.temperature).softmax(-1)
    ranked, order = shares.sort(descending=True)
    kept = ranked.cumsum(-1) - ranked < one.sampling.top_p  # the likeliest one is always kept
    return int(order[torch.multinomial(ranked * kept, 1, generator=one.random)])


def _share(logits: torch.Tensor, token: int, asked: int | None) -> TokenShare | None:
    if asked is None:
        return None
    told = logits.log_softmax(-1)
    values, tokens = told.topk(asked) if asked else (told[:0], told[:0].long())
    return TokenShare(token, float(told[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))


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
