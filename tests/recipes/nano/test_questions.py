import random
from collections import Counter

import pytest

from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import concept, label_set
from recipes.nano.questions import FEELINGS, NO_PERSON, OBJECTS, TRAINED_SETS, ask_blank, ask_face, ask_object


@pytest.mark.parametrize("label", ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"])
def test_every_sentence_and_answer_names_the_label_and_no_other(label):
    rng = random.Random(0)
    seen = Counter()
    for number in range(300):
        exchange = ask_face(label, rng, closed=number % 2 == 0)
        seen[exchange.kind, exchange.language] += 1
        if exchange.kind != "yes_no":
            named = match_label(exchange.answer, label_set("fer7"), exchange.language)
            assert named == label, exchange
    assert {language for _, language in seen} == {"en", "zh"} and {kind for kind, _ in seen} == {
        "closed",
        "describe",
        "yes_no",
    }


def test_answers_of_closed_questions_stand_in_the_question():
    rng = random.Random(1)
    for _ in range(200):
        exchange = ask_face("fear", rng, closed=True)
        assert exchange.kind == "closed" and exchange.answer in exchange.question


def test_objects_have_no_feelings():
    rng = random.Random(2)
    exchanges = [ask_object("cat", rng, closed=number % 2 == 0) for number in range(300)]
    described = [e for e in exchanges if e.kind == "describe"]
    assert described and all(e.answer == NO_PERSON[e.language] for e in described)
    assert all("cat" in e.answer or OBJECTS["cat"] in e.answer for e in exchanges if e.kind != "describe")


def test_blank_pictures_prefer_no_label():
    rng = random.Random(3)
    counts = Counter()
    for _ in range(6000):
        exchange = ask_blank(rng)
        name = match_label(exchange.answer, label_set("fer7"), exchange.language)
        if name:
            counts[name] += 1
    assert min(counts.values()) > 0.8 * max(counts.values())


def test_trained_sets_mean_only_what_has_pictures():
    assert all(concept(name) in FEELINGS for name in TRAINED_SETS for name in label_set(name).labels)
