"""Write a report as Markdown for issues and notebooks, with tables and folded details.

All text from files and models is escaped, so that it cannot become markup, a disguised link, or a mention. It never
starts a line, so characters that have a meaning only there need no escape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from emotion_qwen.records import GENERATED, MEASURED, EmotionReport, Episode, Person
from emotion_qwen.strings import PHRASES, in_language
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
from emotion_qwen.views.playhead import has_picture, is_still
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

BAR = 20
"""Characters of a full bar."""
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")
_JOINER = "\u2060"  # zero width; it prevents "@name" from being a mention


def as_markdown(report: EmotionReport) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    say = in_language(PHRASES, report.language)
    parts = [
        *_answer(report, say),
        *_distribution(report, say),
        *_episodes(report, say),
        *_people(report, say),
        *_faces(report, say),
        *_channels(report, say),
        *_cues(report, say),
        *_reasons(report, say),
        *_transcript(report, say),
        *_trust(report, say),
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text on one line, escaped so that Markdown shows it literally."""
    return _SPECIAL.sub(r"\\\1", one_line(text)).replace("@", f"@{_JOINER}")


def _answer(report: EmotionReport, say: Phrases) -> Iterator[str]:
    source = f"`{one_line(report.source).replace('`', chr(39))}`"
    reason = escape(abstention(report) or "")
    if report.label is None:
        yield f"## {_head('no_answer', say)}"
        yield source
        yield f"> [!WARNING]\n> **{say['no_answer']}**: {reason}."
    else:
        name, share = escape(label_name(report, report.label)), report.distribution[report.label]
        yield f"## {name} {share:.0%}"
        whole = "" if is_still(report) else f" · {say['whole_clip']}"
        if report.valence_arousal is not None:
            valence, arousal = (signed(value) for value in report.valence_arousal)
            whole = f" · {say['valence']} {valence} · {say['arousal']} {arousal}{whole}"
        elif report.provenance.get("label_set_trained") is False:
            whole = f" · {say['untrained']}{whole}"
        yield source + whole
        if abstention(report) is not None:
            doubt = f"{say['leans'].format(label=name)}{say['semicolon']}{reason}{say['stop']}"
            yield f"> [!WARNING]\n> **{say['not_sure']}**{say['colon']}{doubt}"
    if note := about_note(report, say):
        yield f"> [!NOTE]\n> {note}"
    if report.summary:
        yield _sentence(report.summary, GENERATED, say)


def _sentence(text: str, kind: str, say: Phrases) -> str:
    """Return a sentence after its tag; a generated, unverified one is quoted and in italics."""
    return f"`{say[GENERATED]}` *“{escape(text)}”*" if kind == GENERATED else f"`{say[MEASURED]}` {escape(text)}"


def _distribution(report: EmotionReport, say: Phrases) -> Iterator[str]:
    if not report.distribution:
        return
    rows = [
        f"| {escape(label_name(report, label))} | `{_bar(share)}` | {share:.1%} |"
        for label, share in ranked(report.distribution)
    ]
    yield "\n".join([f"| | {say['shares']} | |", "|---|---|--:|", *rows])


def _bar(share: float) -> str:
    full = round(share * BAR)
    return "█" * full + "░" * (BAR - full)


def _episodes(report: EmotionReport, say: Phrases) -> Iterator[str]:
    owners: list[tuple[str, Sequence[Episode]]] = [(say["clip"], report.episodes)]
    owners += [(_person(person, say), person.episodes) for person in report.people]
    rows = []
    for name, episodes in owners:
        for episode in episodes:
            label = escape(label_name(report, episode.label))
            peak = f"{say['peak']} {episode.peak:.1f} {say['second']}{say['comma']}{episode.share:.0%}"
            rows.append(f"| {name} | {label} | {time_span(episode.onset, episode.offset, say)} | {peak} |")
            name = ""
    name = say["clip"]
    for gap in report.gaps:
        rows.append(f"| {name} | *{say['no_answer']}* | {time_span(gap.start, gap.end, say)} | {escape(gap.reason)} |")
        name = ""
    if rows:
        yield f"### {_head('timeline', say)}"
        yield "\n".join([f"| | {say['feels']} | | {say['smoothed']} |", "|---|---|---|---|", *rows])


def _people(report: EmotionReport, say: Phrases) -> Iterator[str]:
    if not report.people:
        note = nobody_note(report, say, pictured=has_picture(report))
        yield from [f"*{note}*"] if note else []
        return
    rows = []
    for person in report.people:
        first, *rest = map(escape, leading(report, person.distribution, 3))
        sighting = (
            ""
            if is_still(report)
            else say["comma"].join((time_span(person.start, person.end, say), f"{person.frames} {say['frames']}"))
        )
        affect = " / ".join(signed(value) for value in person.valence_arousal or ())
        rows.append(f"| {person.person} | {say['listed'].join((f'**{first}**', *rest))} | {sighting} | {affect} |")
    yield f"### {_head('people', say)}"
    heads = f"| {say['person']} | {say['feels']} | {say['seen']} | {say['valence']} / {say['arousal']} |"
    yield "\n".join([heads, "|---|---|---|---|", *rows])


def _faces(report: EmotionReport, say: Phrases) -> Iterator[str]:
    lines = [
        f"- **{_person(person, say)}** {_sentence(text, MEASURED, say)} <sub>{escape(figure)}</sub>"
        for person in report.people
        for text, figure in movement_lines(report, person, say)
    ]
    if lines:
        yield f"### {_head('face', say)}"
        yield "\n".join(lines)


def _channels(report: EmotionReport, say: Phrases) -> Iterator[str]:
    rows = []
    for channel in report.channels:
        if not channel.label:
            rows.append(f"| {say[channel.channel]} | *{say['nothing']}* | | | |")
            continue
        alone, weight, moves = channel_cells(report, channel)
        verdict = say["agrees"] if channel.agrees else f"**≠ {say['disagrees']}**"
        rows.append(f"| {say[channel.channel]} | {escape(alone)} | {weight} | {moves} | {verdict} |")
    if rows:
        yield f"### {_head('channels', say)}"
        heads = f"| {say['channel']} | {say['alone']} | {say['weight']} | {say['moves']} | |"
        yield "\n".join([heads, "|---|---|--:|--:|---|", *rows])


def _cues(report: EmotionReport, say: Phrases) -> Iterator[str]:
    lines = []
    for cue in report.cues:
        when, whose = cue_place(report, cue, say)
        lines.append(f"- {when}{' · ' if when else ''}**{whose}** {_sentence(cue.text, cue.kind, say)}")
        if cue.measures:
            numbers = " · ".join(
                f"{escape(measure_name(report, name))} {measurement(value)}" for name, value in cue.measures.items()
            )
            lines.append(f"  <br><sub>{numbers}</sub>")
    if lines:
        yield f"### {_head('cues', say)}"
        yield "\n".join(lines)


def _reasons(report: EmotionReport, say: Phrases) -> Iterator[str]:
    lines = [
        f"- {_sentence(reason.text, reason.kind, say)}" + (f" — ✗ {escape(note)}" if note else "")
        for reason, note in rationale_lines(report, say)
    ]
    if lines:
        yield f"### {_head('why', say)}"
        yield "\n".join(lines)
    if report.words:
        words = say["listed"].join(word_name(report, word) for word in report.words)
        yield f"{_head('words_open', say)}{say['colon']}{_sentence(words, GENERATED, say)}"
    if report.reasoning:
        yield f"### {_head('reasoning', say)}"
        steps = enumerate(report.reasoning.items(), 1)
        yield "\n".join(
            f"{number}. **{escape(step_name(step, say))}** {_sentence(text, GENERATED, say)}"
            for number, (step, text) in steps
        )
    if verified := verification_text(report, say):
        yield escape(verified)


def _transcript(report: EmotionReport, say: Phrases) -> Iterator[str]:
    if report.utterances:
        lines = "\n".join(
            f"- {time_span(utterance.start, utterance.end, say)} · {escape(utterance.text)}"
            for utterance in report.utterances
        )
        yield f"<details><summary>{_head('said', say)}</summary>\n\n{lines}\n\n</details>"
    if report.context:
        yield f"{_head('context_given', say)}{say['colon']}{escape(report.context)}"


def _trust(report: EmotionReport, say: Phrases) -> Iterator[str]:
    lines = [f"- {line}" for line in certainty(report, say)]
    if examples := examples_text(report, say):
        lines.append(f"- {escape(examples)}")
    lines += [f"- **{say['warning']}**{say['colon']}{escape(text)}" for text in report.provenance.get("warnings", ())]
    if lines:
        yield f"### {_head('trust', say)}"
        yield "\n".join(lines)
    facts_text = json.dumps(report.provenance, indent=2, ensure_ascii=False)
    longest = max((len(list(run)) for letter, run in groupby(facts_text) if letter == "`"), default=0)
    fence = "`" * max(3, longest + 1)  # longer than any run of backticks in the text
    yield f"<details><summary>{_head('provenance', say)}</summary>\n\n{fence}json\n{facts_text}\n{fence}\n\n</details>"
    yield f"**{say['limits']}** {say['limits_more']}"


def _head(key: str, say: Phrases) -> str:
    return say[key][:1].upper() + say[key][1:]


def _person(person: Person, say: Phrases) -> str:
    return f"{say['person']} {person.person}"
