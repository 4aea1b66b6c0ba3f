"""Calls to an OpenAI-compatible endpoint: concurrent, rate-limited, retried, cached, within a budget.

An answer is stored on disk under a hash of the whole request before it is used, so a build that is stopped and
restarted repeats no call. `ledger.jsonl` records the cost of every call. The key of an endpoint comes from an
environment variable and is never written to disk.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.client import REFUSED, RETRIED, CallError, ChatClient, ChatService, Pace
from emotion_qwen.errors import DataError, RemoteError, SettingsError
from emotion_qwen.files import append, json_line, truncate_partial_line, write_whole
from emotion_qwen.ver.settings import CallSettings, TeacherSettings
from emotion_qwen.ver.store.folder import read_cost
from emotion_qwen.ver.store.table import Postponed

PICTURE_TOKENS = 800
"""Estimated tokens of a picture, used for the budget until the endpoint reports the true figure."""


class BudgetSpent(Postponed):
    """The budget allows no further call; the item stays open, and earlier answers are kept."""


class Refused(RemoteError):
    """The endpoint refuses this one call."""


@dataclass(frozen=True)
class Completion:
    """An endpoint's answer: its text, its cost, whether it came from the cache, and whether it was cut off."""

    text: str
    read: int
    written: int
    seconds: float
    cached: bool
    cut: bool = False


class Ledger:
    """The cost of all calls of a set; enforces the budget. Thread-safe.

    Args:
        path: path of the ledger, with one line per answer.
        settings: the budget.
    """

    def __init__(self, path: Path, settings: CallSettings) -> None:
        self.path, self.settings = path, settings
        truncate_partial_line(path)
        self.calls, self.tokens, self.seconds = read_cost(path)
        self.events: Counter[str] = Counter()
        """Number of events in this run by name: answered, cached, status 429, unusable answer ..."""
        self.spent = ""
        """Why the budget allows no further call; "" if it does."""
        self._reserved = self._open = 0
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._paces: dict[str, Pace] = {}

    def count(self, event: str) -> None:
        """Count an event."""
        with self._lock:
            self.events[event] += 1

    def pace(self, url: str) -> Pace:
        """Return the rate limiter that all callers of one address share."""
        with self._lock:
            return self._paces.setdefault(url.rstrip("/"), Pace(self.settings.per_minute))

    def reserve(self, tokens: int, stopped: threading.Event) -> None:
        """Reserve a call of at most about `tokens` tokens; wait while calls in progress may still leave room for it.

        Raises:
            BudgetSpent: the budget does not allow it, whatever the calls in progress use.
            Postponed: the run is being stopped.
        """
        with self._settled:
            while reason := self.spent or self._too_much(tokens):
                if self.spent or not self._open:
                    self.spent = reason
                    raise BudgetSpent(reason)
                self._settled.wait(0.2)
                if stopped.is_set():
                    raise Postponed("the run is being stopped")
            self._open, self._reserved = self._open + 1, self._reserved + tokens

    def _too_much(self, tokens: int) -> str:
        """Return why the budget does not allow a call in addition to those in progress; "" if it does."""
        most_calls, most_tokens = self.settings.max_calls, self.settings.max_tokens
        if most_calls and self.calls + self._open >= most_calls:
            return (
                f"the budget of {most_calls} calls is spent ({self.calls} answered); raise calls.max_calls and "
                "run again, no call is repeated"
            )
        if most_tokens and self.tokens + self._reserved + tokens > most_tokens:
            return (
                f"the budget of {most_tokens:,} tokens is spent ({self.tokens:,} used, the next call may take "
                f"{tokens:,}); raise calls.max_tokens and run again, no call is repeated"
            )
        return ""

    def settle(self, tokens: int, answer: Completion | None, model: str) -> None:
        """Release the reservation and record the answer, if there is one."""
        with self._settled:
            self._open, self._reserved = self._open - 1, self._reserved - tokens
            self._settled.notify_all()
            if answer is None:
                return
            self.calls += 1
            self.tokens += answer.read + answer.written
            self.seconds += answer.seconds
            self.events["answered"] += 1
            spent = {"read": answer.read, "written": answer.written, "seconds": round(answer.seconds, 3)}
            append(self.path, json_line({"model": model, **spent}))


class Caller:
    """One endpoint and model. Thread-safe.

    Args:
        teacher: address and parameters of the endpoint.
        settings: rate limit, timeout and retries.
        folder: folder of the cache.
        ledger: shared by all callers of a set.

    Raises:
        SettingsError: there is no address or model.
    """

    def __init__(self, teacher: TeacherSettings, settings: CallSettings, folder: Path, ledger: Ledger) -> None:
        self.teacher, self.folder, self.ledger = teacher, folder, ledger
        service = ChatService(
            teacher.url, teacher.model, teacher.key_env, settings.patience, settings.retries, settings.first_wait,
            teacher.structured, settings.length_field,
        )  # fmt: skip
        try:
            self.client = ChatClient(service, ledger.pace(teacher.url), ledger.count)
        except SettingsError as error:
            raise SettingsError(f"teacher: {error}; or choose kind: local") from error
        self.stopped = self.client.stopped
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}

    def ask(self, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None) -> Completion:
        """Send a request, or read the answer from the cache.

        Args:
            messages: in OpenAI's format.
            schema: JSON schema that the answer must follow.

        Raises:
            BudgetSpent: the budget allows no further call.
            Refused: the endpoint refuses this call.
            RemoteError: the endpoint refuses all calls, for example because of the key.
            Postponed: there is no answer after all retries, or the run is being stopped.
        """
        payload = {
            "model": self.teacher.model, "messages": messages, "temperature": self.teacher.temperature,
            "max_tokens": self.teacher.answer_tokens,  # whatever the name of the field there
        }  # fmt: skip
        identity = json.dumps([self.teacher.url, payload, schema], sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()
        path = self.folder / key[:2] / f"{key}.json"
        with self._alone(key):
            cached = _read_answer(path)
            if cached is not None:
                self.ledger.count("cached")
                return cached
            tokens = _guess(messages) + self.teacher.answer_tokens
            self.ledger.reserve(tokens, self.stopped)
            answer: Completion | None = None
            try:
                answer = self._answer(messages, schema)
                kept = {name: value for name, value in asdict(answer).items() if name != "cached"}
                write_whole(path, json_line(kept))
                return answer
            finally:
                self.ledger.settle(tokens, answer, self.teacher.model)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Ensure that two threads with the same request send it only once."""
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._busy.pop(key, None)

    def _answer(self, messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> Completion:
        try:
            fields = {"messages": messages, "temperature": self.teacher.temperature}
            reply = self.client.ask(fields, self.teacher.answer_tokens, schema)
        except CallError as error:
            raise self._fault(error) from error
        read = _guess(messages) if reply.read is None else reply.read
        written = len(reply.text) // 3 if reply.written is None else reply.written
        return Completion(reply.text, read, written, reply.seconds, False, reply.cut)

    def _fault(self, error: CallError) -> RemoteError | Postponed:
        """Return the error for the build that corresponds to a failed call."""
        if error.status in REFUSED:
            return Refused(str(error))
        if error.stopped or error.status is None or error.status in RETRIED:
            return Postponed(str(error))
        return RemoteError(
            f"{error}; check describe.teacher (url, model) and the key in the environment variable "
            f"{self.teacher.key_env}"
        )


def _guess(messages: list[dict[str, Any]]) -> int:
    tokens = 0
    for message in messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            tokens += len(part["text"].encode()) // 3 if part["type"] == "text" else PICTURE_TOKENS
    return tokens


def _read_answer(path: Path) -> Completion | None:
    if not path.is_file():
        return None
    try:
        return Completion(**json.loads(path.read_text(encoding="utf-8")), cached=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"cached answer {str(path)!r} is damaged ({error}); remove it and run again") from error
