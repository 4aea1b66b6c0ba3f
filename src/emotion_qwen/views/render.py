"""Write a report as JSON, and print it as a terminal view, whose parts are in `terminal`."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from emotion_qwen.errors import DataError
from emotion_qwen.files import write_whole
from emotion_qwen.records import GENERATED, OMITTED_IF_EMPTY, EmotionReport
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.views import terminal
from emotion_qwen.views.brief import arc_headline
from emotion_qwen.views.phrases import one_line

DECIMALS, DIGITS = 4, 6
"""Decimals of numbers, and significant digits of measurements, whose magnitude is unknown."""
NARROWEST = 40


def as_json(report: EmotionReport) -> str:
    """Return the report as one line of JSON, described by `schema.report_schema`.

    Raises:
        DataError: a number is not finite, which JSON cannot represent.
    """
    return json.dumps(as_values(report), ensure_ascii=False, allow_nan=False)


def as_values(report: EmotionReport) -> dict[str, Any]:
    """Return the values of `as_json`: rounded, and without the fields of `OMITTED_IF_EMPTY` that are empty.

    Raises:
        DataError: a number is not finite, which JSON cannot represent.
    """
    values = dataclasses.asdict(report)
    seen = [seen for person in values["people"] for seen in person["seen"]]
    optional = {"Person": values["people"], "Seen": seen, "Sentence": values["rationale"], "EmotionReport": [values]}
    for name, records in optional.items():
        for record in records:
            for field in OMITTED_IF_EMPTY[name]:
                if not record[field]:
                    del record[field]
    try:
        return rounded(values)
    except DataError as error:
        raise DataError(f"report of {report.source!r}: {error}") from error


def rounded(value: Any) -> Any:
    """Return a value with all numbers rounded for JSON.

    Raises:
        DataError: a number is not finite.
    """
    return _rounded(value, "")


def _rounded(value: Any, place: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(
                f"{place.lstrip('.')} is {value}; expected a finite number, leave out what could not be measured"
            )
        if ".measures[" in place:
            return float(f"{value:.{DIGITS}g}")
        return round(value, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, dict):
        # In the message, names from data (labels, measures) are in brackets, and fields of records follow a dot.
        inside = bool(place) and not place.endswith("]")
        return {k: _rounded(v, f"{place}[{k!r}]" if inside else f"{place}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item, f"{place}[{number}]") for number, item in enumerate(value)]
    return value


def show_report(report: EmotionReport, console: Console) -> None:
    """Print the terminal view: the arc and the answer, timeline and people, the evidence, and the reliability."""
    width = max(console.width - 4, NARROWEST)  # minus the border and padding of the panel
    say = in_language(PHRASES, report.language)
    summary = [terminal.sentence(report.summary, GENERATED, say)] if report.summary else []
    parts: list[RenderableType | None] = [
        Group(arc_headline(report, say), *summary),
        terminal.bars(report, width),
        terminal.people(report, say, width),
        terminal.strips(report, say, width),
        terminal.faces(report, say),
        terminal.channels(report, say),
        terminal.cues(report, say),
        terminal.reasons(report, say),
        terminal.transcript(report, say),
        terminal.trust(report, say),
        terminal.origin(report, say),
    ]
    shown = [part for part in parts if part is not None]
    spaced = [part if number == 0 else Padding(part, (1, 0, 0, 0)) for number, part in enumerate(shown)]
    title = Text(one_line(report.source))  # not a string, because rich would interpret markup in a file name
    console.print(Panel(Group(*spaced), title=title, title_align="left", border_style="cyan"))


def save_picture(console: Console, path: Path) -> None:
    """Save the output of a recording console as SVG, without the web addresses that rich adds."""
    svg = console.export_svg(title="emotion-qwen analyze")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->", "", svg, flags=re.DOTALL)
    write_whole(path, re.sub(r'(textLength=")([\d.]+)("[^>]*>)([^<]+)(?=<)', _widened, svg))


def _widened(match: re.Match[str]) -> str:
    """Correct the length of a text, because rich counts characters and Chinese ones are twice as wide."""
    before, length, between, text = match.groups()
    letters = html.unescape(text)
    return f"{before}{float(length) * cell_len(letters) / len(letters):.1f}{between}{text}"
