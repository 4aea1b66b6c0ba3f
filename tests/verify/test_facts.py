import pytest

from emotion_qwen.records import Utterance
from emotion_qwen.taxonomy import LABEL_SETS, feeling_word
from emotion_qwen.verify.checking import check_sentence, check_text, split_sentences, without_repetition
from emotion_qwen.verify.facts import ClipFacts, PersonFacts, Stretch, facts_text

CLIP = ClipFacts(
    "en",
    20.0,
    (
        PersonFacts(
            1,
            (Stretch("sad", 0.5, 6.2), Stretch("happy", 9.1, 20.0)),
            (("happy", 0.62), ("neutral", 0.2)),
            (Stretch("mouth corners down", 0.5, 5.8), Stretch("broad smile", 9.5, 20.0)),
        ),
    ),
    (Stretch("high", 0.0, 20.0), Stretch("louder", 12.0, 14.5)),
    (Utterance(12.3, 13.0, "I got it!"),),
    (("happy", 0.7), ("sad", 0.15)),
    "She waits for a letter.",
)
PICTURE = ClipFacts(
    "zh",
    0.0,
    (PersonFacts(1, (Stretch("愤怒"),), (), (Stretch("lips pressed"),)),),
    likeliest=(("愤怒", 0.8), ("厌恶", 0.1)),
)


def test_facts_are_one_line_each_with_times_where_they_do_not_hold_throughout():
    assert facts_text(CLIP).splitlines() == [
        "Measured in a clip of 20.0 s:",
        "Person 1: sad 0.5-6.2 s; happy 9.1-20.0 s.",
        "Face of person 1: the corners of the mouth are turned down 0.5-5.8 s; the smile is broad 9.5-20.0 s.",
        "Voice: the voice is high; the voice is louder than usual 12.0-14.5 s.",
        "Said at 12.3 s: “I got it!”",
        "Known: She waits for a letter.",
        "Together: happy (70%), sad (15%).",
    ]
    assert facts_text(PICTURE).splitlines() == [
        "在图片中测得：",
        "人物1：愤怒。",
        "人物1的面部：双唇紧抿。",
        "综合：愤怒（80%）、厌恶（10%）。",
    ]
    assert facts_text(ClipFacts("en", 3.0)).splitlines()[1:] == ["Nobody is seen.", "No voice is heard."]


def test_stretches_during_a_span_lie_in_it_by_half():
    face = CLIP.people[0].face
    assert CLIP.during(face, 0.0, 4.0) == face[:1]
    assert CLIP.during(face, 4.0, 12.0) == ()
    assert PICTURE.during(PICTURE.people[0].face, 0.0, 0.0) == PICTURE.people[0].face


@pytest.mark.parametrize(
    ("sentence", "claims", "contradictions"),
    [
        ("The smile is broad from 9.5 to 20.0 s.", 3, 0),
        ("The mouth smiles broadly from 9.5 s on.", 2, 0),
        ("The eyes are wide from 9.5 to 20.0 s.", 3, 1),
        ("The smile is broad from 3.0 to 4.0 s.", 3, 2),
        ("The voice is louder than usual, and the voice is low.", 2, 1),
        ("The words are “I got it!”.", 1, 0),
        ("The words are “I lost it!”.", 1, 1),
        ("The person is happy, perhaps sad.", 2, 0),
        ("The person is angry.", 1, 1),
        ("A letter lies on the table.", 0, 0),
    ],
)
def test_claims_that_the_facts_do_not_confirm_are_contradictions(sentence, claims, contradictions):
    checked = check_sentence(sentence, CLIP)
    assert (checked.claims, len(checked.contradictions)) == (claims, contradictions)


def test_contradictions_name_the_claim_in_the_language_of_the_facts():
    assert check_sentence("The eyes are wide.", CLIP).contradictions == ("it was not measured that the eyes are wide",)
    (checked,) = check_text("这个人很高兴，双唇紧抿。", PICTURE)
    assert checked.contradictions == ("测得的情绪中没有高兴",) and checked.claims == 2


def test_sentences_are_split_at_their_ends_but_not_within_quotes_or_numbers():
    assert split_sentences("From 9.5 s on. The words are “No. Stop!”. Really?") == [
        "From 9.5 s on.",
        "The words are “No. Stop!”.",
        "Really?",
    ]
    assert split_sentences("嘴闭着。语速较快。") == ["嘴闭着。", "语速较快。"]


@pytest.mark.parametrize("name", LABEL_SETS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_label_has_a_word_for_a_person_who_feels_it(name, language):
    assert all(feeling_word(label, language) for label in LABEL_SETS[name].labels)
    assert feeling_word("surprise", "en") == "surprised" and feeling_word("joy", "zh") == "高兴"


def test_what_was_seen_in_one_frame_has_one_time():
    face = (Stretch("broad smile", 3.0, 3.0), Stretch("mouth open", 1.0, 2.5))
    facts = ClipFacts("en", 8.0, (PersonFacts(1, (Stretch("happy", 0.0, 8.0),), face=face),))
    assert "3.0 s" in facts_text(facts) and "3.0-3.0" not in facts_text(facts)
    assert "1.0-2.5 s" in facts_text(facts)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("She looks sad. The gaze is lowered. She looks sad. The gaze", "She looks sad. The gaze is lowered."),
        ("The smile is broad from 1.0 to 2.5 s. The brows are", "The smile is broad from 1.0 to 2.5 s."),
        ("She says “No. Never.” Then she smiles.", "She says “No. Never.” Then she smiles."),
        ("An unfinished sentence", "An unfinished sentence"),
        ("人看起来高兴。眉毛上扬。人看起来高兴。", "人看起来高兴。眉毛上扬。"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_text_ends_where_it_begins_anew(text, kept):
    assert without_repetition(text) == kept


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("The smile is broad, and the upper lip is pulled down from 1.0 to 2.0 s.", ["the upper lip is pulled down"]),
        ("The upper lip is raised and the lower lip is pulled down.", []),
        ("The eyes are wide and the jaw is clenched.", ["the jaw is clenched"]),
        ("The corners of the mouth are turned down.", []),
        ("The mouth is not measured here.", []),
    ],
)  # fmt: skip
def test_a_movement_that_nothing_measures_is_doubted(sentence, wrong):
    words = ("broad smile", "upper lip raised", "lower lip down", "eyes wide", "mouth corners down")
    face = tuple(Stretch(word, 0.0, 2.0) for word in words)
    facts = ClipFacts("en", 8.0, (PersonFacts(1, (Stretch("happy", 0.0, 8.0),), face=face),), likeliest=())
    doubts = [clause for clause in check_sentence(sentence, facts).contradictions if "measured that" in clause]
    assert doubts == [f"it was not measured that {phrase}" for phrase in wrong]
