"""The page in a real browser, by clicks and keys: report, seek, question, Chinese, phone, camera, microphone, faults.

python -m pytest -m slow tests/serving/test_browser.py        see tests/accessibility.py for axe-core and pictures
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.accessibility import check_schemes, shoot
from tests.conftest import SHARED
from tests.serving.conftest import serving
from tests.serving.test_rolling import RATE, voice

from emotion_qwen.batch.demo import make_demo_clip

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]
PATIENCE = 60_000
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser(tmp_path_factory, request):
    """A browser whose camera shows the astronaut and whose microphone plays a real voice, or else hums."""
    heard = request.getfixturevalue("speech") if SHARED.is_dir() else voice(4)
    folder = tmp_path_factory.mktemp("devices")
    arguments = [
        "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera(folder / 'camera.y4m')}",
        f"--use-file-for-fake-audio-capture={microphone(folder / 'microphone.wav', heard)}",
    ]  # fmt: skip
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


def camera(path: Path) -> Path:
    sheet = Image.new("RGB", (640, 480), (60, 70, 80))
    sheet.paste(Image.fromarray(data.astronaut()).resize((480, 480)), (80, 0))
    with av.open(str(path), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(sheet)))
        container.mux(stream.encode())
    return path


def microphone(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples / np.abs(samples).max() * 20000).astype("<i2").tobytes())
    return path


def is_fault(told) -> bool:
    refused = ("status of 4", "net::ERR_FAILED")  # tests that refuse a request, and that cut the line
    return told.type in ("error", "warning") and not any(words in told.text for words in refused)


@pytest.fixture
def page(browser, server):
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda told: faults.append(told.text) if is_fault(told) else None)
    opened.goto(server.url)
    opened.wait_for_selector("#model:not(:empty)")
    yield opened
    opened.close()
    assert not faults


def wait_for_report(page):
    page.wait_for_selector("#report:not([hidden])", timeout=PATIENCE)
    frame = page.frame_locator("#report")
    frame.locator("footer").wait_for(timeout=PATIENCE)
    return frame


def clip(tmp_path: Path) -> Path:
    real = Path(__file__).parents[3] / "shared" / "data" / "clips" / "WolfgangLanger_Pexels.mp4"
    if "SHOTS" not in os.environ and real.is_file():
        return real
    return make_demo_clip(tmp_path / "astronaut.mp4")  # pictures in documents show nobody who did not agree


def overflow(page) -> int:
    return page.locator("html").evaluate("node => node.scrollWidth - node.clientWidth")


def test_upload_report_seek_question_chinese_and_phone(page, tmp_path):
    page.set_input_files("#file", clip(tmp_path))
    frame = wait_for_report(page)
    assert page.locator("#windows span").count() > 0 and page.get_attribute("#windows", "aria-valuenow") == "100"
    before = frame.locator("#clock").inner_text()
    timeline = frame.locator("#timeline")
    timeline.scroll_into_view_if_needed()
    box = timeline.bounding_box()
    timeline.click(position={"x": 0.6 * box["width"], "y": 0.5 * box["height"]})
    page.wait_for_timeout(800)
    after = frame.locator("#clock").inner_text()
    assert before.startswith("0.0") and float(after.split()[0]) > 0.5
    assert frame.locator("video").evaluate("video => video.currentTime") == pytest.approx(
        float(after.split()[0]), abs=0.2
    )
    start, report, chat = (page.locator(name).bounding_box() for name in ("#start", "#report", "#chat"))
    inner = frame.locator("body").evaluate("node => node.getBoundingClientRect().width")
    assert (report["x"], inner) == pytest.approx((start["x"], report["width"]), abs=1)  # in line with the page's cards
    assert chat["x"] >= report["x"] + report["width"] and chat["x"] + chat["width"] == pytest.approx(
        start["x"] + start["width"], abs=1
    )  # the chat stands beside the clip
    page.fill("#question", "What does the face show?")
    page.click("#send")
    page.wait_for_selector("#send:not([disabled])", timeout=PATIENCE)
    answer = page.inner_text("#turns li.assistant .words")
    assert len(answer) > 3 and "…" not in answer
    check_schemes(page)
    shoot(page, "serve")
    page.locator("#report").evaluate("node => node.scrollIntoView()")
    shoot(page, "serve_report", (1280,), whole=False)
    assert page.is_visible("#asks") and page.locator("#asks button").count() == 3  # suggestions stay
    assert page.is_hidden("#again-language")
    page.click("[data-language=zh]")
    assert page.is_visible("#report") and frame.locator("html").get_attribute("lang") == "en"  # nothing is lost
    assert page.inner_text("#again-language") == "用中文重新分析"
    page.click("#again-language")
    page.wait_for_selector("#report[hidden]", state="attached")
    frame = wait_for_report(page)
    assert "报告已完成" in page.inner_text("#progress") and page.inner_text("#model") == "模型：nano（画面和声音）"
    assert page.get_attribute("html", "lang") == "zh-CN" and frame.locator("html").get_attribute("lang") == "zh"
    assert page.inner_text("#turns li.assistant .words") == answer  # the conversation is about the same clip
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(1000)
    assert overflow(page) == 0
    check_schemes(page)
    shoot(page, "serve_zh", (390,))
    narrow = page.locator("#report").bounding_box()["height"]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_timeout(1000)
    inner = frame.locator("body").evaluate("node => node.getBoundingClientRect().height")
    assert inner <= page.locator("#report").bounding_box()["height"] < min(0.8 * narrow, inner + 40)  # shrinks again
    page.set_viewport_size(PHONE)
    for name, start in (("json", "{"), ("page", "<!doctype html>")):
        with page.expect_download() as saved:
            page.click(f"#save-{name}")
        assert saved.value.suggested_filename.endswith({"json": ".report.json", "page": ".report.html"}[name])
        text = Path(saved.value.path()).read_text(encoding="utf-8")
        assert text.startswith(start)
    assert "undefined" not in page.inner_text("body")


def test_the_camera_and_the_microphone_give_a_rolling_report(page, server, speech):
    page.click("#tab-live")
    assert page.is_visible("#live-consent") and page.is_checked("#microphone")
    page.click("#live-start")
    page.wait_for_selector("#live-bars li", timeout=PATIENCE)
    assert page.locator("#live-bars li").count() == 7
    wait_for_text(page, "#live-label", "happy")
    wait_for_text(page, "#live-voice", "%")
    assert "%" in page.inner_text("#live-face") and page.is_visible("#level")
    assert page.locator("#plane circle.last").count() == 1
    check_schemes(page)
    shoot(page, "live")
    labels = page.locator("#live-bars .name").all_inner_texts()
    page.uncheck("#microphone")
    wait_for_text(page, "#live-voice", "no voice|microphone off")
    assert page.locator("#live-bars .name").all_inner_texts() == labels  # bars stay where they are
    page.click("[data-language=zh]")
    assert page.inner_text("#live-label") == "高兴"
    page.click("[data-language=en]")
    assert re.fullmatch(r"· newest picture \d+\.\d s old", page.inner_text("#live-age"))
    assert page.locator("#live-axis span").count() == 3
    page.click("#live-stop")
    assert "stale" in page.get_attribute("#live-now", "class") and "Stopped" in page.inner_text("#live-state")
    check_schemes(page)
    with page.expect_download() as saved:
        page.click("#live-save")
    rows = list(csv.reader(Path(saved.value.path()).read_text(encoding="utf-8").splitlines()))
    assert rows[0][:5] == ["time", "person", "label", "valence", "arousal"] and len(rows[0]) == 5 + 7
    clip_row, person_row = rows[1], next(row for row in rows[1:] if row[1])
    assert clip_row[1] == "" and person_row[1] == "1" and sum(map(float, person_row[5:])) == pytest.approx(1, abs=1e-4)
    page.wait_for_selector("#live-start:not([hidden])")
    assert not page.locator("#fault").is_visible()
    assert page.locator("#camera").evaluate("node => node.srcObject") is None


def test_the_microphone_can_be_left_off(page):
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.click("#tab-live")
    page.uncheck("#microphone")
    page.click("#live-start")
    page.wait_for_selector("#live-bars li", timeout=PATIENCE)
    page.wait_for_timeout(1500)
    assert page.inner_text("#live-voice") == "microphone off" and not page.is_visible("#level")
    kinds = {frame[0] for frame in sent if isinstance(frame, bytes)}
    assert kinds == {0}
    page.click("#tab-file")  # leaving the tab ends the session
    assert page.locator("#camera").evaluate("node => node.srcObject") is None


def test_without_a_camera_the_page_says_why(page):
    denied = "async () => { throw new DOMException('', 'NotAllowedError'); }"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {denied}; }}")
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for_selector("#fault:not([hidden])")
    assert page.inner_text("#fault-text") == "No camera: Access was denied in the browser."
    assert page.is_visible("#fault-again") and page.is_enabled("#live-start")


def wait_for_text(page, selector: str, pattern: str) -> None:
    playwright.expect(page.locator(selector)).to_contain_text(re.compile(pattern), timeout=PATIENCE)


def test_a_file_that_is_no_medium_is_told_in_words(page, tmp_path):
    (tmp_path / "notes.mp4").write_text("only words")
    page.set_input_files("#file", tmp_path / "notes.mp4")
    page.wait_for_selector("#fault:not([hidden])", timeout=PATIENCE)
    assert "is text" in page.inner_text("#fault") and not page.locator("#work").is_visible()
    page.click("#fault-close")
    assert not page.is_visible("#fault")
    (tmp_path / "empty.mp4").touch()
    page.set_input_files("#file", tmp_path / "empty.mp4")
    assert page.inner_text("#fault-text") == "The file is empty."
    (tmp_path / "large.mp4").write_bytes(b"a" * 2_000_001)  # the server of these tests takes two million
    page.set_input_files("#file", tmp_path / "large.mp4")
    assert "this server accepts at most 1.9 MB" in page.inner_text("#fault-text")


def busy(route) -> None:
    error = {"message": "too many reports wait", "type": "rate_limit_error", "param": None, "code": "queue_full"}
    route.fulfill(status=429, content_type="application/json", body=json.dumps({"error": error}))


@pytest.mark.parametrize(
    ("fault", "said"), [(busy, "The server is busy"), (lambda route: route.abort(), "The server cannot be reached")]
)
def test_a_busy_or_lost_server_can_be_tried_again(page, fault, said):
    page.route("**/v1/emotion/analyze*", fault)
    page.click("[data-example='astronaut.jpg']")
    page.wait_for_selector("#fault-again:not([hidden])", timeout=PATIENCE)
    assert said in page.inner_text("#fault-text") and page.get_attribute("#fault", "role") == "alert"
    page.unroute("**/v1/emotion/analyze*")
    page.click("#fault-again")
    wait_for_report(page)
    assert not page.is_visible("#fault")


def test_a_server_with_a_key_asks_for_it_and_goes_on(browser, tmp_path):
    with serving(tmp_path, "slots=1", "decoders=1", key="the-key") as guarded:
        page = browser.new_page(locale="en-US")
        page.goto(guarded.url)
        page.wait_for_selector("#key-form:not([hidden])")
        page.click("[data-example='astronaut.jpg']")  # asked for before the key is known
        page.wait_for_selector("#fault:not([hidden])", timeout=PATIENCE)
        for given, said in (("wrong", "The API key is missing or wrong."), ("the-key", "")):
            page.fill("#key", given)
            page.keyboard.press("Enter")
            page.wait_for_timeout(1000)
            assert page.inner_text("#fault-text") == said
        assert not page.is_visible("#key-form") and "nano" in page.inner_text("#model")
        wait_for_report(page)
        page.click("#tab-live")
        page.click("#live-start")
        page.wait_for_selector("#live-bars li", timeout=PATIENCE)
        page.close()


def test_a_report_can_be_cancelled(page):
    page.route("**/v1/emotion/analyze*", lambda route: None)  # the server takes its time
    page.click("[data-example='astronaut.jpg']")
    page.click("#cancel")
    assert page.inner_text("#progress") == "Cancelled." and not page.is_visible("#fault")


def test_everything_works_by_keyboard(page):
    focused = lambda: page.evaluate("document.activeElement.id || document.activeElement.dataset.example")  # noqa: E731
    page.focus("#tab-file")
    page.keyboard.press("ArrowRight")
    assert focused() == "tab-live" and page.is_visible("#pane-live") and not page.is_visible("#pane-file")
    page.keyboard.press("ArrowRight")
    assert focused() == "tab-file" and page.is_visible("#pane-file")
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached == ["file", "astronaut.mp4", "astronaut.jpg", "labels", "context"]
    page.focus("[data-example='astronaut.jpg']")
    page.keyboard.press("Enter")
    wait_for_report(page)


@pytest.mark.parametrize("width", [320, 360, 768])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_overflows(browser, server, width, locale):
    page = browser.new_page(viewport={"width": width, "height": 740}, locale=locale)
    page.goto(server.url)
    page.wait_for_selector("#model:not(:empty)")
    page.click("summary")
    assert overflow(page) == 0
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for_selector("#live-bars li", timeout=PATIENCE)
    assert overflow(page) == 0
    page.close()


@pytest.mark.parametrize(
    "page_event", ["", 'event: error\ndata: {"error": {"message": "no encoder", "code": "x"}}\n\n']
)
def test_a_report_stays_when_its_page_fails_or_never_comes(page, server, tmp_path, page_event):
    """The line is cut, or an error comes, behind the report: it can be saved, and questions can be asked."""
    path = clip(tmp_path)
    report = server.http.post("/v1/emotion/analyze", files={"file": (path.name, path.read_bytes())}, timeout=120).text
    facts = json.dumps({"frames": 2, "seconds": [0, 2], "sound": False})
    sent = f"event: clip\ndata: {facts}\n\nevent: report\ndata: {report}\n\n{page_event}"
    page.route(
        "**/v1/emotion/analyze*",
        lambda route: route.fulfill(status=200, content_type="text/event-stream", body=sent),
    )
    page.set_input_files("#file", path)
    page.wait_for_selector("#downloads:not([hidden])", timeout=PATIENCE)
    assert page.inner_text("#fault-text").startswith("The report is complete, but its page could not be created: ")
    assert page.is_visible("#save-json") and not page.is_visible("#save-page") and page.is_visible("#chat")
    with page.expect_download() as saved:
        page.click("#save-json")
    assert json.loads(Path(saved.value.path()).read_text())["label"] == json.loads(report)["label"]
    shoot(page, "serve_without_page")


def test_a_medium_that_needs_a_copy_is_shown(page, tmp_path):
    frames = [data.astronaut()[row : row + 320, 80:400] for row in range(0, 60, 2)]
    path = tmp_path / "phone.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 320
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    page.set_input_files("#file", path)
    frame = wait_for_report(page)
    assert frame.locator("video").count() == 1 and not page.is_visible("#fault")
    shoot(page, "serve_copy")


def test_several_files_words_and_a_span(page, tmp_path):
    make_demo_clip(tmp_path / "one.mp4")
    Image.fromarray(data.astronaut()).save(tmp_path / "two.jpg")
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,200\nWonderful!\n")
    page.click("#more summary")
    page.set_input_files("#transcript", tmp_path / "words.srt")
    page.fill("#span-end", "1.5")
    page.set_input_files("#file", [tmp_path / "one.mp4", tmp_path / "two.jpg"])
    frame = wait_for_report(page)
    page.wait_for_selector("#next:not([hidden])")
    assert page.inner_text("#next") == "Next: two.jpg (1 left)"
    assert "Wonderful!" in frame.locator("body").inner_text()
    assert float(frame.locator("#clock").inner_text().split("/")[1].split()[0]) <= 1.5
    page.fill("#span-end", "")  # a picture has no span
    page.evaluate("document.getElementById('transcript').value = ''")
    page.click("#next")
    page.wait_for_selector("#report[hidden]", state="attached")
    wait_for_report(page)
    assert "two.jpg" in page.inner_text("#progress") and page.is_hidden("#next")
    assert overflow(page) == 0


def test_the_page_of_the_api_lists_the_requests(page, server):
    page.goto(f"{server.url}/docs")
    page.get_by_text("/v1/emotion/analyze").first.wait_for(timeout=PATIENCE)
    shoot(page, "api")
