"""Readers of questions with lettered options: MMBench, ScienceQA, SEED-Bench."""

import pytest
from tests.evaluation.benchmark_files import loaded

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.task import RELEASE
from emotion_qwen.evaluation.tasks import TASKS

from .. import benchmark_files as files
from .test_clips import items, told


def test_mmbench_reads_questions_without_their_rotations(tmp_path):
    files.write_mmbench(tmp_path)
    found = items("mmbench", tmp_path)
    assert [(one.id, one.answer, one.choices, one.options) for one in found] == [
        ("0", "B", ("A", "B", "C", "D"), ("ball", "cube", "cone", "bar")),
        ("1", "B", ("A", "B"), ("yes", "no")),
    ]
    assert found[0].question.startswith("Look closely.\nWhich is round?\nA. ball") and "nan" not in found[1].question
    assert items("mmbench", tmp_path, "zh")[0].question.startswith(
        "Look closely.\n哪个是圆的？\nA. 球\nB. 立方体\n请只"
    )
    assert told(TASKS["mmbench"], tmp_path) == [
        "differs: rows with rotations: 4, published 4329 or 4377",
        "note: 1 rotated rows were not read; rotations are made from 2 questions",
        "fault: 1 row(s) left out, answer is not the letter of an option: 2 (empty)",
    ]


def test_mmbench_reads_the_owners_tsv_with_a_picture_named_by_its_row(tmp_path):
    files.write_mmbench_tsv(tmp_path)
    found = items("mmbench", tmp_path)
    assert [one.id for one in found] == ["0", "1"] and [one.group for one in found] == ["shapes", "shapes"]
    assert found[0].parts[0]["image"].key == found[1].parts[0]["image"].key
    assert loaded(found[1].parts)[0]["image"].shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"holds no cn/dev-\*\.parquet and no TSV of the dev split in 'zh'"):
        items("mmbench", tmp_path, "zh")


def test_the_test_split_of_mmbench_has_no_answers(tmp_path):
    rows = [{**row, "answer": "", "image": files.image()} for row in files.mmbench_rows()]
    files.write_parquet(tmp_path / "en" / "dev-0.parquet", rows)
    with pytest.raises(DataError, match="no row has an answer; give the dev split"):
        items("mmbench", tmp_path)


@pytest.mark.parametrize("prompt", ["ours", RELEASE])
def test_circular_asks_every_question_once_for_each_option(tmp_path, prompt):
    files.write_mmbench(tmp_path)
    task = TASKS["mmbench_circular"].with_prompt(prompt)
    found = task.items(tmp_path, side=48)
    assert [(one.id, one.answer, one.cluster) for one in found] == [
        *(("0#0", "B", "0"), ("0#1", "A", "0"), ("0#2", "D", "0"), ("0#3", "C", "0")),
        *(("1#0", "B", "1"), ("1#1", "A", "1")),
    ]
    assert all(one.options["ABCD".index(one.answer)] in ("cube", "no") for one in found)
    assert "A. cube\nB. cone\nC. bar\nD. ball\n" in found[1].question and found[1].question.count("A. ") == 1
    assert [one.cluster for one in task.items(tmp_path, side=48, limit=1)] == ["0"] * 4
    asked = [one.scored() for one in found]
    always = task.score(asked, [Answer(one.id, "B") for one in asked])
    assert (always["CircularEval"].value, always["plain accuracy"].value) == (0, 1)


def test_likelihoods_of_letters_are_scored_too(tmp_path):
    files.write_mmbench(tmp_path)
    found = items("mmbench", tmp_path)
    answers = [Answer(one.id, scores=one.scores({"A": 0.1, "B": 0.7, "C": 0.1, "D": 0.1})) for one in found]
    assert TASKS["mmbench"].score([one.scored() for one in found], answers)["accuracy"].value == 1
    assert TASKS["mmbench"].as_released([one.scored() for one in found], answers) == {}


def test_scienceqa_keeps_questions_without_a_picture(tmp_path):
    files.write_scienceqa(tmp_path)
    found = items("scienceqa", tmp_path)
    assert [(one.id, one.answer, one.group, len(one.parts)) for one in found] == [
        ("test/0", "A", "with picture", 1),
        ("test/1", "E", "without picture", 0),
        ("test/2", "A", "without picture", 0),
    ]
    assert found[0].question.startswith("Context: The picture shows a leaf.\nWhat is shown?")
    released = TASKS["scienceqa"].with_prompt(RELEASE).items(tmp_path, side=48)
    assert "question and image." in released[0].question and "provided text." in released[1].question
    assert told(TASKS["scienceqa"], tmp_path) == [
        "differs: rows of test: 4, published 4241",
        "differs: rows of test with a picture: 1, published 2017",
        "fault: 1 row(s) left out, answer is not the index of an option: test/3 (7)",
    ]
    asked = [one.scored() for one in found]
    scored = TASKS["scienceqa"].score(asked, [Answer("test/0", "(A)"), Answer("test/1", "The answer is E.")])
    assert scored["accuracy of with picture"].value == 1 and scored["accuracy"].value == pytest.approx(2 / 3)
    assert TASKS["scienceqa"].as_released(asked, [Answer("test/1", "The answer is E.")])["accuracy"] == 1


def test_seed_reads_pictures_and_counts_videos(tmp_path):
    files.write_seedbench(tmp_path)
    found = items("seedbench", tmp_path)
    assert [(one.id, one.answer, one.group) for one in found] == [
        ("101", "B", "instance counting"),
        ("104", "D", "instance identity"),
    ]
    assert loaded(found[0].parts)[0]["image"].shape == (32, 32, 3)
    assert told(TASKS["seedbench"], tmp_path) == [
        "differs: rows, videos included: 6, published 17990",
        "note: 1 video questions were not read; the scores cover the image part",
        "fault: 1 row(s) left out, answer is not the letter of an option: 102 (E)",
        "fault: 1 row(s) left out, duplicate id: 101",
        "fault: 1 row(s) left out, dimension outside 1 to 12: 103 (44)",
    ]
    asked = [one.scored() for one in found]
    replies = [Answer(one.id, "The answer is " + one.references[0]) for one in asked]
    assert TASKS["seedbench"].score(asked, replies)["accuracy"].value == 1
    assert TASKS["seedbench"].as_released(asked, replies)["accuracy"] == 0, "the release takes the a of answer"
