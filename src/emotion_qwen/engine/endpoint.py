"""A vision model behind an OpenAI-compatible service, used in place of a loaded one.

The service gets the same crops, words and questions as a local model. The method of measuring the shares of labels
depends on what the service provides and is determined once per run, in this order:

- "answers": the log-likelihood of every label as a continuation of the prompt, from the log-probabilities of prompt
  tokens (`prompt_logprobs` with `continue_final_message`, as vLLM and our own server have them), or of a candidate for
  the first token that is the whole label. Exact.
- "first token": the log-probabilities of the first token of one answer (`top_logprobs`). Each candidate token belongs
  to the labels that begin with it; if several labels begin alike, the next method is used.
- "repeated": a label is requested `REPEATED` times at temperature 1 and counted.

A service of this package provides its model's training facts, calibration and budgets; they are used as with the
model itself.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.client import CallError, ChatClient, ChatService, Reply, parse_endpoint
from emotion_qwen.engine.batches import per_view
from emotion_qwen.engine.calibration import Calibration
from emotion_qwen.engine.encoding import Part, View, parts_of
from emotion_qwen.engine.engine import Engine
from emotion_qwen.engine.label_shares import candidates, first_token_scores, named_answer
from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.engine.scoring import WordScores
from emotion_qwen.engine.wire import FRAMES, wire_content
from emotion_qwen.errors import InferenceError, SettingsError, listed
from emotion_qwen.settings import ClipSettings, HearingSettings

KEY_VARIABLE = "OPENAI_API_KEY"
CONCURRENCY = 8
"""Number of concurrent requests."""
REPEATED = 8
"""Number of answers that are counted if a service provides no log-probabilities."""
TOP = (20, 5)
"""Numbers of candidate tokens to ask for: OpenAI's maximum, and that of some other services."""
REMEMBERED = 20_000
"""Maximum number of replies that are kept."""
OTHERS = {"person_frames": 4, "max_frames": FRAMES, "capture_strength": 0.0}
"""Clip settings for other services: few pictures, since each has a cost, and none with a washed-out background, on
which only models of this package were trained."""


@dataclass(frozen=True)
class EndpointProcessor:
    """Properties of the model behind a service that the preparation of clips needs."""

    settings: ClipSettings
    factor: int
    hearing: HearingSettings | None = None
    chat_template: str = ""


class PlainEncoder:
    """Leaves media unchanged, because the service encodes them."""

    def views(self, views: Sequence[View]) -> list[list[Part]]:
        """Return the views as lists of parts."""
        return [parts_of(view) for view in views]

    def forget(self) -> None:
        """Do nothing, as nothing is cached."""


@dataclass
class Spent:
    """Requests to a service so far; tokens are those of prompts and answers, as far as it reports them."""

    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class ServedFacts:
    """Information from a service of this package about its model; empty for others."""

    ours: bool = False
    clip_settings: Mapping[str, Any] = field(default_factory=lambda: dict(OTHERS))
    hearing_settings: Mapping[str, Any] | None = None
    factor: int = 28
    calibration: Calibration = field(default_factory=Calibration)
    training_facts: Mapping[str, Any] = field(default_factory=lambda: {"scores": "likelihood"})
    weights: str = ""

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> ServedFacts:
        """Read the card of a model; an unknown form is that of another service."""
        facts: Any = card.get("emotion")
        try:
            return cls(
                True,
                facts["clip_settings"],
                facts["hearing_settings"],
                int(facts["factor"]),
                Calibration.of(facts["calibration"]),
                dict(facts["training_facts"]),
                str(facts["weights"]),
            )
        except (TypeError, KeyError, ValueError, AttributeError):
            return cls()


class EndpointEngine(Engine):
    """See the module; the methods are described in `Engine`. There are no features, gates and facial actions.

    Args:
        client: of the model.
        concurrency: number of concurrent requests.

    Raises:
        CallError: there is no service at the address.
        SettingsError: the service has a list of models without this one.
    """

    has_features = False

    def __init__(self, client: ChatClient, concurrency: int = CONCURRENCY) -> None:
        self.client, self.spent = client, Spent()
        service = client.service
        self.name = f"{service.model} at {service.url}"
        self.folder = Path()
        cards = {str(card.get("id")): card for card in client.models()}
        if cards and service.model not in cards:
            raise SettingsError(
                f"{service.url} has no model {service.model!r}; it has {listed(sorted(cards), 8)}, give one of them"
            )
        self.served = ServedFacts.of(cards.get(service.model, {}))
        heard = self.served.hearing_settings
        self.processor = EndpointProcessor(  # type: ignore[assignment]
            ClipSettings.of(dict(self.served.clip_settings), f"clip settings of {self.name}"),
            self.served.factor,
            None if heard is None else HearingSettings.of(dict(heard), f"hearing settings of {self.name}"),
        )
        self.pool = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")
        self.way: str | None = None
        """The method of measuring shares, once it is known."""
        self._top = 0
        self._lengths: dict[str, int] = {}  # answer -> its number of tokens
        self._answered: dict[str, Reply] = {}  # a failed clip is asked about again alone; nothing is paid twice

    @classmethod
    def at(cls, name: str) -> EndpointEngine:
        """Return the model "openai:NAME@http://host/v1"; its key is in the variable `KEY_VARIABLE`.

        Raises:
            SettingsError: the address is invalid, or there is no such model.
            CallError: there is no service at the address.
        """
        url, model = parse_endpoint(name)
        return cls(ChatClient(ChatService(url, model, KEY_VARIABLE)))

    @property
    def device(self) -> torch.device:
        """The device of computations done here."""
        return torch.device("cpu")

    @property
    def facial_actions(self) -> tuple[str, ...]:
        """No facial actions."""
        return ()

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration that the service provides; empty for other services."""
        return self.served.calibration

    def training_facts(self) -> dict[str, Any]:
        """Return the service's training facts; for other services, that their scores are plain likelihoods."""
        return {name: value for name, value in self.served.training_facts.items() if name != "facial_actions"}

    def provenance(self) -> dict[str, Any]:
        """Return the model's name and the known facts about its weights."""
        known = self.served.weights or hashlib.sha256(self.name.encode()).hexdigest()[:16]
        return {"model": self.name, "weights": known, "dtype": ""}

    def shares_from(self) -> str:
        """Return how shares of labels are measured: "answers", "first token" or "repeated"."""
        if self.way is None:
            self.way = self._probe()
        return self.way

    def cost(self, clips: int, labels: int) -> str:
        """Return a line with the largest number of requests and pictures that reports about clips take.

        Args:
            clips: their number.
            labels: number of labels to choose from.
        """
        settings = self.processor.settings
        views = settings.person_frames * (2 if settings.person_mirrored else 1)
        each = {"answers": labels + 1, "first token": 1, "repeated": REPEATED}[self.shares_from()]
        most = views * each + 1
        return (
            f"at most {most:,} requests with one picture each per person and channel; for {clips:,} clip(s) with one "
            f"person each {most * clips:,}"
        )

    def encoder(self) -> Any:
        """Return an encoder that leaves media unchanged."""
        return PlainEncoder()

    # --- text --------------------------------------------------------------------------------------------------------

    def write(
        self,
        views: Sequence[View],
        question: str | Sequence[str],
        max_new_tokens: int = 64,
        *,
        sampling: Sampling | None = None,
        schema: Mapping[str, Any] | None = None,
        system: str | Sequence[str] = "",
    ) -> list[str]:
        """Generate an answer to a question about each view; see `Engine.write`.

        Raises:
            InferenceError: the service refused a request, or gave no usable answer.
            CallError: the service cannot be reached.
        """
        sampling = sampling or Sampling()
        payloads = []
        for row, messages in enumerate(self._conversations(views, question, system)):
            payload: dict[str, Any] = {"messages": messages, "temperature": 0}
            if not Sampler(sampling).greedy:
                seed = None if sampling.seed is None else sampling.seed + row
                payload |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}
            payloads.append(payload)
        replies = self._all(payloads, max_new_tokens, schema)
        return [reply.text.strip() for reply in replies]

    def chat(self, messages: Sequence[dict[str, Any]], max_new_tokens: int = 256) -> str:
        """Continue a conversation with any number of visuals and turns."""
        sent = [{**message, "content": wire_content(message["content"])} for message in messages]
        return self._all([{"messages": sent, "temperature": 0}], max_new_tokens)[0].text.strip()

    # --- shares ------------------------------------------------------------------------------------------------------

    def score(self, views: Sequence[View], question: str | Sequence[str], answers: Sequence[str]) -> WordScores:
        """Score the likelihood of each answer for each view; see `Engine.score` and the module.

        Returns:
            Scores whose number of tokens is 1 if the service does not report it; gates are zeros, `hidden` is (V, 0).

        Raises:
            InferenceError, CallError: as of `write`.
        """
        conversations = self._conversations(views, question, "")
        lengths = torch.ones(len(answers))
        if self.shares_from() == "answers":
            scores, lengths = self._likelihoods(conversations, answers)
        else:
            rows = None if self.way == "repeated" else self._first_tokens(conversations, answers)
            if rows is None:
                self.way = "repeated"
                rows = self._counted(conversations, answers)
            scores = torch.tensor(rows)
        return WordScores(scores, lengths, torch.zeros(len(views), 2), torch.zeros(len(views), 0))

    def _probe(self) -> str:
        """Determine with a few short requests what the service provides."""
        question = [{"role": "user", "content": "Is the sky blue? Answer yes or no."}]
        exact = False
        with suppress(InferenceError):
            exact = isinstance(self._ask(self._continued(question, "yes"), 1).body.get("prompt_logprobs"), list)
        for top in TOP:
            with suppress(InferenceError):
                payload = {"messages": question, "temperature": 0, "logprobs": True, "top_logprobs": top}
                if candidates(self._ask(payload, 1)):
                    self._top = top
                    break
        return "answers" if exact else "first token" if self._top else "repeated"

    @staticmethod
    def _continued(messages: list[dict[str, Any]], answer: str) -> dict[str, Any]:
        return {
            "messages": [*messages, {"role": "assistant", "content": answer}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": 0,
            "temperature": 0,
        }

    def _likelihoods(
        self, conversations: Sequence[list[dict[str, Any]]], answers: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (V, L) log-likelihoods of the answers, and (L,) their numbers of tokens.

        No further request is made for an answer of one token that is among the candidates for the first token.
        """
        begun = self._all([self._beginning(messages) for messages in conversations], 1)
        first = [(0, column) for column, answer in enumerate(answers) if answer not in self._lengths]
        known = self._continuations(conversations, answers, begun, first)
        self._lengths |= {answers[column]: count for (_, column), (_, count) in known.items()}
        first_tokens = [candidates(reply) for reply in begun]
        for row, column in itertools.product(range(len(conversations)), range(len(answers))):
            answer = answers[column]
            if (row, column) not in known and self._lengths[answer] == 1 and answer in first_tokens[row]:
                known[row, column] = first_tokens[row][answer], 1
        rest = [
            place for place in itertools.product(range(len(conversations)), range(len(answers))) if place not in known
        ]
        known |= self._continuations(conversations, answers, begun, rest)
        scores = [[known[row, column][0] for column in range(len(answers))] for row in range(len(conversations))]
        return torch.tensor(scores), torch.tensor([self._lengths[answer] for answer in answers])

    def _continuations(
        self,
        conversations: Sequence[list[dict[str, Any]]],
        answers: Sequence[str],
        begun: Sequence[Reply],
        places: Sequence[tuple[int, int]],
    ) -> dict[tuple[int, int], tuple[float, int]]:
        """Return (row, column) -> log-likelihood and number of tokens of an answer after a conversation."""
        replies = self._all([self._continued(conversations[row], answers[column]) for row, column in places], 1)
        scores = {}
        for (row, column), reply in zip(places, replies, strict=True):
            begin = begun[row].read or 0
            tokens = (reply.body.get("prompt_logprobs") or [])[begin:]
            if not begin or not tokens or not all(isinstance(token, dict) and token for token in tokens):
                raise InferenceError(f"{self.name}: no log-probabilities of the answer in a reply; ask again")
            # The entry of a token contains the token itself first, then likelier ones if they were requested.
            total = sum(float(next(iter(token.values()))["logprob"]) for token in tokens)
            scores[row, column] = total, len(tokens)
        return scores

    def _beginning(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the request for the candidates for the first token, if the service gives any."""
        payload: dict[str, Any] = {"messages": messages, "temperature": 0}
        return payload | {"logprobs": True, "top_logprobs": self._top} if self._top else payload

    def _first_tokens(
        self, conversations: Sequence[list[dict[str, Any]]], answers: Sequence[str]
    ) -> list[list[float]] | None:
        """Return per conversation the log-shares of the answers by their first token; None if these are ambiguous."""
        replies = self._all([self._beginning(messages) for messages in conversations], 1)
        rows = [first_token_scores(candidates(reply), answers) for reply in replies]
        return None if any(row is None for row in rows) else [row for row in rows if row is not None]

    def _counted(self, conversations: Sequence[list[dict[str, Any]]], answers: Sequence[str]) -> list[list[float]]:
        """Return per conversation the log-shares of the answers among `REPEATED` constrained ones.

        Raises:
            InferenceError: none of the answers about a view is one of the labels.
        """
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(answers)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        payloads = [
            {"messages": messages, "temperature": 1.0, "seed": number}
            for messages in conversations
            for number in range(REPEATED)
        ]
        replies = self._all(payloads, 32, schema)
        rows = []
        for start in range(0, len(replies), REPEATED):
            named = [named_answer(reply.text, answers) for reply in replies[start : start + REPEATED]]
            counts = Counter(name for name in named if name is not None)
            if not counts:
                raise InferenceError(
                    f"{self.name}: {REPEATED} answers without one of the labels, the last: {replies[start].text[:80]!r}"
                )
            rows.append(
                [math.log((counts[answer] + 0.5) / (counts.total() + 0.5 * len(answers))) for answer in answers]
            )
        return rows

    # --- requests ----------------------------------------------------------------------------------------------------

    def _all(
        self, payloads: Sequence[Mapping[str, Any]], tokens: int, schema: Mapping[str, Any] | None = None
    ) -> list[Reply]:
        """Ask concurrently; all requests end before an error of one of them is raised, so that none is paid twice."""
        jobs = [self.pool.submit(self._ask, payload, tokens, schema) for payload in payloads]
        replies, faults = [], []
        try:
            for job in jobs:
                try:
                    replies.append(job.result())
                except InferenceError as error:
                    faults.append(error)
        finally:
            for job in jobs:
                job.cancel()
        if faults:
            raise faults[0]
        return replies

    def _ask(self, payload: Mapping[str, Any], tokens: int, schema: Mapping[str, Any] | None = None) -> Reply:
        if self.served.ours:
            payload = {**payload, "focus": "whole"}  # the pictures are crops already
        text = json.dumps([payload, tokens, schema], ensure_ascii=False)
        key = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
        if key not in self._answered:
            try:
                reply = self.client.ask(payload, tokens, schema)
            except CallError as error:
                if error.stopped or not error.connected or error.status in (401, 403, 404):
                    raise  # true of every request
                raise InferenceError(str(error)) from error
            if len(self._answered) >= REMEMBERED:
                self._answered.clear()
            self._answered[key] = reply
            self.spent.requests += 1
            self.spent.tokens += (reply.read or 0) + (reply.written or 0)
        return self._answered[key]

    def _conversations(
        self, views: Sequence[View], question: str | Sequence[str], system: str | Sequence[str]
    ) -> list[list[dict[str, Any]]]:
        questions = per_view(question, len(views), "questions")
        systems = per_view(system, len(views), "system messages")
        conversations: list[list[dict[str, Any]]] = []
        for view, text, before in zip(views, questions, systems, strict=True):
            content = wire_content([*parts_of(view), {"type": "text", "text": text}])
            first = [{"role": "system", "content": before}] if before else []
            conversations.append([*first, {"role": "user", "content": content}])
        return conversations
