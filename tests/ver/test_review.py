"""The review page: what it serves, what it hides, and two reviewers at the keyboard of a real browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from tests.ver.browser import PROGRAM, Browser
from tests.ver.sets import faces, settings
from tests.ver.teachers import ServedTeacher

from emotion_qwen.errors import DataError
from emotion_qwen.ver.export import load_ver
from emotion_qwen.ver.pipeline import Build
from emotion_qwen.ver.review.page import server
from emotion_qwen.ver.store.decisions import FILE, Decisions

pytest.importorskip("scenedetect")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    with ServedTeacher() as teacher:
        built = Build(
            settings(faces(folder / "films"), folder / "set", teacher.url), console=Console(file=io.StringIO())
        )
        built.run()
    return built


@pytest.fixture
def made(built):
    """The set, about which nothing is decided."""
    yield built
    (built.output / FILE).unlink(missing_ok=True)


@pytest.fixture
def address(made):
    opened, listening = server(made, "127.0.0.1", 0)
    thread = threading.Thread(target=opened.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    opened.should_exit = True
    thread.join(10)


def get(address, path):
    with urllib.request.urlopen(address + path) as response:
        return json.loads(response.read())


def post(address, path, told, kind="application/json"):
    request = urllib.request.Request(address + path, json.dumps(told).encode(), {"Content-Type": kind})
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read())


def decide(address, clip, reviewer, action, **more):
    return post(address, "/api/decide", {"clip": clip, "reviewer": reviewer, "action": action, **more})["decisions"]


def test_a_reviewer_sees_the_other_only_after_deciding(address):
    clip = get(address, "/api/clips?reviewer=ann")["clips"][0]["clip"]
    decide(address, clip, "ann", "reject", note="blurred")
    assert get(address, f"/api/clip/{clip}?reviewer=bob")["decisions"] == []
    seen = get(address, "/api/clips?reviewer=bob")
    assert seen["clips"][0] == {"clip": clip, "label": "happy", "own": "", "conflict": False}
    assert seen["agreement"]["pairs"] == [] and "blurred" not in json.dumps(seen)
    told = decide(address, clip, "bob", "accept")
    assert [(one["reviewer"], one["action"]) for one in told] == [("ann", "reject"), ("bob", "accept")]
    after = get(address, "/api/clips?reviewer=bob")
    assert after["clips"][0]["conflict"] and after["agreement"]["pairs"][0]["agree"] == 0.0


def test_decisions_are_exported_from_the_page(address, made):
    clips = [one["clip"] for one in get(address, "/api/clips")["clips"]]
    decide(address, clips[0], "ann", "edit", edits={"en": {"description": "She is happy, said anew."}})
    decide(address, clips[1], "ann", "reject")
    assert post(address, "/api/export", {})["clips"] == 2
    texts = [sample.messages[1]["content"] for sample in load_ver(made.output, language="en")]
    assert texts[0] == "She is happy, said anew." and len(texts) == 2
    found = Decisions(made.output / FILE).latest()[clips[1]]["ann"]
    assert found.reviewer == "ann" and found.at[:2] == "20"


@pytest.mark.parametrize(
    "path, told, match",
    [
        ("/api/decide", {"clip": "none", "reviewer": "a", "action": "accept"}, "clip 'none' is not in this set"),
        ("/api/decide", {"clip": None}, "is not in this set"),
        ("/api/decide", [], "no attribute"),
    ],
)
def test_requests_that_do_not_fit_are_named(address, path, told, match):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(address, path, told)
    assert caught.value.code == 400 and match in json.loads(caught.value.read())["error"]


def test_only_this_machine_and_this_page_may_ask(address):
    port = int(address.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/api/clips", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(address, "/api/decide", {}, kind)
    for path in ("/media/../build.json", "/media/%2e%2e/build.json", "/build.json"):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path, headers={"Host": f"127.0.0.1:{port}"})
        assert connection.getresponse().status == 404


def test_media_come_in_the_parts_that_a_player_asks_for(address, made):
    name = get(address, "/api/clips")["clips"][0]["clip"] + ".mp4"
    whole = (made.clips / name).read_bytes()
    request = urllib.request.Request(f"{address}/media/{name}", headers={"Range": "bytes=10-19"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 206 and response.read() == whole[10:20]
        assert response.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    for part, length in (("bytes=-5", 5), (f"bytes={len(whole) - 9}-", 9)):
        request = urllib.request.Request(f"{address}/media/{name}", headers={"Range": part})
        with urllib.request.urlopen(request) as response:
            assert response.read() == whole[-length:]


def test_a_taken_port_is_named(made, address):
    with pytest.raises(DataError, match="give another --port"):
        server(made, "127.0.0.1", int(address.rpartition(":")[2]))


def rejected_clip(address, reviewer="ann"):
    return get(address, f"/api/rejected?reviewer={reviewer}")["clips"][0]


def refusal(address, path, fields):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(address, path, fields)
    assert caught.value.code == 400
    return json.loads(caught.value.read())["error"]


def test_rejected_clips_are_listed_with_reasons_looked_at_and_restored(address, made):
    entry = rejected_clip(address)
    facts = {key: entry[key] for key in ("label", "step", "reason", "obstacle", "own", "conflict")}
    assert facts == {"label": "", "step": "select", "reason": "no face", "obstacle": "", "own": "", "conflict": False}
    clip, name = get(address, f"/api/clip/{entry['clip']}?reviewer=ann"), entry["clip"]
    assert not clip["accepted"] and clip["seconds"] > 0.5 and clip["en"]["description"] == ""
    with urllib.request.urlopen(f"{address}/media/{name}.mp4") as response:
        assert response.read() == (made.clips / f"{name}.mp4").read_bytes()
    fields = {"clip": name, "reviewer": "ann", "action": "accept"}
    missing = "add label, valence, arousal, description (en), reasoning (en), description (zh), reasoning (zh)"
    assert refusal(address, "/api/decide", fields).endswith(missing)
    texts = {"description": "A colour.", "reasoning": "Nobody is there."}
    values = {"label": "neutral", "valence": 0, "arousal": 0}
    fields |= {"action": "edit", "edits": {"en": texts, "zh": texts}, "corrections": values}
    assert post(address, "/api/decide", fields)["entry"] == {**entry, "label": "neutral", "own": "edit"}
    assert {key: post(address, "/api/export", {})[key] for key in ("clips", "corrected", "restored")} == {
        "clips": 4, "corrected": 1, "restored": 1
    }  # fmt: skip


def test_corrections_are_checked_against_labels_and_clip_and_shown_to_their_reviewer(address):
    name = get(address, "/api/clips")["clips"][0]["clip"]
    long = get(address, f"/api/clip/{name}")["seconds"]
    fields = {"clip": name, "reviewer": "ann", "action": "edit"}
    for corrections, match in (
        ({"label": "joy"}, "unknown label 'joy'; expected one of: angry"),
        ({"episodes": [{"onset": 0.2, "offset": 0.1, "label": "sad"}]}, "expected the onset before the offset"),
        ({"episodes": [{"onset": 0, "offset": long + 0.5, "label": "sad"}]}, "offset of episode 1 is"),
        ({"label": "happy", "valence": 0.7}, "with no edits"),  # what the teacher said, too
    ):
        assert match in refusal(address, "/api/decide", {**fields, "corrections": corrections})
    assert get(address, "/api/clips?reviewer=ann")["clips"][0]["own"] == ""
    answer = post(address, "/api/decide", {**fields, "corrections": {"label": "sad", "valence": 0.7}})
    assert answer["entry"]["label"] == "sad" and answer["decisions"][0]["corrections"] == {"label": "sad"}
    assert get(address, "/api/clips?reviewer=bob")["clips"][0]["label"] == "happy"
    assert decide(address, name, "bob", "accept")[0]["corrections"] == {"label": "sad"}
    assert get(address, "/api/clips?reviewer=bob")["clips"][0]["conflict"]


def test_undo_and_progress_of_every_reviewer(address):
    first, second, _ = (entry["clip"] for entry in get(address, "/api/clips")["clips"])
    decide(address, first, "ann", "accept")
    decide(address, second, "ann", "reject")
    assert get(address, "/api/clips?reviewer=bob")["decided"] == {}  # nothing of others before the first decision
    answer = post(address, "/api/decide", {"clip": first, "reviewer": "bob", "action": "accept"})
    assert (answer["decided"], answer["total"]) == ({"ann": 2, "bob": 1}, 3)
    answer = post(address, "/api/undo", {"reviewer": "ann"})
    assert (answer["clip"], answer["action"], answer["entry"]["own"]) == (second, "reject", "")
    assert answer["decided"] == {"ann": 1, "bob": 1} and answer["decisions"] == []
    post(address, "/api/undo", {"reviewer": "ann"})
    assert "'ann' has made no decision that can be undone" in refusal(address, "/api/undo", {"reviewer": "ann"})


def test_the_page_loads_its_parts_and_small_pictures_from_this_machine_alone(address):
    with urllib.request.urlopen(address) as response:
        page, policy = response.read().decode(), response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' data:")
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert parts[0].startswith("data:image/svg+xml,") and len(parts) == 6
    for path in parts[1:]:
        with urllib.request.urlopen(address + path) as response:
            assert response.status == 200 and len(response.read()) > 1000
    for entry in (get(address, "/api/clips")["clips"][0], rejected_clip(address)):
        with urllib.request.urlopen(f"{address}/small/{entry['clip']}.jpg") as response:
            assert Image.open(io.BytesIO(response.read())).width <= 160
    for path in ("/small/none.jpg", "/page.py", "/decisions.py"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)


SHOWN = ((390, "light"), (1280, "light"), (1280, "dark"), (390, "dark"))
DECIDED = "document.querySelectorAll('#clips .state:not(.conflict)').length"
SETTLED = "new Promise(done => setTimeout(done, 400))"


def begin(browser, address, name):
    """Open the page and give a name, which is asked for before anything else."""
    browser.open(address)
    browser.until("document.getElementById('who')?.open")
    assert browser.run("document.activeElement.id") == "reviewer"
    assert browser.run("document.getElementById('export').disabled")
    browser.key("Escape")
    browser.until("document.getElementById('who').open && document.activeElement.id === 'reviewer'")
    browser.run(f"document.getElementById('reviewer').value = '{name}'")
    browser.key("Enter")
    browser.until("state.at === 0 && document.getElementById('video').readyState >= 2")
    assert not browser.run("document.getElementById('export').disabled")


def show(browser, width, scheme):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **screen)
    browser.call("Emulation.setScrollbarsHidden", hidden=True)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def pictured(browser, pictures, name):
    """Save the page at two widths, light and dark; nothing may reach beyond its side."""
    for width, scheme in SHOWN:
        show(browser, width, scheme)
        browser.run(SETTLED)
        assert browser.run("document.documentElement.scrollWidth") <= width, (name, width)
        browser.picture(pictures / f"{name}-{width}-{scheme}.png", whole=True)
    show(browser, 1280, "light")


def choose_rejected(browser):
    browser.run("document.getElementById('filter').value = 'rejected'; filter()")
    browser.until("state.listed.length === 3 && state.listed[0].reason")


def faults(browser):
    """List the serious faults that axe finds in the page, light and dark."""
    listed = []
    browser.run(Path(os.environ["AXE_CORE"]).read_text(encoding="utf-8") + "; 0")
    for scheme in ("light", "dark"):
        show(browser, 1280, scheme)
        browser.run(SETTLED)
        report = json.loads(browser.run("axe.run().then(report => JSON.stringify(report.violations))"))
        listed += [(scheme, fault["id"], [node["html"][:120] for node in fault["nodes"]]) for fault in report
                   if fault["impact"] in ("serious", "critical")]  # fmt: skip
    show(browser, 1280, "light")
    return listed


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_two_reviewers_at_the_keyboard(address, made, tmp_path):
    pictures = Path(os.environ.get("VER_PICTURES", tmp_path))
    with Browser(tmp_path / "ann") as browser:
        begin(browser, address, "ann")
        assert browser.run("document.querySelectorAll('textarea').length") == 4
        chinese = browser.run("document.querySelector('section[lang=zh]').innerText")
        assert "高兴" in chinese and "描述" in chinese and "happy" not in chinese and "valence" not in chinese
        look = (
            "(style => style.borderColor + style.backgroundColor)(getComputedStyle(document.querySelector('textarea')))"
        )
        before = browser.run(look)
        browser.key("e")
        browser.until("state.editing && document.activeElement.id === 'label'")
        assert browser.run(look) != before  # what can be edited looks different
        browser.run("document.querySelector('textarea').value = 'Ann wrote this anew.'")
        browser.run("document.getElementById('valence').value = 0.4")
        browser.run("document.activeElement.blur(); document.getElementById('video').pause(); seek(0.25)")
        browser.until("!document.getElementById('video').seeking")
        browser.key("+")
        browser.until("document.activeElement.className === 'onset'")
        browser.run("seek(0.5)")
        browser.until("!document.getElementById('video').seeking")
        browser.key("]")
        pictured(browser, pictures, "edit")
        browser.key("Enter", modifiers=2)
        browser.until(f"{DECIDED} === 1 && state.at === 1")
        browser.key("a")
        browser.until(f"{DECIDED} === 2 && state.at === 2")
        browser.key("u")
        browser.until(f"{DECIDED} === 1 && state.at === 1")
        browser.key("a")
        browser.until(f"{DECIDED} === 2 && state.at === 2")
        browser.key("f")
        browser.until(f"{DECIDED} === 3")
        browser.until("document.getElementById('progress-text').textContent === '3 of 3 clips decided'")
    with Browser(tmp_path / "bob") as browser:
        begin(browser, address, "bob")
        assert browser.run(DECIDED) == 0 and "ann" not in browser.run("document.body.innerText")
        browser.key("a")
        browser.until(f"{DECIDED} === 1 && state.at === 1")
        browser.key("r")
        browser.until("document.getElementById('others').textContent.startsWith('ann: accepted')")
        browser.until("document.getElementById('message').textContent.includes('decided differently')")
        browser.until("document.getElementById('agreement').textContent.includes('50 % of 2')")
        assert "conflict" in browser.run("document.getElementById('clips').textContent")
        browser.run("document.getElementById('video').pause(); seek(0.5)")
        browser.until("!document.getElementById('video').seeking")
        pictured(browser, pictures, "conflict")
        browser.key("k")
        browser.until(
            "document.getElementById('others').textContent.startsWith('ann: edited: valence 0.4, 1 episode, Engl')"
        )
        browser.run("document.getElementById('export').click()")
        browser.until("document.getElementById('message').textContent.startsWith('Written: 1 clips')")
    (english,) = load_ver(made.output, language="en")
    assert english.messages[1]["content"] == "Ann wrote this anew." and english.labels["valence"] == "0.4"
    (episode,) = json.loads(english.labels["episodes"])
    assert episode["label"] == "happy" and 0.2 < episode["onset"] < episode["offset"] <= 0.5


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_a_rejected_clip_is_restored_at_the_keyboard(address, made, tmp_path):
    with Browser(tmp_path / "ann") as browser:
        begin(browser, address, "ann")
        choose_rejected(browser)
        browser.run("document.querySelector('#clips button').focus()")
        browser.key("ArrowDown")
        browser.key("Enter")
        browser.until(
            "state.at === 1 && document.getElementById('reason').textContent.includes('step select: no face')"
        )
        browser.key("a")
        browser.until("document.getElementById('message').textContent.includes('to restore it, add label')")
        browser.key("e")
        browser.until("state.editing")
        fill = """document.querySelectorAll('textarea').forEach(area => { area.value = 'Written by ann.'; });
            document.getElementById('label').value = 'sad';
            for (const name of ['valence', 'arousal']) document.getElementById(name).value = -0.5;"""
        browser.run(fill)
        browser.key("Enter", modifiers=2)
        browser.until("document.getElementById('clips').textContent.includes('edited')")
        pictured(browser, Path(os.environ.get("VER_PICTURES", tmp_path)), "rejected")
    restored = [entry["clip"] for entry in get(address, "/api/rejected?reviewer=ann")["clips"] if entry["own"]]
    post(address, "/api/export", {})
    labels = {sample.id: sample.labels["emotion"] for sample in load_ver(made.output, language="en")}
    assert len(labels) == 4 and labels[f"{restored[0]}/en"] == "sad"


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE names no axe.min.js of the npm package axe-core")
def test_axe_finds_no_serious_fault(address, made, tmp_path):
    with Browser(tmp_path / "ann") as browser:
        browser.open(address)
        browser.until("document.getElementById('who')?.open")
        assert not faults(browser)
        begin(browser, address, "ann")
        assert not faults(browser)
        browser.run("document.getElementById('keys').open = true")
        browser.key("e")
        browser.until("state.editing")
        browser.key("+")
        assert not faults(browser)
        browser.key("Escape")
        choose_rejected(browser)
        browser.key("j")
        browser.until("state.at === 0")
        browser.key("r")
        browser.until("document.querySelector('.state.reject') !== null")
        assert not faults(browser)
