"""Errors in the form of OpenAI's API: {"error": {"message", "type", "param", "code"}}, without internal details."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from emotion_qwen.errors import DataError, EmotionQwenError, MediaError, RemoteError, RequestError, SettingsError

SHOWN = 60  # characters shown of an invalid value


class ApiError(EmotionQwenError):
    """An error response.

    Args:
        status: HTTP status.
        message: what was received, what was expected, what to do.
        code: machine-readable name.
        param: the invalid part of the request.
        retry_after: seconds after which to retry.
    """

    def __init__(
        self, status: int, message: str, code: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**headers, "WWW-Authenticate": "Bearer"} if self.status == 401 else headers

    @property
    def body(self) -> dict[str, Any]:
        """Body of the response."""
        return error_body(self.status, str(self), self.code, self.param)


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error body in the form of OpenAI's API."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def validation_messages(errors: Sequence[Mapping[str, Any]], body: Any) -> list[str]:
    """Return a message per validation error: where it is, and what was expected there.

    Args:
        errors: of pydantic.
        body: the request; locations use its field names, not those of our classes.
    """
    faults = []
    for error in errors:
        place, fault = error_location(error, body), _fault_of(error)
        faults.append(f"{place}: {fault}" if place else fault)
    return list(dict.fromkeys(faults))


def error_location(error: Mapping[str, Any], body: Any) -> str:
    """Return the location of an error in the request, for example "messages.0.content"."""
    place, node, loc = [], body, list(error.get("loc", ()))
    if loc and loc[0] in ("query", "path", "header"):
        return str(loc[-1])
    loc = loc[1:] if loc and loc[0] == "body" else loc
    for number, part in enumerate(loc):
        inside = isinstance(node, dict) and part in node
        inside |= isinstance(node, list) and isinstance(part, int) and part < len(node)
        if inside:
            node = node[part]
        elif not (number == len(loc) - 1 and error["type"] in ("missing", "extra_forbidden")):
            continue  # the name of a class or of a union's choice
        place.append(str(part)[:100])
    return ".".join(place)


def _fault_of(error: Mapping[str, Any]) -> str:
    kind, message, bounds = error["type"], str(error["msg"]), error.get("ctx", {})
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "missing":
        return "is missing; send it"
    if kind == "extra_forbidden":
        return "unknown field; leave it out"
    if kind == "json_invalid":
        return f"the body is not JSON ({bounds.get('error', 'cut short')}); send a JSON object"
    if kind == "union_tag_not_found":
        return "a part has no type; say which it is"
    if kind == "union_tag_invalid":
        return f"{_shown(bounds['tag'])} came, expected {bounds['expected_tags']}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{_shown(error.get('input'))} came, expected a JSON object"
    expected = message.removeprefix("Input should be ").removeprefix("a valid ").partition(", unable")[0]
    for theirs, ours in _WORDS.items():
        expected = expected.replace(theirs, ours)
    return f"{_shown(error.get('input'))} came, expected {expected}"


# Python terms in pydantic's messages -> JSON terms
_WORDS = {
    "List should have": "a list of", "String should have": "a text of", "Dictionary should have": "an object of",
    " after validation, not 0": "", "dictionary": "JSON object", "boolean": "true or false", "string": "text",
    "integer": "whole number",
}  # fmt: skip


def _shown(value: Any) -> str:
    """Return a value as JSON, shortened to `SHOWN` characters."""
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def as_api_error(error: EmotionQwenError) -> ApiError:
    """Convert an error of the package to a response; internal errors get a generic message."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MediaError):
        return ApiError(400, str(error), "invalid_media")
    if isinstance(error, RequestError | DataError | SettingsError):
        return ApiError(400, str(error), "invalid_request")
    if isinstance(error, RemoteError) or isinstance(error.__cause__, RemoteError):
        return ApiError(502, "the model's service did not answer as expected; see this server's log", "bad_gateway")
    return ApiError(500, "the server failed at this request; see its log", "internal_error")
