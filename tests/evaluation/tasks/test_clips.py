"""Readers of labelled clips: DFEW, MER2024, MAFW, RAVDESS."""

from itertools import product
from pathlib import Path

import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.task import OURS, RELEASE
from emotion_qwen.evaluation.tasks import TASKS, mafw

from .. import benchmark_files as files


def told(task, data) -> list[str]:
    return [f"{finding.kind}: {finding.text}" for finding in task.check(data)]


def items(name, data, language="en", **more):
    return TASKS[name].items(data, side=48, languages=(language,), **more)


def test_dfew_reads_the_folds_and_leaves_out_what_cannot_be_used(tmp_path):
    files.write_dfew(tmp_path)
    found = items("dfew", tmp_path)
    assert [(one.id, one.answer, one.group) for one in found] == [
        ("1", "happy", "set_1"),
        ("2", "sad", "set_1"),
        ("4", "fear", "set_1"),
        ("5", "neutral", "set_2"),
        ("6", "surprise", "set_3"),
        ("7", "angry", "set_3"),
        ("8", "disgust", "set_3"),
    ]
    assert found[0].parts[0] == {"type": "video", "video": tmp_path / "Clip" / "original" / "1.mp4"}
    clips = [one.parts[0]["video"].name for one in found]
    assert clips == ["1.mp4", "00002.mp4", "4.mp4", "5.MP4", "00006.mp4", "7.avi", "8.AVI"], "however they are written"
    assert found[2].parts[0]["video"] == tmp_path / "4.mp4", "a clip that is not there is asked about all the same"
    chinese = items("dfew", tmp_path, "zh")[0]
    assert chinese.answer == "高兴" and chinese.scored() == found[0].scored()
    assert chinese.scores({"高兴": 0.5, "恐惧": 0.25}) == {"happy": 0.5, "fear": 0.25}


def test_dfew_says_exactly_what_is_wrong(tmp_path):
    files.write_dfew(tmp_path)
    assert told(TASKS["dfew"], tmp_path) == [
        "note: set_9.csv is none of the five folds and is not read",
        "missing: no rows of set_4, set_5; the scores do not cover all five folds",
        "differs: rows of set_1: 4, published 2341",
        "differs: rows of set_2: 2, published 2341",
        "differs: rows of set_3: 4, published 2340",
        "missing: 1 of 7 clips are missing: 4",
        f"note: 1 clips exist more than once; the first is taken, for example {tmp_path}/Clip/original/1.mp4",
        "fault: 1 row(s) left out, label outside 1 to 7 in set_1.csv: 3 (0)",
        "fault: 1 row(s) left out, duplicate id: 1",
        "fault: 1 row(s) left out, label outside 1 to 7 in set_3.csv: 9 (happy)",
    ]


def test_a_whole_dfew_has_nothing_to_say(tmp_path):
    number = iter(range(1, 20000))
    for fold, rows in {"set_1": 2341, "set_2": 2341, "set_3": 2340, "set_4": 2339, "set_5": 2336}.items():
        told_rows = [[name, name % 7 + 1] for name, _ in zip(number, range(rows), strict=False)]
        files.write_csv(tmp_path / f"{fold}.csv", ["video_name", "label"], told_rows)
    findings = TASKS["dfew"].check(tmp_path)
    assert [finding.kind for finding in findings] == ["missing"]
    assert findings[0].text == "11697 of 11697 clips are missing: 1, 2, 3, 4, 5 and 11692 more"
    assert len(items("dfew", tmp_path, limit=10)) == 10


def test_the_release_asks_in_english_with_its_own_words(tmp_path):
    task = TASKS["dfew"].with_prompt(RELEASE)
    files.write_dfew(tmp_path / "DFEW")
    one = task.items(tmp_path, side=48)[0]
    assert one.question.startswith("Analyze the following video content") and task.column == "dfew.release"
    assert task.languages == ("en",) and TASKS["dfew"].column == "dfew" and task.with_prompt(RELEASE) is task
    with pytest.raises(SettingsError, match="unknown language 'zh'; expected one of: en"):
        task.items(tmp_path, side=48, languages=("zh",))
    with pytest.raises(SettingsError, match="unknown prompt of task dfew 'relase'.*Did you mean 'release'"):
        TASKS["dfew"].with_prompt("relase")
    assert task.with_prompt(OURS).items(tmp_path, side=48)[0].question != one.question


def test_dfew_is_scored_by_fold_and_as_released(tmp_path):
    files.write_dfew(tmp_path)
    asked = [one.scored() for one in items("dfew", tmp_path)]
    answers = [Answer(one.id, f"The person is {one.references[0]}.") for one in asked[:-1]] + [
        Answer("8", error="lost")
    ]
    result = TASKS["dfew"].score(asked, answers)
    assert result["WAR"].value == pytest.approx(6 / 7) and result["WAR of fold set_3"].value == pytest.approx(2 / 3)
    released = TASKS["dfew"].as_released(asked, answers)
    assert released["WAR"] == 1.0, "what was not answered leaves the denominator there"
    assert TASKS["dfew"].as_released(asked, []) == {}


def test_no_folder_no_file_and_a_missing_column_are_named(tmp_path):
    (finding,) = TASKS["dfew"].check(None)
    assert finding.kind == "missing"
    assert finding.text == "no data folder given; pass the folder that holds dfew or DFEW with --data"
    with pytest.raises(DataError, match=r"nowhere' does not exist"):
        items("dfew", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no \*\*/test\(single-labeled\)/set_\*\.csv or set_\*\.csv"):
        items("dfew", tmp_path)
    files.write_csv(tmp_path / "set_1.csv", ["name", "label"], [[1, 1]])
    with pytest.raises(DataError, match=r"has the columns \['name', 'label'\]; expected also video_name"):
        items("dfew", tmp_path)
    files.write_csv(tmp_path / "set_1.csv", ["video_name", "label"], [[1, 0]])
    with pytest.raises(DataError, match="no usable row of the five folds"):
        items("dfew", tmp_path)


def test_mer2024_tracks_share_a_folder(tmp_path):
    files.write_mer2024(tmp_path / "mer2024")
    semi, noise = items("mer2024_semi", tmp_path), items("mer2024_noise", tmp_path, "zh")
    assert [(one.id[-1], one.answer) for one in semi] == [("1", "sad"), ("2", "worried")]
    assert semi[0].parts[0]["video"].name == "samplenew3_00000001.AVI"
    assert (noise[0].answer, noise[0].references) == ("高兴", ("happy",))
    lines = told(TASKS["mer2024_semi"], tmp_path)
    assert lines[0] == "differs: rows of reference-semi.csv: 4, published 1169"
    assert "sad 1, published 317; happy 0, published 246" in lines[1]
    assert lines[2:] == [
        "missing: 1 of 2 clips are missing: samplenew3_00000002",
        "fault: 1 row(s) left out, label outside the six: samplenew3_00000003 (fear)",
        "fault: 1 row(s) left out, duplicate id: samplenew3_00000001",
    ]
    asked = [one.scored() for one in semi]
    assert TASKS["mer2024_semi"].as_released(asked, [Answer(asked[1].id, "No idea")])["accuracy"] == 1.0


def test_mafw_reads_names_of_labels_only(tmp_path):
    files.write_mafw(tmp_path)
    found = items("mafw", tmp_path)
    assert [(one.id, one.answer, one.group) for one in found] == [
        ("00001", "anger", "set_1"),
        ("00002", "contempt", "set_1"),
        ("00003", "helplessness", "set_2"),
    ]
    assert [one.parts[0]["video"].name for one in found] == ["00001.mp4", "2.AVI", "00003.mp4"]
    assert sum(mafw.SETS.values()) == 9172, "the published number of clips with a single label"
    assert told(TASKS["mafw"], tmp_path) == [
        "note: set_6/test.txt is none of the five folds and is not read",
        "missing: no rows of set_3, set_4, set_5; the scores do not cover all five folds",
        "differs: rows of set_1: 2, published 1839",
        "differs: rows of set_2: 2, published 1837",
        "missing: 1 of 3 clips are missing: 00003",
        "fault: 1 row(s) left out, label outside the eleven in set_2: 00004.mp4 (3, line 2)",
    ]


def test_ravdess_reads_labels_from_names(tmp_path):
    files.write_ravdess(tmp_path)
    found = items("ravdess", tmp_path)
    assert sorted((one.id, one.answer, one.cluster) for one in found) == [
        ("01-01-01-01-01-01-01", "neutral", "actor 01"),
        ("01-01-05-02-02-02-24", "angry", "actor 24"),
        ("01-01-06-01-02-01-12", "fearful", "actor 12"),
    ]
    assert isinstance(found[0].parts[0]["video"], Path)
    lines = told(TASKS["ravdess"], tmp_path)
    assert lines[0].startswith("note: 4 other files were not read: ") and "song 1" in lines[0]
    assert lines[1:] == [
        "differs: spoken clips with picture and sound: 3, published 1440",
        "fault: 1 row(s) left out, emotion outside 01 to 08: 01-01-09-01-01-01-01.mp4",
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no spoken clip such as 01-01-06-01-02-01-12\.mp4"):
        items("ravdess", tmp_path / "empty")


def test_clips_of_one_actor_are_drawn_together(tmp_path):
    """Forty clips of each of four actors, two of whom are read without fault: a sample of four, not of 160."""
    for actor, emotion, intensity, statement, again in product((1, 2, 3, 4), (2, 3, 4, 5, 6), (1, 2), (1, 2), (1, 2)):
        name = "-".join(f"{number:02}" for number in (1, 1, emotion, intensity, statement, again, actor))
        files.write_bytes(tmp_path / f"{name}.mp4", b"")
    asked = [one.scored() for one in items("ravdess", tmp_path)]
    answers = [Answer(one.id, one.references[0] if one.cluster in ("actor 01", "actor 02") else "") for one in asked]
    score = TASKS["ravdess"].score(asked, answers)["WAR"]
    assert (score.items, score.value, score.low, score.high) == (160, 0.5, 0.0, 1.0)


def test_texts_in_another_encoding_are_named(tmp_path):
    files.write_bytes(tmp_path / "reference-semi.csv", "name,discrete\n样本一,sad\n".encode("gbk"))
    with pytest.raises(DataError, match=r"reference-semi\.csv: cannot be read \(.*expected a UTF-8 text file"):
        items("mer2024_semi", tmp_path)
    folder = tmp_path / files.MAFW_FOLDER / "set_1"
    files.write_bytes(folder / "test.txt", "00001.mp4 anger 样本一\n".encode("gbk"))
    with pytest.raises(DataError, match=r"test\.txt: cannot be read"):
        items("mafw", tmp_path)
