"""Models behind services: what they give is used, what they lack is replaced and said, and a fault costs one clip."""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.scripted import everywhere, scripted_server
from tests.test_client import served

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import analyze_all
from emotion_qwen.cli import main
from emotion_qwen.client import CallError, ChatClient, ChatService, parse_endpoint
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.engine.label_shares import FLOOR, first_token_scores
from emotion_qwen.errors import InferenceError, SettingsError

LABELS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
SHARES = {"happy": 0.5, "sad": 0.2, "neutral": 0.1, "angry": 0.08, "surprise": 0.06, "disgust": 0.04, "fear": 0.02}
PICTURE = {"type": "image", "image": np.arange(48, dtype=np.uint8).reshape(4, 4, 3)}


def engine_at(address: str, **changes) -> EndpointEngine:
    settings = {"timeout": 5, "retries": 1, "first_wait": 0.01, **changes}
    return EndpointEngine(ChatClient(ChatService(address, "m", **settings)))


def body(text: str = "", **more) -> tuple[int, str]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return 200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 1}, **more})


def candidates(shares: dict[str, float]) -> tuple[int, str]:
    top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    content = [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}]
    choice = {"message": {"content": top[0]["token"]}, "finish_reason": "length", "logprobs": {"content": content}}
    return 200, json.dumps({"choices": [choice]})


def exact(request: dict) -> tuple[int, str]:
    """Behave as vLLM: the prompt has 11 tokens, each label two, with known shares."""
    last = request["messages"][-1]
    if last["role"] != "assistant":
        return body("A face.")
    share = SHARES.get(last["content"], 0.3)
    tokens = [{"7": {"logprob": math.log(share) - 1.5}}, {"9": {"logprob": 1.5, "rank": 1}}]
    return body(prompt_logprobs=[None, *({"1": {"logprob": -9.0}} for _ in range(10)), *tokens])


def first_token(request: dict) -> tuple[int, str]:
    """Behave as OpenAI: unknown fields are refused, and at most five candidates are given."""
    if "prompt_logprobs" in request:
        return 400, json.dumps({"error": {"message": "Unrecognized request argument supplied: prompt_logprobs"}})
    if request.get("top_logprobs", 0) > 5:
        return 400, json.dumps({"error": {"message": "top_logprobs must be at most 5"}})
    if "logprobs" not in request:
        return body("A face.")
    return candidates({"Happ": 0.6, " sad": 0.25, "ang": 0.1, "The": 0.04, "fe": 0.01})


def plain(request: dict) -> tuple[int, str]:
    """Behave as a service that gives words alone: of eight answers five are happy, two sad, one is useless."""
    if "response_format" not in request:
        return body("A face.")
    names = ["happy"] * 5 + ["sad"] * 2 + ["I cannot say"]
    return body(json.dumps({"answer": names[request["seed"]]}))


@pytest.mark.parametrize(
    ("script", "way", "expected"),
    [
        (exact, "answers", SHARES),
        (
            first_token,
            "first token",
            {"happy": 0.6 / 0.96, "sad": 0.25 / 0.96, "angry": 0.1 / 0.96, "fear": 0.01 / 0.96},
        ),
        (plain, "repeated", {"happy": 5.5 / 10.5, "sad": 2.5 / 10.5, "fear": 0.5 / 10.5, "neutral": 0.5 / 10.5}),
    ],
)
def test_shares_by_what_the_service_gives(script, way, expected):
    with scripted_server(script) as (address, requests):
        engine = engine_at(address)
        output = engine.score([PICTURE], "Which emotion?", LABELS)
        shares = dict(zip(LABELS, output.log_likelihood.softmax(-1)[0].tolist(), strict=True))
    assert engine.shares_from() == way
    assert {name: shares[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert output.gate.shape == (1, 2) and output.hidden.shape == (1, 0)
    sent = next(r for r, _ in requests if isinstance(r["messages"][0]["content"], list))
    url = sent["messages"][0]["content"][0]["image_url"]["url"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    assert np.array_equal(picture, PICTURE["image"]) and "focus" not in sent  # ours alone takes such a field


def test_labels_among_the_candidates_are_not_asked_about_again():
    """happy is one token and a candidate, sad one token and none, all others are two tokens."""

    def script(request):
        last = request["messages"][-1]
        if last["role"] != "assistant":
            tops = [{"token": name, "logprob": math.log(share)} for name, share in (("happy", 0.5), ("fear", 0.4))]
            return body("happy", choices=[{
                "message": {"content": "happy"}, "finish_reason": "length",
                "logprobs": {"content": [{"token": "happy", "logprob": -0.7, "top_logprobs": tops}]},
            }])  # fmt: skip
        tokens = [{"7": {"logprob": math.log(SHARES.get(last["content"], 0.3))}}]
        if last["content"] not in ("happy", "sad"):
            tokens.append({"8": {"logprob": 0.0}})
        return body(prompt_logprobs=[None, *({"1": {"logprob": -9.0}} for _ in range(10)), *tokens])

    views = [{"type": "image", "image": PICTURE["image"] // darker} for darker in (1, 2, 3)]
    with scripted_server(script) as (address, requests):
        engine = engine_at(address)
        engine.shares_from()
        before = len(requests)
        output = engine.score(views, "Which emotion?", LABELS)
    assert len(requests) - before == 3 + 7 + 2 * 6, "three prompts; all labels once; then all but happy"
    assert output.log_likelihood.exp().tolist() == [pytest.approx(list(SHARES.values()))] * 3
    assert output.tokens.tolist() == [1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("tokens", "answers", "expected"),
    [
        ({"happy": 0.5, "sad": 0.25}, ("happy", "sad", "fear"), [math.log(0.5), math.log(0.25), FLOOR]),
        ({"Ha": 0.3, "ha": 0.2, "S": 0.1}, ("happy", "sad"), [math.log(0.5), math.log(0.1)]),
        ({"dis": 0.5, "a": 0.2}, ("disgust", "dismay", "anger"), None),
        ({"dis": 0.001, "ang": 0.9}, ("disgust", "dismay", "anger"), [FLOOR, FLOOR, math.log(0.9)]),
        ({"The": 1.0}, ("happy", "sad"), None),
        ({"": 0.9, "\n": 0.05}, ("happy", "sad"), None),
        ({"愤": 0.7, "快": 0.2}, ("快乐", "愤怒"), [math.log(0.2), math.log(0.7)]),
    ],
)
def test_candidates_belong_to_the_answers_that_they_begin(tokens, answers, expected):
    scores = first_token_scores({token: math.log(share) for token, share in tokens.items()}, answers)
    assert scores == (None if expected is None else pytest.approx(expected))


def test_labels_that_begin_alike_are_counted_instead():
    def script(request):
        return plain(request) if "response_format" in request else candidates({"dis": 0.9, "an": 0.1})

    with scripted_server(script) as (address, _):
        engine = engine_at(address)
        assert engine.shares_from() == "first token"
        engine.score([PICTURE], "Which?", ("disgust", "dismay", "happy", "sad"))
    assert engine.shares_from() == "repeated"


def test_a_report_says_what_was_used_in_the_end(pictures):
    """Several labels begin with the candidates: the answers are counted, and the report says so."""

    def script(request):
        if "response_format" in request:
            return body(json.dumps({"answer": ["dismay", "disgust"][request["seed"] % 2]}))
        return candidates({"dis": 0.9, "hap": 0.1}) if "logprobs" in request else body("A face.")

    with scripted_server(script) as (address, _):
        analyzer = analyzer_at(address)
        before = analyzer.made_by(Request("disgust,dismay,happy"))
        report = analyzer.analyze(pictures[0], "disgust,dismay,happy")
        assert analyzer.made_by(Request("disgust,dismay,happy")) == before, "a second run continues the first"
    assert report.provenance["shares_from"] == "repeated"
    assert report.distribution["disgust"] == report.distribution["dismay"] == pytest.approx(4.5 / 9.5, abs=1e-4)


# --- whole reports ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    places = []
    for number in range(4):
        places.append(tmp_path / f"{number}.png")
        Image.fromarray(np.full((64, 64, 3), 40 * number + 20, np.uint8)).save(places[-1])
    return places


def analyzer_at(address: str, **changes) -> Analyzer:
    return Analyzer(engine_at(address, **changes), everywhere)


def test_a_report_has_everything_but_gates_and_features(pictures):
    with scripted_server(exact) as (address, _):
        report = analyzer_at(address).analyze(pictures[0])
    assert report.label == "happy" and report.distribution == pytest.approx(SHARES, abs=1e-4)
    assert report.summary == "A face." and len(report.people) == 1 and not any(report.gate.values())
    assert not report.uncertainty.calibrated and report.provenance["shares_from"] == "answers"
    assert report.provenance["model"] == f"m at {address}"


def test_a_fault_of_one_picture_costs_that_picture(pictures):
    """One picture is refused, and one answered with garbage; nothing is asked twice of the others."""
    shade = {20: "fine", 60: "refused", 100: "garbage", 140: "fine"}
    asked_of: Counter = Counter()

    def script(request):
        parts = request["messages"][0]["content"]
        if isinstance(parts, str):
            return exact(request)
        url = parts[0]["image_url"]["url"]
        kind = shade[int(np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))[0, 0, 0])]
        asked_of[kind, json.dumps(request)] += 1
        if kind == "refused":
            return 400, '{"error": {"message": "content policy"}}'
        return (200, "<html>") if kind == "garbage" else exact(request)

    with scripted_server(script) as (address, _):
        results = dict(analyze_all(analyzer_at(address), pictures, Request(), workers=0))
    faults = {path.name: str(result) for path, result in results.items() if isinstance(result, InferenceError)}
    assert set(faults) == {"1.png", "2.png"} and all("\n" not in text for text in faults.values())
    assert "content policy" in faults["1.png"] and "garbage" in faults["2.png"] and "1.png" in faults["1.png"]
    assert max(count for (kind, _), count in asked_of.items() if kind == "fine") == 1


def test_a_busy_service_is_asked_again(pictures):
    turns: Counter = Counter()

    def script(request):
        key = json.dumps(request)
        turns[key] += 1
        return exact(request) if turns[key] > 1 else (429 if len(turns) % 2 else 500, "busy")

    with scripted_server(script) as (address, _):
        report = analyzer_at(address, retries=3).analyze(pictures[0])
    assert report.label == "happy"


def test_a_service_that_goes_away_stops_the_run(pictures):
    with scripted_server(exact) as (address, _):
        analyzer = analyzer_at(address)
        analyzer.engine.shares_from()
    with pytest.raises(CallError, match="did not answer"):
        list(analyze_all(analyzer, pictures, Request(), workers=0))


def test_useless_answers_are_an_error_of_one_line(pictures):
    with scripted_server(lambda request: body("I would rather not.")) as (address, _):
        (result,) = [r for _, r in analyze_all(analyzer_at(address), pictures[:1], Request(), workers=0)]
    assert isinstance(result, InferenceError) and "without one of the labels" in str(result)


def test_what_needs_features_is_refused(pictures):
    with scripted_server(exact) as (address, _):
        analyzer = analyzer_at(address)
        with pytest.raises(SettingsError, match="gives no features"):
            analyzer.check_features("--features")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai:gpt@http://host:8000/v1", ("http://host:8000/v1", "gpt")),
        ("openai:org/m:1@https://host/v1/", ("https://host/v1", "org/m:1")),
        ("openai:http://host/v1#org/m", ("http://host/v1", "org/m")),
        ("openai:a@b@http://host/v1", ("http://host/v1", "a@b")),
    ],
)
def test_both_spellings_of_an_endpoint(text, expected):
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    "text", ["openai:", "openai:m", "openai:http://host/v1", "openai:@http://host/v1", "openai:m@host"]
)
def test_other_spellings_are_one_line(text, capsys):
    with pytest.raises(SettingsError, match="write openai:NAME@http"):
        parse_endpoint(text)
    assert main(["analyze", "--demo", "--model", text]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_name_that_the_service_does_not_have():
    listing = (200, {"data": [{"id": "b"}, {"id": "a"}]}, {})
    with served(lambda sent, number: listing) as (address, _), pytest.raises(SettingsError, match="it has a, b, give"):
        engine_at(address)
