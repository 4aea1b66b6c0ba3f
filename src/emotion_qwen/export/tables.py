"""The tables of reports: clips, people, timeline, frames, episodes, movements, cues, channels, words.

In every table, `file` identifies the clip of a row, and `person` (in `frames`, `face_id`) the person. The columns of
`frames` have the names of py-feat and OpenFace where they mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from emotion_qwen.export.columns import BOOLEAN, INTEGER, NUMBER, TEXT, Entry, Row, Table, TableColumn
from emotion_qwen.export.layout import CHANGE, Layout, PictureScale, affect, suffixed
from emotion_qwen.records import EmotionReport, Moment, Seen

SECONDS, SHARE, SIGNED = "s", "share, 0 to 1", "-1 to 1"
FILE = TableColumn("file", TEXT, "", "the clip: its path as it was given to `analyze`")
PERSON = TableColumn("person", INTEGER, "", "number of the person in the clip, from 1 as on the pages and in JSON")
PERSON_OR_CLIP = TableColumn(
    "person", INTEGER, "", "number of the person, from 1; missing in rows about the whole clip"
)
AFFECT = (
    TableColumn("valence", NUMBER, SIGNED, "unpleasant to pleasant, expected over the shares"),
    TableColumn("arousal", NUMBER, SIGNED, "calm to excited, expected over the shares"),
)
_RECT = (
    ("FaceRectX", "left edge"),
    ("FaceRectY", "upper edge"),
    ("FaceRectWidth", "width"),
    ("FaceRectHeight", "height"),
)


def _box_columns(of: str) -> tuple[TableColumn, ...]:
    sides = [TableColumn(name, NUMBER, "see box_unit", f"{side} of {of}") for name, side in _RECT]
    unit = "pixels of the upright picture, or share: of its width and height where the report does not know its size"
    return (*sides, TableColumn("box_unit", TEXT, "", unit))


def report_tables(layout: Layout) -> tuple[Table, ...]:
    """Return all tables of a layout, in the order in which they are written."""
    return tuple(Table(name, columns(layout), partial(_rows, rows, layout)) for name, columns, rows in _TABLES)


def _rows(rows: Callable[[Layout, EmotionReport], Iterator[Row]], layout: Layout, entry: Entry) -> Iterator[Row]:
    if isinstance(entry, EmotionReport):
        yield from rows(layout, entry)
    elif rows is _clips:
        yield {"file": entry.source, "error": entry.error}


def _clip_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        TableColumn("label", TEXT, "", "likeliest label of the clip; missing where there is no answer"),
        TableColumn("confidence", NUMBER, SHARE, "share of the label"),
        TableColumn("entropy", NUMBER, "0 to 1", "uncertainty of the shares: 0 certain, 1 all labels alike"),
        TableColumn("calibrated", BOOLEAN, "", "whether the shares are calibrated probabilities"),
        TableColumn("abstains", BOOLEAN, "", "whether the report abstains; the label is then not an answer"),
        TableColumn("reason", TEXT, "", "why it abstains"),
        *AFFECT,
        *layout.share_columns({"": " in the clip, by all channels"}),
        TableColumn("about", TEXT, "", "what was asked: people, whole (whole picture) or evoked (in viewers)"),
        TableColumn("people", INTEGER, "", "number of people seen"),
        TableColumn("start", NUMBER, SECONDS, "time of the first analyzed frame"),
        TableColumn("end", NUMBER, SECONDS, "time of the last analyzed frame"),
        TableColumn("frames", INTEGER, "", "number of analyzed frames"),
        TableColumn("fps", NUMBER, "frames per second", "rate of the analyzed frames, not of the video"),
        TableColumn("width", INTEGER, "pixels", "width of the upright picture"),
        TableColumn("height", INTEGER, "pixels", "height of the upright picture"),
        TableColumn("summary", TEXT, "", "the model's own sentence"),
        TableColumn("open_words", TEXT, "", "open words for the emotion, likeliest first"),
        TableColumn("rationale", TEXT, "", "why, sentence by sentence"),
        TableColumn("context", TEXT, "", "what the user said of the situation"),
        TableColumn("language", TEXT, "", "language of the texts: en or zh"),
        TableColumn("channels", TEXT, "", "channels on which the answer is based"),
        TableColumn("label_set", TEXT, "", "label set of the shares, or labels of the user"),
        TableColumn("label_set_trained", BOOLEAN, "", "whether the model was trained on the label set"),
        TableColumn("model", TEXT, "", "name of the model"),
        TableColumn("weights", TEXT, "", "hash of the model's weights"),
        TableColumn("warnings", TEXT, "", "problems that were corrected, and cautions"),
        TableColumn("error", TEXT, "", "why the clip could not be analyzed; missing otherwise"),
    )


def _clips(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    facts, doubt = report.provenance, report.uncertainty
    seconds, size = facts.get("seconds") or (None, None), facts.get("size") or (None, None)
    row: Row = {
        "file": report.source,
        "label": report.label,
        "confidence": report.distribution.get(report.label or ""),
        "about": report.about,
        "people": len(report.people),
        "start": seconds[0],
        "end": seconds[-1],
        "frames": facts.get("frames"),
        "fps": facts.get("fps"),
        "width": size[-1] or None,
        "height": size[0] or None,
        "summary": report.summary or None,
        "open_words": _joined(report.words),
        "rationale": " ".join(sentence.text for sentence in report.rationale) or None,
        "context": report.context or None,
        "language": report.language,
        "channels": _joined(facts.get("channels")),
        "label_set": _text(facts.get("label_set")),
        "label_set_trained": facts.get("label_set_trained"),
        "model": _text(facts.get("model")),
        "weights": _text(facts.get("weights")),
        "warnings": _joined(facts.get("warnings")),
    }
    if doubt is not None:
        row |= {"confidence": doubt.confidence, "entropy": doubt.entropy, "calibrated": doubt.calibrated}
        row |= {"abstains": doubt.abstains, "reason": doubt.reason or None}
    row |= _affect(report.valence_arousal)
    yield from layout.spread(row, {"": report.distribution})


def _affect(values: tuple[float, float] | None) -> dict[str, float]:
    """Return valence and arousal by the names of their columns; empty where they are not known."""
    return {} if values is None else dict(zip(("valence", "arousal"), values, strict=True))


def _person_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        PERSON,
        *layout.name_columns(),
        TableColumn("label", TEXT, "", "likeliest label of the person, by picture alone"),
        TableColumn("label_share", NUMBER, SHARE, "share of the label"),
        *AFFECT,
        *layout.share_columns({"": " over all frames of the person"}),
        TableColumn("start", NUMBER, SECONDS, "when the face is first seen"),
        TableColumn("end", NUMBER, SECONDS, "when the face is last seen"),
        TableColumn("frames", INTEGER, "", "number of analyzed frames with the face"),
        *_box_columns("the face where it is seen best"),
    )


def _people(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    scale = PictureScale.of(report)
    for person in report.people:
        row = {
            "file": report.source,
            **layout.named(report.source, person.person),
            "label": person.label,
            "label_share": person.distribution.get(person.label),
            **_affect(person.valence_arousal),
            "start": person.start,
            "end": person.end,
            "frames": person.frames,
            **scale.box(person.box),
        }
        yield from layout.spread(row, {"": person.distribution})


def _timeline_columns(layout: Layout) -> tuple[TableColumn, ...]:
    suffixes = {"": " in the window, smoothed over its neighbours", "_raw": " in the window alone"}
    if layout.baseline is not None:
        suffixes[CHANGE] = layout.change_text()
    return (
        FILE,
        PERSON_OR_CLIP,
        *layout.name_columns(),
        TableColumn("start", NUMBER, SECONDS, "start of the window; windows overlap"),
        TableColumn("end", NUMBER, SECONDS, "end of the window"),
        TableColumn("label", TEXT, "", "likeliest label of the window"),
        TableColumn("label_share", NUMBER, SHARE, "smoothed share of the label"),
        *AFFECT,
        *layout.change_columns(AFFECT),
        *layout.share_columns(suffixes),
        TableColumn("channels", TEXT, "", "channels that the window has"),
    )


def _timeline(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    yield from _windows(layout, report, None, report.timeline)
    for person in report.people:
        yield from _windows(layout, report, person.person, person.timeline)


def _windows(layout: Layout, report: EmotionReport, person: int | None, moments: Sequence[Moment]) -> Iterator[Row]:
    times = [moment.start for moment in moments]
    feelings = [_affect(moment.valence_arousal) for moment in moments]
    moved = layout.changes(feelings, times)
    changed = layout.changes([moment.distribution for moment in moments], times)
    for moment, feeling, moves, change in zip(moments, feelings, moved, changed, strict=True):
        row = {
            "file": report.source,
            **layout.named(report.source, person),
            "start": moment.start,
            "end": moment.end,
            "label": moment.label,
            "label_share": moment.distribution.get(moment.label),
            **feeling,
            **suffixed(moves),
            "channels": _joined(moment.channels),
        }
        shares = {"": moment.distribution, "_raw": moment.raw}
        yield from layout.spread(row, shares if layout.baseline is None else {**shares, CHANGE: change})


ANALYZED = "number of the analyzed frame, from 0, by its time and fps; not the video's frame: join by timestamp"


def frame_columns(layout: Layout, numbered: str = ANALYZED) -> tuple[TableColumn, ...]:
    """Return the columns of a table of frames; `numbered` is the meaning of `frame`."""
    suffixes = {"": " in this frame alone, by picture, not smoothed; missing where the face was not read"}
    if layout.baseline is not None:
        suffixes[CHANGE] = layout.change_text()
    actions = layout.action_columns()
    return (
        FILE,
        TableColumn("frame", INTEGER, "", numbered),
        TableColumn("timestamp", NUMBER, SECONDS, "time of the frame in the file"),
        TableColumn("face_id", INTEGER, "", "number of the person in the clip, from 1: `person` of the other tables"),
        *layout.name_columns(),
        *_box_columns("the face"),
        TableColumn("FaceScore", NUMBER, "0 to 1", "score of the face detector"),
        *AFFECT,
        *layout.change_columns(AFFECT),
        *layout.share_columns(suffixes, nouns=True),
        *actions,
        *layout.change_columns(actions),
    )


def _frames(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    scale, numbers = PictureScale.of(report), frame_numbers(report)
    rows = []
    for person in report.people:
        times = [seen.time for seen in person.seen]
        shares = [seen.distribution for seen in person.seen]
        feelings = [affect(distribution) for distribution in shares]
        actions = [layout.named_actions(seen.actions) for seen in person.seen]
        moves = [layout.changes(values, times) for values in (feelings, shares, actions)]
        for place, seen in enumerate(person.seen):
            row = frame_row(layout, report.source, scale, numbers[seen.time], person.person, seen)
            row |= {**suffixed(moves[0][place]), **suffixed(moves[2][place])}
            by_suffix = {"": shares[place]} | ({} if layout.baseline is None else {CHANGE: moves[1][place]})
            rows.append((seen.time, person.person, row, by_suffix))
    for _, _, row, by_suffix in sorted(rows, key=lambda entry: entry[:2]):
        yield from layout.spread(row, by_suffix, nouns=True)


def frame_row(layout: Layout, source: str, scale: PictureScale, number: int, person: int, seen: Seen) -> Row:
    """Return the row of a face in a frame without its shares."""
    who = layout.named(source, person)
    return {
        "file": source,
        "frame": number,
        "timestamp": seen.time,
        "face_id": who["person"],
        "name": who["name"],
        **scale.box(seen.box),
        "FaceScore": seen.score,
        **affect(seen.distribution),
        **layout.named_actions(seen.actions),
    }


def frame_numbers(report: EmotionReport) -> dict[float, int]:
    """Return time -> number of every analyzed frame with a face, from 0, by the rate of the analyzed frames.

    Where a variable rate would give two frames one number, the later gets the next.
    """
    times = sorted({seen.time for person in report.people for seen in person.seen})
    first = (report.provenance.get("seconds") or times or [0.0])[0]
    rate = report.provenance.get("fps")
    numbers: dict[float, int] = {}
    last = -1
    for time in times:
        last = max(last + 1, round((time - first) * rate)) if rate else last + 1
        numbers[time] = last
    return numbers


def _episode_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        PERSON_OR_CLIP,
        *layout.name_columns(),
        TableColumn("label", TEXT, "", "label of the episode; missing for a stretch without an answer"),
        TableColumn("onset", NUMBER, SECONDS, "when it begins"),
        TableColumn("offset", NUMBER, SECONDS, "when it ends"),
        TableColumn("duration", NUMBER, SECONDS, "offset minus onset"),
        TableColumn("peak", NUMBER, SECONDS, "when the label's smoothed share is largest"),
        TableColumn("share", NUMBER, SHARE, "the label's smoothed share at the peak"),
        TableColumn("reason", TEXT, "", "why a stretch has no answer"),
    )


def _episodes(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    for number, stretches in ((None, report.episodes), *((person.person, person.episodes) for person in report.people)):
        who = {"file": report.source, **layout.named(report.source, number)}
        rows = [
            who | {"label": e.label, "onset": e.onset, "offset": e.offset, "peak": e.peak, "share": e.share}
            for e in stretches
        ]
        if number is None:
            rows += [who | {"onset": gap.start, "offset": gap.end, "reason": gap.reason} for gap in report.gaps]
        for row in sorted(rows, key=lambda row: row["onset"]):
            yield row | {"duration": row["offset"] - row["onset"]}


def _movement_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        PERSON,
        *layout.name_columns(),
        TableColumn("movement", TEXT, "", "what the face does"),
        TableColumn("measurement", TEXT, "", "what was measured: a mean of facial actions, or an angle of the head"),
        TableColumn("start", NUMBER, SECONDS, "first frame with the movement"),
        TableColumn("end", NUMBER, SECONDS, "last frame with the movement"),
        TableColumn("peak", NUMBER, SECONDS, "frame where it is clearest"),
        TableColumn("value", NUMBER, "0 to 1, or degrees for yaw, pitch and roll", "the measurement at the peak"),
    )


def _movements(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    for person in report.people:
        for move in person.face:
            yield {
                "file": report.source,
                **layout.named(report.source, person.person),
                "movement": move.word,
                "measurement": move.name,
                "start": move.start,
                "end": move.end,
                "peak": move.peak,
                "value": move.value,
            }


def _cue_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        TableColumn("cue", INTEGER, "", "number of the cue in its clip, from 1; one row per measurement"),
        TableColumn("modality", TEXT, "", "picture, sound, words or context"),
        TableColumn("person", INTEGER, "", "number of the person, from 1; missing where that is not known"),
        *layout.name_columns(),
        TableColumn("start", NUMBER, SECONDS, "start of the cue"),
        TableColumn("end", NUMBER, SECONDS, "end of the cue"),
        TableColumn("kind", TEXT, "", "measured: composed from measurements; generated: written by the model"),
        TableColumn("text", TEXT, "", "the cue in a sentence"),
        TableColumn("measure", TEXT, "", "name of the measurement, with its unit"),
        TableColumn("value", NUMBER, "see measure", "the measurement"),
        *_box_columns("the place in the picture"),
    )


def _cues(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    scale = PictureScale.of(report)
    for number, cue in enumerate(report.cues, 1):
        row = {
            "file": report.source,
            "cue": number,
            "modality": cue.modality,
            **layout.named(report.source, cue.person),
            "start": cue.start,
            "end": cue.end,
            "kind": cue.kind,
            "text": cue.text,
            **scale.box(cue.box),
        }
        for measure, value in cue.measures.items() or ((None, None),):
            yield row | {"measure": measure, "value": value}


def _channel_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        TableColumn("channel", TEXT, "", "picture, sound, words or context"),
        TableColumn(
            "label", TEXT, "", "likeliest label by the channel alone; missing where the clip has nothing of it"
        ),
        TableColumn(
            "moved", NUMBER, "natural logarithm", "share of the clip's label over its share without the channel"
        ),
        TableColumn("agrees", BOOLEAN, "", "whether its label is the clip's, or it says next to nothing"),
        TableColumn("weight", NUMBER, SHARE, "how much the channel counts; missing where that is unknown"),
        *layout.share_columns({"": " by the channel alone"}),
    )


def _channels(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    for channel in report.channels:
        row = {
            "file": report.source,
            "channel": channel.channel,
            "label": channel.label or None,
            "moved": channel.moved,
            "agrees": channel.agrees,
            "weight": channel.weight,
        }
        yield from layout.spread(row, {"": channel.distribution})


def _word_columns(layout: Layout) -> tuple[TableColumn, ...]:
    return (
        FILE,
        TableColumn("start", NUMBER, SECONDS, "start of the words"),
        TableColumn("end", NUMBER, SECONDS, "end of the words"),
        TableColumn("text", TEXT, "", "the words that were read or recognised"),
    )


def _words(layout: Layout, report: EmotionReport) -> Iterator[Row]:
    for words in report.utterances:
        yield {"file": report.source, "start": words.start, "end": words.end, "text": words.text}


def _joined(texts: object) -> str | None:
    """Return texts joined by semicolons; None without any."""
    return "; ".join(map(str, texts)) or None if isinstance(texts, list | tuple) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_TABLES = (
    ("clips", _clip_columns, _clips),
    ("people", _person_columns, _people),
    ("timeline", _timeline_columns, _timeline),
    ("frames", frame_columns, _frames),
    ("episodes", _episode_columns, _episodes),
    ("movements", _movement_columns, _movements),
    ("cues", _cue_columns, _cues),
    ("channels", _channel_columns, _channels),
    ("words", _word_columns, _words),
)
TABLE_NAMES = tuple(name for name, _, _ in _TABLES)
