"""Additions to FastAPI's OpenAPI document: the two request bodies of a report, and the report's schema."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from emotion_qwen.serving.http.protocol import AnalyzeOptions, AnalyzeRequest, ClipOptions, FeaturesRequest
from emotion_qwen.serving.http.responses import ErrorBody
from emotion_qwen.views.schema import report_schema

_COMPONENT = "#/components/schemas/"
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "The request is invalid, or its medium cannot be read.",
        401: "The API key is missing or wrong.",
        403: "The host or origin is refused.",
        404: "The model is not served.",
        408: "The request, or a medium that it names, was received too slowly.",
        413: "The request or its medium is too large.",
        422: "Decoding took too long or crashed.",
        429: "Too many requests are waiting; see Retry-After.",
        431: "Path and headers are too large.",
        500: "The server failed.",
        503: "The server is loading, draining or has failed; see Retry-After.",
        504: "The request took too long.",
    }.items()
}


def _body(options: type[ClipOptions], request: type[FeaturesRequest]) -> dict[str, Any]:
    content = {"multipart/form-data": _form_schema(options), "application/json": _json_schema(request)}
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    }


def _form_schema(options: type[ClipOptions]) -> dict[str, Any]:
    schema = options.model_json_schema()
    content = {"type": "string", "contentMediaType": "application/octet-stream"}
    words = content | {"description": "Words: .srt, .vtt, .ass, or text without times; up to 1 MiB."}
    properties = {"file": content, "transcript": words, **schema["properties"]}
    return {"type": "object", "properties": properties, "required": ["file"], "additionalProperties": False}


def _json_schema(request: type[FeaturesRequest]) -> dict[str, Any]:
    schema = request.model_json_schema(ref_template=_COMPONENT + "{model}")
    schema.pop("$defs")  # the same parts are among the components already, through the chat request
    return schema


ANALYZE_BODY = _body(AnalyzeOptions, AnalyzeRequest)
FEATURES_BODY = _body(ClipOptions, FeaturesRequest)
MEDIUM_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    415: {"model": ErrorBody, "description": "The body is neither a form nor JSON."},
}
ANALYZE_RESPONSES: dict[int | str, dict[str, Any]] = {
    **MEDIUM_ERRORS,
    200: {
        "description": "The report, or with `stream` events named clip, window, report, page and error.",
        "content": {
            "application/json": {"schema": {"$ref": f"{_COMPONENT}EmotionReport"}},
            "text/event-stream": {},
        },
    },
}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; it is composed once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        report = json.loads(json.dumps(report_schema()).replace("#/$defs/", _COMPONENT))
        schemas = document["components"]["schemas"]
        schemas |= report.pop("$defs")
        schemas["EmotionReport"] = {key: value for key, value in report.items() if key not in ("$schema", "$id")}
        schemas = {name: schema for name, schema in schemas.items() if "ValidationError" not in name}
        document["components"]["schemas"] = schemas
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"key": []}]
        app.openapi_schema = document
    return app.openapi_schema
