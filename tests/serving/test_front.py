"""The server in front of another service: reports, chat and streams of a model that is not here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.engine.test_endpoint import SHARES, exact
from tests.evaluation.scripted import scripted_server
from tests.serving.conftest import image_part, picture_bytes, text_part

from emotion_qwen.serving.http.app import create_app
from emotion_qwen.serving.limits import ServeSettings


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[TestClient, list, dict]]:
    """A front before a scripted service; what it answers can be exchanged."""
    script = {"answer": exact}
    with scripted_server(lambda request: script["answer"](request)) as (address, requests):
        app = create_app(ServeSettings(model=f"openai:org/m@{address}", decoders=1))
        with TestClient(app, base_url="http://localhost") as client:
            until = time.monotonic() + 60
            while client.get("/ready").status_code != 200:
                assert time.monotonic() < until
                time.sleep(0.05)
            yield client, requests, script


def chat(content, **more) -> dict:
    return {"messages": [{"role": "user", "content": content}], **more}


def test_the_model_is_listed_by_its_own_name(front):
    client, _, _ = front
    (card,) = client.get("/v1/models").json()["data"]
    assert card["id"] == "org/m" and card["hears"] is False


def test_a_report_of_an_upload(front, astronaut):
    client, _, _ = front
    response = client.post("/v1/emotion/analyze", files={"file": ("a.png", picture_bytes(astronaut), "image/png")})
    report = response.json()
    assert response.status_code == 200, report
    assert report["label"] == "happy" and report["distribution"] == pytest.approx(SHARES, abs=1e-3)
    assert report["provenance"]["shares_from"] == "answers" and report["summary"] == "A face."


def test_a_chat_is_forwarded_with_checked_media(front):
    client, requests, _ = front
    picture = image_part(picture_bytes(np.full((40, 50, 3), 77, np.uint8)))
    sent = chat([picture, text_part("What is this?")], max_tokens=9, temperature=0.5, seed=3, stop=["END"])
    answer = client.post("/v1/chat/completions", json=sent).json()
    assert answer["choices"][0]["message"]["content"] == "A face." and answer["model"] == "org/m"
    assert answer["usage"] == {"prompt_tokens": 11, "completion_tokens": 1, "total_tokens": 12}
    body = requests[-1][0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("org/m", 9, 0.5, 3)
    assert body["stop"] == ["END"] and [part["type"] for part in body["messages"][0]["content"]] == [
        "image_url",
        "text",
    ]


def test_a_stream_has_the_whole_answer_and_ends(front):
    client, _, _ = front
    text = client.post("/v1/chat/completions", json=chat("Hello", stream=True)).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "A face."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("request_", "status", "fault"),
    [
        (chat("Hello", model="other"), 404, "not served here"),
        (chat("Hello", logprobs=True), 400, "not forwarded"),
        (chat([image_part(b"no picture"), text_part("What?")]), 400, ""),
        (chat("Hello", messages=[]), 400, "messages"),
    ],
)
def test_refusals_do_not_reach_the_service(front, request_, status, fault):
    client, requests, _ = front
    before = len(requests)
    response = client.post("/v1/chat/completions", json=request_)
    assert response.status_code == status and fault in response.json()["error"]["message"] and len(requests) == before


def test_a_refusing_service_is_a_bad_gateway_of_one_line(front, astronaut):
    client, _, script = front
    script["answer"] = lambda request: (400, '{"error": {"message": "no pictures of people, key sk-1"}}')
    try:
        said = client.post("/v1/chat/completions", json=chat("Hello"))
        upload = {"file": ("b.png", picture_bytes(astronaut[::2]), "image/png")}
        report = client.post("/v1/emotion/analyze", files=upload)
    finally:
        script["answer"] = exact
    for response in (said, report):
        assert response.status_code == 502 and response.json()["error"]["code"] == "bad_gateway"
        assert "sk-1" not in response.text


def test_features_are_refused(front, astronaut):
    client, _, _ = front
    files = {"file": ("a.png", picture_bytes(astronaut), "image/png")}
    response = client.post("/v1/emotion/features", files=files)
    assert response.status_code == 400 and "gives no features" in response.json()["error"]["message"]
