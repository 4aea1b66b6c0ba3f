import json
from dataclasses import replace

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.runner import answer_task

from ..scripted import emotion_item, toy

ITEMS = [emotion_item(1), emotion_item(2, "fear"), emotion_item(3)]


def answered(tmp_path, name: str, text: str, items=ITEMS):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    answerer = make_answerer(f"file:{path}")
    return answerer, answer_task(answerer, toy(items), tmp_path / "out")


def test_json_lines_with_text_scores_and_error(tmp_path):
    rows = [
        {"id": "toy/1", "text": "She is happy."},
        {"id": "toy/2", "scores": {"fear": 0.7, "anger": 0.3}},
        {"id": "toy/3", "error": "no reply"},
        {"id": "toy/9", "text": "of no item"},
        {"id": "toy/1", "text": "again"},
    ]
    answerer, done = answered(tmp_path, "theirs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.text, one.predicted, one.error) for one in done.predictions] == [
        ("She is happy.", None, ""),
        (None, "fear", ""),
        (None, None, "no reply"),
    ]
    assert answerer.repeated == ["toy/1"] and done.failures == 1 and done.missing == 0
    assert answerer.strays == ["toy/9"], "of no item that was asked"


def test_a_table_and_an_item_without_a_line(tmp_path):
    _, done = answered(tmp_path, "theirs.csv", 'id,text\ntoy/1,"happy, I think"\ntoy/3,\n')
    assert [(one.id, one.text) for one in done.predictions] == [("toy/1", "happy, I think"), ("toy/3", "")]
    assert done.missing == 1 and not done.whole


def test_lines_by_language(tmp_path):
    items = [emotion_item(1), emotion_item(1, language="zh")]
    rows = [{"id": "toy/1", "language": "zh", "text": "高兴"}, {"id": "toy/1", "language": "en", "text": "happy"}]
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = answer_task(make_answerer(f"file:{path}"), toy(items), tmp_path / "out", languages=("en", "zh"))
    assert [one.text for one in done.predictions] == ["happy", "高兴"]


def test_a_half_written_last_line_is_left_out_and_told(tmp_path):
    answerer, done = answered(tmp_path, "theirs.jsonl", '{"id": "toy/1", "text": "happy"}\n{"id": "toy/2", "te')
    assert [one.id for one in done.predictions] == ["toy/1"] and answerer.torn
    whole, done = answered(
        tmp_path / "sub", "whole.jsonl", '{"id": "toy/1", "text": "happy"}\n{"id": "toy/2", "text": ""}'
    )
    assert [one.id for one in done.predictions] == ["toy/1", "toy/2"] and not whole.torn, "only the line end is missing"


def test_an_id_may_be_a_number(tmp_path):
    _, done = answered(tmp_path, "theirs.jsonl", '{"id": 0, "text": "happy"}\n', [replace(ITEMS[0], id="0")])
    assert [one.text for one in done.predictions] == ["happy"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": "a"}\n', "line 1: no answer; expected the keys id and one of text, scores, error"),
        ('[1]\n{"id": "a", "text": ""}\n', "line 1: no answer"),
        ('nonsense\n{"id": "a", "text": ""}\n', "line 1: not JSON"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        answered(tmp_path, "theirs.jsonl", text)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        make_answerer(f"file:{tmp_path / 'none.jsonl'}")
