"""The server's routes."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from emotion_qwen import __version__
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.serving.failures import ApiError, as_api_error, error_body, error_location, validation_messages
from emotion_qwen.serving.http import page
from emotion_qwen.serving.http.chat import Answer
from emotion_qwen.serving.http.description import (
    ANALYZE_BODY,
    ANALYZE_RESPONSES,
    ERRORS,
    FEATURES_BODY,
    MEDIUM_ERRORS,
    openapi_document,
)
from emotion_qwen.serving.http.forwarding import as_events, forwarded_answer
from emotion_qwen.serving.http.live import serve_live
from emotion_qwen.serving.http.protocol import AnalyzeOptions, AnalyzeRequest, ChatRequest, ClipOptions, FeaturesRequest
from emotion_qwen.serving.http.reports import ReportJob
from emotion_qwen.serving.http.responses import ChatCompletion, Features, ModelCard, ModelList, State
from emotion_qwen.serving.http.scoring import scored_answer, served_facts
from emotion_qwen.serving.http.security import Guard
from emotion_qwen.serving.http.streams import ClientGone, EventStream, while_listening
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.service import Service
from emotion_qwen.views.render import as_json

log = logging.getLogger(__name__)
FIELDS = 16  # maximum per form


def create_app(settings: ServeSettings, key: str | None = None, engine: Engine | None = None) -> FastAPI:
    """Create the server's application. The model is loaded after the start, while `/health` answers already.

    Args:
        settings: of the server.
        key: API key; None requires none.
        engine: a loaded model to use instead of the one that the settings name.

    Raises:
        SettingsError: other machines could use the server without a key, and `allow_anyone` is off.
    """
    settings.check_access(key)
    service = Service(settings, key)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if service.status == "loading":
            threading.Thread(target=_load, args=(service, engine), name="loading", daemon=True).start()
        yield
        await service.close()

    app = FastAPI(
        title="Emotion-Qwen", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Reports of what people in pictures, videos and sounds show, and chat. Errors have OpenAI's form.",
    )  # fmt: skip
    app.state.service = service
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]
    app.add_middleware(Guard, settings=settings, key=key)
    if settings.origins:  # outside the guard: preflight requests carry no key, and refusals need CORS headers
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    app.add_middleware(RequestMetrics, service=service)
    _add_state_routes(app, service)
    _add_chat_routes(app, service)
    _add_report_routes(app, service)
    page.add_routes(app, service)
    _add_error_handlers(app)
    return app


def _load(service: Service, engine: Engine | None) -> None:
    try:
        service.load(engine)
    except EmotionQwenError as error:
        log.error("the model cannot be served: %s", error)


class RequestMetrics:
    """Counts and times requests by route; labels by URL would create a series per path."""

    def __init__(self, app: Any, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # if the client disconnects before the response starts

        async def sent(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.service.metrics.requests.labels(route, str(status)).inc()
            self.service.metrics.request_seconds.labels(route).observe(time.perf_counter() - began)


def _add_state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["state"])
    async def health() -> State:
        """Liveness: 200, also while the server loads or drains; 503 after a failure."""
        state = State(status=service.status, version=__version__)  # type: ignore[arg-type]
        if state.status == "failed":
            return JSONResponse(state.model_dump(), 503)  # type: ignore[return-value]
        return state

    @app.get("/ready", tags=["state"], responses={503: {"model": State}})
    async def ready() -> State:
        """Readiness: 200 if requests are accepted; 503 while the server loads or drains, or after a failure."""
        state = State(status=service.status, version=__version__)  # type: ignore[arg-type]
        if state.status != "ok":
            return JSONResponse(state.model_dump(), 503, {"Retry-After": "5"})  # type: ignore[return-value]
        return state

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse, responses=ERRORS)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_chat_routes(app: FastAPI, service: Service) -> None:
    def card() -> ModelCard:
        analyzer = service.analyzer
        trained = analyzer.engine.training_facts().get("label_sets", [])
        return ModelCard(
            id=service.name, created=service.started, context_length=service.scheduler.context, hears=analyzer.hears,
            label_sets=list(trained), emotion=served_facts(analyzer.engine),
        )  # fmt: skip

    @app.get("/v1/models", tags=["chat"], responses=ERRORS)
    async def models() -> ModelList:
        """List the served model."""
        return ModelList(data=[card()])

    @app.get("/v1/models/{name}", tags=["chat"], responses=ERRORS)
    async def model(name: str) -> ModelCard:
        """Describe the served model."""
        served = card()
        if name != served.id:
            raise ApiError(404, f"model {name!r} is not served here; expected {served.id!r}", "model_not_found")
        return served

    @app.post(
        "/v1/chat/completions", tags=["chat"], response_model=ChatCompletion,
        responses={**ERRORS, 200: {"content": {"text/event-stream": {}}}},
    )  # fmt: skip
    async def chat(request: Request, body: ChatRequest) -> Any:
        """Answer a conversation that may contain pictures, videos and sounds."""
        if service.remote is not None:
            forwarded = await while_listening(request, forwarded_answer(service, service.remote, body))
            usage = body.stream_options is not None and body.stream_options.include_usage
            return EventStream(as_events(forwarded, usage), lambda: None) if body.stream else forwarded
        if body.prompt_logprobs is not None:
            return await while_listening(request, scored_answer(service, body))
        answer = Answer(service, body)
        try:
            await while_listening(request, answer.start())
            if body.stream:
                return EventStream(answer.events(), answer.cancel)
            return await while_listening(request, answer.whole())
        except BaseException:
            answer.cancel()
            raise


def _add_report_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/emotion/analyze", tags=["emotion"], openapi_extra=ANALYZE_BODY, responses=ANALYZE_RESPONSES)
    async def analyze(request: Request, stream: bool = False, page: bool = False) -> Response:
        """Report what people in a picture, video or sound show: an `EmotionReport`; `stream` sends windows first."""
        service.check_open()
        job = await _read_job(request, service, AnalyzeOptions, AnalyzeRequest)
        with ExitStack() as ending:
            ending.callback(job.close)
            if stream:
                events = job.events(page)
                first = await while_listening(request, anext(events))  # a refusal gets its status
                return EventStream(events, ending.pop_all().close, first)
            report = await while_listening(request, job.whole(job.report))
        return Response(as_json(report), media_type="application/json")

    @app.post(
        "/v1/emotion/features", tags=["emotion"], openapi_extra=FEATURES_BODY, responses=MEDIUM_ERRORS,
        response_model_exclude_unset=True,  # `actions` is set only where it was measured
    )  # fmt: skip
    async def features(request: Request) -> Features:
        """Return features for training your own head: mean tokens, a hidden state, the gate."""
        service.check_open()
        job = await _read_job(request, service, ClipOptions, FeaturesRequest)
        with closing(job):
            return await while_listening(request, job.whole(job.features))

    @app.websocket("/v1/emotion/live")
    async def live(socket: WebSocket) -> None:
        await serve_live(socket, service)


async def _read_job(
    request: Request, service: Service, form_of: type[ClipOptions], json_of: type[FeaturesRequest]
) -> ReportJob:
    """Read a form with a file, or JSON with content parts.

    Args:
        request: whose body is read.
        service: the server.
        form_of: model of the form's fields, without its file.
        json_of: model of the JSON body.

    Raises:
        ApiError: the body is neither, or its medium is refused.
        RequestValidationError: a field is invalid.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        with _as_request_validation(body):
            parsed = json_of.model_validate_json(body)
        options = parsed.model_dump(include=set(form_of.model_fields))
        return await _filled(ReportJob(service, AnalyzeOptions(**options)), lambda job: job.take_parts(parsed))
    if kind != "multipart/form-data":
        raise ApiError(415, f"content type {kind!r}, expected multipart/form-data or application/json", "unsupported")
    async with request.form(max_files=2, max_fields=FIELDS, max_part_size=2**16) as form:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise ApiError(400, "the form has no file; send one in the field 'file'", "missing", param="file")
        transcript = form.get("transcript")
        files = {"file": upload} | ({"transcript": transcript} if isinstance(transcript, UploadFile) else {})
        given = {name: value for name, value in form.multi_items() if value not in files.values()}
        with _as_request_validation(given):
            fields = form_of.model_validate(given)
        options = fields.model_dump()
        return await _filled(ReportJob(service, AnalyzeOptions(**options)), lambda job: job.take_upload(**files))


@contextmanager
def _as_request_validation(body: Any) -> Iterator[None]:
    """Raise validation errors as FastAPI does for bodies that it reads itself."""
    try:
        yield
    except ValidationError as error:
        if isinstance(body, bytes):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                body = None
        raise RequestValidationError(error.errors(), body=body) from error


async def _filled(job: ReportJob, take: Callable[[ReportJob], Awaitable[None]]) -> ReportJob:
    try:
        await take(job)
    except BaseException:
        job.close()
        raise
    return job


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(EmotionQwenError)
    async def ours(request: Request, error: EmotionQwenError) -> Response:
        if isinstance(error, ClientGone):
            return Response(status_code=499)
        api_error = as_api_error(error)
        if api_error.status >= 500 and api_error is not error:
            log.error("a request failed: %s", error if api_error.status == 502 else type(error).__name__)
        service: Service = request.app.state.service
        if api_error.code in ("invalid_media", "media_too_large", "media_refused", "url_refused"):
            service.metrics.refused_media.labels(api_error.code).inc()
        return JSONResponse(api_error.body, api_error.status, api_error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        message = "; ".join(validation_messages(error.errors(), error.body))
        place = error_location(error.errors()[0], error.body) if error.errors() else ""
        return JSONResponse(error_body(400, message[:1000], "invalid_request", place or None), 400)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, EmotionQwenError):  # FastAPI wraps errors that occur while it reads a body
            return await ours(request, error.__cause__)
        missing = "nothing is served at this address; /openapi.json lists what is, and /docs shows it"
        message = missing if error.status_code == 404 else str(error.detail)
        body = error_body(error.status_code, message, None)
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        return JSONResponse(error_body(500, "the server failed at this request", "internal_error"), 500)
