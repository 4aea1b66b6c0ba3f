from __future__ import annotations

import re
import subprocess
import sys

import pytest

from emotion_qwen.errors import SettingsError
from emotion_qwen.taxonomy import CONCEPTS, LABEL_SETS, concept, label_set, match_label

ENGLISH = [
    ("happy", "happy"),
    ("Happy.", "happy"),
    ("HAPPY!!!", "happy"),
    ("**Happy**", "happy"),
    ("Answer: sad", "sad"),
    ("<answer>angry</answer>", "angry"),
    ("The person looks joyful.", "happy"),
    ("He smiles happily at the camera.", "happy"),
    ("She shouts angrily.", "angry"),
    ("The man is furious about the noise.", "angry"),
    ("There is terror in her eyes.", "fear"),
    ("He seems taken aback.", "surprise"),
    ("Her face is expressionless.", "neutral"),
    ("He shows no emotion.", "neutral"),
    ("He shows no emotion other than fear.", "fear"),
    ("I think the dominant emotion is disgust.", "disgust"),
    ("not happy", None),
    ("He isn't angry.", None),
    ("He isn’t angry.", None),
    ("She is without fear.", None),
    ("Nobody is angry here.", None),
    ("No person in this picture shows anger.", None),
    ("I do not think that the man is angry.", None),
    ("There is no clear visual evidence of sadness.", None),
    ("She does not look happy; she looks sad.", "sad"),
    ("not sad but happy", "happy"),
    ("not sad, happy", "happy"),
    ("He is not sad he is happy", "happy"),
    ("neither sad nor angry, just calm", "neutral"),
    ("She is not sad, angry or afraid, but surprised.", "surprise"),
    ("The man who does not smile is sad.", "sad"),
    ("He is not smiling because he is sad.", "sad"),
    ("angry rather than sad", "angry"),
    ("more sad than angry", "sad"),
    ("far from happy", None),
    ("non-neutral", None),
    ("an anger-free face", None),
    ("Happiness is absent; what remains is fear.", "fear"),
    ("Happy? No, sad.", "sad"),
    ("unhappy", "sad"),
    ("The unhappy man", "sad"),
    ("not unhappy", None),
    ("fearless", None),
    ("joyless", None),
    ("not only happy, truly delighted", "happy"),
    ("He cannot hide his anger.", "angry"),
    ("She couldn't be happier.", "happy"),
    ("Without a doubt she is afraid.", "fear"),
    ("nothing but disgust", "disgust"),
    ("Sadly, I cannot tell.", None),
    ("Surprisingly, he is sad.", "sad"),
    ("I'm afraid I cannot see the face.", None),
    ("I am happy to help! The person is angry.", "angry"),
    ("happy, sad, neutral, angry, surprise, disgust, fear", None),
    ("happy and surprised", None),
    ("happy or sad?", None),
    ("happy (0.95), sad (0.05)", None),
    ("She is glad and cheerful.", "happy"),
    ("I am not sure if he is happy", None),
    ("no fear in his happy face", "happy"),
    ("It is sadness, not anger, that he feels.", "sad"),
    ("No, he is angry.", "angry"),
    ("un-happy", None),
    ("worried", None),
    ("a person in a room", None),
    ("", None),
    ("madam", None),
    ("The fearsome sadist rages", None),
]
CHINESE = [
    ("高兴", "happy"),
    ("他很开心。", "happy"),
    ("她看起来非常开心", "happy"),
    ("画面中的人流露出喜悦之情", "happy"),
    ("伤心", "sad"),
    ("这个人很难过，在流泪。", "sad"),
    ("表情平静", "neutral"),
    ("面无表情", "neutral"),
    ("他没有明显的情绪", "neutral"),
    ("他生气了！", "angry"),
    ("情绪：愤怒", "angry"),
    ("她吃惊地张大了嘴", "surprise"),
    ("他觉得恶心", "disgust"),
    ("他非常害怕", "fear"),
    ("惊恐", "fear"),
    ("不开心", None),
    ("他没有生气", None),
    ("她并不悲伤", None),
    ("他毫无恐惧", None),
    ("看不出悲伤", None),
    ("我不认为他是高兴的", None),
    ("没有人生气", None),
    ("并没有流露出任何害怕或惊讶，只是很平静", "neutral"),
    ("不是高兴，而是悲伤", "sad"),
    ("不是高兴而是悲伤", "sad"),
    ("与其说高兴，不如说惊讶", "surprise"),
    ("既不高兴也不悲伤", None),
    ("他没有笑，显得很悲伤", "sad"),
    ("他不说话是生气了", "angry"),
    ("他忍不住生气了", "angry"),
    ("掩饰不住的喜悦", "happy"),
    ("不难看出他很悲伤", "sad"),
    ("高兴不起来", None),
    ("高兴、悲伤、中性、愤怒、惊讶、厌恶、恐惧", None),
    ("高兴还是悲伤", None),
    ("又惊讶又高兴", None),
    ("春天生气勃勃", None),
    ("开心又快乐", "happy"),
    ("她感到恐惧但没有愤怒", "fear"),
    ("他看起来不太高兴，有些愤怒", "angry"),
    ("不，他很高兴", "happy"),
    ("担忧", None),
    ("一个人坐在房间里", None),
    ("He is 高兴", "happy"),
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH + CHINESE)
def test_a_reply_is_read_as_a_careful_reader_would(text: str, expected: str | None) -> None:
    assert match_label(text, label_set("dfew7")) == expected


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("worried", "mer6", "worried"),
        ("他有些不安", "mer6", "worried"),
        ("不担心", "mer6", None),
        ("joy", "ekman", "joy"),
        ("happy", "fer7", "happiness"),
        ("she feels content", "mikels8", "contentment"),
        ("the content of the picture", "mikels8", None),
        ("amused", "mikels8", "amusement"),
        ("amused", "dfew7", None),
        ("annoyed", "goemotions28", "annoyance"),
        ("不耐烦", "goemotions28", "annoyance"),
        ("feeling grateful", "goemotions28", "gratitude"),
        ("grief", "goemotions28", "grief"),
    ],
)
def test_the_label_set_decides_what_counts(text: str, labels: str, expected: str | None) -> None:
    assert match_label(text, label_set(labels)) == expected


def test_a_language_reads_only_its_own_words() -> None:
    labels = label_set("dfew7")
    assert match_label("happy 悲伤", labels) is None
    assert match_label("happy 悲伤", labels, "en") == "happy"
    assert match_label("happy 悲伤", labels, "zh") == "sad"
    with pytest.raises(SettingsError, match=r"unknown language 'fr'; expected one of: en, zh"):
        match_label("heureux", labels, "fr")


@pytest.mark.parametrize("name", LABEL_SETS)
def test_every_label_reads_as_itself_in_both_languages(name: str) -> None:
    labels = label_set(name)
    assert len(labels.labels) == len(labels.chinese) == len({concept(label) for label in labels.labels})
    assert labels.source
    for english, chinese in zip(labels.labels, labels.chinese, strict=True):
        assert match_label(english, labels, "en") == english
        assert match_label(chinese, labels, "zh") == english
        assert concept(chinese) == concept(english)
        assert match_label(f"not {english}", labels, "en") is None
        assert match_label(f"不是{chinese}", labels, "zh") is None
    assert match_label(", ".join(labels.labels), labels) is None
    assert match_label("、".join(labels.chinese), labels) is None


def test_every_alias_belongs_to_one_concept() -> None:
    words = [word for c in CONCEPTS.values() for word in (*c.english, *c.chinese)]
    assert len(words) == len(set(words))
    assert all(word == word.strip().lower() and word for word in words)


def test_coordinates_lie_in_the_unit_cube_and_tell_pleasant_from_unpleasant() -> None:
    for c in CONCEPTS.values():
        assert all(-1 <= value <= 1 for value in (c.valence, c.arousal, c.dominance))
    assert CONCEPTS["happiness"].valence > 0 > CONCEPTS["sadness"].valence
    assert CONCEPTS["anger"].dominance > 0 > CONCEPTS["fear"].dominance


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(SettingsError, match=re.escape("unknown label set 'dfew'; expected one of: dfew7, ekman")):
        label_set("dfew")
    with pytest.raises(SettingsError, match="Did you mean 'happiness'"):
        concept("hapiness")
    with pytest.raises(SettingsError, match="unknown language 'de'"):
        label_set("mer6").names("de")
    assert label_set("mer6").names("zh")[0] == "中性"


def test_taxonomy_loads_no_torch() -> None:
    code = "import sys, emotion_qwen.taxonomy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
