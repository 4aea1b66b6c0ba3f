"""The review page: what it serves, what it hides, and two reviewers at the keyboard of a real browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
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


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_two_reviewers_at_the_keyboard(address, made, tmp_path):
    pictures = Path(os.environ.get("VER_PICTURES", tmp_path))
    count = "[...document.querySelectorAll('#clips .dot')].filter(dot => dot.className.trim() !== 'dot').length"

    def begin(browser, name):
        browser.open(address)
        browser.until("document.getElementById('reviewer') !== null")
        browser.run(f"const r = document.getElementById('reviewer'); r.value = '{name}'; r.onchange()")
        browser.until("state.at === 0 && document.getElementById('video').readyState >= 2")

    with Browser(tmp_path / "ann") as browser:
        begin(browser, "ann")
        assert browser.run("document.querySelectorAll('textarea').length") == 4
        chinese = browser.run("document.querySelector('section[lang=zh]').innerText")
        assert "高兴" in chinese and "描述" in chinese and "happy" not in chinese and "valence" not in chinese
        browser.picture(pictures / "review-open.png")
        browser.key("e")
        browser.until("state.editing")
        browser.run("document.querySelector('textarea').value = 'Ann wrote this anew.'")
        browser.key("Enter", modifiers=2)
        browser.until(f"{count} === 1 && state.at === 1")
        browser.key("a")
        browser.until(f"{count} === 2 && state.at === 2")
        browser.key("f")
        browser.until(f"{count} === 3")
    with Browser(tmp_path / "bob") as browser:
        begin(browser, "bob")
        assert browser.run(count) == 0 and "ann" not in browser.run("document.body.innerText")
        browser.key("a")
        browser.until(f"{count} === 1 && state.at === 1")
        browser.key("r")
        browser.until("document.getElementById('others').textContent.startsWith('ann: accept')")
        browser.until("document.getElementById('message').textContent.includes('decided differently')")
        browser.until("document.getElementById('agreement').textContent.includes('50 % of 2')")
        assert "conflict" in browser.run("document.getElementById('clips').textContent")
        browser.run("document.getElementById('video').currentTime = 0.5")
        browser.until("!document.getElementById('video').seeking")
        browser.run("new Promise(done => setTimeout(done, 300))")
        browser.picture(pictures / "review-conflict.png")
        browser.run("document.getElementById('export').click()")
        browser.until("document.getElementById('message').textContent.startsWith('Written: 1 clips')")
    assert load_ver(made.output, language="en")[0].messages[1]["content"] == "Ann wrote this anew."
