import base64
import hashlib
import json
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from tests.media.footage import write_film, write_sound
from tests.views.reports import HOSTILE, KINDS, two_people

from emotion_qwen.errors import DataError, MediaError, StorageError
from emotion_qwen.strings import PHRASES
from emotion_qwen.views.html import page_script, page_style, write_html
from emotion_qwen.views.render import as_json

PARTS = files("emotion_qwen.views")
SCRIPT, STYLE = page_script(), page_style()
TEMPLATE = (PARTS / "page.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects elements with their attributes, the texts that are read, and what scripts and the like hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, str] = {}
        self._name = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._name = dict(attributes).get("id") or tag

    def handle_endtag(self, tag):
        self._name = ""

    def handle_data(self, data):
        self.inside[self._name] = self.inside.get(self._name, "") + data
        if self._name not in ("script", "style", "page-data", "media-data"):
            self.texts.append(data)

    def has(self, tag: str) -> bool:
        return any(name == tag for name, _ in self.elements)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict:
        return json.loads(self.inside["page-data"])


def page(tmp_path: Path, report, **options) -> Reader:
    return Reader(write_html(report, tmp_path / "page.html", **options).read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_becomes_a_page_that_needs_nothing_else(tmp_path, kind):
    found = page(tmp_path, KINDS[kind]())
    assert found.data["report"] == json.loads(as_json(KINDS[kind]()))
    for tag, attributes in found.elements:
        assert tag not in ("link", "iframe", "object", "base", "form", "img")
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style")]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    own = text.replace(json.dumps(HOSTILE), "")
    assert set(re.findall(r"https?://[^\"'\s]+", own)) <= {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert "url(" not in STYLE and "@import" not in STYLE and "fetch(" not in SCRIPT and "XMLHttp" not in SCRIPT


def test_the_policy_lets_in_only_what_stands_in_the_page(tmp_path):
    found = page(tmp_path, two_people())
    policy = next(a["content"] for tag, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, inside in (("script-src", found.inside["script"]), ("style-src", found.inside["style"])):
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["media-src"] == rules["img-src"] == "blob: 'self' file:" and len(rules) == 7


def test_text_from_outside_stays_text(tmp_path):
    found = page(tmp_path, KINDS["hostile"]())
    assert not found.has("img") and sum(tag == "script" for tag, _ in found.elements) == 2
    assert found.data["report"]["summary"] == HOSTILE and found.text.count("<img src=x onerror=alert(1)>") > 8
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img" not in text and text.count("</script>") == 2
    assert "innerHTML" not in SCRIPT and "outerHTML" not in SCRIPT and "insertAdjacentHTML" not in SCRIPT
    assert "|safe" not in TEMPLATE.replace(" ", "")


def test_what_matters_stands_in_the_page_without_its_script(tmp_path):
    text = page(tmp_path, two_people()).text
    for expected in (
        "clips/interview.mp4", "happy 55%", "+0.26", "2 of 43 frames could not be decoded",
        "sad 0.0–9.0 s · peak 2.5, 70% smoothed", "boxes: this frame only", "seen 4.0–15.0 s · 23 frames",
        "≠ disagrees", "no answer", "×1.80", "pitch, Hz 241",
        "The tears at the start are of tension", "relieved", "observe", "It worked! It really worked.",
        "Exam results are announced.", "· calibrated", "emotion expert 0.65", "clip_settings",
        "A face shows an expression, not what a person feels.", "The clip itself is not part of this page.",
    ):  # fmt: skip
        assert expected in text, expected


def test_measured_and_generated_never_look_alike(tmp_path):
    page(tmp_path, two_people())
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r'tag measured"[^>]*>measured</span> <span class="measured">The words alone', text)
    assert re.search(r'tag generated"[^>]*>generated</span> <span class="generated">The tears', text)
    assert "span.generated:not(.tag) { font-family: Georgia" in STYLE and ".tag.generated" in STYLE


def test_every_kind_shows_only_what_it_has(tmp_path):
    assert "not sure closest is happy" in page(tmp_path, KINDS["abstaining"]()).text
    chinese = page(tmp_path, KINDS["chinese"]())
    assert chinese.elements[0] == ("html", {"lang": "zh"}) and "高兴 55%" in chinese.text and "人物" in chinese.text
    still = page(tmp_path, KINDS["picture_only"]())
    assert "timeline" not in still.inside and not any(a.get("id") == "timeline" for _, a in still.elements)
    sound = page(tmp_path, KINDS["sound_only"]())
    sections = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "no picture; sound and words" in sound.text and "<h2>people" not in sections and "<h2>gate" not in sections
    assert "no face was found" in page(tmp_path, KINDS["nobody_seen"]()).text


def test_without_an_answer_the_page_has_a_reason_and_no_number(tmp_path):
    photo = page(tmp_path, KINDS["unanswered"]())
    assert "no answer no face was found" in photo.text and "valence" not in photo.text and "%" not in photo.text
    assert not any(a.get("id") in ("bars", "plane") for _, a in photo.elements)
    clip = page(tmp_path, KINDS["unanswered_clip"]())
    assert "no answer 0.0–20.0 s · no face was found, and no voice was heard" in clip.text
    gapped = page(tmp_path, KINDS["gapped"]())
    assert "no answer 9.0–13.0 s · no face was found, and no voice was heard" in gapped.text
    assert "what the picture evokes in viewers" in page(tmp_path, KINDS["evoked"]()).text


def test_the_script_asks_only_for_what_is_there(tmp_path):
    used = set(re.findall(r"\bsay\.(\w+)", SCRIPT + TEMPLATE)) | set(re.findall(r"say\['(\w+)'\]", TEMPLATE))
    assert used and not used - set(PHRASES)
    built = page(tmp_path, two_people(), media=write_film(tmp_path / "a.mp4", count=3))
    ids = [attributes["id"] for _, attributes in built.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and not set(re.findall(r'byId\("([\w-]+)"\)', SCRIPT)) - set(ids)
    assert not set(re.findall(r"\baids\.(\w+)", SCRIPT)) - set(built.data["aids"])
    asked = re.search(r"const \{ ([\w, ]+) \} = aids;", SCRIPT)
    assert asked and not set(asked.group(1).split(", ")) - set(built.data["aids"])


def test_a_small_clip_stands_in_the_page(tmp_path):
    media = write_film(tmp_path / "a.mp4", count=5, sound="aac")
    found = page(tmp_path, two_people(), media=media)
    assert base64.b64decode(found.inside["media-data"]) == media.read_bytes()
    shown = found.data["aids"]["media"]
    assert (shown["kind"], shown["mime"], shown["address"]) == ("video", "video/mp4", "")
    assert found.data["aids"]["sound"]["end"] > 0 and "not part of this page" not in found.text


def test_a_large_clip_is_referred_to_with_a_note(tmp_path):
    media = write_film(tmp_path / "a clip.mp4", count=5)
    found = page(tmp_path, two_people(), media=media, embed_limit=100)
    assert found.data["aids"]["media"]["address"] == "a%20clip.mp4" and "media-data" not in found.inside
    assert "too large to embed and is loaded from a clip.mp4" in found.text


def test_a_clip_that_browsers_cannot_play_is_copied_with_a_note(tmp_path):
    found = page(tmp_path, two_people(), media=write_film(tmp_path / "a.mkv", count=5))
    assert base64.b64decode(found.inside["media-data"])[4:8] == b"ftyp"
    assert "the page shows a smaller copy, 320×180" in found.text


def test_pictures_and_sounds_are_shown_as_such(tmp_path):
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "a.png")
    still = page(tmp_path, KINDS["picture_only"](), media=tmp_path / "a.png")
    assert still.data["aids"]["media"]["kind"] == "picture" and still.data["aids"]["sound"] is None
    heard = page(tmp_path, KINDS["sound_only"](), media=write_sound(tmp_path / "a.wav"))
    assert heard.data["aids"]["media"]["kind"] == "sound" and len(heard.data["aids"]["sound"]["peaks"]) == 480


def test_faults_leave_the_page_before_as_it_was(tmp_path):
    (tmp_path / "page.html").write_text("before")
    with pytest.raises(DataError, match=r"valence_arousal\[0\] is nan"):
        page(tmp_path, replace(two_people(), valence_arousal=(float("nan"), 0.0)))
    with pytest.raises(MediaError, match="none.mp4' does not exist"):
        page(tmp_path, two_people(), media=tmp_path / "none.mp4")
    assert (tmp_path / "page.html").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"folder' is a folder or a device"):
        write_html(two_people(), tmp_path / "folder")


def test_the_wheel_carries_the_templates():
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    carried = settings["tool"]["setuptools"]["package-data"]["emotion_qwen.views"]
    parts = [Path(part.name) for part in PARTS.iterdir() if part.is_file() and not part.name.endswith(".py")]
    assert len(parts) > 8 and all(any(part.match(pattern) for pattern in carried) for part in parts)
    texts = {part.name: (PARTS / part.name).read_text(encoding="utf-8") for part in parts}
    assert all(len(text.splitlines()) < 600 for text in texts.values())
    assert "</script" not in SCRIPT and "</style" not in STYLE
