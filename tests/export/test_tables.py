"""Tables of made-up reports: their columns, and rows worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.views import reports

from emotion_qwen.errors import DataError
from emotion_qwen.export.columns import TEXT, dictionary_rows
from emotion_qwen.export.layout import LONG, WIDE, survey
from emotion_qwen.export.names import PersonNames, read_names
from emotion_qwen.export.reports import FailedClip
from emotion_qwen.export.tables import TABLE_NAMES, frame_numbers, report_tables
from emotion_qwen.records import EmotionReport, Seen, Utterance

DFEW = ["happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"]
NOUNS = ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"]
AFFECT = ["valence", "arousal"]
RECT = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "box_unit"]


def rows(table: str, *entries, **options) -> list[dict]:
    """Return the rows of a table by column."""
    chosen = {made.name: made for made in report_tables(survey(entries, **options))}[table]
    names = [column.name for column in chosen.columns]
    assert len(set(names)) == len(names)
    return [dict(zip(names, values, strict=True)) for entry in entries for values in chosen.values(entry)]


def acting(report: EmotionReport) -> EmotionReport:
    """Return a report whose first person has facial actions, growing over time."""
    first, *others = report.people
    seen = tuple(replace(s, actions={"jawOpen": s.time / 40, "yaw": s.time, "roll": 3.0}) for s in first.seen)
    return replace(report, people=(replace(first, seen=seen), *others))


COLUMNS = {
    "clips": [
        "file", "label", "confidence", "entropy", "calibrated", "abstains", "reason", *AFFECT, *DFEW, "about", "people",
        "start", "end", "frames", "fps", "width", "height", "summary", "open_words", "rationale", "context", "language",
        "channels", "label_set", "label_set_trained", "model", "weights", "warnings", "error",
    ],
    "people": ["file", "person", "label", "label_share", *AFFECT, *DFEW, "start", "end", "frames", *RECT],
    "timeline": [
        "file", "person", "start", "end", "label", "label_share", *AFFECT, *DFEW, *(f"{name}_raw" for name in DFEW),
        "channels",
    ],
    "frames": [
        "file", "frame", "timestamp", "face_id", *RECT, "FaceScore", *AFFECT, *NOUNS, "Pitch", "Roll", "Yaw", "jawOpen",
    ],
    "episodes": ["file", "person", "label", "onset", "offset", "duration", "peak", "share", "reason"],
    "movements": ["file", "person", "movement", "measurement", "start", "end", "peak", "value"],
    "cues": ["file", "cue", "modality", "person", "start", "end", "kind", "text", "measure", "value", *RECT],
    "channels": ["file", "channel", "label", "moved", "agrees", "weight", *DFEW],
    "words": ["file", "start", "end", "text"],
}  # fmt: skip


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_columns(table):
    made = {made.name: made for made in report_tables(survey([acting(reports.two_people())]))}
    assert [column.name for column in made[table].columns] == COLUMNS[table]
    assert all(column.meaning for column in made[table].columns)


@pytest.mark.parametrize("kind", reports.KINDS)
@pytest.mark.parametrize("shape", [WIDE, LONG])
def test_every_kind_of_report_fills_only_its_columns_with_values_of_their_types(kind, shape):
    report = reports.KINDS[kind]()
    types = {"text": str, "integer": int, "number": (int, float), "boolean": bool}
    layout = survey([report], shape, baseline=2.0)
    for table in report_tables(layout):
        known = {column.name: types[column.type] for column in table.columns}
        for row in table.rows(report):
            assert not row.keys() - known.keys() - {"name"}
            assert all(value is None or isinstance(value, known.get(name, str)) for name, value in row.items())


def test_clips():
    full, failed = rows("clips", reports.two_people(), FailedClip("bad.mp4", "no picture"))
    assert failed == dict.fromkeys(COLUMNS["clips"]) | {"file": "bad.mp4", "error": "no picture"}
    expected = {"label": "happy", "confidence": 0.55, "entropy": 0.62, "calibrated": True, "abstains": False}
    expected |= {"people": 2, "start": 0.0, "end": 20.0, "frames": 41, "fps": 2.0, "width": 640, "height": 360}
    expected |= {"happy": 0.55, "open_words": "relieved; overjoyed; moved", "channels": "picture; sound", "error": None}
    assert {name: full[name] for name in expected} == expected
    (silent,) = rows("clips", reports.unanswered())
    assert (silent["label"], silent["confidence"], silent["valence"]) == (None, None, None)
    assert silent["abstains"] is True and silent["reason"] == "no face was found"


def test_people_are_numbered_from_1_and_their_boxes_are_in_pixels_of_the_picture():
    first, second = rows("people", reports.two_people())
    assert (first["person"], second["person"]) == (1, 2)
    assert (first["label"], first["label_share"], first["happy"], first["sad"]) == ("happy", 0.55, 0.55, 0.28)
    # The second box: x 0.15 + 0.04 sin 2, y 0.3 + 0.02 cos 3, side 0.14, in a picture of 640 x 360.
    assert (second["FaceRectX"], second["FaceRectY"]) == (119.3, 100.9)
    assert (second["FaceRectWidth"], second["FaceRectHeight"], second["box_unit"]) == (89.6, 89.6, "pixels")
    unsized = replace(reports.two_people(), provenance={})
    second = rows("people", unsized)[1]
    assert (second["FaceRectX"], second["FaceRectWidth"], second["box_unit"]) == (0.1864, 0.14, "share")


def test_frames_stand_in_order_of_time_with_the_affect_of_the_frame():
    table = rows("frames", acting(reports.two_people()))
    assert len(table) == sum(len(person.seen) for person in reports.two_people().people)
    assert [(row["timestamp"], row["face_id"]) for row in table[7:11]] == [(3.5, 1), (4.0, 1), (4.0, 2), (4.5, 1)]
    row = table[8]
    assert (row["frame"], row["Yaw"], row["Roll"], row["jawOpen"], row["FaceScore"]) == (8, 4.0, 3.0, 0.1, 0.9)
    assert row["Pitch"] is None and table[9]["jawOpen"] is None
    shown = reports.frame_shares(4.0)
    assert (row["happiness"], row["anger"]) == (round(shown["happy"], 6), round(shown["angry"], 6))
    valence, arousal = reports.valence_arousal(shown)
    assert (row["valence"], row["arousal"]) == (round(valence, 6), round(arousal, 6))


def test_a_frame_that_was_not_read_has_its_box_and_no_shares():
    person = replace(reports.two()[0], seen=(Seen(0.5, (0.1, 0.2, 0.3, 0.5), 0.8),))
    report = replace(reports.two_people(), people=(person,))
    for shape in (WIDE, LONG):
        (row,) = rows("frames", report, shape=shape)
        assert (row["FaceRectX"], row["FaceRectHeight"], row["valence"]) == (64.0, 108.0, None)
    assert row["emotion"] is None and row["share"] is None


def test_frame_numbers_follow_the_rate_and_are_never_equal():
    def at(*times, **facts):
        seen = tuple(Seen(time, (0, 0, 1, 1), 1.0) for time in times)
        return frame_numbers(replace(reports.two_people(), people=(replace(reports.two()[0], seen=seen),), **facts))

    facts = {"provenance": {"fps": 2.0, "seconds": [1.0, 9.0]}}
    assert at(1.0, 1.52, 3.0, **facts) == {1.0: 0, 1.52: 1, 3.0: 4}
    assert at(1.0, 1.1, 1.2, **facts) == {1.0: 0, 1.1: 1, 1.2: 2}
    assert at(0.0, provenance={"fps": None, "seconds": [0.0, 0.0]}) == {0.0: 0}
    assert at(5.0, 7.0, provenance={}) == {5.0: 0, 7.0: 1}


def test_the_long_shape_has_a_row_per_emotion():
    first, *_ = rows("people", reports.two_people(), shape=LONG)
    assert "happy" not in first and (first["emotion"], first["share"]) == ("happy", 0.55)
    table = rows("frames", reports.picture_only(), shape=LONG)
    assert [row["emotion"] for row in table[:7]] == NOUNS and len(table) == 14
    assert table[1]["share"] == 0.28
    window = rows("timeline", reports.two_people(), shape=LONG)[1]
    assert {"emotion", "share", "share_raw"} <= window.keys() and window["emotion"] == "sad"
    assert len(rows("clips", reports.unanswered(), shape=LONG)) == 1


def test_timeline_has_the_clip_first_then_people():
    table = rows("timeline", reports.two_people())
    report = reports.two_people()
    assert [row["person"] for row in table].count(None) == len(report.timeline)
    assert len(table) == len(report.timeline) + sum(len(person.timeline) for person in report.people)
    assert table[-1]["person"] == 2 and table[-1]["end"] == 15.0
    moment = report.timeline[3]
    expected = {"start": moment.start, "label": moment.label, "sad_raw": round(moment.raw["sad"], 6)}
    assert {name: table[3][name] for name in expected} == expected


def test_episodes_hold_the_gaps_with_their_reasons():
    table = rows("episodes", reports.gapped())
    clip = [row for row in table if row["person"] is None]
    assert [(row["label"], row["onset"], row["offset"]) for row in clip] == [
        ("sad", 0.0, 9.0), (None, 9.0, 13.0), ("happy", 13.0, 20.0),
    ]  # fmt: skip
    assert clip[1]["reason"].startswith("no face") and clip[1]["duration"] == 4.0 and clip[2]["share"] == 0.73
    assert [row["person"] for row in table[3:]] == [1, 1]


def test_movements_cues_channels_and_words():
    moves = rows("movements", reports.moving())
    assert len(moves) == 10 and moves[4] == {
        "file": "clips/interview.mp4", "person": 1, "movement": "head left", "measurement": "yaw",
        "start": 3.5, "end": 3.5, "peak": 3.5, "value": -32.4,
    }  # fmt: skip
    cues = rows("cues", reports.two_people())
    assert [row["cue"] for row in cues] == [1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5]
    assert (cues[1]["measure"], cues[1]["value"], cues[1]["person"]) == ("share without mouth", 0.31, 1)
    assert (cues[1]["FaceRectX"], cues[1]["FaceRectWidth"]) == (422.4, 76.8)
    assert (cues[10]["measure"], cues[10]["kind"], cues[10]["person"]) == (None, "generated", 2)
    channels = rows("channels", reports.two_people())
    assert (channels[2]["channel"], channels[2]["label"], channels[2]["agrees"]) == ("words", "sad", False)
    assert (channels[3]["label"], channels[3]["weight"], channels[3]["happy"]) == (None, None, None)
    assert rows("words", reports.chinese())[1] == {
        "file": "片段/采访.mp4", "start": 9.5, "end": 12.0, "text": "成功了！真的成功了。",
    }  # fmt: skip


def test_a_baseline_is_the_persons_mean_over_their_first_seconds():
    feelings = {"sad": [0.2, 0.4, 0.9], "jawOpen": [0.1, 0.3, 0.25]}
    seen = tuple(
        Seen(10.0 + place, (0, 0, 1, 1), 1.0, {"happy": 1 - sad, "sad": sad}, {"jawOpen": jaw, "yaw": 5.0})
        for place, (sad, jaw) in enumerate(zip(*feelings.values(), strict=True))
    )
    report = replace(reports.two_people(), people=(replace(reports.two()[0], seen=seen),))
    table = rows("frames", report, baseline=2.0)  # the mean of the frames at 10 and 11 s: 0.3 and 0.2
    assert [row["sadness_from_baseline"] for row in table] == [-0.1, 0.1, 0.6]
    assert [row["jawOpen_from_baseline"] for row in table] == [-0.1, 0.1, 0.05]
    assert [row["Yaw_from_baseline"] for row in table] == [0.0, 0.0, 0.0]
    happiness = [row["valence_from_baseline"] for row in table]
    assert happiness[0] > 0 > happiness[1] > happiness[2]
    long = rows("frames", report, baseline=2.0, shape=LONG)
    assert [row["share_from_baseline"] for row in long if row["emotion"] == "sadness"] == [-0.1, 0.1, 0.6]
    windows = [row for row in rows("timeline", reports.two_people(), baseline=1.0) if row["person"] == 2]
    assert windows[0]["sad_from_baseline"] == -windows[1]["sad_from_baseline"] != 0


def test_names_are_kept_over_clips(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text(
        'person,file,name,note\n1,clips/interview.mp4,母亲,x\n2,interview.mp4,"Son, the",\n1,gap.mp4,母亲,\n'
    )
    names = read_names(path)
    other = replace(reports.two_people(), source="gap.mp4")
    table = rows("people", reports.two_people(), other, names=names)
    assert [(row["file"], row["person"], row["name"]) for row in table] == [
        ("clips/interview.mp4", 1, "母亲"), ("clips/interview.mp4", 2, "Son, the"), ("gap.mp4", 1, "母亲"),
        ("gap.mp4", 2, None),
    ]  # fmt: skip
    assert names.unused == []
    assert [row["name"] for row in rows("frames", other, names=names)[:1]] == ["母亲"]
    assert "name" not in rows("people", other)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,person\na,1\n", "has no column 'name'; expected a CSV file with the columns file, person, name"),
        ("file,person,name\na.mp4,0,Ann\n", "line 2: file 'a.mp4', person '0', name 'Ann'; expected"),
        ("file,person,name\na.mp4,1,\n", "line 2: file 'a.mp4', person '1', name ''"),
        ("file,person,name\na.mp4,1,Ann\na.mp4,1,Bea\n", "line 3: person 1 of 'a.mp4' stands twice"),
    ],
)
def test_a_faulty_file_of_names(text, message, tmp_path):
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(DataError, match="names.csv.*" + message.replace("(", r"\(")):
        read_names(tmp_path / "names.csv")


def test_a_name_without_folder_must_be_of_one_clip():
    entries = [replace(reports.two_people(), source=source) for source in ("a/x.mp4", "b/x.mp4")]
    with pytest.raises(DataError, match=r"names: 'x.mp4' is the name of 2 clips; write their paths"):
        survey(entries, names=PersonNames({("x.mp4", 1): "Ann"}))


def test_labels_that_are_columns_or_one_emotion_keep_their_columns_apart():
    odd = replace(reports.two()[0], distribution={"label": 0.4, "happy": 0.35, "joy": 0.25}, seen=(), timeline=())
    report = replace(reports.unanswered(), people=(odd,))
    (row,) = rows("people", report)
    assert (row["share_label"], row["happy"], row["joy"]) == (0.4, 0.35, 0.25)


def test_the_dictionary_describes_every_column():
    tables = report_tables(survey([acting(reports.two_people())], baseline=5))
    columns, entries = dictionary_rows(tables)
    assert [column.name for column in columns] == ["table", "column", "type", "unit", "meaning"]
    assert len(entries) == sum(len(table.columns) for table in tables)
    assert ["words", "text", TEXT, "", "the words that were read or recognised"] in entries
    meanings = {(table, name): text for table, name, _, _, text in entries}
    assert "from 1" in meanings["frames", "face_id"] and "share of label 'happy'" in meanings["frames", "happiness"]
    assert meanings["frames", "Yaw_from_baseline"].endswith("first 5 s of the person (of the clip where no person is)")


def test_words_with_line_breaks_stay_as_they_are():
    report = replace(reports.two_people(), utterances=(Utterance(0, 1, 'a "b",\nc'),))
    assert rows("words", report)[0]["text"] == 'a "b",\nc'
