"""Tables survive being stopped, hold one order, and never hold half a row."""

from __future__ import annotations

import pytest
from tests.disk import room

from emotion_qwen.errors import DataError, StorageError
from emotion_qwen.ver.store.table import Postponed, StepTable, read_rows, value_digest

COLUMNS = {"clip": "text", "value": "count"}


def table(folder, given="a"):
    return StepTable(folder, "look", COLUMNS, given)


def rows(key, *values):
    return [{"clip": key, "value": value} for value in values]


def test_rows_stand_in_the_order_of_the_items_whoever_came_first(tmp_path):
    made = table(tmp_path)
    assert made.open() == set()
    made.append("b", rows("b", 2, 3))
    made.append("a", rows("a", 1))
    assert made.finish(["a", "b"]) == 3
    assert [row["value"] for row in made.rows()] == [1, 2, 3]
    assert made.is_done(value_digest(["a", "b"])) and not made.is_done(value_digest(["a", "b", "c"]))


def test_a_half_written_line_is_cut_off_and_the_rest_is_kept(tmp_path):
    made = table(tmp_path)
    made.open()
    made.append("a", rows("a", 1))
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
    with made.journal.open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(DataError, match=r"look.jsonl', line 2: not an item"):
        table(tmp_path).open()
    with pytest.raises(DataError, match="does not exist; complete emotion-qwen ver build"):
        list(read_rows(tmp_path / "none.parquet"))


def test_a_full_disk_leaves_complete_lines(tmp_path):
    made = table(tmp_path)
    made.open()
    made.append("a", rows("a", 1))
    with room(200), pytest.raises(StorageError, match="look.jsonl' cannot be written .*; free space and run again"):
        made.append("b", [{"clip": "b" * 4000}])
    assert table(tmp_path).open() == {"a"}


def test_an_item_that_stays_open_is_an_error_of_the_data():
    assert issubclass(Postponed, DataError)
