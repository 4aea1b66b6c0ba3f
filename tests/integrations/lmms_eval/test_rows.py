import logging

import pytest

from emotion_qwen.errors import DataError, MediaError, SettingsError
from emotion_qwen.evaluation.run.predictions import question_digest
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.integrations.lmms_eval import rows

from .invented import SPLITS, Rows


@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_the_items_of_our_readers(home, split, monkeypatch):
    monkeypatch.setenv(rows.DATA, str(home))
    found = rows.harness_rows(Rows([{"nothing": ""}], split))
    name, _, language = split.rpartition("_")
    items = TASKS[name].items(home, side=64, languages=(language,))
    assert len(found) == len(items) == SPLITS[split] and found.split == split
    for row, item in zip(found, items, strict=True):
        assert all(isinstance(value, str) for value in row.values()), "a data set wants one type a column"
        task, back = rows.item_of(row)
        assert task is TASKS[name] and (question_digest(back), back.scored()) == (question_digest(item), item.scored())
        assert [p["type"] for p in back.parts] == [p["type"] for p in item.parts]
        assert (back.choices, back.allowed, back.options) == (item.choices, item.allowed, item.options)


def test_what_readers_find_is_said(home, caplog):
    with caplog.at_level(logging.WARNING):
        rows.rows_of("dfew_en", home)
    assert "dfew_en: missing: no rows of set_4, set_5" in caplog.text and "label outside 1 to 7" in caplog.text


def test_other_models_get_words_pictures_and_messages(home):
    first = rows.rows_of("emer_en", home)[0]
    told = rows.question(first)
    assert "Leave me alone!" in told.partition("\n")[0] and told.endswith(rows.item_of(first)[1].question)
    (path,) = rows.visuals(first)
    assert path.endswith("sample_00000001.avi")
    (turn,) = rows.messages(first)
    assert [part["type"] for part in turn["content"]] == ["video", "text", "text"] and turn["content"][0]["url"] == path
    awe, _, gone = rows.rows_of("emoset_en", home)
    assert rows.visuals(awe)[0].size == (32, 32) and rows.messages(awe)[0]["content"][0]["url"].mode == "RGB"
    with pytest.raises(MediaError, match="models of others need every file"):
        rows.visuals(gone)
    comment = rows.rows_of("goemotions_en", home)[0]
    assert rows.visuals(comment) == [] and "What a day!" in rows.question(comment)


def test_what_is_not_told_or_not_known(home, monkeypatch, tmp_path):
    monkeypatch.delenv(rows.DATA, raising=False)
    with pytest.raises(DataError, match="EMOTION_QWEN_DATA is not set"):
        rows.harness_rows(Rows([], "dfew_en"))
    with pytest.raises(SettingsError, match="unknown task 'fer'|fer"):
        rows.rows_of("fer_en", home)
    with pytest.raises(DataError):
        rows.rows_of("dfew_en", tmp_path)
    with pytest.raises(SettingsError, match="language"):
        rows.rows_of("dfew_de", home)
