"""Readers of free answers about people: EMER, MER-UniBench's open vocabulary, VER."""

import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.scoring.records import Response as Answer
from emotion_qwen.evaluation.task import RELEASE
from emotion_qwen.evaluation.tasks import TASKS

from .. import benchmark_files as files
from .test_clips import items, told


def test_emer_tells_words_only_where_there_are_any(tmp_path):
    files.write_emer(tmp_path)
    found = items("emer", tmp_path)
    assert [len(one.parts) for one in found] == [2, 1, 1]
    assert found[0].parts[1]["text"] == 'The person says: "Leave me alone!" '
    assert not [part for one in found for part in one.parts if "nan" in str(part.get("text", ""))]
    assert [one.group for one in found] == ["anger", "sadness", "happiness"]
    assert [one.group for one in items("emer", tmp_path, "zh")] == ["anger", "sadness", "happiness"]
    assert found[0].choices == () and found[0].scored().references[0].startswith("In the video a man frowns")


def test_emer_as_released_has_empty_brackets_without_words(tmp_path):
    files.write_emer(tmp_path)
    release = TASKS["emer"].with_prompt(RELEASE)
    english, chinese = (release.items(tmp_path, side=48, languages=(language,)) for language in ("en", "zh"))
    assert "video is:[Leave me alone!],Reasoning" in english[0].question and len(english[0].parts) == 1
    assert "video is:[],Reasoning" in english[2].question and "对话内容是:[]" in chinese[1].question


def test_emer_says_what_differs(tmp_path):
    files.write_emer(tmp_path)
    lines = told(TASKS["emer"], tmp_path)
    assert lines[0] == "differs: rows of gt-eng.csv: 3, published 100"
    assert lines[1].startswith("differs: gt-eng.csv: MD5 ") and lines[1].endswith("starts with eece3ebf")
    assert lines[2].startswith("note: 2 clips without subtitles")
    assert lines[3] == "missing: 2 of 3 clips are missing: sample_00000002, sample_00000003"
    assert lines[4] == "fault: 1 row(s) left out, no reference text: sample_00000004"
    chinese = TASKS["emer"].check(tmp_path, languages=("zh",))
    assert any("gt-chi.csv" in finding.text for finding in chinese)


def test_emer_is_scored_without_a_judge_and_names_what_a_judge_is_asked(tmp_path):
    files.write_emer(tmp_path)
    task = TASKS["emer"]
    asked = [one.scored() for one in items("emer", tmp_path)]
    answers = [Answer(one.id, one.references[0]) for one in asked]
    assert task.score(asked, answers)["F1"].value == 1 and task.also["clue overlap"](asked, answers)["F1"].value == 1
    assert task.judge == ("clue", "label") and task.max_new_tokens == 1024


def test_open_vocabulary_needs_the_wheels_by_path(tmp_path):
    files.write_unibench(tmp_path / "OVMERDPlus")
    wheels = files.write_wheels(tmp_path / "wheels")
    found = items("mer_unibench", tmp_path)
    assert [(one.id, one.references, len(one.parts)) for one in found] == [
        ("a1", ("happy", "excited"), 2),
        ("a2", ("sad",), 1),
        ("a3", ("neutral",), 1),
    ]
    assert told(TASKS["mer_unibench"], tmp_path)[:4] == [
        "missing: no emotion wheels; give the organisers' folder with wheel*.xlsx, format.csv and synonym.xlsx as the "
        "option wheels; until then replies are kept, not scored",
        "note: 1 clips without emotion words count as neutral, as released: a3",
        "differs: clips of ovlabel.csv: 3, published 532",
        "missing: 1 of 3 clips are missing: a3",
    ]
    asked, answers = (
        [one.scored() for one in found[:2]],
        [Answer("a1", "glad"), Answer("a2", "low, excited")],
    )
    with pytest.raises(SettingsError, match="no emotion wheels; give the organisers' folder"):
        TASKS["mer_unibench"].score(asked, answers)
    result = TASKS["mer_unibench"].with_options(wheels=str(wheels)).score(asked, answers)
    lines = told(TASKS["mer_unibench"].with_options(wheels=str(wheels)), tmp_path)
    assert not [line for line in lines if "wheels" in line]
    broken = told(TASKS["mer_unibench"].with_options(wheels=str(tmp_path)), tmp_path)[0]
    assert broken.startswith("missing: ") and "holds no wheel*.xlsx" in broken
    assert result["precision"].value == 0.75 and result["recall"].value == 1
    with pytest.raises(SettingsError, match="task mer_unibench has no option 'wheel'; its options: wheels"):
        TASKS["mer_unibench"].with_options(wheel="x")
    with pytest.raises(SettingsError, match="task pope has no option 'wheels'; its options: none"):
        TASKS["pope"].with_options(wheels="x")


def test_open_vocabulary_without_subtitles_says_so(tmp_path):
    files.write_unibench(tmp_path)
    (tmp_path / "subtitle_eng.csv").unlink()
    lines = told(TASKS["mer_unibench"], tmp_path)
    assert lines[1] == "missing: no subtitle_eng.csv; clips are asked about without words"
    assert all(len(one.parts) == 1 for one in items("mer_unibench", tmp_path))


def test_ver_reads_the_held_out_part_in_each_language(tmp_path):
    files.write_ver(tmp_path)
    found = items("ver", tmp_path)
    assert [(one.id, one.references, len(one.parts)) for one in found] == [
        ("v1", ("happiness", "She smiles; she is happy."), 1),
        ("v2", ("anger", "He frowns and shouts."), 2),
    ]
    chinese = items("ver", tmp_path, "zh")
    assert [(one.id, one.answer, one.references[1]) for one in chinese] == [("v2", "愤怒", "他皱眉大喊。")]
    lines = told(TASKS["ver"], tmp_path)
    assert lines[0] == "missing: 1 of 2 media files are missing: clips/v2.mp4"
    assert lines[1] == "fault: 1 row(s) left out, emotion 'nostalgia' is not a label of fer7: line 4"
    assert lines[2].startswith(
        "fault: 2 row(s) left out, not a sample of a manifest: line 5 (KeyError: 'labels'), line 6"
    )
    with pytest.raises(DataError, match="no usable sample of split 'validation' in 'en'"):
        items("ver", tmp_path, split="validation")


def test_ver_scores_label_clues_and_agreement(tmp_path):
    files.write_ver(tmp_path)
    task = TASKS["ver"].with_options(labels="dfew7")
    asked = [one.scored() for one in task.items(tmp_path, side=48)]
    assert [one.references[0] for one in asked] == ["happy", "angry"]
    replies = [
        Answer("v1", "Emotion: happy. She smiles."),
        Answer("v2", "Emotion: sad. He frowns, shouts."),
    ]
    english = task.score(asked, replies)
    assert english["WAR"].value == 0.5 and 0 < task.also["clue overlap"](asked, replies)["F1"].value < 1
    other = [one.scored() for one in task.items(tmp_path, side=48, languages=("zh",))]
    chinese = task.score(other, [Answer("v2", "情绪：悲伤。他皱眉。")])
    assert task.between_languages(english, chinese) == {
        "items in both languages": 1.0,
        "same label": 1.0,
        "same label, where both could be read": 1.0,
    }
    silent = task.score(other, [Answer("v2", "不知道")])
    assert task.between_languages(english, silent)["same label"] == 0
