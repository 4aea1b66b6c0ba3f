"""What a request may hold, and the words in which one that does not fit is refused."""

from __future__ import annotations

import re

import pytest
from openai.types.chat import ChatCompletionMessage, ParsedChatCompletionMessage
from pydantic import ValidationError

from emotion_qwen.serving.failures import validation_messages
from emotion_qwen.serving.http.protocol import AnalyzeRequest, ChatRequest

USER = {"role": "user", "content": "Which emotion does the person show?"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def refused(kind, body) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    return validation_messages(caught.value.errors(), body)


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ({"role": "assistant", "content": "happy", "refusal": None}, "happy"),
        (
            {
                "role": "assistant", "content": "happy", "refusal": None, "annotations": [], "audio": None,
                "name": None, "function_call": None, "tool_calls": None,
            },
            "happy",
        ),
        ({"role": "assistant", "content": "{}", "parsed": {"emotion": "happy"}, "tool_calls": []}, "{}"),
        ({"role": "assistant", "content": None, "refusal": "I cannot say."}, "I cannot say."),
        ({"role": "assistant", "content": None}, ""),
        (ChatCompletionMessage(role="assistant", content="happy").model_dump(), "happy"),
        (ChatCompletionMessage(role="assistant", content="happy").model_dump(exclude_unset=True), "happy"),
        (ParsedChatCompletionMessage(role="assistant", content="{}", parsed={"a": 1}).model_dump(), "{}"),
        ({**USER, "name": None, "tool_calls": None, "refusal": None}, USER["content"]),
    ],
)  # fmt: skip
def test_an_answer_may_be_sent_back_as_it_came(answer, content):
    assert ChatRequest.model_validate({"messages": [USER, answer, USER]}).messages[1].content == content


def test_null_asks_for_nothing_wherever_it_stands():
    """Every field of a request but the messages, those that are not served, and those of later clients."""
    plain = ChatRequest.model_validate({"messages": [USER]})
    known = [*ChatRequest.model_fields, "tools", "n", "logit_bias", "audio", "functions", "web_search_options", "later"]
    nulls = dict.fromkeys(name for name in known if name != "messages")
    assert ChatRequest.model_validate({"messages": [USER], **nulls}) == plain
    part = {"type": "image_url", "image_url": {**IMAGE["image_url"], "detail": None}, "text": None}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": None, "description": None}}
    full = {"messages": [{"role": "user", "content": [part]}], "response_format": form, "stream_options": {"x": None}}
    assert ChatRequest.model_validate(full).response_format is not None
    nulls = dict.fromkeys(name for name in AnalyzeRequest.model_fields if name != "content")
    bare = AnalyzeRequest.model_validate({"content": [IMAGE]})
    assert AnalyzeRequest.model_validate({"content": [IMAGE], **nulls}) == bare


def test_neutral_values_ask_for_nothing_and_others_are_refused_by_name():
    neutral = {"tools": [], "n": 1, "top_logprobs": 0, "stream_options": {"include_usage": False}, "logit_bias": {}}
    ChatRequest.model_validate({"messages": [USER], **neutral})
    for name, value in {"tools": [{}], "n": 2, "audio": {}, "web_search_options": {}}.items():
        assert refused(ChatRequest, {"messages": [USER], name: value}) == [
            f"{name} is not supported by this server; leave it out"
        ]
    called = {"role": "assistant", "tool_calls": [{"id": "1"}]}
    assert refused(ChatRequest, {"messages": [called]}) == [
        "messages.0: tool_calls is not supported by this server; leave it out"
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"focus": True}, "focus: true came, expected 'auto', 'person' or 'whole'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: 5 came, expected list"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content: is missing; send it"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: \"tool\" came, expected 'system',"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"link": "x"}}]}]},
            "messages.0.content.0.image_url.url: is missing; send it",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            'messages.0.content.0.image_url: "x" came, expected a JSON object',
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
            'messages.0.content.0: "file" came, expected',
        ),
        (
            {"messages": [{"role": "user", "content": [{}]}]},
            "messages.0.content.0: a part has no type; say which it is",
        ),
        ({"messages": "x"}, 'messages: "x" came, expected list'),
        ({"messages": ["x"]}, 'messages.0: "x" came, expected a JSON object'),
        ({"messages": []}, "messages: [] came, expected a list of at least 1 item"),
        ({"temperature": "warm"}, 'temperature: "warm" came, expected number'),
        ({"stream": "maybe"}, 'stream: "maybe" came, expected true or false'),
        ({"max_tokens": 0}, "max_tokens: 0 came, expected greater than or equal to 1"),
        ({"temprature": 1}, "temprature: unknown field; leave it out"),
        ({"user": "x" * 3, "metadata": [1]}, "metadata: [1] came, expected a JSON object"),
        ({"stop": [7]}, "stop.0: 7 came, expected text"),
    ],
)
def test_a_fault_is_told_in_the_words_of_the_request(change, told):
    """None of the names of Python, of pydantic or of our own classes."""
    faults = refused(ChatRequest, {"messages": [USER], **change})
    assert any(fault.startswith(told) for fault in faults), faults
    inner = r"Input|Part\b|Request|tagged|union|dict|\bbool|\bstr\b|\bint\b|Value error|valid|None|True|\["
    for fault in faults:
        assert not re.search(inner, fault.replace("[] came", "").replace("[1] came", "").replace("[7] came", "")), fault


def test_what_is_not_json_at_all_is_said_to_be_none(server):
    for path in ("/v1/chat/completions", "/v1/emotion/analyze", "/v1/emotion/features"):
        answer = server.http.post(path, content=b"{no", headers={"content-type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("the body is not JSON (")
    answer = server.http.post("/v1/emotion/analyze?stream=maybe", files={"file": ("a.png", b"x")})
    assert answer.json()["error"]["message"] == 'stream: "maybe" came, expected true or false'
    assert answer.json()["error"]["param"] == "stream"


@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 0.009])
def test_the_coldest_temperature_is_greedy(temperature):
    assert ChatRequest.model_validate({"messages": [USER], "temperature": temperature}).temperature == 0


def test_the_official_client_sends_its_answer_back(server):
    first = server.chat("Hello", max_tokens=4).choices[0].message
    for back in (first, first.model_dump(), first.to_dict()):
        turns = [{"role": "user", "content": "Hello"}, back, USER]
        answer = server.client.chat.completions.create(model="nano", messages=turns, max_tokens=2)
        assert answer.choices[0].message.role == "assistant"
