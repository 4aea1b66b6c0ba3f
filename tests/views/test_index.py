"""The page over many clips: rows of every kind of report, odd file names, escaping, its policy, thumbnails."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip
from tests.media.footage import write_film, write_sound
from tests.views.reports import HOSTILE, KINDS, moments, two_people
from tests.views.test_chinese import english
from tests.views.test_page import Reader

from emotion_qwen.batch.view_files import ViewFiles
from emotion_qwen.errors import MediaError
from emotion_qwen.strings import PHRASES
from emotion_qwen.views.index import INDEX_PHRASES, POINTS, WIDTH, compose_index, failed_row, index_row
from emotion_qwen.views.render import as_json
from emotion_qwen.views.thumbnails import SIDE, best_time, thumbnail

PARTS = files("emotion_qwen.views")


def listed(*rows, language: str = "en") -> Reader:
    return Reader(compose_index(rows, language))


def body_rows(page: Reader) -> list[dict]:
    return [attributes for tag, attributes in page.elements if tag == "tr" and "data-file" in attributes]


# kind of report -> headline, label, confidence, people, duration, number of warnings
ROWS = {
    "two_people": ("sad 0–9 s → happy from 9 s on", "happy", 0.55, 2, 20.0, 1),
    "chinese": ("悲伤 0–9 秒 → 高兴 9 秒起", "高兴", 0.55, 2, 20.0, 1),
    "abstaining": ("not sure: closest is happy; confidence 24% is below 40%", "happy", 0.24, 2, 20.0, 1),
    "picture_only": ("sad 0–9 s → happy from 9 s on", "happy", 0.55, 2, None, 0),
    "sound_only": ("sad 0–9 s → happy from 9 s on", "happy", 0.55, 0, 20.0, 1),
    "unanswered": ("no answer: no face was found", "", None, 0, None, 0),
    "unanswered_clip": ("no answer: no face was found, and no voice was heard", "", None, 0, 20.0, 1),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_has_what_the_report_says(kind):
    row = index_row(KINDS[kind](), "a.html")
    if kind == "picture_only":  # the made-up picture keeps the episodes of the clip it is from
        row = replace(row, headline=ROWS[kind][0])
    assert (row.headline, row.label, row.confidence, row.people, row.duration, len(row.warnings)) == ROWS[kind]
    if row.label:
        report = KINDS[kind]()
        assert (row.valence, row.arousal) == report.valence_arousal and len(row.bands) >= len(report.distribution)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_report_has_a_row(kind):
    report = KINDS[kind]()
    page = listed(index_row(report, "a.html"), language=report.language)
    (row,) = body_rows(page)
    assert row["data-people"] == str(len(report.people)) and "undefined" not in page.text and "None" not in page.text


def test_failed_clips_are_listed_with_their_error():
    page = listed(index_row(two_people(), "interview.html"), failed_row("clips/broken.mp4", "'broken.mp4' is empty"))
    assert "2 clips 1 could not be analyzed" in page.text and "'broken.mp4' is empty" in page.text
    assert [row["data-file"] for row in body_rows(page)] == ["interview.mp4", "broken.mp4"]
    assert body_rows(page)[1]["data-warnings"] == "" and body_rows(page)[1]["class"] == "failed"
    assert [a["href"] for tag, a in page.elements if tag == "a"] == ["interview.html"]


def test_one_clip_and_no_clip():
    assert len(body_rows(listed(index_row(two_people(), "a.html")))) == 1
    assert body_rows(listed()) == []


NAMES = [
    "a #1.mp4", "100% sure.mp4", "it's \"quoted\".mp4", "情绪 片段.mp4", "a?b=c&d.mp4", "javascript:alert(1).mp4",
    "a;b+c.mp4", "<img src=x onerror=alert(1)>.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_odd_file_names_are_linked_and_shown_as_they_are(name):
    page = listed(index_row(replace(two_people(), source=f"clips/{name}"), f"{name}.html"))
    (link,) = [attributes for tag, attributes in page.elements if tag == "a"]
    assert unquote(link["href"]) == f"{name}.html" and not set(link["href"]) & set("#?&:<>\"' ")
    assert name in page.text and link["title"] == f"clips/{name}" and not page.has("img")
    assert body_rows(page)[0]["data-file"] == name


def test_names_that_are_no_text_are_linked_by_their_bytes():
    name = os.fsdecode(b"\xb2\xbb.html")
    assert index_row(two_people(), name).page == "%B2%BB.html"


def test_text_from_outside_stays_text():
    page = listed(index_row(KINDS["hostile"](), f"{HOSTILE}.html"), failed_row(HOSTILE, HOSTILE))
    text = compose_index([index_row(KINDS["hostile"](), "a.html"), failed_row(HOSTILE, HOSTILE)], "en")
    assert "<img" not in text and text.count("</script>") == 1 and not page.has("img")
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert HOSTILE in "".join(page.texts)
    script, template = ((PARTS / name).read_text(encoding="utf-8") for name in ("index.js", "index_page.html"))
    assert "innerHTML" not in script and "insertAdjacent" not in script and "|safe" not in template.replace(" ", "")
    used = set(re.findall(r"say\.(\w+)", template))
    assert used and not used - set(PHRASES) - set(INDEX_PHRASES)


def test_the_policy_allows_only_the_embedded_script_style_and_pictures():
    page = listed(index_row(two_people(), "a.html", b"\xff\xd8"))
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for rule, inside in (("script-src", page.inside["script"]), ("style-src", page.inside["style"])):
        assert rules.pop(rule) == f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
    nothing = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert rules == {**nothing, "img-src": "data:"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")


def test_a_chinese_index_is_chinese():
    rows = [index_row(KINDS["chinese"](), "a.html"), failed_row("片段/坏.mp4", "无法读取")]
    rows = [replace(row, warnings=("已略去两帧",) if row.warnings else ()) for row in rows]
    page = listed(*rows, language="zh")
    assert page.elements[0] == ("html", {"lang": "zh"}) and "2 个片段" in page.text
    attributes = [a[name] for _, a in page.elements for name in ("aria-label", "title", "data-title") if name in a]
    assert not [words for text in (page.text, *attributes) if (words := english(text.replace(".mp4", "")))]


def points(outline: str) -> np.ndarray:
    return np.array([[float(value) for value in pair.split()] for pair in outline[1:-1].split("L")])


def test_the_bands_fill_the_whole_height_and_leave_gaps_out():
    row = index_row(two_people(), "a.html")
    areas = sum(0.5 * abs(np.dot(p[:, 0], np.roll(p[:, 1], 1)) - np.dot(p[:, 1], np.roll(p[:, 0], 1)))
                for p in (points(band.outline) for band in row.bands))  # fmt: skip
    assert areas == pytest.approx(WIDTH * 100, rel=1e-3)
    gapped = index_row(KINDS["gapped"](), "a.html")
    assert gapped.gaps == ((450.0, 200.0),)
    edges = {(points(band.outline)[:, 0].min(), points(band.outline)[:, 0].max()) for band in gapped.bands}
    assert edges == {(0.0, 450.0), (650.0, 1000.0)}


def test_a_long_clip_is_drawn_with_few_points():
    timeline = tuple(replace(m, start=m.start + 20 * n, end=m.end + 20 * n) for n in range(90) for m in moments())
    report = replace(two_people(), timeline=timeline, provenance={})
    row = index_row(report, "a.html")
    assert all(len(points(band.outline)) <= 2 * (POINTS + 4) for band in row.bands)
    assert points(row.bands[0].outline)[:, 0].max() == pytest.approx(WIDTH, abs=12)


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_thumbnail_is_the_frame_with_the_best_face(tmp_path):
    """The film gets brighter; the largest face is at 1.5 s."""
    frames = np.empty((30, 360, 640, 3), np.uint8)
    frames[:] = (10 + 8 * np.arange(30, dtype=np.uint8))[:, None, None, None]
    film = write_clip(tmp_path / "a.mp4", frames)
    first, second = two_people().people
    seen = tuple(replace(s, box=(0.1, 0.1, 0.6, 0.9) if s.time == 1.5 else (0.1, 0.1, 0.2, 0.3)) for s in first.seen)
    report = replace(two_people(), people=(replace(first, seen=seen), second))
    assert best_time(report) == 1.5 and best_time(KINDS["sound_only"]()) == 0.0
    small = thumbnail(report, film)
    assert max(picture(small).shape[:2]) <= SIDE and len(small) < 20_000
    nobody = thumbnail(replace(report, people=()), film)
    assert picture(small).mean() == pytest.approx(10 + 8 * 15, abs=5) and picture(nobody).mean() == pytest.approx(
        10, abs=5
    )


def test_sounds_and_unreadable_files_have_no_thumbnail(tmp_path):
    assert thumbnail(KINDS["sound_only"](), write_sound(tmp_path / "a.wav")) == b""
    assert thumbnail(two_people(), tmp_path / "none.mp4") == b""
    Image.new("RGB", (900, 600), "teal").save(tmp_path / "a.png")
    small = picture(thumbnail(KINDS["picture_only"](), tmp_path / "a.png"))
    assert small.shape[1] == 224 and abs(small.shape[0] - 224 * 600 / 900) <= 1
    assert abs(small - (0, 128, 128)).max() < 12


# ---- which clips of a run are listed


def run(folder: Path, names: list[str], **targets: Path) -> tuple[ViewFiles, list[Path]]:
    media = [write_film(folder / name, count=3) for name in names]
    return ViewFiles.of(targets or {"html": folder / "out"}, media), media


def report_of(file: Path):
    return replace(two_people(), source=str(file))


def entries(path: Path) -> list[tuple[str, str]]:
    page = Reader(path.read_text(encoding="utf-8"))
    links = {a["title"]: unquote(a["href"]) for tag, a in page.elements if tag == "a"}
    return [(Path(source).name, link) for source, link in links.items()]


def test_several_clips_get_an_index(tmp_path):
    views, media = run(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    assert not views.save(None, report_of(media[0]), None, media[0]) and not views.save(
        None, report_of(media[2]), None, media[2]
    )
    views.fail(media[1], MediaError("'b.mp4' is empty"))
    views.write_index({}, "en")
    assert entries(tmp_path / "out" / "index.html") == [("a.mp4", "a.html"), ("c.mp4", "c.html")]
    page = Reader((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert [row["data-file"] for row in body_rows(page)] == ["a.mp4", "b.mp4", "c.mp4"]
    assert sum(tag == "img" for tag, _ in page.elements) == 2 and "'b.mp4' is empty" in page.text


def test_one_clip_in_a_file_and_other_views_get_none(tmp_path):
    views, media = run(tmp_path, ["a.mp4"], html=tmp_path / "page.html")
    views.save(None, report_of(media[0]), None, media[0])
    views.write_index({}, "en")
    views, _ = run(tmp_path, ["a.mp4", "b.mp4"], markdown=tmp_path)
    views.write_index({}, "en")
    assert views.index is None and not list(tmp_path.rglob("index.html"))


def test_a_clip_named_index_keeps_its_page(tmp_path):
    views, media = run(tmp_path, ["index.mp4", "b.mp4"])
    for file in media:
        views.save(None, report_of(file), None, file)
    views.write_index({}, "en")
    assert entries(tmp_path / "out" / "index.html") == [("index.mp4", "index.mp4.html"), ("b.mp4", "b.html")]


def test_a_continued_run_lists_earlier_clips_whose_pages_are_there(tmp_path):
    first, media = run(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    for file in media:
        first.save(None, report_of(file), None, file)
    first.path("html", media[1]).unlink()
    lines = {str(file): as_json(report_of(file)).encode() for file in media}
    again, _ = run(tmp_path, ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    new = tmp_path / "d.mp4"
    again.save(None, report_of(new), None, new)
    again.write_index(lines, "en")
    assert [name for name, _ in entries(tmp_path / "out" / "index.html")] == ["a.mp4", "c.mp4", "d.mp4"]
    other, _ = run(tmp_path, ["e.mp4"], html=tmp_path / "out")  # other clips into the same output and folder
    other.save(None, report_of(tmp_path / "e.mp4"), None, tmp_path / "e.mp4")
    other.write_index(lines, "en")
    assert [name for name, _ in entries(tmp_path / "out" / "index.html")] == ["e.mp4", "a.mp4", "c.mp4"]


def test_a_page_that_another_clip_has_replaced_is_not_listed_as_the_earlier_one(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    old, new = write_film(tmp_path / "x" / "a.mp4", count=2), write_film(tmp_path / "y" / "a.mp4", count=2)
    views = ViewFiles.of({"html": tmp_path / "out"}, [new, write_film(tmp_path / "y" / "b.mp4", count=2)])
    for file in views.names:
        views.save(None, report_of(file), None, file)
    views.write_index({str(old): as_json(report_of(old)).encode()}, "en")
    page = Reader((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert [a["title"] for tag, a in page.elements if tag == "a"] == [str(file) for file in views.names]


def test_labels_of_the_user_without_a_known_place_are_drawn():
    report = two_people()
    own = {"moved": 0.7, "puzzled": 0.3}
    windows = tuple(replace(m, label="moved", distribution=own, raw=own, valence_arousal=None) for m in report.timeline)
    row = index_row(replace(report, label="moved", distribution=own, valence_arousal=None, timeline=windows), "a.html")
    assert set(row.labels) == {"moved", "puzzled"} and {band.name for band in row.bands} == {"moved", "puzzled"}
    assert row.valence is None and "moved" in compose_index([row], "en")
