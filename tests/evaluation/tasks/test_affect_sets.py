"""Readers of the emotion sets of 2008 to 2026 on invented files: items, splits, and what they say of odd rows."""

import json

import pytest

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.scoring.records import Response
from emotion_qwen.evaluation.task import OURS
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.prompts import OPEN, PRESETS

from .. import affect_files as files
from ..benchmark_files import write_csv, write_wheels

# Task -> id and answer of every item.
ITEMS = {
    "mer2023_multi": {"s1": "sad, -2.5", "s2": "happy, 3"},
    "mer2023_noise": {"n1": "angry, -3"},
    "mer2023_semi": {"u1": "worried"},
    "mer2025_track1": {"samplenew3_1": "happy", "samplenew3_2": "sad"},
    "mer2026_cross": {"samplenew3_1": "happy", "samplenew3_2": "sad"},
    "mer2025_track2": {"samplenew3_1": "happy, excited", "samplenew3_2": "sad", "samplenew3_3": "neutral"},
    "mer2026_prefer": {"samplenew3_1": "a1", "samplenew3_1#2": "a1", "samplenew3_2": "a2", "samplenew3_3": "same"},
    "meld": {"dia0_utt0": "surprise", "dia0_utt1": "joy", "dia2_utt0": "sadness"},
    "mosi": {"v_1/0001": "0.8", "v_1/0002": "0", "v_2/0001": "-0.6"},
    "simsv2": {"v_1/0001": "0.8", "v_1/0002": "0", "v_2/0001": "-0.6"},
    "unibench_sims": {"v_1/0001": "positive", "v_1/0002": "neutral", "v_2/0001": "negative"},
    "emobank": {"a": "3.2, 3, 2.9", "b": "1.5, 4, 2"},
    "affectnet": {"103/a1.jpg": "happiness", "103/a2.JPG": "contempt", "9/a4.jpg": "neutral"},
    "affectnet_va": {"103/a1.jpg": "0.8, 0.3", "103/a2.JPG": "-0.5, 0.4", "9/a4.jpg": "0, 0"},
    "rafdb": {"test_0001.jpg": "happiness", "test_0002.jpg": "neutral"},
    "ferplus": {"fer0032220.png": "happiness", "fer0032223.png": "contempt"},
    "cremad": {"1001_DFA_ANG_XX": "anger", "1002_IEO_HAP_LO": "happiness"},
    "emodb_files": {"03a01Fa": "happiness", "08b10Wd": "anger", "16a05Lb": "boredom"},
    "artphoto": {"amusement_0001": "amusement", "awe_0002": "awe"},
    "fi": {"amusement/1": "amusement", "fear/1": "fear", "fear/a": "fear"},
    "iemocap": {"Ses05F_impro01_F000": "neutral", "Ses05F_impro01_F001": "happy", "Ses05F_impro01_F003": "sad"},
    "ckplus": {"S005_001_00000011": "disgust", "S010_002_00000014": "surprise"},
    "emotion6": {"anger/1.jpg": "anger", "joy/1.jpg": "joy"},
    "afew_va": {"001/00000": "0.3, 0", "001/00001": "0.2, 0.2", "001/00002": "0.1, 0.4"},
    "affwild2": {"a-1/00001": "0.1, 0.25", "a-1/00003": "-0.3, 0.5"},
    "mme_emotion": {"ER-Lab/IEMOCAP/video/a.mp4": "Anger", "ER-Lab/b": "Weak Positive", "ML-ER/b": "Anger"},
    "emobench_m": {"MELD/a": "joy", "MELD/b": "anger", "MC-EIU/e": "happy_wishing"},
    "emobench": {"EA/1": "B", "EU emotion/1": "B", "EU cause/1": "A"},
    "emotionhallucer": {"1b": "yes", "1h": "no", "2b": "yes", "2h": "no"},
}
FINDINGS = {
    "mer2023_multi": [
        "differs: rows of test1-label.csv, test: 5, published 411",
        "fault: 1 row(s) left out, label outside the 6: s3 (bored)",
        "fault: 1 row(s) left out, duplicate id: s1",
        "fault: 1 row(s) left out, no number: s4 (neutral)",
    ],
    "mer2026_prefer": [
        "missing: 1 of 3 clips are missing: samplenew3_3",
        "fault: 1 row(s) left out, preference is not a1, a2 or same: samplenew3_3 (both)",
    ],
    "meld": [
        "differs: rows of test_sent_emo.csv, test: 4, published 2610",
        "missing: 1 of 3 files are missing: dia2_utt0",
        "fault: 1 row(s) left out, label outside the 7: dia1_utt0 (boredom)",
    ],
    "mosi": [
        "differs: rows of label.csv, test: 4, published 686",
        "fault: 1 row(s) left out, no number: v_2/0003 (much)",
    ],
    "affectnet_va": [
        "differs: rows of validation.csv, validation: 4, published 5500",
        "missing: 1 of 3 files are missing: 9/a4.jpg",
        "fault: 1 row(s) left out, no number: 9/a3.jpg (-2, -2)",
    ],
    "ferplus": [
        "differs: rows of fer2013new.csv, test: 5, published 3589",
        "missing: 1 of 2 files are missing: fer0032223.png",
        "fault: 1 row(s) left out, no majority: fer0032221.png (0)",
        "fault: 2 row(s) left out, voted unknown or not a face: fer0032222.png (8), unnamed (0)",
    ],
    "cremad": [
        "note: 1 other files were not read: name not as in this set 1",
        "differs: files: 2, published 7442",
        "fault: 1 row(s) left out, label outside the set: 1001_TIE_XXX_XX.flv (xxx)",
    ],
    "iemocap": [
        "note: 1 turns with other labels were not read: fru 1",
        "differs: turns of Session5: 3, published 1241",
    ],
    "ckplus": [
        "differs: labelled sequences: 2, published 327",
        "missing: 1 of 2 pictures are missing: S010_002_00000014",
        "fault: 1 row(s) left out, label outside 1 to 7: S011_001_00000016_emotion.txt (empty)",
    ],
    "emotion6": [
        "differs: pictures: 4, published 1980",
        "fault: 1 row(s) left out, two emotions with the same share: joy/2.jpg (joy, surprise)",
        "fault: 1 row(s) left out, no seven shares: fear/1.jpg",
    ],
    "affwild2": [
        "note: 1 frames without valid annotation are left out",
        "missing: 1 of 2 frames are missing: a-1/00003",
        "fault: 1 row(s) left out, no header valence,arousal: b.txt",
    ],
    "emotionhallucer": [
        "differs: questions: 4, published 2742",
        "fault: 1 row(s) left out, answer is not yes or no: 4b (perhaps)",
        "fault: 1 row(s) left out, without id, pair, question and answer: line 7",
        "fault: 1 row(s) left out, pair without exactly one yes and one no: 3b",
    ],
}


def items(name, data, **more):
    return TASKS[name].items(data, side=None, **more)


def media(item, home):
    return [str(part[part["type"]].relative_to(home)) for part in item.parts if part["type"] != "text"]


@pytest.mark.parametrize("name", ITEMS)
def test_every_usable_row_is_an_item(name, tmp_path):
    files.WRITERS[name](tmp_path)
    assert {item.id: item.answer for item in items(name, tmp_path)} == ITEMS[name]


@pytest.mark.parametrize("name", FINDINGS)
def test_every_odd_row_and_missing_file_is_named(name, tmp_path):
    files.WRITERS[name](tmp_path)
    task = TASKS[name].with_options(wheels=str(tmp_path)) if "wheels" in TASKS[name].options else TASKS[name]
    assert [f"{finding.kind}: {finding.text}" for finding in task.check(tmp_path)] == FINDINGS[name]


@pytest.mark.parametrize("name", files.WRITERS)
def test_a_folder_without_the_files_is_told_in_one_line(name, tmp_path):
    with pytest.raises(DataError) as caught:
        items(name, tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value) and "give" in str(caught.value)


def test_splits_have_their_own_rows_and_files(tmp_path):
    files.write_meld(tmp_path / "meld")
    (validation,) = items("meld", tmp_path, split="validation")
    assert media(validation, tmp_path / "meld") == ["dev_splits_complete/dia0_utt0.mp4"]
    files.write_sentiment(tmp_path / "mosi")
    assert [item.id for item in items("mosi", tmp_path, split="validation")] == ["v_4/0001"]
    files.write_iemocap(tmp_path / "iemocap")
    everything = items("iemocap", tmp_path, split="all")
    assert {item.group for item in everything} == {"Session1", "Session5"} and len(everything) == 6
    files.write_ferplus(tmp_path / "ferplus")
    assert [item.answer for item in items("ferplus", tmp_path, split="validation")] == ["neutral"]
    with pytest.raises(SettingsError, match="unknown split 'train'"):
        items("meld", tmp_path, split="train")


def test_media_with_the_same_name_in_two_folders_are_told_apart(tmp_path):
    files.write_sentiment(tmp_path)
    paths = {item.id: media(item, tmp_path) for item in items("mosi", tmp_path)}
    assert paths["v_1/0001"] == ["Raw/v_1/0001.mp4"] and paths["v_2/0001"] == ["Raw/v_2/1.mp4"]
    assert [item.cluster for item in items("mosi", tmp_path)] == ["v_1", "v_1", "v_2"]


def test_a_turn_is_a_part_of_the_dialogue_unless_it_was_cut(tmp_path):
    files.write_iemocap(tmp_path)
    whole, cut, _ = items("iemocap", tmp_path)
    assert (whole.parts[0]["start"], whole.parts[0]["end"]) == (6.29, 8.24) and whole.parts[1]["words"] == "Excuse me."
    assert media(cut, tmp_path) == ["cut/Ses05F_impro01_F001.mp4"] and "start" not in cut.parts[0]


def test_pictures_recordings_and_texts_are_shown_as_such(tmp_path):
    kinds = {}
    for name in ("rafdb", "emodb_files", "cremad", "emobank", "emotionhallucer"):
        files.WRITERS[name](tmp_path / name)
        kinds[name] = [part["type"] for part in items(name, tmp_path)[0].parts]
    assert kinds == {
        "rafdb": ["image"], "emodb_files": ["audio"], "cremad": ["video"], "emobank": ["text"], "emotionhallucer": [],
    }  # fmt: skip


def test_words_are_in_the_language_of_the_question(tmp_path):
    files.write_challenge(tmp_path)
    english, chinese = (items("mer2025_track1", tmp_path, languages=(language,))[0] for language in ("en", "zh"))
    assert (english.parts[1]["words"], chinese.parts[1]["words"]) == ("Hello", "你好")
    assert len(items("mer2025_track1", tmp_path)[1].parts) == 1, "nan is no word"
    assert len(items("mer2026_cross", tmp_path)[0].parts) == 1, "the words are not the listener's"


def test_frames_are_thinned_by_an_option_and_kept_by_video(tmp_path):
    files.write_afew_va(tmp_path)
    task = TASKS["afew_va"].with_options(step="2")
    assert [item.id for item in task.items(tmp_path, side=None)] == ["001/00000", "001/00002"]
    assert "note: one of every 2 frames is asked about" in [f"{f.kind}: {f.text}" for f in task.check(tmp_path)]
    assert len(items("afew_va", tmp_path, limit=1)) == 3, "a limit keeps whole videos"
    with pytest.raises(SettingsError, match="option step of afew_va is 'x'; expected a whole number from 1"):
        TASKS["afew_va"].with_options(step="x")


def test_a_complete_table_says_nothing_of_its_rows(tmp_path):
    rows = [[f"s{n}", "sad" if n % 2 else "happy", n % 5] for n in range(411)]
    write_csv(tmp_path / "test1-label.csv", ["name", "discrete", "valence"], rows)
    findings = TASKS["mer2023_multi"].check(tmp_path)
    assert [finding.kind for finding in findings] == ["missing"]
    assert len(items("mer2023_multi", tmp_path, limit=10)) == 10


def test_the_same_clips_are_asked_about_in_another_way_for_mer_unibench(tmp_path):
    files.write_unibench_basic(tmp_path / "files")
    task = TASKS["unibench_mer2023"]
    assert "no emotion wheels" in task.check(tmp_path / "files")[0].text
    task = task.with_options(wheels=str(write_wheels(tmp_path / "wheels")))
    asked = task.items(tmp_path / "files", side=None)
    assert "List all that apply" in asked[0].question and not asked[0].choices and task.extract == "words"
    result = task.score([item.scored() for item in asked], [Response("s1", "glad, sad"), Response("s2", "happy")])
    assert result["hit rate"].value == 0.5 and result["mean length"].value == 1.5


def test_sentiment_can_be_asked_openly_and_needs_then_no_choices(tmp_path):
    files.write_sentiment(tmp_path)
    task = TASKS["unibench_mosi"]
    assert task.items(tmp_path, side=None)[0].choices == ("negative", "neutral", "positive")
    asked = task.with_prompt(OPEN).items(tmp_path, side=None)
    assert not asked[0].choices and "List all that apply" in asked[0].question
    answers = [Response("v_1/0001", "happy, grateful"), Response("v_2/0001", "positive")]
    assert task.score([item.scored() for item in asked], answers)["accuracy"].value == 0.5


def test_published_models_are_asked_in_their_own_form(tmp_path):
    files.write_meld(tmp_path)
    task = TASKS["meld"]
    for name, preset in PRESETS.items():
        if name == "emo-r3":
            assert name not in task.prompts, "it was made for pictures and the emotions that they evoke"
            continue
        asked = task.with_prompt(name)
        item = asked.items(tmp_path, side=None)[0]
        assert asked.system == preset.system and asked.column == f"meld.{name}" and asked.languages == ("en",)
        assert "{" not in item.question and item.references == ("surprise",)
    assert task.with_prompt("r1-omni").with_prompt(OURS).items(tmp_path, side=None)[0].question.startswith("Which")
    assert (
        task.with_prompt("humanomni")
        .items(tmp_path, side=None)[0]
        .question.endswith("\nanger, disgust, fear, joy, neutral, sadness, surprise")
    )
    files.write_artphoto(tmp_path / "artphoto")
    question = TASKS["artphoto"].with_prompt("emo-r3").items(tmp_path, side=None)[0].question
    assert question.startswith("Which emotion does the picture evoke?") and question.endswith("\\boxed{}.")
    assert all(preset.source for preset in PRESETS.values())


def test_a_judges_stored_marks_are_scored_beside(tmp_path):
    files.write_mme_emotion(tmp_path / "set")
    rows = [{"video_id": "IEMOCAP/video/a", "score": "<score>Step 1: 1/1, Step 2: 1/1</score>"}]
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "ER_Lab_mine_eval.json").write_text(json.dumps(rows), encoding="utf-8")
    several = [{"video_id": "b", "score": "<score>Step 1: 0/1</score>"}]
    (tmp_path / "marks" / "ML_ER_mine_eval.json").write_text(json.dumps(several), encoding="utf-8")
    task = TASKS["mme_emotion"].with_options(marks=str(tmp_path / "marks"))
    scored = [item.scored() for item in task.items(tmp_path / "set", side=None)]
    result = task.also["judged steps"](scored, [])
    assert result["recognition"].value == 0.5 and result["recognition"].items == 2
    assert result["CoT, unmarked as 0"].value == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert [judged.read is not None for judged in result.judged] == [True, False, True]


def test_reasons_before_the_answer_do_not_matter(tmp_path):
    files.write_mme_emotion(tmp_path)
    scored = [item.scored() for item in items("mme_emotion", tmp_path)]
    answers = [Response(item.id, f"Not Happiness, not Anger?\nSo: {item.references[0]}") for item in scored]
    assert TASKS["mme_emotion"].score(scored, answers)["accuracy"].value == 1


def test_dimensions_of_emobench_m_are_given_by_the_user(tmp_path):
    files.write_emobench_m(tmp_path)
    scored = [item.scored() for item in items("emobench_m", tmp_path)]
    answers = [Response("MELD/a", "joy"), Response("MC-EIU/e", "emotion: happy, intent: wishing")]
    assert TASKS["emobench_m"].score(scored, answers)["mean of sets"].value == 0.75
    task = TASKS["emobench_m"].with_options(dimensions="MELD=CEU,MC-EIU=CEU")
    assert task.score(scored, answers)["mean of dimensions"].value == 0.75
    with pytest.raises(SettingsError, match="expected SET=DIMENSION"):
        TASKS["emobench_m"].with_options(dimensions="MLD=CEU")


def test_emobench_needs_emotion_and_cause(tmp_path):
    files.write_emobench(tmp_path)
    scored = [item.scored() for item in items("emobench", tmp_path)]
    answers = [Response("EA/1", "B"), Response("EU emotion/1", "(B)"), Response("EU cause/1", "B")]
    result = TASKS["emobench"].score(scored, answers)
    assert {score.name: score.value for score in result.scores} == {
        "EU, emotion and cause": 0, "EA": 1, "EU emotion": 1, "EU cause": 0,
    }  # fmt: skip
    (question,) = [i.question for i in items("emobench", tmp_path, languages=("zh",)) if i.id == "EA/1"]
    assert "Sam最好怎么做或怎么说？" in question and "B. 求助" in question
