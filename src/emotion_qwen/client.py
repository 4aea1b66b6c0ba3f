"""A client for services with OpenAI's chat API, with retries and a rate limit.

The key is read from an environment variable, is never written, and is sent to the configured address only: a redirect
is an error that names the new address. If the service is busy, all callers wait as long as it says. Services differ in
the fields for JSON output and for the length of the answer; the variant that the service accepts is kept.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from emotion_qwen.errors import RemoteError, SettingsError

ENDPOINT = "openai:"
"""Prefix of the name of a model behind a service."""
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same call may succeed."""
REFUSED = frozenset({400, 413, 415, 422})
"""Statuses caused by this call's content."""
FORMS = ("schema", "object", "none")
"""How JSON is requested: with a schema, as any object, or by the prompt alone."""
LONGEST_WAIT, LONGEST_ASKED = 60.0, 600.0
"""Maximum seconds of the client's own pauses, and of pauses that a service requests."""
LARGEST_ANSWER = 1 << 26
"""Maximum bytes of an answer."""
LengthField = Literal["auto", "max_tokens", "max_completion_tokens"]


class CallError(RemoteError):
    """A call failed.

    Args:
        message: the error and the number of tries.
        status: HTTP status of the last try; None if there was no response of the agreed form.
        stopped: whether the client was stopped.
        connected: whether the service responded at all to the last try.
    """

    def __init__(
        self, message: str, status: int | None = None, *, stopped: bool = False, connected: bool = True
    ) -> None:
        super().__init__(message)
        self.status, self.stopped, self.connected = status, stopped, connected


@dataclass(frozen=True)
class ChatService:
    """A model of a service, and how to call it.

    Attributes:
        url: of the service, including `/v1`.
        model: its name there.
        key_variable: environment variable with the key; if it is empty, no key is sent.
        timeout: seconds per try.
        retries: further tries after 408, 409, 429, 5xx, a lost connection, or an answer of another form.
        first_wait: seconds before the first retry, unless the service gives a time; doubled each time up to
            `LONGEST_WAIT`.
        form: how JSON is requested at first; see `FORMS`.
        length_field: name of the field for the maximum length; "auto" begins with `max_tokens` and switches if the
            service requires the other.
    """

    url: str
    model: str
    key_variable: str = ""
    timeout: float = 120.0
    retries: int = 4
    first_wait: float = 1.0
    form: str = "schema"
    length_field: LengthField = "auto"


@dataclass(frozen=True)
class Reply:
    """An answer: its text, maybe empty; tokens of prompt and answer if reported; seconds; whether it was truncated.

    `body` is the whole response, with log-probabilities if they were requested and the service has them.
    """

    text: str
    read: int | None
    written: int | None
    seconds: float
    cut: bool
    body: Mapping[str, Any] = field(default_factory=dict)


def parse_endpoint(text: str) -> tuple[str, str]:
    """Return address and model of "openai:NAME@http://host/v1", or of "openai:http://host/v1#NAME".

    Raises:
        SettingsError: neither form.
    """
    place = text.removeprefix(ENDPOINT)
    if place.startswith(("http://", "https://")):
        url, _, name = place.partition("#")
    else:
        name, at, url = place.partition("@http")
        url = at[1:] + url
    if not url or not name:
        raise SettingsError(f"endpoint {text!r} is not a valid model address; write openai:NAME@http://host:8000/v1")
    return url.rstrip("/"), name


class Pace:
    """Rate limit of calls to a service, including pauses that the service requests.

    Args:
        per_minute: maximum calls begun per minute; 0 is no limit.
    """

    def __init__(self, per_minute: int = 0) -> None:
        self.per_minute = per_minute
        self._next = 0.0  # earliest time, monotonic seconds, of the next call
        self._lock = threading.Lock()

    def take_turn(self, sleep: Callable[[float], None]) -> None:
        """Wait until a call may begin; `sleep` waits for the given seconds, or raises."""
        while True:
            with self._lock:
                now = time.monotonic()
                left = self._next - now
                if left <= 0:
                    if self.per_minute:
                        self._next = max(now, self._next) + 60.0 / self.per_minute
                    return
            sleep(min(left, 1.0))

    def pause(self, seconds: float) -> None:
        """Prevent calls from starting for `seconds`."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class ChatClient:
    """Calls one model of a service. Thread-safe.

    Args:
        service: the model, and how to call it.
        pace: shared by all clients of one service.
        count: called with the name of each event, such as "status 429", "broken answer: timeout", "given up".

    Raises:
        SettingsError: the address or model is missing, or the address contains a password.
    """

    def __init__(
        self, service: ChatService, pace: Pace | None = None, count: Callable[[str], None] = lambda event: None
    ) -> None:
        if "@" in urlsplit(service.url).netloc:
            raise SettingsError(
                "the address of the service contains a user name or password, and settings are stored; put the key "
                "into an environment variable"
            )
        if not service.url.startswith(("http://", "https://")) or not service.model:
            raise SettingsError(
                f"service {service.url!r} with model {service.model!r} is not a valid model address; expected one "
                "such as http://localhost:8000/v1 and the name of a model there"
            )
        self.service, self.pace, self.count = service, pace or Pace(), count
        self.stopped = threading.Event()
        """Set it to end running calls at their next wait."""
        self._form = service.form
        self._length = "max_tokens" if service.length_field == "auto" else service.length_field
        self._length_told = service.length_field != "auto"
        self._lock = threading.Lock()

    def ask(self, payload: Mapping[str, Any], tokens: int, schema: Mapping[str, Any] | None = None) -> Reply:
        """Return the answer of the model; retries if that may help.

        Args:
            payload: fields of the request except the model, the length and the response format.
            tokens: maximum length of the answer.
            schema: JSON schema of the answer; omitted for services that do not support it.

        Raises:
            CallError: there is no valid answer.
        """
        turn, form = 0, self._form if schema else "none"
        while True:
            self.pace.take_turn(self._sleep)
            self._sleep(0)
            length = self._length
            body = {**payload, "model": self.service.model, length: tokens, **_response_format(form, schema)}
            seconds, status, everybody, connected = None, None, False, True
            try:
                reply = self._post(body)
                self._learn(form if schema else self._form)
                return reply
            except urllib.error.HTTPError as error:
                status, detail = error.code, self._detail(error)
                self.count(f"status {status}")
                fault = f"answered {status}: {detail}"
                if status in REFUSED and self._takes_other_length(length, detail):
                    continue
                if status in REFUSED and form != "none":
                    form = FORMS[
                        FORMS.index(form) + 1
                    ]  # many services do not support schemas; this is not counted as a try
                    continue
                if status not in RETRIED:
                    raise self._error(fault, turn + 1, status) from error
                seconds = retry_after(error.headers.get("Retry-After"))
                everybody = status == 429 or seconds is not None
            except (OSError, http.client.HTTPException) as error:  # no connection, a lost one, a timeout
                reason = getattr(error, "reason", None) or error or type(error).__name__
                late = isinstance(error, TimeoutError) or isinstance(reason, TimeoutError)
                self.count(f"broken answer: {'timeout' if late else type(error).__name__}")
                fault, connected = f"did not answer ({reason})", late
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self.count(f"broken answer: {type(error).__name__}")
                fault = f"answered garbage ({type(error).__name__}: {error})"
            turn += 1
            if turn > self.service.retries:
                self.count("given up")
                raise self._error(fault, turn, status, connected)
            self._wait(turn, seconds, everybody)

    def models(self) -> list[Mapping[str, Any]]:
        """Return the service's list of models, with one try; empty if it has no such list.

        Raises:
            CallError: there is no service at the address, or it refuses the key.
        """
        try:
            listed = self._fetch("/models", None)["data"]
            return [each for each in listed if isinstance(each, dict)]
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise self._error(f"answered {error.code}: {self._detail(error)}", 1, error.code) from error
            return []
        except (OSError, http.client.HTTPException) as error:
            raise self._error(
                f"did not answer ({getattr(error, 'reason', None) or error})", 1, connected=False
            ) from error
        except (ValueError, LookupError, TypeError):
            return []

    def _fetch(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """Return the JSON at a path of the service; with a body it is a POST request."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
        request = urllib.request.Request(
            self.service.url.rstrip("/") + path, data, {"Content-Type": "application/json"}
        )
        if key := self._key():
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        until = time.monotonic() + self.service.timeout
        with _OPENER.open(request, timeout=self.service.timeout) as response:
            return json.loads(_read(response, until))

    def _post(self, body: Mapping[str, Any]) -> Reply:
        began = time.monotonic()
        answer = self._fetch("/chat/completions", body)
        try:
            choice = answer["choices"][0]
            text, cut = choice["message"]["content"], choice.get("finish_reason") == "length"
            if text is None:  # a refusal, or an answer truncated before its first token
                text = choice["message"].get("refusal") or ("" if cut else None)
        except (LookupError, TypeError, AttributeError):
            raise ValueError(f"no choices[0].message.content in {str(answer)[:120]!r}") from None
        if not isinstance(text, str):
            raise ValueError(f"content is a {type(text).__name__}, expected text")
        usage = answer.get("usage") or {}
        read, written = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        seconds = time.monotonic() - began
        return Reply(text, int(read) if read else None, int(written) if written else None, seconds, cut, answer)

    def _key(self) -> str:
        key = os.environ.get(self.service.key_variable, "").strip() if self.service.key_variable else ""
        if not (key.isascii() and key.isprintable()):
            raise SettingsError(f"the key in {self.service.key_variable} contains invalid characters; set it again")
        return key

    def _detail(self, error: urllib.error.HTTPError) -> str:
        """Return the detail of an error response; it may contain the key, which `_error` removes."""
        if 300 <= error.code < 400:
            moved = error.headers.get("Location", "another address")
            return f"it has moved to {moved}; the key is not sent there, give that address if you trust it"
        try:
            text = " ".join(error.read(2000).decode("utf-8", "replace").split())
        except (OSError, http.client.HTTPException):
            text = ""
        return (text or str(error.reason))[:300]

    def _error(self, fault: str, tries: int, status: int | None = None, connected: bool = True) -> CallError:
        key = self._key()
        public = fault.replace(key, "[key]") if key else fault
        counted = "1 try" if tries == 1 else f"{tries} tries"
        message = f"{self.service.url}, model {self.service.model}: {public}; {counted}"
        return CallError(message, status, connected=connected)

    def _takes_other_length(self, length: str, detail: str) -> bool:
        """Switch to the other length field if a refusal names it; return whether to repeat the request."""
        with self._lock:
            if length != self._length:
                return True  # another thread has switched meanwhile
            if self._length_told or "max_completion_tokens" not in detail:
                return False
            self._length, self._length_told = "max_completion_tokens", True
        self.count("asked with max_completion_tokens from here on")
        return True

    def _learn(self, form: str) -> None:
        """Keep the form of a successful request if it is simpler than the one used so far.

        Refusals are not evidence, as they may have other reasons than the form.
        """
        with self._lock:
            if FORMS.index(form) <= FORMS.index(self._form):
                return
            self._form = form
        self.count(f"asked without {'schema' if form == 'object' else 'a form'} from here on")

    def _wait(self, turn: int, requested: float | None, everybody: bool) -> None:
        backoff = min(self.service.first_wait * 2 ** (turn - 1), LONGEST_WAIT) * random.uniform(0.75, 1.25)
        seconds = backoff if requested is None else min(requested, LONGEST_ASKED)
        if everybody:
            self.pace.pause(seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(max(seconds, 0)):
            raise CallError("the run is being stopped", stopped=True)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes every redirect an error, so that key and content are sent to the configured address only."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the redirect is not followed."""
        return


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(response: Any, until: float) -> bytes:
    """Read a response until a deadline.

    Raises:
        TimeoutError: the deadline has passed.
        ValueError: the response is too large.
    """
    data = bytearray()
    while piece := response.read1(65536):
        data += piece
        if time.monotonic() > until:
            raise TimeoutError("timed out")
        if len(data) > LARGEST_ANSWER:
            raise ValueError(f"more than {LARGEST_ANSWER:,} bytes")
    return bytes(data)


def _response_format(form: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if form == "schema":
        wrapped = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": wrapped}}
    return {"response_format": {"type": "json_object"}} if form == "object" else {}


def retry_after(text: str | None) -> float | None:
    """Return the seconds in a Retry-After header, given as seconds or a date; None if invalid (RFC 9110, 10.2.3)."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if seconds == seconds else None
