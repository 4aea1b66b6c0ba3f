"""Odd files of every reader: marks of Windows, empty files, columns, keys and cells that are missing, rows that stand
twice. Each is read, left out with a finding, or refused in one line that names the file or its folder."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.files import ReadRows, cell_text, cell_texts, finite

from .. import benchmark_files as files
from ..all_files import WRITERS, with_wheels

OTHER_LAYOUTS = {
    "pope": files.write_pope_json,
    "textvqa": files.write_textvqa_json,
    "vqav2": files.write_vqav2_json,
    "mmbench": files.write_mmbench_tsv,
}
"""Task -> writer of the second layout in which its owners publish it."""
_READERS = {(type(task.source), str(getattr(task.source, "layout", ""))): name for name, task in TASKS.items()}
SETS = [*((name, WRITERS[name]) for name in _READERS.values()), *OTHER_LAYOUTS.items()]
"""One task per reader and layout."""
TEXTS = (".csv", ".tsv", ".txt", ".json", ".jsonl")


@pytest.fixture(params=SETS, ids=[f"{name}-{write.__name__}" for name, write in SETS])
def odd(request, tmp_path):
    """Return a task, and its files in a folder with a blank and Chinese characters."""
    name, write = request.param
    return with_wheels(name, tmp_path / "wheels")[0], write(tmp_path / "一 组 files")


def read(task, home: Path, path: Path | None = None) -> dict[str, str]:
    """Return the answer of every item; {} if the files are refused in one line that names the file or its folder."""
    try:
        return {item.id: item.answer for item in task.items(home, side=None, languages=task.languages[:1])}
    except DataError as error:
        assert "\n" not in str(error), error
        assert str(home) in str(error) or (path is not None and path.name in str(error)), error
        return {}


def texts_of(home: Path) -> list[Path]:
    return [path for path in sorted(home.rglob("*")) if path.suffix in TEXTS and path.parent.name != "sad"]


def test_marks_and_line_ends_of_windows_change_nothing(odd):
    task, home = odd
    before = read(task, home)
    for path in texts_of(home):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert before and read(task, home) == before


def test_an_empty_file_and_half_a_file_are_refused_or_have_no_items(odd):
    task, home = odd
    before = read(task, home)
    for path in [*texts_of(home), *sorted(home.rglob("*.parquet"))]:
        data = path.read_bytes()
        for content in (b"", data[: len(data) // 2]):
            path.write_bytes(content)
            assert len(read(task, home, path)) <= len(before)
        path.write_bytes(data)


def without_a_column(data: bytes, delimiter: str):
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))
    for place in range(len(rows[0])):
        left = [row[:place] + row[place + 1 :] for row in rows]
        blank = [rows[0], [*rows[1][:place], "", *rows[1][place + 1 :]], *rows[2:]]
        for table in (left, blank):
            file = io.StringIO()
            csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(table)
            yield file.getvalue().encode()


def without_a_parquet_column(data: bytes):
    table = pq.read_table(io.BytesIO(data))
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(name).type
        cells = pa.array([None, *table[name].to_pylist()[1:]], kind)
        for changed in (table.drop_columns([name]), table.set_column(place, name, cells)):
            file = io.BytesIO()
            pq.write_table(changed, file, row_group_size=2)
            yield file.getvalue()


def without_a_key(data: bytes):
    """Yield JSON, or the first line of JSON lines, of which the first row or one of its keys is missing or odd."""
    text = data.decode()
    try:
        document, rest = json.loads(text), ""
    except ValueError:
        first, _, rest = text.partition("\n")
        document = json.loads(first)
    at = [()]
    for path in at:  # down to the first row of the first list
        value = document
        for key in path:
            value = value[key]
        keys = list(value) if isinstance(value, dict) else [0] if isinstance(value, list) and value else []
        at += [(*path, key) for key in keys][:8]
    for path in at[1:24]:
        for odd_value in (..., None, 7, "zzz"):
            copy = json.loads(json.dumps(document))
            above = copy
            for key in path[:-1]:
                above = above[key]
            if odd_value is ...:
                del above[path[-1]]
            else:
                above[path[-1]] = odd_value
            yield (json.dumps(copy) + ("\n" + rest if rest else "")).encode()


def changed_files(suffix: str, data: bytes):
    if suffix in (".csv", ".tsv"):
        return without_a_column(data, "," if suffix == ".csv" else "\t")
    if suffix == ".parquet":
        return without_a_parquet_column(data)
    return without_a_key(data) if suffix in (".json", ".jsonl") else ()


def test_a_column_a_key_or_a_cell_that_is_missing_is_refused_or_its_rows_are_left_out(odd):
    task, home = odd
    before = set(read(task, home))
    for path in [*texts_of(home), *sorted(home.rglob("*.parquet"))]:
        data = path.read_bytes()
        for changed in changed_files(path.suffix, data):
            path.write_bytes(changed)
            found = read(task, home, path)
            assert all(found) and not any("None" in name for name in found) and len(found) <= len(before) + 1
        path.write_bytes(data)


def test_rows_that_stand_twice_are_counted(tmp_path):
    write = files.write_csv
    write(tmp_path / "reference-semi.csv", ["name", "discrete"], [["a", "sad"], ["a", "sad"], ["", "sad"]])
    findings = [finding.text for finding in TASKS["mer2024_semi"].check(tmp_path)]
    assert "1 row(s) left out, duplicate id: a" in findings and "1 row(s) left out, no id: unnamed" in findings


@pytest.mark.parametrize(
    ("name", "file", "text", "error"),
    [
        ("mosi", "label.csv", "video_id,text,label,mode\nv,Hm.,1,test\n", "expected also clip_id"),
        ("ferplus", "fer2013new.csv", "Usage,Image name,neutral,unknown,NF\n", "expected also happiness, surprise,"),
        ("mosi", "label.csv", "video_id,clip_id,text,label,mode\nv,1,Hm.,inf,test\n", r"no number: v/1 \(inf\)"),
        ("mosi", "label.csv", "video_id,clip_id,text,label,mode\n,1,Hm.,1,test\n", r"no name: unnamed \(1\)"),
        ("unibench_mer2024", "reference-semi.csv", "name,discrete\ns1,\n", r"no label: s1 \(empty\)"),
        ("emotion6", "ground_truth.txt", "a.jpg\t3\t5" + "\tnan" * 7, "no seven shares: a.jpg"),
        ("ckplus", "S1_001_1_emotion.txt", "3\n4", r"label outside 1 to 7: S1_001_1_emotion.txt \(3 4\)"),
        ("ckplus", "S1_001_1_emotion.txt", "inf", r"label outside 1 to 7: S1_001_1_emotion.txt \(inf\)"),
        ("mvbench", "json/a.json", "null", "contains NoneType; expected a list or an object of entries"),
    ],
)
def test_what_was_wrong_is_named(name, file, text, error, tmp_path):
    files.write_bytes(tmp_path / file, text.encode())
    with pytest.raises(DataError, match=error):
        TASKS[name].items(tmp_path, side=None)


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("image", None, "faces_fer_aligned.parquet, picture faces_fer_aligned/0: holds no bytes"),
        ("image", b"GIF", "faces_fer_aligned.parquet, picture faces_fer_aligned/0: cannot be decoded"),
        ("label", None, "faces_fer_aligned.parquet, row 1: label is None; expected a text, correct the row"),
        ("label", "boredom", "faces_fer_aligned.parquet: faces_fer_aligned/0 has the label 'boredom'; expected one of"),
    ],
)
def test_a_row_of_our_own_files_that_cannot_be_used_is_named(column, value, error, tmp_path):
    (path,) = WRITERS["fer"](tmp_path).glob("*.parquet")
    table = pq.read_table(path)
    cells = pa.array([value, *table[column].to_pylist()[1:]], table.schema.field(column).type)
    pq.write_table(table.set_column(table.column_names.index(column), column, cells), path)
    with pytest.raises(DataError, match=error):
        TASKS["fer"].items(tmp_path, side=32)


def test_cells_are_read_as_texts_and_numbers():
    assert [cell_text(value) for value in (None, " nan", " a ", 3)] == ["", "", "a", "3"]
    assert [cell_texts(value) for value in (["a", 1], "abc", None, 7)] == [("a", "1"), (), (), ()]
    assert finite("-1e2") == -100
    for value in ("nan", "inf", "1e999", "", None, [1]):
        with pytest.raises(ValueError):
            finite(value)
    rows = ReadRows()
    rows.fault("odd", "two\nlines")
    assert [finding.text for finding in rows.all_findings()] == ["1 row(s) left out, odd: two lines"]
