"""Reports, numbers, live sessions and the page, from a real server process."""

from __future__ import annotations

import asyncio
import json
import time

import numpy as np
import pytest
from tests.conftest import write_clip
from tests.end_to_end.test_hard_clips import film as encoded_film
from tests.serving.conftest import image_part, picture_bytes, png, serving, text_part, video_part

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.errors import MediaError
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.http.protocol import AnalyzeOptions
from emotion_qwen.serving.http.reports import ReportJob
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.service import Service
from emotion_qwen.views.render import as_json

websockets = pytest.importorskip("websockets", reason="needs the extra serve")


@pytest.fixture(scope="module")
def film(tmp_path_factory, astronaut):
    """Five seconds with a face that is approached."""
    frames = np.stack([astronaut[k : k + 320, 80 : 80 + 320] for k in range(50)])
    return write_clip(tmp_path_factory.mktemp("film") / "face.mp4", np.ascontiguousarray(frames))


def events(server, **request):
    found = []
    with server.http.stream("POST", "/v1/emotion/analyze", **request) as answer:
        assert answer.status_code == 200, answer.read()
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
    return found


def comparable(report: dict) -> dict:
    provenance = {key: value for key, value in report["provenance"].items() if key != "took"}
    return {**report, "source": "", "provenance": provenance}


def test_an_uploaded_clip_gives_the_report_of_the_command(server, nano, film):
    answer = server.http.post(
        "/v1/emotion/analyze", files={"file": ("../../face.mp4", film.read_bytes())}, data={"language": "zh"}
    )
    report = answer.json()
    assert answer.status_code == 200 and report["source"] == "face.mp4"
    own = json.loads(as_json(Analyzer(nano).analyze(film, language="zh")))
    assert comparable(report) == comparable(own)


def test_a_stream_tells_windows_before_the_report_and_its_page_last(server, film):
    parts = [video_part(film.read_bytes()), text_part("She is about to fly.")]
    told = events(server, params={"stream": True, "page": True}, json={"content": parts})
    names = [name for name, _ in told]
    assert names[0] == "clip" and names[-2:] == ["report", "page"] and set(names[1:-2]) == {"window"}
    report, windows = told[-2][1], [data for name, data in told if name == "window"]
    assert report["context"] == "She is about to fly."
    raw = [moment["raw"] for moment in report["timeline"]]
    assert [one["distribution"] for one in windows] == [pytest.approx(one, abs=2e-3) for one in raw]
    assert "<!doctype html>" in told[-1][1]["html"] and "face" not in report["source"]


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        ({"json": {"content": [text_part("only words")]}}, 400, "content holds 0 media, expected exactly one"),
        ({"files": {"file": ("a.png", b"")}}, 400, "the file is empty"),
        ({"data": {"labels": "dfew7"}, "files": {"other": ("a.png", b"1")}}, 400, "the form has no file"),
        ({"files": {"file": ("a.png", png(1))}, "data": {"labels": "dfew8"}}, 400, "Did you mean 'dfew7'?"),
        (
            {"files": {"file": ("a.png", png(1))}, "data": {"language": "de"}},
            400,
            "language: \"de\" came, expected 'en' or",
        ),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "expected multipart/form-data or"),
        ({"files": {"file": ("a.png", png(1))}, "data": {"start": "1"}}, 400, "start and end apply to videos only"),
    ],
)
def test_a_request_that_does_not_fit_is_told_why(server, request_, status, told):
    for params in ({}, {"stream": True}):
        answer = server.http.post("/v1/emotion/analyze", params=params, **request_)
        assert answer.status_code == status and told in answer.json()["error"]["message"], answer.text


def test_a_question_about_a_person_is_asked_as_the_command_asks(server, nano, astronaut, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(picture_bytes(astronaut))
    asked = "Say in one sentence how the person feels."
    answer = server.chat(
        [image_part(path.read_bytes()), text_part(asked)], max_tokens=64, extra_body={"focus": "person"}
    )
    assert answer.choices[0].message.content.strip() == Analyzer(nano).ask(path, asked)


@pytest.mark.parametrize("focus", [None, "auto", "whole"])
def test_a_face_is_looked_at_unless_the_whole_is_asked_for(server, nano, astronaut, focus):
    picture = {"type": "image", "image": astronaut}
    content = [image_part(picture_bytes(astronaut)), text_part("Describe the picture.")]
    options = {} if focus is None else {"extra_body": {"focus": focus}}
    told = server.chat(content, max_tokens=24, **options).choices[0].message.content.strip()
    whole = nano.write([picture], "Describe the picture.", 24)[0]
    assert (told == whole) == (focus == "whole")


def test_a_real_face_is_described_as_a_person(server, shared_data):
    """The guide's own example, and the same picture without looking for the face."""
    content = [image_part((shared_data / "clips" / "single_face.jpg").read_bytes())]
    for asked in ("Which emotion does the person show?", "Describe the picture."):
        told = server.chat([*content, text_part(asked)], max_tokens=24).choices[0].message.content
        assert "face" in told or "person" in told, told


def test_text_beyond_the_limit_is_refused_in_one_line_while_a_chat_goes_on(server):
    text = "It rains and rains. " * 11_500  # 230 kB
    chat = server.chat("Hello", max_tokens=4000, stream=True, logprobs=True, extra_body={"ignore_eos": True})
    assert len([next(chat) for _ in range(3)]) == 3  # the role, and tokens
    for path in ("analyze", "features"):
        content = [image_part(png(1)), text_part(text)]
        began = time.monotonic()
        answer = server.http.post(f"/v1/emotion/{path}", json={"content": content})
        assert answer.status_code == 400 and time.monotonic() - began < 5
        told = answer.json()["error"]["message"]
        assert "context and texts have 229,999 characters together; expected at most 4,000" in told and "\n" not in told
    assert len([next(chat) for _ in range(20)]) == 20, "the chat goes on"
    chat.close()
    server.wait_for("running", 0)


@pytest.mark.parametrize(
    "suffix", ["mkv", pytest.param("mov", marks=pytest.mark.slow), pytest.param("avi", marks=pytest.mark.slow)]
)
def test_the_page_of_a_medium_that_needs_a_copy_shows_it(server, tmp_path, suffix):
    frames = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    film = write_clip(tmp_path / f"film.{suffix}", frames)
    upload = {"file": (film.name, film.read_bytes())}
    told = events(server, params={"stream": True, "page": True}, files=upload)
    assert [name for name, _ in told][-2:] == ["report", "page"]
    assert told[-1][1]["missing"] == "" and "video/mp4" in told[-1][1]["html"]


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libx264"), ("mov", "libx264"), ("avi", "mpeg4")])
def test_a_long_film_with_sound_has_its_report_and_page_by_default_settings(tmp_path, astronaut, suffix, codec):
    """90 s of pictures and twice as much sound, by both routes, from a server of its own."""
    picture = np.ascontiguousarray(astronaut[:256, 64:448])
    path = encoded_film(tmp_path / f"long.{suffix}", picture, codec, list(range(0, 90_000, 200)), tracks=1, loud=0.1)
    upload = {"file": (path.name, path.read_bytes())}
    with serving(tmp_path) as alone:
        alone.http.timeout = 300
        told = events(alone, params={"stream": True, "page": True}, files=upload)
        assert [name for name, _ in told][-2:] == ["report", "page"]
        assert told[-1][1]["missing"] == "" and "video/mp4" in told[-1][1]["html"]
        report = alone.http.post("/v1/emotion/analyze", files=upload).json()
    assert report["label"] == told[-2][1]["label"] and report["provenance"]["seconds"] == [0.0, 89.8]


@pytest.fixture(scope="module")
def report(nano, tmp_path_factory, astronaut):
    path = tmp_path_factory.mktemp("face") / "face.png"
    path.write_bytes(picture_bytes(astronaut))
    return Analyzer(nano).analyze(path)


@pytest.mark.parametrize(
    "fault", [ApiError(422, "the medium took too long", "media_refused"), MediaError("no encoder here"), None]
)
def test_a_report_whose_medium_cannot_be_shown_has_its_page(report, fault, tmp_path):
    """The third one never comes: the page is made while there is still time for it."""

    class Decoders:
        folder = tmp_path

        def new_folder(self):
            return self.folder

        async def playable(self, *_):
            await asyncio.sleep(0 if fault else 60)
            raise fault

    async def run():
        service = Service(ServeSettings.of({"request_seconds": 2.0}))
        service.decoders = Decoders()
        job = ReportJob(service, AnalyzeOptions())
        job.path = tmp_path / "film.mkv"
        return await service.before_deadline(job.page(report), job.deadline)

    page = asyncio.run(run())
    assert page["missing"] == (str(fault) if fault else page["missing"]) and page["missing"]
    assert report.label in page["html"] and "<video" not in page["html"]


def test_where_nobody_is_seen_there_is_no_answer_anywhere(server, tmp_path):
    """A picture, a film with its stream and page, in two languages; `about` asks all the same."""
    frames = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    film = write_clip(tmp_path / "film.mp4", frames).read_bytes()
    for name, upload in (("a.png", png(1)), ("film.mp4", film)):
        for language in ("en", "zh"):
            sent = {"files": {"file": (name, upload)}, "data": {"language": language}}
            report = server.http.post("/v1/emotion/analyze", **sent).json()
            assert report["label"] is report["valence_arousal"] is report["uncertainty"]["confidence"] is None
            assert report["distribution"] == {} and report["uncertainty"]["abstains"]
            assert report["uncertainty"]["reason"].isascii() == (language == "en")
    told = events(server, params={"stream": True, "page": True}, files={"file": ("film.mp4", film)})
    assert [name for name, _ in told] == ["clip", "report", "page"], "no window has a label"
    assert told[1][1]["uncertainty"]["reason"] in told[2][1]["html"]
    for about in ("whole", "evoked"):
        sent = {"files": {"file": ("a.png", png(1))}, "data": {"about": about}}
        report = server.http.post("/v1/emotion/analyze", **sent).json()
        assert report["label"] in report["distribution"] and report["about"] == about


def test_a_real_photograph_without_a_person_has_no_label(server, shared_data):
    for photo in sorted((shared_data / "photos").glob("*.jpg"))[:2]:
        report = server.http.post("/v1/emotion/analyze", files={"file": ("a.jpg", photo.read_bytes())}).json()
        assert (report["label"] is None) == (not report["people"])


def test_numbers_and_states(server):
    assert server.http.get("/health").json()["status"] == server.http.get("/ready").json()["status"] == "ok"
    text = server.http.get("/metrics").text
    for name in (
        "requests_total{",
        "request_seconds_bucket{",
        "running ",
        "waiting ",
        "process_resident_memory_bytes ",
    ):
        assert f"emotion_qwen_{name}" in text
    assert all(len(line.split()) == 2 for line in text.splitlines() if not line.startswith("#"))


def test_the_page_is_whole_and_lets_nothing_in(server):
    page = server.http.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "http://" not in page.text and "https://" not in page.text and "{{" not in page.text
    for name in ("main.js", "live.js", "sound.js", "style.css", "icon.svg"):
        answer = server.http.get(f"/web/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(("text/", "image/svg"))
    for name in ("/examples/astronaut.mp4", "/examples/astronaut.jpg", "/favicon.ico"):
        assert server.http.get(name).status_code == 200
    assert server.http.get("/web/index.html").status_code == server.http.get("/web/no.js").status_code == 404


def test_the_document_describes_every_route(server):
    document = server.http.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/health", "/ready", "/metrics", "/v1/models", "/v1/models/{name}", "/v1/chat/completions",
        "/v1/emotion/analyze", "/v1/emotion/features",
    }  # fmt: skip
    text = json.dumps(document)
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(document["components"]["schemas"]) and "EmotionReport" in used
