"""The page of a report and the index in a real browser: accessibility, keyboard, highlight, downloads, layout, sorting.

python -m pytest -m slow tests/views/test_browser.py      see tests/accessibility.py for axe-core and pictures
"""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from skimage import data
from tests.accessibility import SCHEMES, WIDTHS, needs_axe, violations
from tests.views.reports import KINDS, two_people

from emotion_qwen.export.reports import read_report
from emotion_qwen.records import Seen
from emotion_qwen.views.html import write_html
from emotion_qwen.views.index import failed_row, index_row, write_index
from emotion_qwen.views.render import as_json

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]
SMALLEST = 11
"""Smallest text in drawings, pixels on the screen."""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The pages that are looked at, by name."""
    folder = tmp_path_factory.mktemp("pages")
    thumb = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((128, 128)).save(thumb, "JPEG")
    Image.fromarray(data.astronaut()).save(folder / "family.jpg")
    made = {name: write_html(KINDS[name](), folder / f"{name}.html") for name in ("moving", "chinese", "gapped")}
    made["group"] = write_html(group(), folder / "group.html", media=folder / "family.jpg")
    rows = [
        index_row(two_people(), "moving.html", thumb.getvalue()),
        index_row(replace(KINDS["gapped"](), source="clips/b 10.mp4"), "gapped.html"),
        index_row(replace(KINDS["picture_only"](), source="clips/b 2.jpg"), "group.html", thumb.getvalue()),
        index_row(KINDS["unanswered"](), "x.html"),
        failed_row("clips/a broken.mp4", "'a broken.mp4' is empty; expected a video"),
    ]
    made["index"] = folder / "index.html"
    write_index(made["index"], rows, "en")
    made["index_zh"] = folder / "index_zh.html"
    write_index(
        made["index_zh"], [index_row(KINDS["chinese"](), "chinese.html"), failed_row("坏.mp4", "无法读取")], "zh"
    )
    return made


def group():
    """Return the report of a picture with five people who stand close together."""
    report = KINDS["picture_only"]()
    boxes = [(0.05 + 0.17 * n, 0.3 + 0.1 * (n % 2), 0.19 + 0.17 * n, 0.55 + 0.1 * (n % 2)) for n in range(5)]
    people = tuple(
        replace(report.people[0], person=n, box=box, seen=(Seen(0.0, box, 0.9, report.people[0].distribution),))
        for n, box in enumerate(boxes, 1)
    )
    return replace(report, people=people)


@pytest.fixture
def opened(browser, pages):
    """Open a page by name; faults in its console fail the test."""
    shown, faults = [], []

    def start(name: str, width: int = 1280, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        shown.append(page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda entry: faults.append(entry.text) if entry.type in ("error", "warning") else None)
        page.goto(pages[name].as_uri())
        page.wait_for_timeout(300)
        return page

    yield start
    for page in shown:
        page.close()
    assert not faults


@needs_axe
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["moving", "gapped", "group", "index", "index_zh"])
def test_axe_finds_no_serious_fault(opened, name, scheme):
    faults, passes = violations(opened(name, color_scheme=scheme))
    assert passes > 10 and not faults


@needs_axe
def test_axe_finds_a_planted_fault(opened):
    page = opened("index")
    page.evaluate("document.querySelector('.name a').style.color = '#eeeeee'")
    assert "color-contrast" in violations(page)[0]


@pytest.mark.parametrize("name", ["moving", "group", "chinese", "index"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(opened, name, width):
    page = opened(name, width)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("width", WIDTHS)
def test_text_of_the_plane_is_legible_and_covers_nothing(opened, width):
    page = opened("moving", width)
    texts = page.evaluate(
        """() => [...document.querySelectorAll('#plane text')].map((node) => {
            const box = node.getBoundingClientRect(), scale = node.getScreenCTM();
            const corners = { x1: box.left, y1: box.top, x2: box.right, y2: box.bottom };
            return { text: node.textContent, name: node.classList.contains('name'), ...corners,
              size: parseFloat(getComputedStyle(node).fontSize) * Math.hypot(scale.a, scale.b) };
        })"""
    )
    assert len(texts) >= 10 and min(text["size"] for text in texts) >= SMALLEST
    dots = page.evaluate(
        """() => [...document.querySelectorAll('#plane circle[opacity], #plane circle.axis')].map((node) => {
            const box = node.getBoundingClientRect();
            return { x1: box.left, y1: box.top, x2: box.right, y2: box.bottom, axis: node.classList.contains('axis') };
        })"""
    )
    circle = next(dot for dot in dots if dot["axis"])
    for number, text in enumerate(texts):
        others = texts[:number] + [dot for dot in dots if not dot["axis"]]
        assert not [other for other in others if overlaps(text, other)], text["text"]
        assert text["name"] or not overlaps(text, circle), text["text"]


def overlaps(first: dict, second: dict, slack: float = 2.0) -> bool:
    return (
        min(first["x2"], second["x2"]) - max(first["x1"], second["x1"]) > slack
        and min(first["y2"], second["y2"]) - max(first["y1"], second["y1"]) > slack
    )


@pytest.mark.parametrize("width", [1280, 1920])
@pytest.mark.parametrize("name", ["moving", "group"])
def test_the_columns_end_together(opened, name, width):
    page = opened(name, width)
    ends = page.evaluate(
        "[...document.querySelectorAll('.column')].map((c) => [c.lastElementChild.getBoundingClientRect().bottom, "
        "[...c.children].reduce((sum, card) => sum + card.firstElementChild.offsetHeight, 0)])"
    )
    assert len(ends) == 2 and ends[0][0] == pytest.approx(ends[1][0], abs=1)
    spare = page.evaluate(
        """() => [...document.querySelectorAll('.column > :last-child')].map((card) => {
            const inner = Math.max(...[...card.children].map((node) => node.getBoundingClientRect().bottom));
            return card.getBoundingClientRect().bottom - inner;
        })"""
    )
    assert max(spare) < 140  # pixels of empty space in the last card


def test_a_person_and_its_box_highlight_each_other(opened):
    page = opened("group")
    page.wait_for_function("document.querySelector('#frame img').complete")
    page.wait_for_timeout(500)

    def drawn() -> str:
        return page.locator("#frame canvas").evaluate("canvas => canvas.toDataURL()")

    before = drawn()
    page.focus(".person[data-who='3']")
    by_focus = drawn()
    assert by_focus != before and page.locator(".person.lit").get_attribute("data-who") == "3"
    page.evaluate("document.activeElement.blur()")
    assert drawn() == before and page.locator(".person.lit").count() == 0
    page.hover(".person[data-who='3']")
    assert drawn() == by_focus
    page.locator("#frame > div").scroll_into_view_if_needed()
    box = page.locator("#frame > div").bounding_box()
    left, top, right, bottom = group().people[1].box
    x, y = (left + right) / 2 * box["width"], (top + bottom) / 2 * box["height"]
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert page.locator(".person.lit").get_attribute("data-who") == "2"
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert page.locator(".person.lit").count() == 0


def test_downloads_work_under_the_policy(opened, tmp_path):
    page = opened("moving")
    for button, name in (("#save-report", "interview.report.json"), ("#save-table", "interview.timeline.csv")):
        with page.expect_download() as saved:
            page.focus(button)
            page.keyboard.press("Enter")
        assert saved.value.suggested_filename == name
        saved.value.save_as(tmp_path / name)
    stored = read_report(as_json(KINDS["moving"]()))
    assert read_report((tmp_path / "interview.report.json").read_text(encoding="utf-8")) == stored
    lines = (tmp_path / "interview.timeline.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("file,person,start,end,label,") and len(lines) == 1 + len(stored.timeline) + sum(
        len(person.timeline) for person in stored.people
    )


def names(page) -> list[str]:
    return page.locator("tbody tr:visible .name").all_inner_texts()


def test_the_index_is_sorted_by_every_column_with_the_keyboard(opened):
    page = opened("index")
    given = names(page)
    assert given == ["interview.mp4", "b 10.mp4", "b 2.jpg", "truck.jpg", "a broken.mp4"]
    heads = page.locator("th[data-key]")
    for number in range(heads.count()):
        head = heads.nth(number)
        key, kind = head.get_attribute("data-key"), head.get_attribute("data-kind")
        head.locator("button").focus()
        for order in ("ascending", "descending", "none"):
            page.keyboard.press("Enter")
            states = [heads.nth(n).get_attribute("aria-sort") for n in range(heads.count())]
            assert states[number] == order and states.count("none") >= heads.count() - 1
            values = page.evaluate(f"[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.{key})")
            known = [float(v) if kind == "number" else v for v in values if v != ""]
            assert values[len(known) :] == [""] * (len(values) - len(known)) or order == "none"
            if order != "none" and kind == "number":
                assert known == sorted(known, reverse=order == "descending")
        assert names(page) == given
    heads.first.locator("button").click()
    assert names(page) == ["a broken.mp4", "b 2.jpg", "b 10.mp4", "interview.mp4", "truck.jpg"]


def test_the_index_is_filtered_and_scaled(opened):
    page = opened("index")
    page.fill("#filter", "broken EMPTY")
    assert names(page) == ["a broken.mp4"] and page.inner_text("#count") == "1 of 5 clips"
    page.fill("#filter", "")
    assert page.inner_text("#count") == "5 of 5 clips"
    page.fill("#filter", "no such")
    assert names(page) == []
    page.fill("#filter", "")
    wide = page.locator(".strip").first.bounding_box()["width"]
    page.evaluate("document.querySelectorAll('.strip')[1].dataset.share = 0.25")
    page.check("#scale")
    assert page.locator(".strip").nth(1).bounding_box()["width"] == pytest.approx(wide / 4, abs=1)
    assert page.locator(".strip").first.bounding_box()["width"] == pytest.approx(wide, abs=1)


def test_a_link_of_the_index_opens_the_page(opened):
    page = opened("index")
    page.focus(".name a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/moving.html")
    assert page.inner_text(".source").startswith("interview.mp4")


def test_both_pages_can_be_read_without_their_script(opened):
    page = opened("index", java_script_enabled=False)
    assert "sad 0–9 s → happy from 9 s on" in page.inner_text("body") and not page.is_visible(".tools")
    assert page.locator(".strip path").count() > 10 and page.locator(".sort:enabled").count() == 0
    page = opened("moving", java_script_enabled=False)
    assert "happy 55%" in page.inner_text("h1") and not page.is_visible(".saves")
