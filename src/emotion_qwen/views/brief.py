"""The terminal view that a user sees first: at most `LONGEST` lines, headed by the sequence of emotions.

`render.show_report` prints everything else. Parts have a priority; when they do not all fit, those of low priority are
left out, and a note says how to see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from emotion_qwen.records import GENERATED, EmotionReport, Episode
from emotion_qwen.strings import PHRASES, in_language
from emotion_qwen.views import terminal
from emotion_qwen.views.colours import colour_of
from emotion_qwen.views.phrases import label_name, one_line
from emotion_qwen.views.sections import Phrases, abstention, cue_place, movement_lines

LONGEST = 25
"""Lines of the view, border included."""
STATIONS = 5
"""Emotions in a headline; of more, the first and the last ones are shown."""
NARROWEST = 40
SUMMARY_LINES, CUE_LINES = 4, 2
BARS, WARNINGS = 3, 2


def show_brief(report: EmotionReport, console: Console) -> None:
    """Print the answer, when it changes, who shows what, and the strongest evidence, in at most `LONGEST` lines."""
    width = max(console.width - 4, NARROWEST)  # minus the border and padding of the panel
    say = in_language(PHRASES, report.language)
    summary = terminal.sentence(report.summary, GENERATED, say)
    # In order of display, each with its priority: 0 is never left out.
    parts: list[tuple[int, RenderableType | None]] = [
        (0, arc_headline(report, say)),
        (1, _clipped(summary, SUMMARY_LINES, width, console) if report.summary else None),
        (5, _blank(terminal.bars(report, width, BARS))),
        (2, _blank(terminal.strips(report, say, width, brief=True))),
        (3, _blank(terminal.people(report, say, width, most=4))),
        (4, _movements(report, say, width)),
        (6, _evidence(report, say, width, console)),
        (0, terminal.warning_lines(report, say, WARNINGS)),
    ]
    shown = [(priority, part, _height(part, width, console)) for priority, part in parts if part is not None]
    note = Text(say["brief_note"], "dim")
    room = LONGEST - 2 - _height(note, width, console)
    while sum(height for _, _, height in shown) > room and any(priority for priority, _, _ in shown):
        shown.remove(max(shown, key=lambda each: each[0]))
    body = Group(*(part for _, part, _ in shown), note)
    title = Text(one_line(report.source))  # not a string, because rich would interpret markup in a file name
    console.print(Panel(body, title=title, title_align="left", border_style="cyan"))


def arc_headline(report: EmotionReport, say: Phrases) -> RenderableType:
    """Return the sequence of emotions in a clip, or the label with its share."""
    line, mean = arc_line(report, say), terminal.answer(report, say)
    return mean if line is None else Group(line, mean)


def arc_line(report: EmotionReport, say: Phrases) -> Text | None:
    """Return the sequence of emotions in a clip; None with fewer than two, or without a confident answer."""
    stations = arc(report.episodes)
    if len(stations) < 2 or abstention(report) is not None or report.label is None:
        return None
    line = Text()
    for number, station in enumerate(stations):
        if station is None:
            line.append("… ", "dim")
            continue
        line.append("■ ", colour_of(station.label))
        line.append(f"{label_name(report, station.label)} ", "bold")
        if number == 0:
            line.append(f"{_seconds(station.onset, report)}–{_seconds(station.offset, report)} {say['second']} ")
        elif number == len(stations) - 1:
            line.append(say["from_time"].format(time=f"{_seconds(station.onset, report)} {say['second']}"))
        if number < len(stations) - 1:
            line.append("→ ", "dim")
    return line


def arc(episodes: Sequence[Episode]) -> list[Episode | None]:
    """Return the episodes in order of time, neighbours with one label joined; None stands for those left out."""
    ordered = sorted(episodes, key=lambda episode: episode.onset)
    joined = []
    for _, run in groupby(ordered, key=lambda episode: episode.label):
        same = list(run)
        strongest = max(same, key=lambda episode: episode.share)
        joined.append(replace(strongest, onset=same[0].onset, offset=same[-1].offset))
    if len(joined) <= STATIONS:
        return list(joined)
    return [*joined[: STATIONS - 2], None, *joined[-1:]]


def _seconds(time: float, report: EmotionReport) -> str:
    longest = max(episode.offset for episode in report.episodes)
    return f"{time:.0f}" if longest >= 10 else f"{time:.1f}"


def _evidence(report: EmotionReport, say: Phrases, width: int, console: Console) -> RenderableType | None:
    """Return the two strongest cues and the channels that disagree."""
    lines = []
    for cue in report.cues[:2]:
        when, whose = cue_place(report, cue, say)
        line = Text.assemble((f"{when}  " if when else "", "cyan"), (f"{whose}  ", "bold"))
        lines.append(line + terminal.sentence(cue.text, cue.kind, say))
    against = [channel for channel in report.channels if channel.label and not channel.agrees]
    if against:
        names = say["comma"].join(
            f"{say[each.channel]}{say['colon']}{label_name(report, each.label)}" for each in against
        )
        lines.append(Text.assemble((f"≠ {say['disagrees']}  ", "bold red"), names))
    return Group(Text(""), *(_clipped(line, CUE_LINES, width, console) for line in lines)) if lines else None


def _movements(report: EmotionReport, say: Phrases, width: int) -> RenderableType | None:
    """Return the movements of the faces, in one line per person."""
    lines = []
    for person in report.people[:3]:
        texts = [text.rstrip(".。") for text, _ in movement_lines(report, person, say)[:3]]
        if texts:
            line = Text.assemble((f"{say['person']} {person.person}  ", "bold"), say["semicolon"].join(texts))
            line.truncate(width, overflow="ellipsis")
            lines.append(line)
    return Group(*lines) if lines else None


def _blank(part: RenderableType | None) -> RenderableType | None:
    return None if part is None else Group(Text(""), part)


def _clipped(text: Text, most: int, width: int, console: Console) -> RenderableType:
    """Return a text cut to a number of lines."""
    lines = list(text.wrap(console, width))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].truncate(width - 1)
        lines[-1].append("…")
    return Group(*lines)


def _height(part: RenderableType, width: int, console: Console) -> int:
    return len(console.render_lines(part, console.options.update(width=width), pad=False))
