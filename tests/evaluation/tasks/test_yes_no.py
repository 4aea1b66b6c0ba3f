"""Readers of questions with yes and no: POPE and MME."""

from collections import Counter

import pytest
from tests.evaluation.benchmark_files import loaded

from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.evaluation.run import stored
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.tasks import TASKS

from .. import benchmark_files as files
from .test_clips import items, told


def test_pope_reads_parquet_with_pictures_inside(tmp_path):
    files.write_pope(tmp_path)
    found = items("pope", tmp_path)
    assert [(one.id, one.answer, one.group, one.cluster) for one in found] == [
        ("random/1", "yes", "random", "COCO_val2014_a"),
        ("random/2", "no", "random", "COCO_val2014_a"),
        ("popular/1", "no", "popular", "COCO_val2014_b"),
        ("adversarial/1", "yes", "adversarial", "COCO_val2014_b"),
    ]
    keys = [one.parts[0]["image"].key for one in found]
    assert keys[0] == keys[1] != keys[2], "two questions about one picture can share it"
    assert loaded(found[0].parts)[0]["image"].shape == (32, 32, 3)
    lines = told(TASKS["pope"], tmp_path)
    assert "differs: questions of adversarial with no: 0, published 1500" in lines
    assert lines[-3:] == [
        "fault: 1 row(s) left out, duplicate id: random/1",
        "fault: 1 row(s) left out, answer neither yes nor no: popular/2 (maybe)",
        "fault: 1 row(s) left out, split not one of adversarial, popular, random: gqa/1",
    ]


def test_pope_reads_the_authors_json_and_names_missing_pictures(tmp_path):
    files.write_pope_json(tmp_path)
    found = items("pope", tmp_path)
    assert sorted(one.id for one in found) == ["adversarial/1", "popular/1", "random/1"]
    assert "missing: 1 of 1 pictures are missing: COCO_val2014_1.jpg" in told(TASKS["pope"], tmp_path)
    picture = files.write_bytes(tmp_path / "val2014" / "COCO_val2014_1.jpg", files.picture(kind="JPEG"))
    assert items("pope", tmp_path)[0].parts[0]["image"] == picture
    files.write_bytes(tmp_path / "coco_pope_random.json", b'{"question_id": 1}\n')
    with pytest.raises(DataError, match=r"coco_pope_random\.json, line 1: not a question of POPE"):
        items("pope", tmp_path)


def test_the_real_questions_of_pope_have_the_published_counts(shared_data):
    found = items("pope", shared_data)
    assert len(found) == 9000 and len({one.cluster for one in found}) == 500
    assert set(Counter((one.group, one.answer) for one in found).values()) == {1500}
    findings = TASKS["pope"].check(shared_data)
    assert [finding.kind for finding in findings] == ["missing"] and "500 of 500 pictures" in findings[0].text


def test_a_damaged_row_group_is_named_by_the_reader_and_by_the_picture(tmp_path):
    path = files.write_pope(tmp_path) / "data" / "test-00000-of-00001.parquet"
    picture = items("pope", tmp_path)[0].parts[0]["image"]
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 8] = bytes(len(data) // 8 - 4)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"parquet, row group 0: cannot be read \("):
        items("pope", tmp_path)
    stored._pictures.cache_clear()
    with pytest.raises(MediaError, match=r"picture COCO_val2014_a: cannot be read \("):
        picture.read()
    path.unlink()
    with pytest.raises(MediaError, match=r"picture COCO_val2014_a: cannot be read \("):
        picture.read()


def test_pope_as_released_takes_everything_for_yes(tmp_path):
    files.write_pope(tmp_path)
    asked = [one.scored() for one in items("pope", tmp_path)]
    answers = [Answer(one.id, "maybe") for one in asked]
    assert TASKS["pope"].as_released(asked, answers)["accuracy"] == 0.5
    assert TASKS["pope"].score(asked, answers)["accuracy"].value == 0
    twice = [*[Answer(one.id, one.references[0]) for one in asked], *answers]
    assert TASKS["pope"].as_released(asked, twice)["accuracy"] == 1, "the first of several answers counts there too"


def test_mme_pairs_the_two_questions_of_an_image(tmp_path):
    files.write_mme(tmp_path)
    found = items("mme", tmp_path)
    assert len(found) == 8 and set(Counter(one.cluster for one in found).values()) == {2}
    assert [one.group for one in found[::2]] == ["existence", "OCR", "OCR", "code_reasoning"]
    assert [one.id for one in found[:2]] == ["existence/1.jpg#1", "existence/1.jpg#2"]
    assert told(TASKS["mme"], tmp_path) == [
        "differs: questions: 10, published 2374",
        "fault: 1 row(s) left out, subtask not one of the fourteen: riddles/7.jpg#1",
        "fault: 1 row(s) left out, an image without exactly two questions: count/7.jpg#1",
    ]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_of_mme_counts_images_and_keeps_both_questions(tmp_path, limit):
    files.write_mme(tmp_path)
    found = items("mme", tmp_path, limit=limit)
    assert len(found) == 2 * limit and set(Counter(one.cluster for one in found).values()) == {2}
    assert TASKS["mme"].score([one.scored() for one in found], []).tally.items == 2 * limit


def test_the_file_of_pope_before_october_2023_is_known(tmp_path):
    files.write_pope_json(tmp_path)
    (line,) = (line for line in told(TASKS["pope"], tmp_path) if "random with no" in line)
    assert line.endswith("published 1500 (the authors' file had 1410 before October 2023)")


def test_mme_is_scored_in_points_and_as_released(tmp_path):
    files.write_mme(tmp_path)
    asked = [one.scored() for one in items("mme", tmp_path)]
    answers = [Answer(one.id, "The answer is " + one.references[0]) for one in asked]
    assert TASKS["mme"].score(asked, answers)["perception"].value == 400
    silent = TASKS["mme"].score(asked, [])
    assert not silent["perception"].share and silent["perception"].high == 0, "points have no bound of a share"
    assert silent["accuracy of OCR"].share and silent["accuracy of OCR"].high > 0.5
    released = TASKS["mme"].as_released(asked, answers)
    assert released["perception"] == 0, "the release reads four characters, and these are none"
    short = [Answer(one.id, "Yes.") for one in asked]
    assert TASKS["mme"].as_released(asked, short) == {
        **dict.fromkeys(("existence", "OCR", "code_reasoning"), 50.0),
        "perception": 100.0,
        "cognition": 50.0,
    }


def test_a_file_of_another_set_is_refused(tmp_path):
    files.write_pope(tmp_path)
    with pytest.raises(DataError, match=r"no usable row \(\d+ row\(s\) left out, subtask not one of the fourteen"):
        items("mme", tmp_path)
    assert TASKS["mme"].check(tmp_path)[-1].kind == "fault"
    files.write_bytes(tmp_path / "data" / "test-00000-of-00001.parquet", b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        items("mme", tmp_path)
