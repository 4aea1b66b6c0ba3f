"""Features over HTTP: the command's numbers, the limits and errors of reports."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest
from tests.conftest import write_clip
from tests.facial_heads import NAMES, with_head
from tests.serving.conftest import image_part, picture_bytes, png, serving, text_part, video_part

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.request import Request
from emotion_qwen.serving.http.protocol import AnalyzeOptions
from emotion_qwen.serving.http.reports import ReportJob
from emotion_qwen.taxonomy import label_set

WHERE = "/v1/emotion/features"


@pytest.fixture(scope="module")
def film(tmp_path_factory, astronaut):
    frames = np.stack([astronaut[k : k + 320, 80 : 80 + 320] for k in range(30)])
    return write_clip(tmp_path_factory.mktemp("film") / "face.mp4", np.ascontiguousarray(frames))


def own_features(nano, path, language="en", context=""):
    """Compute the features as `analyze --features` does."""
    analyzer = Analyzer(nano)
    request = Request(language=language, context=context)
    found = analyzer.read(analyzer.reader(request), [analyzer.prepare(path)], request)
    return found[0].features


def test_an_uploaded_clip_gives_the_features_of_the_command(server, nano, film):
    answer = server.http.post(WHERE, files={"file": ("face.mp4", film.read_bytes())}, data={"language": "zh"})
    found, own = answer.json(), own_features(nano, film, "zh")
    assert answer.status_code == 200, found
    assert found["source"] == "face.mp4" and found["model"] == "nano" and found["object"] == "emotion.features"
    for name in ("visual", "pooled"):
        assert np.allclose(found[name], getattr(own, name), atol=1e-3), name
    assert list(found["gate"].values()) == pytest.approx(own.gate.tolist(), abs=1e-4)
    assert set(found) == {"object", "model", "source", "visual", "audio", "pooled", "gate", "provenance"}
    assert found["audio"] is None and found["provenance"]["label_set"] == "dfew7"
    assert found["provenance"]["weights"] == nano.provenance()["weights"] and found["provenance"]["frames"] > 1


def test_parts_with_words_give_those_of_the_context(server, nano, astronaut, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(picture_bytes(astronaut))
    asked = {"content": [image_part(path.read_bytes()), text_part("She is about to fly.")]}
    found = server.http.post(WHERE, json=asked).json()
    own = own_features(nano, path, context="She is about to fly.")
    assert np.allclose(found["pooled"], own.pooled, atol=1e-3)
    plain = server.http.post(WHERE, json={"content": asked["content"][:1]}).json()
    assert not np.allclose(found["pooled"], plain["pooled"], atol=1e-3), "the words are read, too"


def test_a_model_that_measures_facial_actions_returns_their_means(shallow, film, tmp_path):
    analyzer = Analyzer(with_head(shallow, tmp_path))

    async def in_thread(work):
        return work()

    service = SimpleNamespace(analyzer=analyzer, name="m", in_thread=in_thread)
    prepared = analyzer.prepare(film)
    reading = ClipReading(analyzer.reader(Request()), prepared, Request())
    job = SimpleNamespace(service=service, options=AnalyzeOptions())
    answer = asyncio.run(ReportJob.features(job, reading)).model_dump(exclude_unset=True)
    own = own_features(analyzer.engine, film).actions
    assert list(answer["actions"]) == list(NAMES) and np.allclose(list(answer["actions"].values()), own, atol=1e-4)


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        ({"json": {"content": [text_part("only words")]}}, 400, "content holds 0 media, expected exactly one"),
        (
            {"json": {"content": [image_part(png(1))], "abstain_below": 0.5}},
            400,
            "abstain_below: unknown field; leave it",
        ),
        ({"files": {"file": ("a.png", b"")}}, 400, "the file is empty"),
        ({"files": {"file": ("a.png", b"no picture at all")}}, 400, "a.png is text"),
        ({"files": {"file": ("a.png", png(1))}, "data": {"labels": "dfew8"}}, 400, "Did you mean 'dfew7'?"),
        ({"files": {"file": ("a.png", b"x" * 3_000_000)}}, 413, "the file has more than 2,000,000 bytes"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "expected multipart/form-data or"),
        ({"json": {"content": [video_part(b"no film")]}}, 400, "medium"),
    ],
)
def test_a_request_that_does_not_fit_is_told_why(server, request_, status, told):
    answer = server.http.post(WHERE, **request_)
    assert answer.status_code == status and told in answer.json()["error"]["message"], answer.text


def test_the_document_tells_bodies_answer_and_errors(server):
    document = server.http.get("/openapi.json").json()
    asked = document["paths"][WHERE]["post"]
    form = asked["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    options = {"labels", "language", "start", "end", "fps", "window", "context", "about"}
    assert {"file", "transcript", *options} == set(form)
    answer = asked["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"visual", "audio", "pooled", "gate"} <= set(document["components"]["schemas"][answer]["properties"])
    assert {"400", "401", "413", "415", "422", "429", "503", "504"} <= set(asked["responses"])
    assert "abstain_below" in json.dumps(document["paths"]["/v1/emotion/analyze"])


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """A server with a key that gives a request no time."""
    folder = tmp_path_factory.mktemp("hurried")
    with serving(folder, "request_seconds=0.05", key="secret") as running:
        yield running


@pytest.mark.parametrize("path", [WHERE, "/v1/emotion/analyze", "/v1/emotion/analyze?stream=true"])
def test_key_and_time_are_those_of_every_request(hurried, film, path):
    upload = {"file": ("face.mp4", film.read_bytes())}
    assert hurried.http.post(path, files=upload).status_code == 401
    late = hurried.http.post(path, files=upload, headers={"authorization": "Bearer secret"})
    assert late.status_code == 504 and late.json()["error"]["code"] == "request_timeout", late.text
    assert "took longer than 0.05 s; send a shorter medium" in late.json()["error"]["message"]


def test_all_label_sets_have_features(server, astronaut):
    sent = picture_bytes(astronaut[:200, 150:350])
    found = [
        server.http.post(WHERE, files={"file": ("a.png", sent)}, data={"labels": name}).json()["pooled"]
        for name in (label_set("dfew7").name, label_set("mer6").name)
    ]
    assert not np.allclose(*found, atol=1e-4), "the question names the labels"
