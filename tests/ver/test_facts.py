"""Nothing invented passes: people, speakers, smiles, labels, languages."""

from __future__ import annotations

import json

import pytest
from tests.ver.teachers import GOOD

from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.settings import CheckSettings
from emotion_qwen.ver.stats import cohens_kappa
from emotion_qwen.ver.steps.facts import languages_fault, objections, without_emotions
from emotion_qwen.ver.teachers.description import parse_description

NUMBERS = {"people": 1, "speaker": 0, "valence": 0.7, "arousal": 0.2}


def told(language="en", **changes):
    answer = {**GOOD[language], **NUMBERS, **changes}
    return parse_description(json.dumps(answer, ensure_ascii=False), label_set("dfew7"), language)


def measured(**changes):
    return {"people": 1, "most_people": 1, "level": None, "speaker": -2, "smile": 0.9, "words": "[]", **changes}


def against(language="en", item=None, settings=None, **changes):
    return objections(told(language, **changes), item or measured(), language, settings or CheckSettings.of({}))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_description_that_fits_passes(language):
    assert against(language) == []


@pytest.mark.parametrize(
    "language, changes, begins",
    [
        ("en", {"people": 2}, "people: 2 described, 1 measured"),
        ("en", {"body": "She turns to another person beside her."}, "people: 'another person', but one face"),
        ("en", {"scene": "Two women sit at a table."}, "people: 'Two women'"),
        ("zh", {"body": "旁边还有另一个男人。"}, "people: '另一个男人'"),
        ("zh", {"scene": "两人坐在桌边。"}, "people: '两人'"),
        ("en", {"speaker": 2}, "speaker: person 2, but 1 measured"),
        ("en", {"speaker": 1}, "speaker: person 1, but the clip has no sound and no words"),
        ("en", {"voice": "The voice trembles."}, "voice: 'The voice trembles.', but the clip has no sound"),
        ("zh", {"voice": "声音颤抖。"}, "voice: '声音颤抖。', but the clip has no sound"),
        ("en", {"emotions": ["sad"], "valence": -0.5}, "label: 'sad', but the description says happiness"),
        ("en", {"valence": -0.6}, "valence: -0.60 contradicts 'happy'"),
        ("en", {"voice": "A calm voice without tremor."}, "voice: 'A calm voice without tremor.', but"),
        ("zh", {"voice": "声音无力。"}, "voice: '声音无力。', but the clip has no sound"),
        ("en", {"body": "They look at each other."}, "people: 'look at each other'"),
        ("zh", {"scene": "A plain room in even and soft light."}, "language: the zh texts are not in Chinese"),
        ("en", {"scene": "光线均匀的房间"}, "language: the en texts are not in English"),
        ("en", {"description": "Happy."}, "length: the description has 6 characters"),
        ("en", {"reasoning": ""}, "length: there is no reasoning"),
        ("zh", {k: GOOD["en"][k] for k in ("description", "reasoning")}, "language: the zh texts are not in Chinese"),
        ("en", {k: GOOD["zh"][k] for k in ("description", "reasoning")}, "language: the en texts are not in English"),
    ],
)
def test_what_was_not_measured_is_objected_to(language, changes, begins):
    faults = against(language, **changes)
    assert any(fault.startswith(begins) for fault in faults), faults


@pytest.mark.parametrize(
    "language, text, objected",
    [
        ("en", "She smiles broadly.", True),
        ("en", "The mouth is closed, without a smile.", False),
        ("en", "She does not laugh or smile.", False),
        ("zh", "她露出微笑。", True),
        ("zh", "脸上没有笑容。", False),
        ("en", "She does not frown but smiles.", True),
        ("en", "No frown, she is smiling.", True),
        ("en", "She doesn't smile.", False),
        ("en", 'She says: "Why are you smiling?"', False),
        ("zh", "她不禁微笑。", True),
        ("zh", "她忍不住笑了。", True),
        ("zh", "她无奈地笑着。", True),
        ("zh", "她不笑了。", False),
    ],
)
def test_a_smile_must_be_measured(language, text, objected):
    faults = against(language, measured(smile=0.01), body=text)
    assert any(fault.startswith("smile: ") for fault in faults) is objected
    assert not any(fault.startswith("smile: ") for fault in against(language, measured(smile=0.6), body=text))
    assert not any(fault.startswith("smile: ") for fault in against(language, measured(smile=None), body=text))


@pytest.mark.parametrize(
    "language, changes",
    [
        ("en", {"facial_cues": ["0.2 s: the brows are drawn toward each other"]}),
        ("en", {"scene": "No other person is seen, and not two women."}),
        ("en", {"voice": "The clip is silent, no voice can be heard."}),
        ("zh", {"voice": "没有声音。"}),
        ("zh", {"facial_cues": ["第 0.2 秒：双唇彼此紧贴"]}),
    ],
)
def test_what_only_sounds_like_a_claim_passes(language, changes):
    assert against(language, **changes) == []


def test_the_speaker_is_the_one_whose_mouth_moves():
    two = measured(people=2, most_people=2, level=-20.0, speaker=1)
    assert against(item=two, people=2, speaker=2, voice="Low and even.") == []
    faults = against(item=two, people=2, speaker=1)
    assert faults == ["speaker: person 1, but the mouth of person 2 moves with the sound"]
    assert against(item=measured(level=-20.0, speaker=-1), speaker=1) == []  # weak evidence is no proof


def test_a_track_that_broke_off_is_not_a_second_person_at_once():
    assert against(item=measured(people=2, most_people=1)) == []
    assert "people: 3 described, 1 to 2 measured" in against(item=measured(people=2, most_people=1), people=3)


def test_the_languages_must_agree():
    english, chinese = told("en"), told("zh")
    assert languages_fault(english, chinese) == ""
    assert languages_fault(english, told("zh", emotions=["悲伤"])) == "languages: 'happy' in English, 'sad' in Chinese"
    assert languages_fault(english, told("zh", valence=-0.1)) == "languages: valence differs by 0.80, at most 0.5"


def test_the_reader_sees_no_word_for_an_emotion():
    assert without_emotions("He is Happy, not sad; joyful. 他很高兴。") == "He is [...], not [...]; [...]. 他很[...]。"
    assert without_emotions("unhappyish madness") == "unhappyish madness"


def test_kappa_against_the_formula():
    assert cohens_kappa(["a", "a", "b", "b"], ["a", "a", "b", "a"]) == pytest.approx((0.75 - 0.5) / 0.5)
    assert cohens_kappa([], []) is None and cohens_kappa(["a"], ["a"]) is None
    assert cohens_kappa(["a", "b"], ["b", "a"]) == -1.0
