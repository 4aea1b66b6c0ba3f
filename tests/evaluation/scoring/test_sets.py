"""Open-vocabulary scores over invented wheels in the organisers' layout, and overlap of texts without a judge."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.scoring.records import ScoredItem
from emotion_qwen.evaluation.scoring.sets import (
    clues,
    score_clue_overlap,
    score_label_overlap,
    score_open_vocabulary,
)
from emotion_qwen.matching.wheels import read_wheels
from emotion_qwen.matching.word_lists import words_of

# Our own small wheels; the organisers' are not shipped. An empty cell goes on with the one above.
WHEELS = {
    "wheel1": [
        ("level1", "level2", "level3"),
        ("Joy", "content", "pleased"),
        ("", "", "glad"),
        ("Sad", "down", "gloomy"),
    ],
    "wheel2": [
        ("level1", "level2", "level3"),
        ("good", "joy", "glad"),
        ("", "calm", "content"),
        ("bad", "sad", "gloomy"),
    ],
}
FORMS = [
    ("name", "format"),
    ("glad", "['gladly', 'gladness']"),
    ("gloomy", "gloom"),
    ("sad", "sadness"),
    ("merry", "merrily"),
]
SYNONYMS = [
    ("word_run1", "synonym_run1", "word_run2", "synonym_run2"),
    ("glad", "['merry']", "joy", "merry"),
    ("gloomy", "", "sad", ""),
]


def write_csv(path: Path, rows) -> None:
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in rows) + "\n", encoding="utf-8")


def write_xlsx(path: Path, rows) -> None:
    """Write the least that a workbook needs; empty cells are left out, as spreadsheets do."""
    texts = sorted({cell for row in rows for cell in row if cell})
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    lines = []
    for number, row in enumerate(rows, 1):
        cells = [
            f'<c r="{chr(65 + place)}{number}" t="s"><v>{texts.index(cell)}</v></c>'
            for place, cell in enumerate(row)
            if cell
        ]
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "xl/sharedStrings.xml", f"<sst {space}>{''.join(f'<si><t>{escape(t)}</t></si>' for t in texts)}</sst>"
        )
        book.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        )


@pytest.fixture(params=["csv", "xlsx"])
def folder(request, tmp_path):
    write = write_csv if request.param == "csv" else write_xlsx
    for name, rows in {**WHEELS, "synonym": SYNONYMS}.items():
        write(tmp_path / f"{name}.{request.param}", rows)
    write_csv(tmp_path / "format.csv", FORMS)
    return tmp_path


def test_words_are_grouped_by_form_synonym_and_ring(folder):
    wheels = read_wheels(folder)
    assert list(wheels.rings) == ["wheel1", "wheel2"]
    assert wheels.group("Gladness ", "wheel1") == "joy" and wheels.group("glad", "wheel2") == "good"
    assert wheels.group("merrily", "wheel1") == "joy", "form -> word -> synonym -> inner ring"
    assert wheels.group("gloom", "wheel2") == "bad" and wheels.group("sadness", "wheel1") == "sad"
    assert wheels.group("glad", "wheel1", "level2") == "content"
    assert wheels.group("hungry", "wheel1") is None and wheels.group("pleased", "wheel1") is None, "no form leads there"


def test_scores_worked_by_hand(folder):
    # Groups on both wheels: glad, merry -> joy | good; gloomy, sad -> sad | bad. Per clip (right; given):
    # 1 (joy; joy)            precision 1, recall 1
    # 2 (joy, sad; joy)       precision 1, recall 1/2
    # 3 (sad; joy, sad)       precision 1/2, recall 1       the word "hungry" is dropped
    # 4 (joy; nothing)        0, 0                          an error
    # 5 (nothing known)       left out
    # precision 2.5/4, recall 2.5/4, F1 the same; hit rate 3/4; mean length (1 + 2 + 3 + 0 + 1) / 5
    items = [
        ScoredItem("1", ("glad",)),
        ScoredItem("2", ("merry", "gloomy")),
        ScoredItem("3", ("sadness",)),
        ScoredItem("4", ("glad",)),
        ScoredItem("5", ("hungry",)),
    ]
    answers = [
        Answer("1", "[merry]"),
        Answer("2", "['glad', 'gladness']"),
        Answer("3", "glad, gloom; hungry"),
        Answer("4", error="timed out"),
        Answer("5", "glad"),
    ]
    found = score_open_vocabulary(items, answers, read_wheels(folder))
    assert found["precision"].value == found["recall"].value == found["F1"].value == 0.625
    assert found["hit rate"].value == 0.75 and found["F1"].items == 4
    assert found["mean length"].value == 7 / 5 and found["mean length"].items == 5
    assert found["F1 of wheel1"].value == found["F1 of wheel2"].value == 0.625
    assert found.notes[0] == "1 of 7 given words are outside the vocabulary"
    assert found.tally.failures == 1


def test_f1_is_that_of_the_averages_not_the_average_of_f1(folder):
    # clip 1: right joy, given joy, sad -> P 1/2, R 1; clip 2: right joy, given sad -> 0, 0.
    # P 1/4, R 1/2 -> F1 = 2 * 1/8 / (3/4) = 1/3; the mean of the clips' F1 would be 1/3 too, so take a third clip:
    # clip 3: right joy, sad, given joy -> P 1, R 1/2. P = 1.5/3, R = 1.5/3 -> 1/2; mean of F1 (2/3 + 0 + 2/3)/3 = 4/9
    items = [ScoredItem("1", ("glad",)), ScoredItem("2", ("glad",)), ScoredItem("3", ("glad", "gloomy"))]
    answers = [Answer("1", "glad, gloomy"), Answer("2", "gloomy"), Answer("3", "glad")]
    assert score_open_vocabulary(items, answers, read_wheels(folder))["F1"].value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("happy, sad", ("happy", "sad")),
        ("['Happy', 'very sad']", ("happy", "very sad")),
        ('["happy"]', ("happy",)),
        ("happy and sad.", ("happy", "sad")),
        ("- happy\n- sad", ("happy", "sad")),
        ("1. happy\n2. sad", ("happy", "sad")),
        ("开心、难过", ("开心", "难过")),
        ("happy, Happy", ("happy",)),
        ("heart-broken; sandy", ("heart-broken", "sandy")),
        ("", ()),
        ("[]", ()),
    ],
)
def test_lists_are_read(text, words):
    assert words_of(text) == words


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no wheel"):
        read_wheels(tmp_path)
    write_csv(tmp_path / "wheel1.csv", [("level1", "level2"), ("a", "b")])
    with pytest.raises(DataError, match=r"wheel1.csv: has the columns \['level1', 'level2'\]; expected also level3"):
        read_wheels(tmp_path)
    write_csv(tmp_path / "wheel1.csv", WHEELS["wheel1"])
    with pytest.raises(DataError, match="holds no format"):
        read_wheels(tmp_path)
    (tmp_path / "format.xlsx").write_text("no workbook", encoding="utf-8")
    with pytest.raises(DataError, match="format.xlsx: cannot be read as xlsx"):
        read_wheels(tmp_path)


def test_label_overlap_hears_denial_in_both_languages():
    # right {sadness}: given {sadness}; right {anger, sadness}: given {anger}; Chinese: right {happiness}, given none
    items = [
        ScoredItem("1", ("She is sad, not angry.",)),
        ScoredItem("2", ("He is angry and sad.",)),
        ScoredItem("3", ("他很开心",)),
    ]
    answers = [Answer("1", "A sad woman."), Answer("2", "He is furious."), Answer("3", "他并不开心")]
    found = score_label_overlap(items, answers)
    assert found["precision"].value == pytest.approx(2 / 3) and found["recall"].value == pytest.approx(0.5)
    assert found["F1"].value == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_clue_overlap_compares_content_words():
    assert clues("The man frowns and lowered his head.") == {"man", "frown", "lower", "head"}
    assert "皱眉" in clues("在视频中，他皱眉") and not clues("the of and")
    items = [ScoredItem("1", ("The man frowns and lowered his head.",)), ScoredItem("2", ("他皱眉",))]
    found = score_clue_overlap(items, [Answer("1", "He frowned, head lowered."), Answer("2", "")])
    assert found["precision"].value == 0.5 and found["recall"].value == pytest.approx(3 / 8)
    assert found.tally.parse_rate == 0.5


def test_a_reference_that_names_nothing_is_left_out_and_counted():
    found = score_label_overlap([ScoredItem("1", ("a man",)), ScoredItem("2", ("sad",))], [Answer("2", "sad")])
    assert found["F1"].value == 1 and found["F1"].items == 1
    assert found.notes == ("1 reference texts name nothing that is compared and are left out",)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ('{"emotions": ["glad", "gloomy"]}', ("glad", "gloomy")),
        ('```json\n["glad", "gloomy"]\n```', ("glad", "gloomy")),
        ("```text\nglad, gloomy\n```", ("glad", "gloomy")),
        ("Emotions: glad, gloomy", ("glad", "gloomy")),
        ("**Emotions**: glad; gloomy.", ("glad", "gloomy")),
        ("The person feels glad and gloomy.", ("glad", "gloomy")),
        ("1. glad\n2. gloomy", ("glad", "gloomy")),
        ("情绪：glad、gloomy", ("glad", "gloomy")),
        ("glad: 0.8, gloomy: 0.2", ("glad", "gloomy")),
        ('{"glad": 0.8, "gloomy": 0.2}', ("glad", "gloomy")),
        ("She looks very glad", ("glad",)),
        ("hungry man, glad", ("hungry man", "glad")),
        ("he is not glad", ("he is not glad",)),
    ],
)
def test_open_lists_are_read_whole(reply, words):
    assert words_of(reply, {"glad", "gloomy", "feels"}.__contains__) == words


def test_the_wheels_that_were_used_are_named_by_a_checksum(folder):
    found = score_open_vocabulary([ScoredItem("1", ("glad",))], [Answer("1", "glad")], read_wheels(folder))
    before = read_wheels(folder).digest
    assert len(before) == 16 and f"emotion wheels: 2, checksum {before}" in found.notes
    write_csv(folder / "format.csv", [*FORMS, ("calm", "calmly")])
    assert read_wheels(folder).digest != before
