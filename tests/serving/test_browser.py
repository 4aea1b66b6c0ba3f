"""The page in a real browser, by clicks: upload, report, seek, question, Chinese, phone width, webcam.

python -m pytest -m slow tests/serving/test_browser.py        with SHOTS=folder it also saves pictures
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from emotion_qwen.inference.demo import make_demo_clip

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]
PATIENCE = 120_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        running = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


def is_fault(told) -> bool:
    return told.type == "error" and "status of 4" not in told.text  # a refused request is one of the tests


@pytest.fixture
def page(browser, server):
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda told: faults.append(told.text) if is_fault(told) else None)
    opened.goto(server.url)
    yield opened
    opened.close()
    assert not faults


def shoot(page, name: str) -> None:
    if "SHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SHOTS"]) / f"{name}.png", full_page=True)


def wait_for_report(page):
    page.wait_for_selector("#report:not([hidden])", timeout=PATIENCE)
    frame = page.frame_locator("#report")
    frame.locator("#play").wait_for(timeout=PATIENCE)
    return frame


def clip(tmp_path: Path) -> Path:
    real = Path(__file__).parents[3] / "shared" / "data" / "clips" / "WolfgangLanger_Pexels.mp4"
    if "SHOTS" not in os.environ and real.is_file():
        return real
    return make_demo_clip(tmp_path / "astronaut.mp4")  # pictures in documents show nobody who did not agree


def test_upload_report_seek_question_chinese_and_phone(page, tmp_path):
    page.set_input_files("#file", clip(tmp_path))
    frame = wait_for_report(page)
    assert page.locator("#windows span").count() > 0
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
    shoot(page, "serve_desktop")
    page.fill("#question", "How does this person feel?")
    page.click("#send")
    page.wait_for_selector("#send:not([disabled])", timeout=PATIENCE)
    answer = page.inner_text("#turns li.assistant")
    assert len(answer) > 3 and "…" not in answer
    page.click("[data-language=zh]")
    page.wait_for_selector("#report[hidden]", state="attached")
    frame = wait_for_report(page)
    assert "情绪" in page.inner_text("body") or "报告" in page.inner_text("#progress")
    assert page.get_attribute("html", "lang") == "zh" and frame.locator("html").get_attribute("lang") == "zh"
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(1000)
    assert page.locator("html").evaluate("node => node.scrollWidth") == 390
    shoot(page, "serve_phone")
    with page.expect_download() as saved:
        page.click("#save-json")
    assert Path(saved.value.path()).read_text(encoding="utf-8").startswith("{")


def test_the_webcam_gives_a_rolling_report(page, server):
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for_selector("#live-bars li", timeout=PATIENCE)
    assert page.locator("#live-bars li").count() == 7 and page.inner_text("#live-label")
    page.click("#live-stop")
    page.wait_for_selector("#live-start:not([hidden])")
    assert not page.locator("#fault").is_visible()


def test_a_file_that_is_no_medium_is_told_in_words(page, tmp_path):
    (tmp_path / "notes.mp4").write_text("only words")
    page.set_input_files("#file", tmp_path / "notes.mp4")
    page.wait_for_selector("#fault:not([hidden])", timeout=PATIENCE)
    assert "is text" in page.inner_text("#fault") and not page.locator("#work").is_visible()
