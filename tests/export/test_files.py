"""Exported files, read back by readers that are not ours: csv, openpyxl, pyarrow, pympi-ling, praatio."""

from __future__ import annotations

import csv
import json
import tracemalloc
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from tests.views import reports

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.export import writers
from emotion_qwen.export.annotations import read_tiers
from emotion_qwen.export.captions import write_captions
from emotion_qwen.export.elan import read_eaf, write_eaf
from emotion_qwen.export.layout import survey
from emotion_qwen.export.praat import read_textgrid, write_textgrid
from emotion_qwen.export.reports import FailedClip, ReportFiles, read_report
from emotion_qwen.export.run import ExportTarget, export_reports
from emotion_qwen.export.tables import TABLE_NAMES
from emotion_qwen.export.tiers import TierSpan, report_tiers
from emotion_qwen.records import Utterance
from emotion_qwen.views.render import as_json

SOURCES = {"two_people": "clips/interview.mp4", "chinese": "片段/采访.mp4", "moving": "b/interview.mp4"}


@pytest.fixture
def stored(tmp_path):
    """Return a file with every kind of report, and a failure."""
    path = tmp_path / "reports.jsonl"
    made = {kind: replace(make(), source=SOURCES.get(kind, f"{kind} 1.mp4")) for kind, make in reports.KINDS.items()}
    lines = [as_json(report) for report in made.values()]
    path.write_text("\n".join([*lines, '{"source": "bad.mp4", "error": "no picture"}']) + "\n", encoding="utf-8")
    return path


def export(*arguments) -> int:
    return main(["export", *map(str, arguments)])


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- reading reports


def test_reports_are_read_as_they_were_written(stored):
    entries = list(ReportFiles([stored]))
    assert [as_json(entry) for entry in entries[:-1]] == stored.read_text().splitlines()[:-1]
    assert entries[-1] == FailedClip("bad.mp4", "no picture")


def test_people_of_older_reports_are_numbered_from_one():
    report = reports.two_people()
    values = json.loads(as_json(report))
    assert [person["person"] for person in values["people"]] == [1, 2]
    for row in (*values["people"], *values["cues"]):
        row["person"] = row["person"] - 1 if isinstance(row.get("person"), int) else row.get("person")
    old = read_report(json.dumps(values))
    assert [person.person for person in old.people] == [1, 2]
    assert [cue.person for cue in old.cues] == [cue.person for cue in report.cues]
    assert read_report(as_json(report)) == read_report(json.dumps(values))
    broken = {**values, "people": [{**values["people"][0], "person": "0"}]}
    with pytest.raises(DataError, match="people.0.person"):
        read_report(json.dumps(broken))


def test_a_report_of_schema_1_is_read(tmp_path):
    values = json.loads(as_json(reports.two_people()))
    for name in ("gaps", "about"):
        del values[name]
    for channel in values["channels"]:
        del channel["weight"]
    for person in values["people"]:
        for seen in person["seen"]:
            del seen["distribution"]
    old = read_report(json.dumps(values))
    assert (old.gaps, old.about, old.channels[0].weight, old.people[1].seen[0].distribution) == ((), "people", None, {})
    assert old.people[0].timeline == read_report(as_json(reports.two_people())).people[0].timeline
    (tmp_path / "old.json").write_text(json.dumps(values))
    assert export(tmp_path / "old.json", "--to", tmp_path / "out") == 0
    frames = read_csv(tmp_path / "out" / "frames.csv")
    assert frames[0]["face_id"] == "1" and frames[0]["FaceRectX"] == "396.8" and frames[0]["happiness"] == ""


def test_a_field_of_a_newer_version_is_ignored():
    values = json.loads(as_json(reports.unanswered()))
    assert read_report(json.dumps({**values, "mood": 1})) == read_report(json.dumps(values))


@pytest.mark.parametrize("indent", [None, 2])
def test_lists_single_reports_and_folders(tmp_path, indent):
    folder = tmp_path / "报告"
    (folder / "deep").mkdir(parents=True)
    values = [json.loads(as_json(reports.KINDS[kind]())) for kind in ("chinese", "evoked", "gapped")]
    (folder / "a.json").write_text(json.dumps(values[:2], indent=indent), encoding="utf-8-sig")
    (folder / "deep" / "b.JSON").write_text(json.dumps(values[2], indent=indent))
    (folder / "notes.txt").write_text("no report")
    entries = ReportFiles([folder])
    assert [entry.source for entry in entries] == [entry.source for entry in entries]
    assert [entry.source for entry in entries] == ["片段/采访.mp4", "sunset.jpg", "gap.mp4"]


def test_an_incomplete_last_line_is_left_out_and_named(stored, tmp_path, capsys):
    with stored.open("a") as file:
        file.write('{"source": "kil')
    assert export(stored, "--to", tmp_path / "out") == 0
    err = capsys.readouterr().err
    assert "reports.jsonl': the last line is incomplete and was left out" in err
    assert "12 report(s) exported (1 clip(s) without a report): 10 files in" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "is not JSON; expected reports as `emotion-qwen analyze --json`"),
        ('{"source": "a"}\n', r"report 1 is not a report \(label: Field required, distribution: Field required and"),
        ('{"source": "a", "error": "b"}\n{"a": NaN}\n', "report 2 is not a report"),
        ("[1]", "report 1 is not a report"),
        ("", "is not JSON"),
    ],
)
def test_a_file_that_holds_something_else(text, message, tmp_path):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"a.jsonl'.*" + message):
        list(ReportFiles([tmp_path / "a.jsonl"]))


def test_paths_without_reports(tmp_path):
    with pytest.raises(DataError, match="gone' does not exist; expected reports"):
        ReportFiles([tmp_path / "gone"])
    with pytest.raises(DataError, match=r"has no file ending in \.jsonl \.ndjson \.json"):
        ReportFiles([tmp_path])


# --- tables


def test_csv(stored, tmp_path):
    assert export(stored, "--to", tmp_path / "out") == 0
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {*TABLE_NAMES, "data_dictionary"}
    text = (tmp_path / "out" / "clips.csv").read_bytes()
    assert text.count(b"\r\n") == 14 and not text.startswith(b"\xef\xbb\xbf")
    clips = read_csv(tmp_path / "out" / "clips.csv")
    assert [clip["file"] for clip in clips][:3] == ["clips/interview.mp4", "abstaining 1.mp4", "片段/采访.mp4"]
    assert (clips[0]["label"], clips[0]["happy"], clips[0]["calibrated"], clips[0]["reason"]) == (
        "happy",
        "0.55",
        "TRUE",
        "",
    )
    assert clips[2]["context"] == "公布考试成绩。" and clips[-1]["error"] == "no picture"
    assert reports.HOSTILE in clips[10]["summary"]
    entries = read_csv(tmp_path / "out" / "data_dictionary.csv")
    assert entries[0] == {
        "table": "clips", "column": "file", "type": "text", "unit": "",
        "meaning": "the clip: its path as it was given to `analyze`",
    }  # fmt: skip


def test_one_table_into_one_file(stored, tmp_path):
    assert export(stored, "--to", tmp_path / "wörter.csv", "--tables", "words") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"reports.jsonl", "wörter.csv", "wörter_data_dictionary.csv"}
    assert len(read_csv(tmp_path / "wörter.csv")) == 3 * 3 + 2 + 3 + 1  # most kinds have three, Chinese two
    assert export(stored, "--to", tmp_path / "a.json") == 0
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert len(rows) == 13 and rows[2]["file"] == "片段/采访.mp4" and rows[2]["abstains"] is False


def test_xlsx(stored, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    assert export(stored, "--to", tmp_path / "study.xlsx", "--shape", "long", "--tables", "clips,people,words") == 0
    book = openpyxl.load_workbook(tmp_path / "study.xlsx")
    assert book.sheetnames == ["clips", "people", "words", "dictionary"]
    head, first, *_ = book["people"].values
    row = dict(zip(head, first, strict=True))
    assert (row["person"], row["emotion"], row["share"], row["label"]) == (1, "happy", 0.55, "happy")
    assert book["clips"]["E2"].value is True and book["clips"].freeze_panes == "A2"


def test_texts_of_a_cell_are_no_formula_and_have_no_control_characters(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    report = replace(reports.hostile(), utterances=(Utterance(0, 1, "=1+1"), Utterance(1, 2, "a\x1bb" + "c" * 40_000)))
    layout = survey([report])
    export_reports([report], layout, ExportTarget.of(tmp_path / "a.xlsx", tables=["words"]))
    cells = openpyxl.load_workbook(tmp_path / "a.xlsx")["words"]
    assert (cells["D2"].value, cells["D2"].data_type) == ("=1+1", "s")
    assert cells["D3"].value == "ab" + "c" * 32_765


def test_a_sheet_has_a_last_row(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    monkeypatch.setattr(writers, "MOST_ROWS", 3)
    report = reports.two_people()
    with pytest.raises(DataError, match="table 'words' has more than the 3 rows of an Excel sheet; leave it out"):
        export_reports([report], survey([report]), ExportTarget.of(tmp_path / "a.xlsx", tables=["words"]))
    assert not (tmp_path / "a.xlsx").exists()


def test_parquet(stored, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert (
        export(stored, "--to", tmp_path / "out", "--format", "parquet", "--tables", "people, timeline,movements") == 0
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "people.parquet", "timeline.parquet", "movements.parquet", "data_dictionary.csv",
    }  # fmt: skip
    people = parquet.read_table(tmp_path / "out" / "people.parquet")
    field = people.schema.field("start")
    assert str(field.type) == "double" and field.metadata == {b"unit": b"s", b"meaning": b"when the face is first seen"}
    assert people.column("person").to_pylist()[:2] == [1, 2] and people.column("happy")[0].as_py() == 0.55
    empty = survey([reports.unanswered()])
    export_reports([reports.unanswered()], empty, ExportTarget.of(tmp_path / "x.parquet", tables=["frames"]))
    assert parquet.read_table(tmp_path / "x.parquet").num_rows == 0


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_many_reports_take_no_more_memory_than_few(form, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(writers, "BATCH", 8)  # so that the smaller export fills it, too
    short = replace(reports.two()[1], seen=reports.two()[1].seen[:2], timeline=(), face=reports.face()[:2])
    line = as_json(replace(reports.two_people(), people=(short,), timeline=reports.moments()[:2])) + "\n"
    peaks = []
    for number, count in enumerate((8, 8, 40)):  # the first warms up what is imported on the way
        path = tmp_path / f"{number}.jsonl"
        path.write_text(line * count)
        entries = ReportFiles([path])
        tracemalloc.start()
        export_reports(entries, survey(entries), ExportTarget.of(tmp_path / f"out{number}", form))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    tracemalloc.start()
    kept = list(entries)
    assert tracemalloc.get_traced_memory()[0] > 0.2 * peaks[1] and len(kept) == 40  # so the bound would notice them
    tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


# --- tiers


def test_tiers_do_not_overlap_and_are_numbered_from_1():
    report = replace(
        reports.moving(), utterances=(Utterance(0, 2, "a"), Utterance(1, 3, "b"), Utterance(2, 4, "c d\ne"))
    )
    tiers = {tier.name: tier for tier in report_tiers(report)}
    assert list(tiers)[:6] == ["clip", "person 1", "person 2", "words", "words 2", "voice"]
    assert tiers["person 1"].spans == (TierSpan(0, 8500, "sad"), TierSpan(8500, 20000, "happy"))
    assert tiers["words"].spans == (TierSpan(0, 2000, "a"), TierSpan(2000, 4000, "c d e"))
    assert tiers["words 2"].spans == (TierSpan(1000, 3000, "b"),)
    assert tiers["person 1: yaw"].spans == (TierSpan(3500, 4000, "head left"),)  # one frame at 2 frames per second
    assert report_tiers(reports.picture_only()) == []


def test_elan_files_are_read_back_by_pympi(stored, tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    (tmp_path / "names.csv").write_text("file,person,name\n采访.mp4,2,女儿\n", encoding="utf-8")
    assert export(stored, "--to", tmp_path / "out", "--format", "eaf", "--names", tmp_path / "names.csv") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"采访.eaf", "gapped 1.eaf", "sound_only 1.eaf"} <= names and "picture_only 1.eaf" not in names
    document = elan.Eaf(str(tmp_path / "out" / "采访.eaf"))
    assert list(document.get_tier_names()) == ["clip", "person 1", "女儿 (person 2)", "words", "voice"]
    assert document.get_annotation_data_for_tier("words") == [
        (3000, 5500, "我真怕一切都白费了。"), (9500, 12000, "成功了！真的成功了。"),
    ]  # fmt: skip
    assert document.get_parameters_for_tier("女儿 (person 2)")["PARTICIPANT"] == "女儿 (person 2)"
    (media,) = document.get_linked_files()
    assert media["RELATIVE_MEDIA_URL"] == "./%E9%87%87%E8%AE%BF.mp4" and media["MIME_TYPE"] == "video/mp4"
    assert {entry[0][0][0] for entry in document.get_cv_entries("emotions").values()} == set(reports.LABELS)
    root = ElementTree.parse(tmp_path / "out" / "采访.eaf").getroot()
    assert [child.tag for child in root][:2] == ["HEADER", "TIME_ORDER"] and root.attrib["AUTHOR"] == "emotion-qwen"
    times = [int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times) and len(times) == 18
    types = {entry.attrib["LINGUISTIC_TYPE_ID"] for entry in root.iter("LINGUISTIC_TYPE")}
    assert {tier.attrib["LINGUISTIC_TYPE_REF"] for tier in root.iter("TIER")} <= types


@pytest.mark.parametrize("kind", ["moving", "chinese", "hostile", "gapped", "sound_only"])
def test_tiers_return_from_elan_and_praat_to_the_millisecond(kind, tmp_path):
    pytest.importorskip("pympi")
    pytest.importorskip("praatio")
    report = reports.KINDS[kind]()
    report = replace(report, utterances=(*report.utterances, Utterance(17.0004, 18.3337, 'with "quotes" & <tags>')))
    tiers = report_tiers(report)
    content = [(tier.name, tier.spans) for tier in tiers]
    write_textgrid(tmp_path / "a.TextGrid", tiers, 20_000)
    grid = [(tier.name, tier.spans) for tier in read_textgrid(tmp_path / "a.TextGrid")]
    write_eaf(tmp_path / "a.eaf", tiers, report.source, ["happy"])
    back = [(tier.name, tier.spans) for tier in read_eaf(tmp_path / "a.eaf")]
    if kind == "hostile":  # XML has no control characters
        content, grid = ([(n, [(s.start, s.end) for s in spans]) for n, spans in part] for part in (content, grid))
        back = [(n, [(s.start, s.end) for s in spans]) for n, spans in back]
    assert grid == content and back == content and "words" in dict(content)
    assert not list(tmp_path.glob("*.bak"))


def test_annotations_without_times_and_dependent_tiers(tmp_path):
    """As ELAN writes them: a time subdivision shares a slot without a time, a symbolic tier has none of its own."""
    pytest.importorskip("pympi")
    value = "<ANNOTATION_VALUE>{}</ANNOTATION_VALUE>"
    spans = {"ts1": "ts2", "ts2": "ts3"}
    parts = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="b{slot}" TIME_SLOT_REF1="{slot}" TIME_SLOT_REF2="{end}">'
        f"{value.format(slot)}</ALIGNABLE_ANNOTATION></ANNOTATION>"
        for slot, end in spans.items()
    )
    (tmp_path / "a.eaf").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+00:00" '
        'FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd"><HEADER MEDIA_FILE="" '
        'TIME_UNITS="milliseconds"/><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="100"/>'
        '<TIME_SLOT TIME_SLOT_ID="ts2"/><TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="900"/></TIME_ORDER>'
        '<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="whole"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" '
        f'TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts3">{value.format("sad ")}</ALIGNABLE_ANNOTATION></ANNOTATION></TIER>'
        f'<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="parts" PARENT_REF="whole">{parts}</TIER>'
        '<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="note" PARENT_REF="whole"><ANNOTATION><REF_ANNOTATION '
        f'ANNOTATION_ID="c1" ANNOTATION_REF="a1">{value.format("why")}</REF_ANNOTATION></ANNOTATION></TIER>'
        '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="t"/></ANNOTATION_DOCUMENT>'
    )
    spans_of = {name: tier.spans for name, tier in read_tiers(tmp_path / "a.eaf").items()}
    assert spans_of == {"whole": (TierSpan(100, 900, "sad"),), "parts": (), "note": (TierSpan(100, 900, "why"),)}


def test_textgrids_are_read_back_by_praatio(stored, tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    assert export(stored, "--to", tmp_path / "out", "--format", "textgrid") == 0
    grid = textgrid.openTextgrid(str(tmp_path / "out" / "采访.TextGrid"), includeEmptyIntervals=True)
    assert (grid.tierNames, grid.maxTimestamp) == (("clip", "person 1", "person 2", "words", "voice"), 20.0)
    assert [tuple(entry) for entry in grid.getTier("person 2").entries] == [
        (0, 4, ""), (4, 11, "sad"), (11, 15, "happy"), (15, 20, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.eaf", "<a>", "cannot be read .*expected an ELAN file"),
        ("a.eaf", "<html/>", "is XML of kind 'html'; expected an ELAN file"),
        ("a.eaf", "<ANNOTATION_DOCUMENT/>", "cannot be read .*expected an ELAN file"),
        ("a.TextGrid", "no grid", "cannot be read .*expected a TextGrid"),
        ("a.TextGrid", None, "cannot be read .*expected a TextGrid"),
        ("a.csv", "a", "is no file of tiers by its suffix"),
    ],
)
def test_files_of_tiers_that_are_none(name, content, message, tmp_path):
    pytest.importorskip("pympi")
    pytest.importorskip("praatio")
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"{name}' {message}"):
        read_tiers(tmp_path / name)


# --- subtitles


def test_subtitles_change_with_the_people(tmp_path):
    write_captions(tmp_path / "a.srt", "srt", reports.two_people(), ["emotion"], None)
    blocks = (tmp_path / "a.srt").read_text().split("\n\n")
    assert blocks[1] == "2\n00:00:04,000 --> 00:00:08,500\nperson 1: sad\nperson 2: sad" and len(blocks) == 5
    write_captions(tmp_path / "a.vtt", "vtt", reports.chinese(), ["words"], None)
    head, first, _ = (tmp_path / "a.vtt").read_text(encoding="utf-8").strip().split("\n\n")
    assert head == "WEBVTT" and first == "1\n00:00:03.000 --> 00:00:05.500\n我真怕一切都白费了。"
    write_captions(tmp_path / "b.vtt", "vtt", reports.nobody_seen(), ["emotion"], None)
    assert "\nclip: sad\n" in (tmp_path / "b.vtt").read_text()


def test_subtitles_are_read_by_the_reader_of_the_package(tmp_path):
    from emotion_qwen.media.subtitles import read_subtitles

    report = replace(reports.two_people(), utterances=(Utterance(3661.5, 3662.25, "a --> b & <i>c</i>"),))
    for form in ("srt", "vtt"):
        write_captions(tmp_path / f"a.{form}", form, report, ["words"], None)
        (words,) = read_subtitles(tmp_path / f"a.{form}").utterances
        assert (words.start, words.end) == (3661.5, 3662.25) and words.text.startswith("a ")


# --- the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "a.txt"], "'a.txt': no format has the suffix '.txt'; expected .csv .xlsx .parquet .json .eaf"),
        (["--to", "a.csv", "--format", "xlsx"], "'a.csv' has the suffix of csv, but --format is xlsx"),
        (["--to", "out", "--tables", "clip"], "unknown table 'clip'; expected one of: channels, clips"),
        (["--to", "a.csv", "--tables", "clips,people"], "a csv file holds one table; give a folder, or .xlsx"),
        (["--to", "out", "--format", "eaf", "--tables", "clips"], "eaf files hold tiers, not tables"),
        (["--to", "out", "--format", "srt", "--tables", "clips"], "subtitles are made of episodes or words"),
        (["--to", "a.eaf"], "'a.eaf' is one file, but there are 13 clips; give a folder"),
        (["--to", "out", "--names", "gone.csv"], "'gone.csv' cannot be read (No such file or directory)"),
        (["--to", "reports.json"], "--to 'reports.json' is the analyzed file itself"),
    ],
)
def test_one_line_errors(arguments, message, stored, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reading = "reports.jsonl"
    if "reports.json" in arguments:
        stored.rename("reports.json")
        reading = "reports.json"
    assert export(reading, *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_pictures_alone_have_no_tiers(tmp_path):
    pytest.importorskip("pympi")
    report = reports.picture_only()
    with pytest.raises(
        DataError, match=r"no report has anything with a time, .*'family.jpg'\); export pictures as tables"
    ):
        export_reports([report], survey([report]), ExportTarget.of(tmp_path, "eaf"))
    with pytest.raises(DataError, match="there is no report"):
        export_reports([], survey([]), ExportTarget.of(tmp_path))


def test_what_was_left_out_is_named(stored, tmp_path, capsys):
    with stored.open("a") as file:
        file.write(as_json(replace(reports.two_people(), source="clips/interview.mp4")) + "\n")
    (tmp_path / "n.csv").write_text("file,person,name\ngone.mp4,2,Ann\nclips/interview.mp4,1,Bea\n")
    assert export(stored, "--to", tmp_path / "out", "--format", "vtt", "--names", tmp_path / "n.csv") == 0
    err = capsys.readouterr().err
    assert "note: several reports of one clip: 'clips/interview.mp4'" in err
    assert (
        "no report has person 2 of 'gone.mp4'" in err and "nothing with a time, so no file: 'picture_only 1.mp4'" in err
    )
    made = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    twins = [text for name, text in made.items() if name.startswith("interview") and "Bea (person 1): sad" in text]
    assert len(twins) == 2 and any(name.endswith("-2.vtt") for name in made)


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    import sys

    from emotion_qwen.errors import MissingPackage

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingPackage, match="'openpyxl' is not installed; .*'emotion-qwen\\[tables\\]'"):
        ExportTarget.of(tmp_path / "a.xlsx")


def test_formats_follow_the_suffix(tmp_path):
    assert ExportTarget.of(tmp_path / "A.CSV").tables == ("clips",)
    assert ExportTarget.of(tmp_path / "out").form == "csv" and ExportTarget.of(tmp_path).tables == TABLE_NAMES
    assert ExportTarget.of(tmp_path / "v1.2", "json").single is False
    with pytest.raises(SettingsError, match=r"suffix '\.2'"):
        ExportTarget.of(tmp_path / "v1.2")
