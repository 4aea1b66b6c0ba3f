"""The page that lists the pages of many clips: one row per clip, with a small timeline, sortable and searchable.

Like the page of a report it needs no network, server or library. Without its script it can still be read.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from urllib.parse import quote

from markupsafe import Markup

from emotion_qwen.files import write_whole
from emotion_qwen.records import EmotionReport, Moment
from emotion_qwen.strings import PHRASES, Strings, in_language
from emotion_qwen.taxonomy import coordinates
from emotion_qwen.views.brief import arc_line
from emotion_qwen.views.colours import colour_of
from emotion_qwen.views.html import embedded_policy, script_of, style_of, template
from emotion_qwen.views.phrases import file_name, label_name, signed
from emotion_qwen.views.playhead import clip_span, has_picture
from emotion_qwen.views.sections import Phrases, abstention

WIDTH, HEIGHT = 1000, 100
"""Size of the drawing of a timeline, which is stretched to the size on the screen."""
POINTS = 160
"""Maximum number of windows that are drawn; of more, evenly spaced ones."""
INDEX_PHRASES: Strings = {
    "clips": ("clips", "片段"),
    "index_clip": ("clip", "片段"),
    "index_label": ("label", "标签"),
    "duration": ("duration", "时长"),
    "warnings": ("warnings", "警告"),
    "count_clips": ("{count} clips", "{count} 个片段"),
    "count_failed": ("{count} could not be analyzed", "{count} 个无法分析"),
    "count_warnings": ("warnings: {count}", "警告：{count} 条"),
    "count_shown": ("{shown} of {all} clips", "显示 {shown} 个，共 {all} 个"),
    "filter": ("filter by text", "按文字筛选"),
    "same_scale": ("same time scale for all clips", "所有片段使用同一时间尺度"),
    "sort_help": (
        "A heading sorts by its column; a second press reverses the order, a third restores the original one.",
        "点击列标题按该列排序；再点一次反向，第三次恢复原来的顺序。",
    ),
    "unanalyzed": ("could not be analyzed", "无法分析"),
}
"""Texts of this page in addition to `PHRASES`."""
_STYLES, _SCRIPTS = ("base.css", "index.css"), ("index.js",)


@dataclass(frozen=True)
class Band:
    """A part of a drawn timeline: the outline of a label's shares as an SVG path, with name and colour."""

    name: str
    colour: str
    outline: str


@dataclass(frozen=True)
class IndexRow:
    """The index entry of a clip; numbers are None where there is none.

    Attributes:
        source: path of the clip as given.
        file: its name.
        page: address of its page relative to the index; "" if it has none.
        error: why the clip could not be analyzed; "" otherwise.
        headline: the sequence of emotions, or the answer.
        label: name of the label; "" without an answer.
        colour: of the label.
        confidence: 0 to 1.
        valence: -1 to 1.
        arousal: -1 to 1.
        people: number of people.
        duration: seconds; None for a picture.
        warnings: texts.
        bands: the timeline.
        gaps: x and width of periods without an answer, of `WIDTH`.
        labels: names and colours for the legend.
        thumbnail: JPEG; b"" without one.
        pictured: whether the clip has a picture.
    """

    source: str
    file: str
    page: str = ""
    error: str = ""
    headline: str = ""
    label: str = ""
    colour: str = ""
    confidence: float | None = None
    valence: float | None = None
    arousal: float | None = None
    people: int | None = None
    duration: float | None = None
    warnings: tuple[str, ...] = ()
    bands: tuple[Band, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    thumbnail: bytes = b""
    pictured: bool = False

    @property
    def picture(self) -> str:
        """The thumbnail as a data address; "" without one."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.thumbnail).decode()}" if self.thumbnail else ""


def index_row(report: EmotionReport, page: str, thumbnail: bytes = b"") -> IndexRow:
    """Return the row of a report.

    Args:
        report: the report.
        page: file name of its page, which is next to the index.
        thumbnail: JPEG.
    """
    say = in_language(PHRASES, report.language)
    doubt, label = report.uncertainty, report.label
    start, end = clip_span(report)
    confidence = doubt.confidence if doubt else report.distribution.get(label or "")
    valence, arousal = report.valence_arousal or (None, None)
    return IndexRow(
        source=report.source,
        file=file_name(report),
        page=quote(os.fsencode(page)),
        headline=row_headline(report, say),
        label=label_name(report, label) if label else "",
        colour=colour_of(label) if label else "",
        confidence=confidence,
        valence=valence,
        arousal=arousal,
        people=len(report.people),
        duration=end - start if end > start else None,
        warnings=tuple(report.provenance.get("warnings") or ()),
        bands=tuple(_bands(report, start, end)),
        gaps=tuple(
            (_across(gap.start, start, end), _across(gap.end - gap.start, 0, end - start)) for gap in report.gaps
        ),
        labels={label_name(report, name): colour_of(name) for name in report.distribution},
        thumbnail=thumbnail,
        pictured=has_picture(report),
    )


def failed_row(source: str, error: str) -> IndexRow:
    """Return the row of a clip that could not be analyzed."""
    return IndexRow(source, PurePath(source).name or source, error=error)


def row_headline(report: EmotionReport, say: Phrases) -> str:
    """Return the sequence of emotions as in the terminal, or the answer with its limitations."""
    line, reason = arc_line(report, say), abstention(report)
    if line is not None:
        return line.plain.replace("■ ", "").strip()
    if report.label is None:
        return f"{say['no_answer']}: {reason}" if reason else say["no_answer"]
    name = label_name(report, report.label)
    if reason is not None:
        return f"{say['not_sure']}: {say['leans'].format(label=name)}; {reason}"
    return f"{name} {report.distribution[report.label]:.0%}"


def write_index(path: Path, rows: Sequence[IndexRow], language: str) -> None:
    """Write the index; an existing file is replaced.

    Raises:
        StorageError: the file cannot be written.
    """
    write_whole(path, compose_index(rows, language))


def compose_index(rows: Sequence[IndexRow], language: str) -> str:
    """Return the HTML of the index.

    Args:
        rows: in the order in which they are listed before sorting.
        language: "en" or "zh".
    """
    style, script = style_of(_STYLES), script_of(_SCRIPTS)
    return template("index_page.html").render(
        rows=rows,
        language=language,
        say=in_language({**PHRASES, **INDEX_PHRASES}, language),
        failed=sum(bool(row.error) for row in rows),
        longest=max((row.duration for row in rows if row.duration), default=0.0),
        legend={name: colour for row in rows for name, colour in row.labels.items()},
        size=(WIDTH, HEIGHT),
        policy=embedded_policy(style, script, "img-src data:"),
        style=Markup(style),
        script=Markup(script),
        signed=signed,
    )


def _across(time: float, start: float, end: float) -> float:
    return round((time - start) / (end - start) * WIDTH, 1) if end > start else 0.0


def _bands(report: EmotionReport, start: float, end: float) -> Iterable[Band]:
    """Yield the shares over time as stacked bands, ordered by valence as on the page of a report.

    A picture has its shares over the whole width. Labels without a known valence count as neutral.
    """
    labels = sorted(report.distribution, key=lambda label: (coordinates(label) or (0.0, 0.0))[0])
    for run in _runs(report.timeline):
        points = [(run[0].start, run[0]), *(((m.start + m.end) / 2, m) for m in run), (run[-1].end, run[-1])]
        shares = [(_across(time, start, end), moment.distribution) for time, moment in points]
        yield from _stacked(report, labels, shares)
    if not report.timeline and not report.gaps and report.distribution:
        yield from _stacked(report, labels, [(0.0, report.distribution), (float(WIDTH), report.distribution)])


def _stacked(
    report: EmotionReport, labels: Sequence[str], shares: Sequence[tuple[float, dict[str, float]]]
) -> Iterable[Band]:
    """Yield the bands of one run of windows: x and distribution per point."""
    below = [0.0] * len(shares)
    for label in labels:
        above = [low + distribution.get(label, 0.0) for low, (_, distribution) in zip(below, shares, strict=True)]
        edges = [
            [(x, (1 - level) * HEIGHT) for level, (x, _) in zip(side, shares, strict=True)] for side in (above, below)
        ]
        outline = "L".join(f"{x:.1f} {y:.1f}" for x, y in (*edges[0], *reversed(edges[1])))
        yield Band(label_name(report, label), colour_of(label), f"M{outline}Z")
        below = above


def _runs(timeline: Sequence[Moment]) -> list[list[Moment]]:
    """Return the windows without a gap between them, thinned to `POINTS` in all."""
    stride = max(-(-len(timeline) // POINTS), 1)
    runs: list[list[Moment]] = []
    last = None
    for number, moment in enumerate(timeline):
        joined = last is not None and moment.start <= last.end
        last = moment
        if not joined:
            runs.append([moment])
        elif number % stride == 0 or number == len(timeline) - 1:
            runs[-1].append(moment)
    return runs
