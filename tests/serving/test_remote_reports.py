"""Our own server in the place of a loaded model: the same labels and shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.serving.conftest import image_part, picture_bytes, text_part

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set

LONGER = {"en": "quietly amused by it", "zh": "有一点儿惊讶和高兴"}
"""A label of several tokens."""


@pytest.fixture(scope="module")
def engine(server):
    return EndpointEngine.at(f"openai:nano@{server.url}/v1")


def test_the_server_tells_what_its_model_was_trained_for(engine, nano):
    assert engine.shares_from() == "answers" and engine.served.ours
    assert engine.calibration == nano.calibration and engine.processor.settings == nano.processor.settings
    assert engine.processor.hearing == nano.processor.hearing and engine.processor.factor == nano.processor.factor
    assert engine.provenance()["weights"] == nano.provenance()["weights"]


@pytest.mark.parametrize(("labels", "language"), [("dfew7", "en"), ("fer7", "zh")])
def test_scores_of_views_equal_those_of_the_model(engine, nano, astronaut, labels, language):
    """Labels of several tokens, a picture, words, a sound and a blank, in both languages."""
    chosen = label_set(labels)
    crop = np.ascontiguousarray(astronaut[16:64, 40:88])
    wave = np.sin(np.arange(16000, dtype=np.float32) / 9) / 4
    views = [
        [{"type": "image", "image": crop}],
        [{"type": "image", "image": crop}, {"type": "text", "text": 'The person says: "No, not again!" '}],
        [{"type": "audio", "audio": wave}],
        [{"type": "text", "text": 'The person says: "I am so glad." '}],
        [],
    ]
    question, names = label_question(chosen, language), [*chosen.names(language), LONGER[language]]
    here, there = nano.score(views, question, names), engine.score(views, question, names)
    assert there.tokens.tolist() == here.tokens.tolist() and here.tokens[-1] > 1
    exact = [0, 1, 3, 4]
    assert there.log_likelihood[exact].numpy() == pytest.approx(here.log_likelihood[exact].numpy(), abs=1e-4)
    sound = here.log_likelihood[2].numpy()
    assert there.log_likelihood[2].numpy() == pytest.approx(sound, abs=0.05)  # sent with 16 bits per sample


def test_a_report_through_the_server_equals_the_local_one(engine, nano, tmp_path, astronaut):
    path = tmp_path / "a.png"
    path.write_bytes(picture_bytes(astronaut))
    here, there = Analyzer(nano).analyze(path), Analyzer(engine).analyze(path)
    assert there.label == here.label and there.summary == here.summary
    assert there.distribution == pytest.approx(here.distribution, abs=1e-3)
    assert [person.label for person in there.people] == [person.label for person in here.people]
    assert there.uncertainty.calibrated and there.uncertainty.reason == here.uncertainty.reason


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt_logprobs": 3}, "prompt_logprobs"),
        ({"continue_final_message": False}, "go together"),
        ({"add_generation_prompt": True}, "go together"),
        ({"stream": True}, "go together"),
        ({"messages": [{"role": "user", "content": "happy"}]}, "text of an assistant"),
        ({"model": "other"}, "not served here"),
    ],
)
def test_requests_for_scores_that_make_no_sense(server, change, fault):
    request = {
        "messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "happy"}],
        "continue_final_message": True, "add_generation_prompt": False, "prompt_logprobs": 0, **change,
    }  # fmt: skip
    response = server.http.post("/v1/chat/completions", json=request)
    assert response.status_code in (400, 404) and fault in response.json()["error"]["message"]


def test_the_tail_of_the_prompt_has_the_tokens_of_the_answer(server, nano):
    content = [image_part(picture_bytes(np.full((48, 48, 3), 90, np.uint8))), text_part("Which emotion?")]
    request = {
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "surprise"}],
        "continue_final_message": True, "add_generation_prompt": False, "prompt_logprobs": 0, "focus": "whole",
    }  # fmt: skip
    answer = server.http.post("/v1/chat/completions", json=request).json()
    scored = [next(iter(token.values())) for token in answer["prompt_logprobs"] if token]
    assert "".join(token["decoded_token"] for token in scored) == "surprise"
    assert all(token["logprob"] < 0 and math.isfinite(token["logprob"]) for token in scored)
    assert answer["usage"]["prompt_tokens"] == len(answer["prompt_logprobs"])
