"""The parts of the terminal view. Each returns something rich can print, or None if there is nothing to show.

All information in colours is also in words. Measured and generated sentences are always distinguishable: a measured one
follows `[measured]`, a generated one follows `[generated]` in quotes and italics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from emotion_qwen.records import GENERATED, MEASURED, Cue, EmotionReport, Episode, Moment
from emotion_qwen.views.colours import colour_of, ink_on
from emotion_qwen.views.phrases import (
    about_note,
    label_name,
    measure_name,
    measurement,
    nobody_note,
    one_line,
    ranked,
    signed,
    step_name,
    word_name,
)
from emotion_qwen.views.playhead import clip_span, columns, has_picture, is_still
from emotion_qwen.views.sections import (
    Phrases,
    abstention,
    certainty,
    channel_cells,
    cue_place,
    examples_text,
    leading,
    movement_lines,
    rationale_lines,
    time_span,
    verification_text,
)

LONGEST_BAR = 40
LINES = 12
"""Maximum number of utterances and of episodes that are shown; all cues are shown."""
STEPS = "▁▂▃▄▅▆▇█"
PARTS = " ▏▎▍▌▋▊▉"
STRIDES = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
"""Possible distances between the marks of the time axis, seconds."""


def answer(report: EmotionReport, say: Phrases) -> RenderableType:
    """Return the label with its share, or that there is no answer."""
    reason, lines = abstention(report), list[RenderableType]()
    if report.label is None:
        lines.append(Text.assemble((f" {say['no_answer']} ", "bold black on yellow"), (f" {reason or ''}", "yellow")))
    else:
        name, share = label_name(report, report.label), report.distribution[report.label]
        line = Text.assemble(("■ ", colour_of(report.label)), (name, "bold"), f"  {share:.0%}")
        if report.valence_arousal is not None:
            valence, arousal = report.valence_arousal
            line.append(f"   {say['valence']} {signed(valence)} · {say['arousal']} {signed(arousal)}", "dim")
        elif report.provenance.get("label_set_trained") is False:
            line.append(f"   {say['untrained']}", "dim")
        if not is_still(report):
            line.append(f"   {say['whole_clip']}", "dim")
        if reason is not None:
            leans = say["leans"].format(label=name)
            lines.append(
                Text.assemble(
                    (f" {say['not_sure']} ", "bold black on yellow"), (f" {leans}{say['semicolon']}{reason}", "yellow")
                )
            )
            line.stylize("dim")
        lines.append(line)
    if note := about_note(report, say):
        lines.append(Text(note, "yellow"))
    return Group(*lines)


def sentence(text: str, kind: str, say: Phrases) -> Text:
    """Return a sentence after the tag that states its origin."""
    if kind == GENERATED:
        return Text.assemble((f"[{say[GENERATED]}] ", "magenta"), (f"“{one_line(text)}”", "italic"))
    return Text.assemble((f"[{say[MEASURED]}] ", "green"), one_line(text))


def bars(report: EmotionReport, width: int, most: int | None = None) -> Table | None:
    """Return the distribution as bars, the largest share first; with `most`, at most that many."""
    if not report.distribution:
        return None
    longest = min(LONGEST_BAR, width - 24)
    table = Table.grid(padding=(0, 2))
    for label, share in ranked(report.distribution)[:most]:
        whole, part = divmod(round(share * longest * 8), 8)
        bar = "█" * whole + PARTS[part].strip()
        table.add_row(label_name(report, label), Text(bar, style=colour_of(label)), f"{share:6.1%}")
    return table


def people(report: EmotionReport, say: Phrases, width: int, most: int | None = None) -> RenderableType | None:
    """Return one row per person, or a note that nobody was seen; `most` keeps the first and counts the others."""
    if not report.people:
        note = nobody_note(report, say, pictured=has_picture(report))
        return Text(note, style="yellow") if note else None
    roomy = width >= 96
    extra = [say["valence"], say["arousal"]] if roomy and report.people[0].valence_arousal else []
    heads = (say["person"], say["seen"], say["frames"], say["feels"], "", *extra)
    table = Table(*heads, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for person in report.people[:most]:
        first, *rest = leading(report, person.distribution, 4 if roomy else 3)
        table.add_row(
            str(person.person),
            say["one_picture"] if is_still(report) else time_span(person.start, person.end, say),
            str(person.frames),
            Text.assemble(("■ ", colour_of(ranked(person.distribution)[0][0])), (first, "bold")),
            Text(say["listed"].join(rest), style="dim"),
            *([signed(value) for value in person.valence_arousal or ()] if extra else []),
        )
    left = len(report.people) - table.row_count
    return Group(table, Text(say["more"].format(count=left), "dim")) if left else table


def strips(report: EmotionReport, say: Phrases, width: int, brief: bool = False) -> RenderableType | None:
    """Return strips of coloured blocks over a time axis for the clip and its people, with episodes and gaps.

    The brief form has the clip's strip alone.
    """
    start, end = clip_span(report)
    if not (report.timeline or report.gaps) or end <= start:
        return None
    rows = [(say["clip"], report.timeline)]
    rows += [(f"{say['person']} {p.person}", p.timeline) for p in report.people if p.timeline and not brief]
    margin = max(cell_len(name) for name in (say["shares"], *(name for name, _ in rows))) + 2
    length = width - margin
    lines = [Text(" " * margin) + _axis(start, end, length, say)]
    for name, moments in rows:
        cells = columns(moments, start, end, length)
        lines.append(Text.assemble((set_cell_size(name, margin), "dim")) + _blocks(report, cells))
        if moments is report.timeline:
            lines.append(Text.assemble((set_cell_size(say["shares"], margin), "dim")) + _heights(cells))
    if brief:
        return Group(*lines)
    episodes = [_episode(report, episode, say) for episode in report.episodes[:LINES]]
    if len(report.episodes) > LINES:
        episodes.append(Text(say["more"].format(count=len(report.episodes) - LINES), "dim"))
    if episodes:
        heading = f"{say['episodes']}{say['comma']}{say['smoothed']}{say['colon']}"
        lines.append(Text.assemble((heading, "dim")) + Text(say["semicolon"]).join(episodes))
    lines += [Text.assemble((f"{say['no_answer']}{say['colon']}", "dim"), text) for text in _gaps(report, say)]
    return Group(*lines)


def _gaps(report: EmotionReport, say: Phrases) -> list[str]:
    lines = [
        say["aside"].format(what=time_span(gap.start, gap.end, say), aside=one_line(gap.reason))
        for gap in report.gaps[:LINES]
    ]
    left = len(report.gaps) - LINES
    return [*lines, say["more"].format(count=left)] if left > 0 else lines


def _axis(start: float, end: float, length: int, say: Phrases) -> Text:
    marks = [stride for stride in STRIDES if (end - start) / stride * 7 <= length] or [end - start]
    line, time = "", math.ceil(start / marks[0]) * marks[0]
    while time <= end:
        place = min(round((time - start) / (end - start) * length), length - 1)
        mark = f"│{time:g}"
        if len(line) <= place and place + len(mark) <= length:
            line = line.ljust(place) + mark
        time += marks[0]
    return Text(f"{line} {say['second']}" if len(line) + 3 <= length else line, style="dim", no_wrap=True)


def _blocks(report: EmotionReport, moments: Sequence[Moment | None]) -> Text:
    """Return one coloured block per run of windows with the same label, with the label's name if it fits."""
    line = Text(no_wrap=True)
    for label, run in groupby(moments, key=lambda moment: moment.label if moment else ""):
        room = len(list(run))
        if not label:
            line.append("·" * room, "dim")
            continue
        name, ground = label_name(report, label), colour_of(label)
        shown = f" {name}" if cell_len(name) + 2 <= room else name[:1] if cell_len(name[:1]) <= room else ""
        line.append(set_cell_size(shown, room), f"{ink_on(ground)} on {ground}")
    return line


def _heights(moments: Sequence[Moment | None]) -> Text:
    """Return the leading label's share in each column as a small bar."""
    line = Text(no_wrap=True)
    for moment in moments:
        share = moment.distribution[moment.label] if moment else 0.0
        line.append(STEPS[min(int(share * 8), 7)] if moment else " ", colour_of(moment.label) if moment else "")
    return line


def _episode(report: EmotionReport, episode: Episode, say: Phrases) -> Text:
    peak = say["comma"].join((f"{say['peak']} {episode.peak:.1f}", f"{episode.share:.0%}"))
    text = say["aside"].format(what=time_span(episode.onset, episode.offset, say), aside=peak)
    return Text.assemble(("■ ", colour_of(episode.label)), f"{label_name(report, episode.label)} {text}")


def faces(report: EmotionReport, say: Phrases) -> RenderableType | None:
    """Return the clearest movements of each person's face, each with its measurement."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for person in report.people:
        name = f"{say['person']} {person.person}"
        for text, figure in movement_lines(report, person, say):
            table.add_row(Text(name, "bold"), sentence(text, MEASURED, say), Text(figure, "dim"))
            name = ""
    return Group(Text(say["face"], "bold"), table) if table.row_count else None


def channels(report: EmotionReport, say: Phrases) -> RenderableType | None:
    """Return each channel's own answer, its effect on the answer of the clip, and whether they agree."""
    if not report.channels:
        return None
    heads = (say["channel"], say["alone"], say["weight"], say["moves"], "")
    table = Table(*heads, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for channel in report.channels:
        if not channel.label:
            table.add_row(Text(say[channel.channel], "dim"), Text(say["nothing"], "dim"))
            continue
        alone, weight, moves = channel_cells(report, channel)
        verdict = Text(f"= {say['agrees']}", "green") if channel.agrees else Text(f"≠ {say['disagrees']}", "bold red")
        table.add_row(
            say[channel.channel], Text.assemble(("■ ", colour_of(channel.label)), alone), weight, moves, verdict
        )
    return table


def cues(report: EmotionReport, say: Phrases) -> RenderableType | None:
    """Return every cue with its time, channel, person, and measurements."""
    if not report.cues:
        return None
    table = Table.grid(padding=(0, 2, 0, 0))
    for cue in report.cues:
        when, whose = cue_place(report, cue, say)
        table.add_row(*([Text(when, "cyan", no_wrap=True)] if when else []), _cue(report, cue, whose, say))
    return Group(Text(say["cues"], "bold"), table)


def _cue(report: EmotionReport, cue: Cue, whose: str, say: Phrases) -> Text:
    line = Text.assemble((f"{whose}  ", "bold")) + sentence(cue.text, cue.kind, say)
    if cue.measures:
        numbers = " · ".join(
            f"{one_line(measure_name(report, name))} {measurement(value)}" for name, value in cue.measures.items()
        )
        line.append(f"\n{numbers}", "dim")
    return line


def reasons(report: EmotionReport, say: Phrases) -> RenderableType | None:
    """Return the rationale, the open words, and the reasoning steps."""
    lines = []
    for reason, note in rationale_lines(report, say):
        lines.append(sentence(reason.text, reason.kind, say))
        lines += [Text(f"  ✗ {one_line(note)}", "red")] if note else []
    if lines:
        lines.insert(0, Text(say["why"], "bold"))
    if report.words:
        words = say["listed"].join(one_line(word_name(report, word)) for word in report.words)
        lines.append(Text.assemble((f"{say['words_open']}{say['colon']}", "dim")) + sentence(words, GENERATED, say))
    if report.reasoning:
        lines.append(Text(say["reasoning"], "bold"))
    for number, (step, text) in enumerate(report.reasoning.items(), 1):
        lines.append(
            Text.assemble((f"{number}. {one_line(step_name(step, say))}  ", "bold")) + sentence(text, GENERATED, say)
        )
    if verified := verification_text(report, say):
        lines.append(Text(verified, "dim"))
    return Group(*lines) if lines else None


def transcript(report: EmotionReport, say: Phrases) -> RenderableType | None:
    """Return the words of the clip, and the context given by the user."""
    lines = []
    if report.utterances:
        lines.append(Text(say["said"], "bold"))
    for utterance in report.utterances[:LINES]:
        lines.append(
            Text.assemble((f"{time_span(utterance.start, utterance.end, say)}  ", "cyan"), one_line(utterance.text))
        )
    if len(report.utterances) > LINES:
        lines.append(Text(say["more"].format(count=len(report.utterances) - LINES), "dim"))
    if report.context:
        lines.append(Text.assemble((f"{say['context_given']}{say['colon']}", "dim"), one_line(report.context)))
    return Group(*lines) if lines else None


def trust(report: EmotionReport, say: Phrases) -> RenderableType:
    """Return the confidence of the answer, the gate weights, and the warnings."""
    warned, examples = warning_lines(report, say), examples_text(report, say)
    lines = [*certainty(report, say), *([examples] if examples else [])]
    return Group(*(Text(line) for line in lines), *([] if warned is None else [warned]))


def warning_lines(report: EmotionReport, say: Phrases, most: int | None = None) -> RenderableType | None:
    """Return the warnings, or None if there are none; with `most`, the first ones and the number left out."""
    warned = report.provenance.get("warnings", ())
    lines = [Text(f"{say['warning']}{say['colon']}{one_line(text)}", style="yellow") for text in warned[:most]]
    if left := len(warned) - len(lines):
        lines.append(Text(say["more"].format(count=left), "dim"))
    return Group(*lines) if lines else None


def origin(report: EmotionReport, say: Phrases) -> RenderableType:
    """Return model, weights, label set and budget, and the limits of the answer."""
    facts = report.provenance
    parts = [f"{facts['model']}"] if "model" in facts else []
    parts += [f"{say[name]} {facts[name]}" for name in ("weights", "label_set") if name in facts]
    parts += (
        [say["frame_used" if facts["frames"] == 1 else "frames_used"].format(count=facts["frames"])]
        if "frames" in facts
        else []
    )
    parts += [say["took"].format(seconds=facts["took"])] if "took" in facts else []
    limits = say["between"].join((say["limits"], say["limits_more"]))
    return Group(Text(one_line(say["comma"].join(parts)), "dim"), Text(limits, "dim"))
