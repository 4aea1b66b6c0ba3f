"""Words, spans, rates and labels that a request gives, and the page of the API."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.conftest import write_clip

WHERE = "/v1/emotion/analyze"
SAID = b"1\n00:00:00,000 --> 00:00:02,000\nI cannot believe he is gone.\n"


@pytest.fixture(scope="module")
def film(tmp_path_factory, astronaut) -> bytes:
    frames = np.stack([astronaut[k : k + 320, 80:400] for k in range(30)])
    return write_clip(tmp_path_factory.mktemp("film") / "face.mp4", np.ascontiguousarray(frames)).read_bytes()


def report(server, film, words=None, **fields) -> dict:
    files = {"file": ("face.mp4", film)} | ({"transcript": words} if words else {})
    answer = server.http.post(WHERE, files=files, data={name: str(value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text)


def test_a_transcript_is_read_beside_the_medium(server, film):
    made = report(server, film, ("words.srt", SAID))
    assert [utterance["text"] for utterance in made["utterances"]] == ["I cannot believe he is gone."]
    assert "words" in made["provenance"]["channels"] and not report(server, film)["utterances"]


@pytest.mark.parametrize(("words", "code"), [(("w.srt", b""), 400), (("w.srt", b"a" * (2**20 + 1)), 413)])
def test_a_bad_transcript_is_refused(server, film, words, code):
    answer = server.http.post(WHERE, files={"file": ("face.mp4", film), "transcript": words})
    assert answer.status_code == code and answer.json()["error"]["param"] == "transcript"


def test_a_transcript_that_is_no_file_is_refused(server, film):
    answer = server.http.post(WHERE, files={"file": ("face.mp4", film)}, data={"transcript": "He is gone."})
    assert 400 <= answer.status_code < 500 and "transcript" in answer.text


def test_rate_and_window_are_those_of_the_command(server, film):
    made = report(server, film, fps=8, window=1)
    assert made["provenance"]["frames"] == 24 and len(made["people"][0]["seen"]) == 24
    assert made["timeline"][0]["end"] - made["timeline"][0]["start"] == pytest.approx(1.0)
    refused = server.http.post(WHERE, files={"file": ("face.mp4", film)}, data={"fps": "0"})
    assert refused.status_code == 400 and "fps" in refused.json()["error"]["param"]


def test_labels_of_the_user_are_marked_as_untrained(server, film):
    made = report(server, film, labels="amused, moved, puzzled")
    assert set(made["distribution"]) == {"amused", "moved", "puzzled"}
    assert made["provenance"]["label_set_trained"] is False
    refused = server.http.post(WHERE, files={"file": ("face.mp4", film)}, data={"labels": "amused"})
    assert refused.status_code == 400


def test_a_form_of_reasoning_is_that_of_the_command(server, film):
    made = report(server, film, reasoning="tree")
    assert list(made["reasoning"]) == ["actions", "expression", "conclusion"]
    refused = server.http.post(WHERE, files={"file": ("face.mp4", film)}, data={"reasoning": "trees"})
    assert refused.status_code == 400 and "Did you mean 'tree'?" in refused.json()["error"]["message"]


def test_the_page_of_the_api_needs_nothing_from_elsewhere(server):
    page = server.http.get("/docs")
    assert page.status_code == 200 and "http" not in page.text.replace("https://www.w3", "")
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("style-src")[0]
    for name, kind in (("swagger-ui-bundle.js", "javascript"), ("swagger-ui.css", "css"), ("api.js", "javascript")):
        answer = server.http.get(f"/web/{name}")
        assert answer.status_code == 200 and kind in answer.headers["content-type"] and len(answer.content) > 100
