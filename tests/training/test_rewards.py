"""Rewards by hand for unequal answers, and the errors of wrong names, options and values."""

import math
from pathlib import Path

import pytest
from tests.evaluation.scoring.test_sets import FORMS, SYNONYMS, WHEELS, write_csv

from emotion_qwen.errors import DataError, SettingsError, TrainingError
from emotion_qwen.records import EmotionReport, FacialMovement, Person
from emotion_qwen.training.rewards import AnsweredSample, length_penalty, make_reward, reward_answers
from emotion_qwen.views.render import as_json

from .training_runs import chat


def answer(text: str, taught: str = "anger", finished: bool = True, **labels: str) -> AnsweredSample:
    sample = chat("faces/1", "Which emotion?", taught)
    sample.labels.update({"emotion": "anger", **labels})
    return AnsweredSample(sample, text, finished)


def of(name: str, given: AnsweredSample, **options) -> float:
    (value,) = make_reward(name, options)([given])
    return value


TREE = (
    '{"actions": "the mouth is open; the eyes are wide", "expression": "The face looks afraid.", "conclusion": "fear"}'
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TREE, 1.0),
        (TREE.replace("the mouth is open; ", ""), 6 / 7),  # three of four leaves, none wrong
        (TREE.replace("the mouth is open; ", "").replace('"fear"', '"anger"'), 4 / 7),
        ("fear", 0.0),
        ("[1]", 0.0),
        ("", 0.0),
    ],
)
def test_trees_are_compared_leaf_by_leaf(text, wanted):
    assert of("tree", answer(text, taught=TREE)) == pytest.approx(wanted)


@pytest.fixture
def reports(tmp_path) -> Path:
    """Reports about two clips of the same name and one other: the mouth of the first person opens."""
    opens = FacialMovement("jaw", "mouth open", 0.2, 1.4, 0.6, 0.3)
    for clip, face in (("a/clip.mp4", (opens,)), ("b/clip.mp4", ()), ("c/other.mp4", ())):
        shares = {"anger": 0.7, "fear": 0.3}
        person = Person(1, "anger", shares, 0.0, 2.0, 4, (0.1, 0.1, 0.3, 0.4), {}, face=face)
        report = EmotionReport(str(tmp_path / clip), "anger", shares, (person,), {}, "", "en")
        with (tmp_path / "reports.jsonl").open("a", encoding="utf-8") as file:
            file.write(as_json(report) + "\n")
    return tmp_path / "reports.jsonl"


@pytest.mark.parametrize(
    ("clip", "text", "wanted"),
    [
        ("a/clip.mp4", "The mouth is open. The person looks angry.", 1.0),
        ("b/clip.mp4", "The mouth is open. The person looks angry.", 1 / 2),
        ("a/clip.mp4", "The mouth is open. The eyes are closed. The person looks angry.", 2 / 3),
        ("a/clip.mp4", "The mouth is open.", 1 / 2),  # one claim is not enough
        ("a/clip.mp4", "The mouth is open. The mouth is open.", 1 / 2),  # nor is the same one again
        ("a/clip.mp4", "<think>The mouth is open. The person looks angry.</think><answer>fear</answer>", 1.0),
        ("a/clip.mp4", "The mouth is open at 9.5 s, the voice is loud. The person looks angry.", 1.0),  # not checked
        ("a/clip.mp4", "A room with a table.", 0.0),
        ("a/clip.mp4", "", 0.0),
        ("a/clip.mp4", "嘴张开。这个人很生气。", 0.0),
        ("elsewhere/other.mp4", "The person looks angry. The person looks afraid.", 1.0),  # by its name alone
    ],
)
def test_claims_are_compared_with_the_report_about_the_clip(reports, tmp_path, clip, text, wanted):
    sample = chat("1", "Why?", "anger", str(tmp_path / clip))
    (value,) = make_reward("claims", {"reports": str(reports)})([AnsweredSample(sample, text)])
    assert value == pytest.approx(wanted)


def test_clips_without_a_report_are_one_line(reports, tmp_path):
    reward = make_reward("claims", {"reports": str(reports), "claims": 1})
    assert reward([AnsweredSample(chat("1", "Why?", "", str(tmp_path / "a" / "clip.mp4")), "The mouth is open.")]) == [
        1
    ]
    for path in ("clip.mp4", "none.mp4"):  # the name alone would be that of two clips
        with pytest.raises(DataError, match="sample '1': .* has no report about its clip; analyze it, too"):
            reward([AnsweredSample(chat("1", "Why?", "anger", path), "The mouth is open.")])
    (tmp_path / "none.jsonl").write_text('{"source": "a.mp4", "error": "no such file"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="has no report; expected what `emotion-qwen analyze --output` writes"):
        make_reward("claims", {"reports": str(tmp_path / "none.jsonl")})


class Repeats:
    """A model that names the emotion of a word in the text it is given; it keeps the questions."""

    def __init__(self) -> None:
        self.questions: list[str] = []

    def write(self, views, question, max_new_tokens=64):
        assert not any(views)
        self.questions += question
        return ["fear" if "shake" in text else "愤怒" if "瞪" in text else "I cannot say." for text in question]


def test_reflection_asks_the_model_again_without_the_clip_and_the_answer():
    writer, think = Repeats(), "<think>{}</think><answer>{}</answer>"
    given = [
        answer(think.format("The hands shake.", "fear")),
        answer(think.format("The hands shake.", "anger")),
        answer(think.format("A table.", "anger")),
        answer(think.format("他瞪着眼。", "愤怒")),
        answer("fear"),  # the answer alone is read as its own reason, and the model cannot give it again
        answer(think.format("", "fear")),
        answer('{"trigger": "The hands shake.", "conclusion": "fear"}', emotion="boredom", set="emodb7"),
    ]
    assert make_reward("reflection", {}, writer)(given) == [1, 0, 0, 1, 0, 0, 1]
    assert len(writer.questions) == 6 and not any("<answer>" in text for text in writer.questions)
    (chinese,) = [text for text in writer.questions if "瞪" in text]
    assert "愤怒" in chinese and "anger" not in chinese
    (other,) = [text for text in writer.questions if "boredom" in text]
    assert "The hands shake." in other
    with pytest.raises(SettingsError, match="reward 'reflection': unknown option 'writer'; expected one of: labels"):
        make_reward("reflection", {"writer": "nano"}, writer)


def test_an_explanation_must_express_the_label():
    explained = (
        "<think>He shouts, what the hell is this, he is furious and insults everybody.</think><answer>{}</answer>"
    )
    angry, wrong = answer(explained.format("anger")), answer(explained.format("anger"), emotion="sadness")
    bare = answer("<answer>anger</answer>")
    values = make_reward("verify", {"words": 10})([angry, wrong, bare])
    assert values[0] > 0.4 > 0.2 > values[1] and values[2] == 0.0
    short = make_reward("verify", {"words": 26})([angry])[0]
    assert 0.4 < short / values[0] < 0.6  # 13 of 26 words
    with pytest.raises(SettingsError, match="the verifier does not know the label 'contempt'"):
        make_reward("verify", {"labels": "ferplus8"})
    with pytest.raises(DataError, match="the taught answer is no JSON object"):
        of("tree", answer(TREE, taught="fear"))


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("label", answer("anger"), 1.0),
        ("label", answer("The person looks furious."), 1.0),
        ("label", answer("愤怒", taught="愤怒"), 1.0),
        ("label", answer("fear"), 0.0),
        ("label", answer(""), 0.0),
        ("label", answer("anger or fear"), 0.0),
        ("label", answer("boredom", emotion="boredom", set="emodb7"), 1.0),
        ("form", answer("anger"), 1.0),
        ("form", answer("fear"), 1.0),
        ("form", answer("The person looks furious."), 0.0),
        ("form", answer("anger", finished=False), 0.0),
        ("form", answer("愤怒"), 0.0),
        ("form", answer("愤怒", taught="愤怒"), 1.0),
        ("polarity", answer("fear"), 1.0),
        ("polarity", answer("happiness"), 0.0),
        ("polarity", answer("neutral"), 0.0),
        ("polarity", answer(""), 0.0),
    ],
)
def test_rewards_of_labels(name, given, wanted):
    assert of(name, given) == wanted


def test_the_form_with_tags():
    whole = "<think>The brows are low.</think>\n<answer>anger</answer>"
    assert of("form", answer(whole), form="tags") == 1
    for wrong in ("anger", whole[:-3], "<think></think><answer>anger</answer>", f"Well: {whole}"):
        assert of("form", answer(wrong), form="tags") == 0
    assert of("form", answer(whole, finished=False), form="tags") == 0


@pytest.mark.parametrize(
    ("given", "taught", "alpha", "wanted"),
    [(3, 2, 0.1, 0.05), (7, 2, 0.1, 0.25), (2, 2, 0.1, 0.0), (1, 2, 0.1, 0.0), (7, 2, 0.0, 0.0), (5, 4, 0.2, 0.05)],
)
def test_the_penalty_for_long_lists(given, taught, alpha, wanted):
    assert length_penalty(given, taught, alpha) == pytest.approx(wanted)


@pytest.fixture
def wheels(tmp_path) -> Path:
    for name, rows in {**WHEELS, "synonym": SYNONYMS}.items():
        write_csv(tmp_path / f"{name}.csv", rows)
    write_csv(tmp_path / "format.csv", FORMS)
    return tmp_path


def test_words_on_wheels_less_the_penalty(wheels):
    # "glad" and "merry" share a group on both wheels, "gloomy" has the other one.
    assert of("wheel", answer("merry", taught="glad"), wheels=str(wheels)) == 1
    # One of two groups is right: F = 2 * 1 / (1 + 2) on both wheels; two words for one cost 0.1.
    assert of("wheel", answer("glad, gloomy", taught="glad"), wheels=str(wheels)) == pytest.approx(2 / 3 - 0.1)
    # The same groups in four words cost 0.3 more; without the penalty, nothing.
    longer = answer("glad, gloomy, sad, merry", taught="glad")
    assert of("wheel", longer, wheels=str(wheels), alpha=0.2) == pytest.approx(2 / 3 - 0.6)
    assert of("wheel", longer, wheels=str(wheels), alpha=0.0) == pytest.approx(2 / 3)
    assert of("wheel", answer("", taught="glad"), wheels=str(wheels)) == 0


def test_wrong_names_and_options_are_one_line(wheels):
    with pytest.raises(SettingsError, match=r"unknown reward 'lable'; expected one of: .*Did you mean 'label'\?"):
        make_reward("lable", {})
    with pytest.raises(SettingsError, match="reward 'label': unknown option 'label'; expected one of: labels"):
        make_reward("label", {"label": "fer7"})
    with pytest.raises(SettingsError, match="reward 'wheel' has no wheels; give it among the options"):
        make_reward("wheel", {})
    with pytest.raises(SettingsError, match="unknown form 'json'"):
        make_reward("form", {"form": "json"})
    with pytest.raises(SettingsError, match="alpha -1 and level 'level1'"):
        make_reward("wheel", {"wheels": str(wheels), "alpha": -1})
    with pytest.raises(SettingsError, match="the valence of label 'sleepy' is unknown"):
        make_reward("polarity", {"labels": "happy,sleepy"})


def test_samples_without_what_a_reward_needs_are_one_line(wheels):
    bare = AnsweredSample(chat("faces/2", "Which emotion?", "anger"), "anger")
    with pytest.raises(DataError, match="sample 'faces/2' has no label 'emotion'"):
        make_reward("label", {})([bare])
    with pytest.raises(DataError, match="sample 'faces/1': unknown label 'boredom'"):
        of("label", answer("anger", emotion="boredom"))
    with pytest.raises(DataError, match="the taught answer names no word"):
        of("wheel", answer("glad", taught="..."), wheels=str(wheels))


def test_values_that_are_no_numbers_and_missing_ones_are_one_line():
    given = [answer("fear"), answer("anger")]
    with pytest.raises(
        TrainingError, match="reward 'mine' is nan for the answer 'anger' to sample 'faces/1'; expected"
    ):
        reward_answers({"mine": lambda answers: [1.0, math.nan]}, given)
    with pytest.raises(TrainingError, match="reward 'mine' returned 1 values for 2 answers"):
        reward_answers({"mine": lambda answers: [1.0]}, given)
    assert reward_answers({"label": make_reward("label", {})}, given) == {"label": [0.0, 1.0]}


def test_a_reward_from_a_file(tmp_path):
    (tmp_path / "my_rewards.py").write_text(
        "def short(*, most=3):\n    return lambda answers: [len(a.text) <= most for a in answers]\n"
    )
    name = f"{tmp_path / 'my_rewards.py'}:short"
    given = [answer("joy"), answer("anger")]
    assert reward_answers({"short": make_reward(name, {})}, given) == {"short": [1.0, 0.0]}
    assert reward_answers({"short": make_reward(name, {"most": 5})}, given) == {"short": [1.0, 1.0]}
    with pytest.raises(SettingsError, match="unknown function 'shor'"):
        make_reward(name[:-1], {})
