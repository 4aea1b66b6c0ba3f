"""What is asked of the servers: the commands that start them, and requests by server and name.

In a body `image:NAME`, `video:NAME` and `sound:NAME` stand for a part with that file; `{clip}` is a clip of the set.
"""

from __future__ import annotations

from typing import Any

from tests.recorded.cases import NANO_SET

SERVERS: dict[str, str | list[str]] = {
    "plain": "serve --media-root clips slots=2 parts=3 messages=4 context=2048",
    "keyed": "serve --key-file key.txt body_bytes=60000 media_bytes=30000 origins=[https://example.org] live=0",
    "review": [NANO_SET, "ver review set"],
}
"""Name -> the command that starts it, after others that prepare its folder."""

CHAT, ANALYZE, FEATURES = "POST /v1/chat/completions", "POST /v1/emotion/analyze", "POST /v1/emotion/features"
_HI = [{"role": "user", "content": "Hello! How are you?"}]
_SEEN = [{"role": "user", "content": ["image:photo.jpg", {"type": "text", "text": "How does this person feel?"}]}]
_SHAPE = {"type": "object", "properties": {"emotion": {"enum": ["happy", "sad"]}}, "required": ["emotion"]}


def _chat(messages: Any = _SEEN, **more: Any) -> dict[str, Any]:
    return {"call": CHAT, "json": {"messages": messages, "max_tokens": 12, **more}}


def _content(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts]}]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _file(name: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"file://{name}"}}


def _parts(call: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"call": call, "json": {"content": [*parts], **more}}


REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {
        **{
            name: {"call": f"GET {path}"}
            for name, path in {
                "health": "/health", "ready": "/ready", "models": "/v1/models", "model": "/v1/models/nano",
                "model_unknown": "/v1/models/other", "openapi": "/openapi.json", "page": "/", "icon": "/favicon.ico",
                "main.js": "/web/main.js", "shared.js": "/web/shared.js", "report.js": "/web/report.js",
                "chat.js": "/web/chat.js", "live.js": "/web/live.js", "sound.js": "/web/sound.js",
                "style.css": "/web/style.css", "icon.svg": "/web/icon.svg", "web_unknown": "/web/secret.js",
                "example_clip": "/examples/astronaut.mp4", "example_picture": "/examples/astronaut.jpg",
                "example_unknown": "/examples/other.mp4", "unknown": "/nothing/here", "method": CHAT.split()[1],
            }.items()
        },
        "chat_words": _chat(_HI),
        "chat_picture": _chat(),
        "chat_chinese": _chat(_content("image:photo.jpg", _text("这个人感觉怎么样？"))),
        "chat_whole": _chat(focus="whole"),
        "chat_person": _chat(focus="person"),
        "chat_nobody": _chat(_content("image:gray.png", _text("What is this?"))),
        "chat_video": _chat(_content("video:silent.mp4", _text("How does she feel?"))),
        "chat_video_sound": _chat(_content("video:one.mp4", _text("How does she feel?"))),
        "chat_sound": _chat(_content("sound:voice.wav", _text("How does the voice sound?"))),
        "chat_two": _chat(_content("image:photo.jpg", "image:gray.png", _text("Compare the pictures."))),
        "chat_turns": _chat([*_SEEN, {"role": "assistant", "content": "happy"}, {"role": "user", "content": "Why?"}]),
        "chat_system": _chat([{"role": "system", "content": "Answer in one word."}, *_SEEN]),
        "chat_stream": _chat(stream=True),
        "chat_stream_usage": _chat(_HI, stream=True, stream_options={"include_usage": True}),
        "chat_logprobs": _chat(_HI, logprobs=True, top_logprobs=2, max_tokens=3),
        "chat_stop": _chat(stop=["a", "e"]),
        "chat_seed": _chat(temperature=0.8, top_p=0.9, seed=5),
        "chat_long": _chat(ignore_eos=True, max_tokens=20),
        "chat_json": _chat(response_format={"type": "json_object"}, max_tokens=40),
        "chat_schema": _chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": _SHAPE}}),
        "chat_root_file": _chat(_content(_file("/photo.jpg"), _text("Who?"))),
        "chat_outside_file": _chat(_content(_file("/../key.txt"), _text("Who?"))),
        "chat_remote": _chat(_content({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}})),
        "chat_bad_url": _chat(_content({"type": "image_url", "image_url": {"url": "ftp://example.org/a.png"}})),
        "chat_bad_data": _chat(_content({"type": "image_url", "image_url": {"url": "data:image/png;base64,???"}})),
        "chat_broken_video": _chat(_content("video:broken.mp4", _text("How?"))),
        "chat_empty": _chat([]),
        "chat_no_messages": {"call": CHAT, "json": {"max_tokens": 3}},
        "chat_not_json": {"call": CHAT, "content": "{", "headers": {"content-type": "application/json"}},
        "chat_unknown_field": _chat(_HI, colour="red"),
        "chat_unsupported": _chat(_HI, n=2),
        "chat_role": _chat([{"role": "robot", "content": "Hi"}]),
        "chat_part": _chat(_content({"type": "smell"})),
        "chat_temperature": _chat(_HI, temperature=3),
        "chat_too_many_stops": _chat(_HI, stop=["a", "b", "c", "d", "e"]),
        "chat_other_model": _chat(_HI, model="other"),
        "chat_too_many_parts": _chat(_content(*["image:gray.png"] * 4)),
        "chat_too_many_messages": _chat(_HI * 5),
        "chat_too_long": _chat(_HI, max_tokens=4000),
        "chat_bad_schema": _chat(response_format={"type": "json_schema"}),
        "analyze_form": {"call": ANALYZE, "upload": "photo.jpg"},
        "analyze_form_fields": {
            "call": ANALYZE, "upload": "one.mp4", "data": {"labels": "ekman", "language": "zh", "context": "回家了。"}
        },
        "analyze_form_sound": {"call": ANALYZE, "upload": "voice.wav"},
        "analyze_form_span": {"call": ANALYZE, "upload": "silent.mp4", "data": {"start": "0.5", "end": "1.5"}},
        "analyze_form_broken": {"call": ANALYZE, "upload": "broken.mp4"},
        "analyze_form_empty": {"call": ANALYZE, "upload": "empty.mp4"},
        "analyze_form_labels": {"call": ANALYZE, "upload": "photo.jpg", "data": {"labels": "fer"}},
        "analyze_form_field": {"call": ANALYZE, "upload": "photo.jpg", "data": {"colour": "red"}},
        "analyze_form_no_file": {"call": ANALYZE, "files": {"other": ("a.txt", "a")}},
        "analyze_json": _parts(ANALYZE, "image:photo.jpg", _text("She has won.")),
        "analyze_json_evoked": _parts(ANALYZE, "image:gray.png", about="evoked", labels="mikels8"),
        "analyze_json_whole": _parts(ANALYZE, "image:gray.png", about="whole"),
        "analyze_json_nobody": _parts(ANALYZE, "image:gray.png", language="zh"),
        "analyze_json_abstains": _parts(ANALYZE, "image:photo.jpg", abstain_below=1),
        "analyze_json_two": _parts(ANALYZE, "image:photo.jpg", "image:gray.png"),
        "analyze_json_none": _parts(ANALYZE),
        "analyze_json_about": _parts(ANALYZE, "image:photo.jpg", about="me"),
        "analyze_json_broken": {"call": ANALYZE, "content": "[", "headers": {"content-type": "application/json"}},
        "analyze_type": {"call": ANALYZE, "content": "a", "headers": {"content-type": "text/plain"}},
        "analyze_stream": {"call": f"{ANALYZE}?stream=true", "upload": "silent.mp4"},
        "analyze_stream_page": {"call": f"{ANALYZE}?stream=true&page=true", "upload": "photo.jpg"},
        "features_form": {"call": FEATURES, "upload": "one.mp4"},
        "features_json": _parts(FEATURES, "image:photo.jpg", labels="fer7"),
        "features_field": _parts(FEATURES, "image:photo.jpg", abstain_below=0.5),
        "live_ready": {"call": "WS /v1/emotion/live", "send": [{"type": "start", "labels": "ekman"}]},
        "live_labels": {"call": "WS /v1/emotion/live", "send": [{"type": "start", "labels": "fer"}]},
        "live_greeting": {"call": "WS /v1/emotion/live", "send": ["hello"]},
        "live_fault": {"call": "WS /v1/emotion/live", "send": [{"type": "start"}, "not bytes"]},
        "host": {"call": "GET /v1/models", "headers": {"host": "evil.example"}},
        "origin": {"call": "GET /v1/models", "headers": {"origin": "https://evil.example"}},
        "too_large_headers": {"call": "GET /health", "headers": {"x-long": "a" * 40_000}},
    },
    "keyed": {
        "health": {"call": "GET /health"},
        "no_key": {"call": "GET /v1/models"},
        "wrong_key": {"call": "GET /v1/models", "headers": {"authorization": "Bearer guess"}},
        "right_key": {"call": "GET /v1/models", "headers": {"authorization": "Bearer secret"}},
        "page": {"call": "GET /"},
        "metrics": {"call": "GET /metrics"},
        "preflight": {
            "call": f"OPTIONS {CHAT.split()[1]}",
            "headers": {"origin": "https://example.org", "access-control-request-method": "POST"},
        },
        "body_too_large": {
            "call": CHAT, "content": "a" * 70_000,
            "headers": {"authorization": "Bearer secret", "content-type": "application/json"},
        },
        "medium_too_large": {"call": ANALYZE, "upload": "one.mp4", "headers": {"authorization": "Bearer secret"}},
        "live_off": {"call": "WS /v1/emotion/live", "send": [{"type": "start", "key": "secret"}]},
    },
    "review": {
        "page": {"call": "GET /"},
        "clips": {"call": "GET /api/clips?reviewer=ann"},
        "clip": {"call": "GET /api/clip/{clip}?reviewer=ann"},
        "clip_unknown": {"call": "GET /api/clip/none?reviewer=ann"},
        "media": {"call": "GET /media/{clip}.mp4"},
        "media_part": {"call": "GET /media/{clip}.mp4", "headers": {"range": "bytes=0-9"}},
        "unknown": {"call": "GET /other"},
        "host": {"call": "GET /", "headers": {"host": "evil.example"}},
        "decide": {"call": "POST /api/decide", "json": {"clip": "{clip}", "reviewer": "ann", "action": "accept"}},
        "decide_second": {
            "call": "POST /api/decide",
            "json": {"clip": "{clip}", "reviewer": "bob", "action": "reject", "note": "too dark"},
        },
        "decide_action": {"call": "POST /api/decide", "json": {"clip": "{clip}", "reviewer": "ann", "action": "eat"}},
        "decide_unknown": {"call": "POST /api/decide", "json": {"clip": "none", "reviewer": "ann", "action": "accept"}},
        "decide_form": {"call": "POST /api/decide", "data": {"clip": "none"}},
        "clip_decided": {"call": "GET /api/clip/{clip}?reviewer=ann"},
        "clips_decided": {"call": "GET /api/clips?reviewer=ann"},
        "export": {"call": "POST /api/export", "json": {}},
    },
}  # fmt: skip
