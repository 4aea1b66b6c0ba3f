"""A Chinese reader meets no English in any view, besides proper names, units and quoted words."""

from __future__ import annotations

import ast
import importlib
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.documents import ROOT
from tests.views.reports import KINDS

from emotion_qwen.media.file_warnings import FILE_WARNINGS, file_warning
from emotion_qwen.records import Cue
from emotion_qwen.strings import MEASURES
from emotion_qwen.views.html import compose_page
from emotion_qwen.views.markdown import as_markdown
from emotion_qwen.views.render import show_report

PACKAGE = ROOT / "src" / "emotion_qwen"
WORD = re.compile(r"[A-Za-z](?:[A-Za-z.+-]*[A-Za-z])?(?:-8)?")
NAMES = {
    "Hz", "dB", "MB", "MiB", "KiB", "GB", "JSON", "CSV", "HTML", "Markdown", "API", "GPU", "CPU", "URL", "ID", "UTF-8",
    "Emotion-Qwen", "OpenAI", "Qwen", "nano", "mini", "Whisper", "ELAN", "Praat", "FFmpeg", "Chrome", "Firefox",
    "Safari", "https", "http", "localhost", "Ctrl-C", "Ctrl", "Shift", "Enter", "Home", "End", "Esc", "PageUp",
    "PageDown", "SRT", "VTT", "ASS", "JPEG", "PNG", "WebP", "MP4", "WebM", "EXIF", "WebSocket", "VTT.", "srt", "vtt",
    "ass", "txt", "mp4",
}  # fmt: skip
"""Proper names, units, keys of the keyboard and names of formats, which Chinese writes in Latin letters, too."""


def tables() -> list[tuple[str, dict]]:
    """Return all tables of (English, Chinese) texts in the package, by the name of their module and their own."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"^([A-Z_]+): (?:Strings|Texts|dict\[str, tuple\[str, str\]\]) =", text, re.MULTILINE):
            if name == "COMMANDS":
                continue  # module and English help of every command
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            found.append((f"{module}.{name}", getattr(importlib.import_module(module), name)))
    return found


def english(text: str) -> list[str]:
    """List the English words of a Chinese text; placeholders, options, code, addresses and quotations are left out."""
    text = re.sub(r"\{[^}]*\}|`[^`]*`|--[\w-]+|“[^”]*”|https?://\S+|/[\w/.-]+|<[^>]*>", " ", text)
    return [word for word in WORD.findall(text) if len(word) > 1 and word not in NAMES]


def latin_marks(text: str) -> list[str]:
    """List the Latin punctuation of a Chinese text: a comma, colon, semicolon, stop or bracket beside Chinese."""
    text = re.sub(r"`[^`]*`|“[^”]*”|https?://\S+|<[^>]*>", " ", text)
    return re.findall(
        r"\S*[\u4e00-\u9fff%）\d}][,;:](?=\s|$)|\S*[\u4e00-\u9fff]\.(?=\s|$)|\([^)]*[\u4e00-\u9fff][^)]*\)", text
    )


def test_the_texts_are_found() -> None:
    names = {name for name, _ in tables()}
    assert {"emotion_qwen.strings.PHRASES", "emotion_qwen.strings.SENTENCES"} <= names and len(names) >= 8
    assert any(name.startswith("emotion_qwen.serving") for name in names)


@pytest.mark.parametrize(("name", "table"), tables(), ids=[name for name, _ in tables()])
def test_chinese_texts_are_chinese(name: str, table: dict) -> None:
    assert not {key: words for key, (_, chinese) in table.items() if (words := english(chinese))}
    assert not {key: marks for key, (_, chinese) in table.items() if (marks := latin_marks(chinese))}


def test_the_review_page_is_chinese_where_it_says_so() -> None:
    page = (PACKAGE / "ver" / "review" / "fields.js").read_text(encoding="utf-8")
    (texts,) = re.findall(r"^\s*zh: \{(.*)\}", page, re.MULTILINE)
    assert not [words for text in re.findall(r'"([^"]*)"', texts) if (words := english(text))]


def chinese_report():
    report = KINDS["chinese"]()
    measured = Cue("picture", 0.0, 2.0, "嘴部：遮住这一部分。", "measured", dict.fromkeys(MEASURES, 0.5), 1)
    facts = {**report.provenance, "warnings": [file_warning(text, "zh") for text in report.provenance["warnings"]]}
    return replace(
        report, cues=(measured,), words=("calm", "happiness"), provenance={**facts, "label_set_trained": False}
    )


def test_the_views_of_a_chinese_report_are_chinese() -> None:
    report, console = chinese_report(), Console(record=True, width=100, file=io.StringIO())
    show_report(report, console)
    page = re.sub(r"(?s)<(script|style).*?</\1>|<details.*?</details>", " ", compose_page(report, None, None))
    attributes = re.findall(r'(?:aria-label|title|alt|placeholder)="([^"]*)"', page)
    markdown = re.sub(r"(?s)<details.*?</details>|\[!\w+\]", " ", as_markdown(report))
    for view in (console.export_text(), markdown, re.sub(r"<[^>]*>", " ", page), *attributes):
        known = {report.provenance["weights"], report.provenance["label_set"], report.source}
        assert not set(english(view)) - known - set(WORD.findall(" ".join(known)))
        assert not latin_marks(view)


def warnings_of(path: Path) -> list[str]:
    """List the warnings that a module of `media` composes, with `{}` for each value."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        values = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            values = node.args if "warnings" in ast.unparse(node.func.value) else []
        elif isinstance(node, ast.Assign):
            values = [node.value] if re.match(r"warnings?$|note$", ast.unparse(node.targets[0])) else []
        elif isinstance(node, ast.Yield):
            values = [node.value] if path.name == "sound.py" else []
        for value in values:
            texts = [part for part in ast.walk(value) if isinstance(part, ast.JoinedStr)]
            texts = texts or [p for p in ast.walk(value) if isinstance(p, ast.Constant) and isinstance(p.value, str)]
            found += [template(text) for text in texts if " " in template(text)]
    return found


def template(text: ast.expr) -> str:
    if isinstance(text, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in text.values)
    return text.value


def test_every_warning_about_a_file_has_a_chinese_text() -> None:
    found = [text for path in sorted((PACKAGE / "media").glob("*.py")) for text in warnings_of(path)]
    assert len(found) > 25
    assert not [text for text in found if not translatable(text)]
    assert not [words for text in FILE_WARNINGS.values() if (words := english(text))]


def translatable(text: str) -> bool:
    filled = text.format(*range(1, 9))
    spelled = filled.replace("was 2 by", "was raised by").replace("tracks; 2 was", "tracks; number 2 was")
    return any(file_warning(variant, "zh") != variant for variant in (filled, spelled))


def test_a_translated_warning_keeps_its_values() -> None:
    text = "2 of 43 frames could not be decoded and are left out"
    assert file_warning(text, "zh") == "43 帧中有 2 帧无法解码，已略去" and file_warning(text, "en") == text
    assert file_warning("something new", "zh") == "something new"


def test_latin_marks_are_recognised() -> None:
    assert latin_marks("高兴 63%, 悲伤 2%。时段: 平滑后; 一 (二) 三.") == [
        "63%,",
        "2%。时段:",
        "平滑后;",
        "(二)",
        "三.",
    ]
    assert not latin_marks("高兴 63%、悲伤 2%，时段：平滑后（峰值 1.6）。0:10，“a, b”。")


def test_english_is_recognised() -> None:
    assert english("份额 share，见 --json 和 `code`，“Hello you” 10 Hz") == ["share"]
