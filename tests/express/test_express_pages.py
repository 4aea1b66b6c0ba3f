"""The pages of generated faces: self-contained, marked, with the film and nothing of the clip."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.views.reports import KINDS, two_people

from emotion_qwen.express.avatar import FPS, write_avatar
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.player import write_player
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import Provenance
from emotion_qwen.express.writers import write_output


def embedded(page: str) -> bytes:
    return base64.b64decode(re.search(r'id="media-data">([^<]+)<', page)[1])


def page_data(page: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.+?)</script>', page, re.DOTALL)[1])


class SmallRig(DrawnRig):
    def render(self, frame, head, identity="amber", size=512, fine=2) -> np.ndarray:
        return np.kron(super().render(frame, head, identity, 64, 1), np.ones((size // 64, size // 64, 1), np.uint8))


def test_a_track_becomes_a_page_with_its_film_and_curves(tmp_path: Path) -> None:
    provenance = Provenance(source="text", details={"text": "</script><b>"})
    keyframes = held(emotion_weights({"fear": 0.6, "anger": 0.03}), 0.5)
    track = make_track(keyframes, 0.5, fps=8, seed=1, provenance=provenance)
    write_output(track, SmallRig(), "dune", tmp_path / "face.html")
    page = (tmp_path / "face.html").read_text(encoding="utf-8")
    assert "<h1>fear 0.60</h1>" in page and "Synthetic face · 0.5 s · dune" in page
    assert (
        "No person is shown." in page
        and "&#34;synthetic&#34;: true" in page
        and "<b>" not in page.partition("<main>")[2][:300]
    )
    stored = page_data(page)
    assert [curve["name"] for curve in stored["curves"]] == ["fear", "neutral"] and stored["end"] == 0.5
    assert [len(curve["values"]) for curve in stored["curves"]] == [4, 4]
    with av.open(io.BytesIO(embedded(page))) as film:
        assert json.loads(film.metadata["comment"])["synthetic"] is True
        assert len(list(film.decode(video=0))) == 4
    assert "default-src &#39;none&#39;" in page and not re.search(r"(?:src|href)=[\"']?http", page)


def test_the_page_of_a_replayed_report_says_that_it_is_about_somebody(tmp_path: Path) -> None:
    track = make_track(held(emotion_weights({}), 0.2), 0.2, fps=10, seed=0, provenance=Provenance(source="report"))
    write_player(track, SmallRig(), "amber", tmp_path / "face.html")
    page = (tmp_path / "face.html").read_text(encoding="utf-8")
    assert "<h1>neutral</h1>" in page and "treat it like the report" in page and "No person is shown" not in page


def test_a_replay_is_the_page_of_the_report_with_the_face_in_place_of_the_clip(tmp_path: Path) -> None:
    report = two_people()
    seen = tuple(replace(sighting, time=0.5 + 0.5 * k) for k, sighting in enumerate(report.people[1].seen[:2]))
    person = replace(report.people[1], start=0.5, end=1.0, seen=seen, timeline=(), episodes=())
    short = replace(
        report, people=(person,), timeline=(), episodes=(), gaps=(), utterances=(), cues=(),
        provenance={**report.provenance, "seconds": [0.0, 1.0]},
    )  # fmt: skip
    write_avatar(short, tmp_path / "replay.html", rig=SmallRig(), size=128, person=2)
    page = (tmp_path / "replay.html").read_text(encoding="utf-8")
    aids = page_data(page)["aids"]
    assert aids["media"]["replay"] is True and aids["sound"] is None and aids["media"]["kind"] == "video"
    assert "what the report says of person 2. No picture and no sound" in page
    with av.open(io.BytesIO(embedded(page))) as film:
        assert len(list(film.decode(video=0))) == round(FPS) and not film.streams.audio


def test_the_replay_of_a_picture_is_a_picture(tmp_path: Path) -> None:
    write_avatar(KINDS["picture_only"](), tmp_path / "replay.html", rig=SmallRig(), size=128)
    page = (tmp_path / "replay.html").read_text(encoding="utf-8")
    assert page_data(page)["aids"]["media"]["kind"] == "picture"
    with Image.open(io.BytesIO(embedded(page))) as picture:
        assert picture.size == (128, 128) and json.loads(picture.text["Comment"])["synthetic"] is True


@pytest.mark.parametrize("kind", ["moving", "chinese"])
def test_a_page_of_the_clip_itself_is_no_replay(kind: str, tmp_path: Path) -> None:
    from emotion_qwen.views.html import write_html

    page = write_html(KINDS[kind](), tmp_path / "page.html").read_text(encoding="utf-8")
    assert page_data(page)["aids"]["media"]["replay"] is False
    assert not re.search('class="note">(Synthetic|合成)', page)
