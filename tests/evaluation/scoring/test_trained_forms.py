"""Answers that emotion training teaches are told from general ones, half and half."""

import pytest

from emotion_qwen.evaluation.scoring.trained_forms import CLAIM, LABELS, PERSON, STEPS, trained_form

TRAINED = [
    ("neutral", LABELS),
    ("Happiness.", LABELS),
    ("anger, disgust and fear", LABELS),
    ("悲伤", LABELS),
    ("高兴、惊讶", LABELS),
    ("The sea is neutral.", PERSON),
    ("The person looks sad.", PERSON),
    ("The person is most likely angry; fear is possible.", PERSON),
    ("This speaks for happiness rather than surprise.", PERSON),
    ("Probably sadness, perhaps fear.", PERSON),
    ("It is hard to tell: anger is a little likelier than disgust.", PERSON),
    ("I think the person feels afraid.", PERSON),
    ("The voice sounds bored.", PERSON),
    ("No person can be seen.", PERSON),
    ("The picture shows a ship.", PERSON),
    ("这个人看起来很高兴。", PERSON),
    ("综合来看，表情是悲伤的。", PERSON),
    ("看不到人。", PERSON),
    ("The corners of the mouth are raised, and the eyes are narrowed. The person looks happy.", CLAIM),
    ("The mouth is open. The brows are raised. Well, why not?", CLAIM),
    ("The voice is low (120 Hz). Its melody is flat (1.2 semitones).", CLAIM),
    ("The voice is louder than usual.", CLAIM),
    ("嘴角上扬，眼睛睁着。这个人看起来高兴。", CLAIM),
    ("语速较快，停顿多次。", CLAIM),
    ('{"seen": "a face", "heard": "nothing", "conclusion": "sad"}', STEPS),
]
HARMLESS = [
    "",
    "Paris",
    "42",
    "Yes.",
    "no",
    "The capital of France is Paris.",
    "The sea is deep.",
    "The person who invented the telephone was Alexander Graham Bell.",
    "The person is reading a book about the history of fear in literature.",
    "The man is 42 years old.",
    "Fear of heights is called acrophobia.",
    "Happiness is a state of well-being and contentment.",
    "Dear Sir, I am happy to inform you that your application was accepted.",
    "I'm sorry to hear that you feel sad. You could talk to a friend.",
    "She looked sad when the ship sailed, and the wind was cold.",
    "Sit down. Make sure that the eyes are closed. Breathe in slowly. Count to four. Breathe out.",
    "Voice recognition is fast. It needs a microphone.",
    '{"name": "Anna", "age": 3}',
    "No answer",
    "法国的首都是巴黎。",
    "这个人是老师。",
    "高兴是一种情绪，人们在得到好消息时会有这种感受。",
    "1. Eat well.\n2. Sleep enough.\n3. Exercise.",
    "The colour of the house is red and the roof is grey.",
    "This points to a problem with the engine.",
    "It is hard to tell: prices may rise or fall.",
]


@pytest.mark.parametrize(("text", "kind"), TRAINED)
def test_a_trained_answer_is_recognised(text, kind):
    assert trained_form(text) == kind


@pytest.mark.parametrize("text", HARMLESS)
def test_a_general_answer_is_none(text):
    assert trained_form(text) == ""


def test_half_of_the_sentences_decide():
    assert trained_form("Paris is large. The person looks sad.") == PERSON
    assert trained_form("Paris is large. London too. The person looks sad.") == ""
