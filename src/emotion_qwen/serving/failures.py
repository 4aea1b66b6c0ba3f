"""Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}}, without internals."""

from __future__ import annotations

from typing import Any

from emotion_qwen.errors import DataError, EmotionQwenError, MediaError, RequestError, SettingsError


class ApiError(EmotionQwenError):
    """A request that is not served.

    Args:
        status: HTTP status.
        message: what came, what was expected, what to do.
        code: short name for programs.
        param: part of the request that is at fault.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self, status: int, message: str, code: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the answer."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**found, "WWW-Authenticate": "Bearer"} if self.status == 401 else found

    @property
    def body(self) -> dict[str, Any]:
        """The answer."""
        return error_body(self.status, str(self), self.code, self.param)


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Compose an error in OpenAI's shape."""
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def as_api_error(error: EmotionQwenError) -> ApiError:
    """Turn an error of ours into an answer. What is no fault of the request tells nothing of the inside."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MediaError):
        return ApiError(400, str(error), "invalid_media")
    if isinstance(error, RequestError | DataError | SettingsError):
        return ApiError(400, str(error), "invalid_request")
    return ApiError(500, "the server failed at this request; its log tells when", "internal_error")
