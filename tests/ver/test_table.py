"""Tables survive being stopped, hold one order, and never hold half a row."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.ver.table import Postponed, Table, alone, append_line, digest, is_full, read_rows, write_whole

COLUMNS = {"clip": "text", "value": "count"}


def table(folder, given="a"):
    return Table(folder, "look", COLUMNS, given)


def rows(key, *values):
    return [{"clip": key, "value": value} for value in values]


def test_rows_stand_in_the_order_of_the_items_whoever_came_first(tmp_path):
    made = table(tmp_path)
    assert made.open() == set()
    made.append("b", rows("b", 2, 3))
    made.append("a", rows("a", 1))
    assert made.finish(["a", "b"]) == 3
    assert [row["value"] for row in made.rows()] == [1, 2, 3]
    assert made.is_done(digest(["a", "b"])) and not made.is_done(digest(["a", "b", "c"]))


def test_a_half_written_line_is_cut_off_and_the_rest_is_kept(tmp_path):
    made = table(tmp_path)
    made.open()
    made.append("a", rows("a", 1))
    made.close()
    with made.journal.open("ab") as file:
        file.write(b'{"key": "b", "rows": [{"cl')
    again = table(tmp_path)
    assert again.open() == {"a"}
    again.append("b", rows("b", 2))
    assert again.finish(["a", "b"]) == 2


def test_new_items_are_added_to_a_finished_table(tmp_path):
    made = table(tmp_path)
    made.open()
    made.append("a", rows("a", 1))
    made.finish(["a"])
    again = table(tmp_path)
    assert again.open() == {"a"}
    again.append("0", rows("0", 0))
    again.finish(["0", "a"])
    assert [row["value"] for row in again.rows()] == [0, 1]


def test_other_settings_are_refused_and_a_missing_item_is_named(tmp_path):
    made = table(tmp_path)
    made.open()
    made.append("a", rows("a", 1))
    with pytest.raises(DataError, match="item 'b' is missing"):
        made.finish(["a", "b"])
    made.finish(["a"])
    for call in (lambda t: t.open(), lambda t: t.is_done("x")):
        with pytest.raises(DataError, match="step 'look' .* was done with other settings"):
            call(table(tmp_path, "b"))


def test_a_damaged_line_and_a_missing_table_are_named(tmp_path):
    made = table(tmp_path)
    made.open()
    made.close()
    with made.journal.open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(DataError, match=r"look.jsonl', line 2: no item"):
        table(tmp_path).open()
    with pytest.raises(DataError, match="does not exist; run emotion-qwen ver build"):
        list(read_rows(tmp_path / "none.parquet"))


FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from emotion_qwen.errors import DataError
from emotion_qwen.ver.table import Table
made = Table(Path(sys.argv[1]), "look", {"clip": "text"}, "a")
made.open()
made.append("a", [{"clip": "a"}])
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    made.append("b", [{"clip": "b" * 4000}])
except DataError as error:
    print(error)
"""


def test_a_full_disk_leaves_whole_lines(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be written (File too large); free space and run again, finished items are kept" in done.stdout
    assert table(tmp_path).open() == {"a"}


def test_a_file_is_whole_or_not_there(tmp_path):
    write_whole(tmp_path / "deep" / "a.json", b"1")
    assert (tmp_path / "deep" / "a.json").read_bytes() == b"1"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_what_means_a_full_disk():
    assert is_full(OSError(28, "No space left on device")) and not is_full(OSError(2, "No such file"))
    assert not is_full(ValueError()) and issubclass(Postponed, DataError)


def test_one_build_at_a_time_and_drafts_of_a_killed_one_go(tmp_path):
    (tmp_path / "work" / "clips").mkdir(parents=True)
    for name in ("work/clips/.s-0.77.mp4", "work/.look.parquet.77", "work/.build.json.77.1403", ".gitattributes"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "work" / "clips" / "s-0.mp4").write_bytes(b"whole")
    with alone(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"lock"}
        assert left == {".gitattributes", "s-0.mp4"}
        with pytest.raises(DataError, match="another build is at work in"), alone(tmp_path):
            pass
    with alone(tmp_path):
        pass


def test_a_line_that_finds_no_room_is_taken_back(tmp_path, monkeypatch):
    append_line(tmp_path / "a.jsonl", {"a": 1})
    before, opened = (tmp_path / "a.jsonl").read_bytes(), type(tmp_path).open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:5])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "open", lambda path, mode="r", **more: Full(opened(path, mode, **more)))
    with pytest.raises(DataError, match=r"No space left on device\); free space and run again"):
        append_line(tmp_path / "a.jsonl", {"b": 2})
    monkeypatch.undo()
    assert (tmp_path / "a.jsonl").read_bytes() == before
