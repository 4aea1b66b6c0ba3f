"""Calls to an endpoint that speaks OpenAI's protocol: concurrent, limited, retried, cached, within a budget.

An answer is on disk, under a hash of everything that was asked, before anybody uses it; so a build that is stopped and
started again asks nothing twice. `ledger.jsonl` keeps what every call cost. The key of an endpoint comes from an
environment variable and is written nowhere.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emotion_qwen.errors import DataError, RemoteError, SettingsError
from emotion_qwen.files import append, json_line, mend, write_whole
from emotion_qwen.ver.settings import CallSettings, TeacherSettings
from emotion_qwen.ver.table import Postponed, entries_of

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same call may succeed."""
REFUSED = frozenset({400, 413, 415, 422})
"""Statuses that are about this one call."""
_FORMS = ("schema", "object", "none")
_SIMPLER = {"schema": "object", "object": "none"}
LONGEST_WAIT, LONGEST_ASKED = 60.0, 600.0  # seconds: of our own back-off, and of what an endpoint may ask for
PICTURE_TOKENS = 800
"""Guess for a picture, to keep a budget before the endpoint tells the true figure."""


class BudgetSpent(Postponed):
    """The budget allows no further call; the item stays open, and what was answered is kept."""


class Refused(RemoteError):
    """The endpoint will not answer this one call."""


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered: its text, what it cost, whether it came from the cache, whether it was cut off."""

    text: str
    read: int
    written: int
    seconds: float
    cached: bool
    cut: bool = False


class Ledger:
    """What the calls of a set have cost, from the first call on; holds the budget. Safe for threads.

    Args:
        path: of the ledger, one line an answer.
        settings: the budget.
    """

    def __init__(self, path: Path, settings: CallSettings) -> None:
        self.path, self.settings = path, settings
        self.calls = self.tokens = 0
        self.seconds = 0.0
        self.events: Counter[str] = Counter()
        """What happened in this run, by name: answered, cached, status 429, unusable answer ..."""
        self.spent = ""
        """Why the budget allows no further call; "" while it does."""
        self._reserved = self._open = 0
        self._lock = threading.Lock()
        mend(path)
        for line in entries_of(path):
            self.calls += 1
            self.tokens += line["read"] + line["written"]
            self.seconds += line["seconds"]

    def count(self, event: str) -> None:
        """Count something that happened."""
        with self._lock:
            self.events[event] += 1

    def reserve(self, tokens: int) -> None:
        """Set aside a call of at most about `tokens` tokens.

        Raises:
            BudgetSpent: the budget does not allow it.
        """
        most_calls, most_tokens = self.settings.max_calls, self.settings.max_tokens
        with self._lock:
            if most_calls and self.calls + self._open >= most_calls:
                self.spent = (
                    f"the budget of {most_calls} calls is spent ({self.calls} answered); raise calls.max_calls and "
                    "run again, nothing is asked twice"
                )
            if most_tokens and self.tokens + self._reserved + tokens > most_tokens:
                self.spent = (
                    f"the budget of {most_tokens:,} tokens is spent ({self.tokens:,} used, the next call may take "
                    f"{tokens:,}); raise calls.max_tokens and run again, nothing is asked twice"
                )
            if self.spent:
                raise BudgetSpent(self.spent)
            self._open, self._reserved = self._open + 1, self._reserved + tokens

    def settle(self, tokens: int, answer: Answer | None, model: str) -> None:
        """Give back what was set aside and write down the answer, if there is one."""
        with self._lock:
            self._open, self._reserved = self._open - 1, self._reserved - tokens
            if answer is None:
                return
            self.calls += 1
            self.tokens += answer.read + answer.written
            self.seconds += answer.seconds
            self.events["answered"] += 1
            entry = {
                "model": model,
                "read": answer.read,
                "written": answer.written,
                "seconds": round(answer.seconds, 3),
            }
            append(self.path, json_line(entry))


class Caller:
    """One endpoint and model. Safe for threads.

    Args:
        teacher: where and how it is asked.
        settings: pace and patience.
        folder: of the cache.
        ledger: shared by all callers of a set.

    Raises:
        SettingsError: there is no address or model.
    """

    def __init__(self, teacher: TeacherSettings, settings: CallSettings, folder: Path, ledger: Ledger) -> None:
        if "@" in urlsplit(teacher.url).netloc:
            raise SettingsError(
                "teacher url holds a name or password, and settings are written to disk; put the key into the "
                "environment variable that key_env names"
            )
        if not teacher.url.startswith(("http://", "https://")) or not teacher.model:
            raise SettingsError(
                f"teacher url {teacher.url!r} and model {teacher.model!r}; expected an address such as "
                "http://localhost:8000/v1 and the name of a model there, or kind: local"
            )
        self.teacher, self.settings, self.folder, self.ledger = teacher, settings, folder, ledger
        self.stopped = threading.Event()
        self._structured: str = teacher.structured
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._next = 0.0  # earliest time, monotonic seconds, of the next call

    def ask(self, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None) -> Answer:
        """Ask, or read the answer from the cache.

        Args:
            messages: in OpenAI's form.
            schema: JSON schema that the answer has to fit.

        Raises:
            BudgetSpent: the budget allows no further call.
            Refused: the endpoint will not answer this call.
            RemoteError: the endpoint refuses everything, for example the key.
            Postponed: no answer after all retries; or the run is being stopped.
        """
        payload = {
            "model": self.teacher.model, "messages": messages, "temperature": self.teacher.temperature,
            "max_tokens": self.teacher.answer_tokens,
        }  # fmt: skip
        asked = json.dumps([self.teacher.url, payload, schema], sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(asked.encode("utf-8", "backslashreplace")).hexdigest()
        path = self.folder / key[:2] / f"{key}.json"
        with self._alone(key):
            known = _read_answer(path)
            if known is not None:
                self.ledger.count("cached")
                return known
            tokens = _guess(messages) + self.teacher.answer_tokens
            self.ledger.reserve(tokens)
            answer: Answer | None = None
            try:
                answer = self._until_answered(payload, schema)
                kept = {name: value for name, value in asdict(answer).items() if name != "cached"}
                write_whole(path, json_line(kept))
                return answer
            finally:
                self.ledger.settle(tokens, answer, self.teacher.model)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Let two threads that ask the same thing ask it once."""
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._busy.pop(key, None)

    def _until_answered(self, payload: dict[str, Any], schema: dict[str, Any] | None) -> Answer:
        fault, turn, kind = "", 0, self._structured if schema else "none"
        while True:
            self._take_turn()
            try:
                answer = self._post({**payload, **_response_format(kind, schema)})
                self._learn(kind)
                return answer
            except urllib.error.HTTPError as error:
                fault = self._fault(error)
                if error.code in REFUSED and kind != "none":
                    kind = _SIMPLER[kind]  # many endpoints know no schema; this costs no retry
                    continue
                if error.code in REFUSED:
                    raise Refused(f"{self.teacher.url} will not answer: {fault}") from error
                if error.code not in AGAIN:
                    raise RemoteError(
                        f"{self.teacher.url} answers {fault}; check describe.teacher (url, model) and the key in the "
                        f"environment variable {self.teacher.key_env}"
                    ) from error
                self._wait(turn, error.headers.get("Retry-After"), everybody=error.code == 429)
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
                name = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
                self.ledger.count(f"broken answer: {name}")
                fault = f"{name}: {error}"
                self._wait(turn, None, everybody=False)
            turn += 1
            if turn > self.settings.retries:
                self.ledger.count("given up")
                raise Postponed(f"{self.teacher.url}: no answer after {turn} tries; the last: {fault}")

    def _secret(self) -> str:
        return os.environ.get(self.teacher.key_env, "") if self.teacher.key_env else ""

    def _fault(self, error: urllib.error.HTTPError) -> str:
        """Count a refusal and say what it was; an endpoint may repeat the key, we do not."""
        self.ledger.count(f"status {error.code}")
        body = error.read(2000).decode("utf-8", "replace")
        if secret := self._secret():
            body = body.replace(secret, "[key]")
        return f"{error.code} {' '.join(body.split())[:200]}"

    def _learn(self, kind: str) -> None:
        """Keep the form in which the endpoint answered, if it is simpler than the one it was asked in before.

        Only an answer tells: a call may be refused for a reason of its own, whatever its form.
        """
        with self._lock:
            if _FORMS.index(kind) > _FORMS.index(self._structured):
                self._structured = kind
                self.ledger.count(f"asked without {'schema' if kind == 'object' else 'a form'} from here on")

    def _post(self, payload: dict[str, Any]) -> Answer:
        began = time.monotonic()
        data = json.dumps(payload, ensure_ascii=False).encode("utf-8", "backslashreplace")
        address = self.teacher.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        if secret := self._secret():
            request.add_unredirected_header("Authorization", f"Bearer {secret}")  # another host must not get it
        with urllib.request.urlopen(request, timeout=self.settings.patience) as response:
            body = json.loads(response.read())
        choice = body["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            text = json.dumps(text) if text is not None else ""
        usage = body.get("usage") or {}
        read = int(usage.get("prompt_tokens") or _guess(payload["messages"]))
        written = int(usage.get("completion_tokens") or len(text) // 3)
        return Answer(text, read, written, time.monotonic() - began, False, choice.get("finish_reason") == "length")

    def _take_turn(self) -> None:
        """Wait until this call may begin: after a pause for all, and in the pace of the rate limit."""
        while True:
            with self._lock:
                now = time.monotonic()
                wait = self._next - now
                if wait <= 0:
                    if self.settings.per_minute:
                        self._next = max(now, self._next) + 60.0 / self.settings.per_minute
                    break
            self._sleep(min(wait, 1.0))
        if self.stopped.is_set():
            raise Postponed("the run is being stopped")

    def _wait(self, turn: int, asked: str | None, *, everybody: bool) -> None:
        if turn == self.settings.retries:
            return
        own = min(self.settings.first_wait * 2**turn, LONGEST_WAIT) * random.uniform(0.75, 1.25)
        told = retry_after(asked)
        seconds = own if told is None else min(told, LONGEST_ASKED)
        if everybody:  # an endpoint that is too busy for one call is so for all
            with self._lock:
                self._next = max(self._next, time.monotonic() + seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(max(seconds, 0)):
            raise Postponed("the run is being stopped")


def _response_format(kind: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if kind == "schema":
        wrapped = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": wrapped}}
    return {"response_format": {"type": "json_object"}} if kind == "object" else {}


def retry_after(text: str | None) -> float | None:
    """Read the header Retry-After: seconds, or a date; None if it is neither (RFC 9110, 10.2.3)."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _guess(messages: list[dict[str, Any]]) -> int:
    tokens = 0
    for message in messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            tokens += len(part["text"].encode()) // 3 if part["type"] == "text" else PICTURE_TOKENS
    return tokens


def _read_answer(path: Path) -> Answer | None:
    if not path.is_file():
        return None
    try:
        return Answer(**json.loads(path.read_text(encoding="utf-8")), cached=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"cached answer {str(path)!r} is damaged ({error}); remove it and run again") from error
