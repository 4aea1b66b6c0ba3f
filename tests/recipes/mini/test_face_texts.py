"""Texts about a face hold only claims that are true of it, and say of the votes what the votes say."""

import random

import pytest

from emotion_qwen.faces.face_claims import claims_in, face_claims, is_true
from recipes.mini.face_texts import FaceFacts, ask_face, conclusion, describe_face, mentioned

LAUGHING = FaceFacts(
    {"smile": 0.91, "jaw": 0.22, "outer brows": 0.02, "eyelids": 0.3, "narrowed eyes": 0.71, "yaw": 3.0, "roll": 15.0},
    {"happiness": 0.9, "surprise": 0.1, "neutral": 0.0},
)
AFRAID = FaceFacts(
    {
        "smile": 0.01,
        "jaw": 0.45,
        "inner brows": 0.8,
        "outer brows": 0.5,
        "wide eyes": 0.2,
        "eyelids": 0.0,
        "yaw": -25.0,
    },
    {"fear": 0.45, "surprise": 0.4, "sadness": 0.15},
)


@pytest.mark.parametrize("facts", [LAUGHING, AFRAID])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_claim_is_true_and_descriptions_differ(facts, language):
    texts = {describe_face(facts, language, random.Random(seed)) for seed in range(60)}
    assert len(texts) > 40
    for text in texts:
        claims = list(claims_in(text, language))
        assert claims and len(set(claims)) == len(claims)
        assert all(is_true(claim, facts.values) for claim in claims), text
    other = AFRAID if facts is LAUGHING else LAUGHING
    moved = [is_true(claim, other.values) for text in texts for claim in claims_in(text, language)]
    measured = [truth for truth in moved if truth is not None]
    assert sum(measured) < 0.5 * len(measured), "moved to another face, most claims are false"


def test_the_conclusion_follows_the_votes():
    rng = random.Random(3)
    for _ in range(20):
        assert "happ" in conclusion(LAUGHING.votes, "en", rng) and "高兴" in conclusion(LAUGHING.votes, "zh", rng)
        text = conclusion(AFRAID.votes, "en", rng)
        assert text.index("fear") < text.index("surprise") and ("hard" in text or "ambiguous" in text)
    text = conclusion({"anger": 0.6, "sadness": 0.3, "fear": 0.1}, "en", rng)
    assert text.index("ang") < text.index("sad") and "hard" not in text


def test_mouth_and_eyes_are_both_mentioned():
    for seed in range(20):
        names = [claim.name for claim in mentioned(face_claims(AFRAID.values), random.Random(seed), most=2)]
        assert names[0] == "jaw" and names[1] in ("inner brows", "outer brows", "wide eyes")
    plain = face_claims({"smile": 0.0, "eyelids": 0.1, "yaw": 0.0})
    assert len(mentioned(plain, random.Random(0), most=4)) == 2, "a face at rest is described, too"


def test_questions_are_answered_by_the_facts():
    rng, kinds, truths = random.Random(5), {}, []
    for _ in range(600):
        exchange = ask_face(AFRAID, rng)
        kinds[exchange.kind] = kinds.get(exchange.kind, 0) + 1
        if exchange.kind == "claim":
            (word,) = claims_in(exchange.question, exchange.language)
            yes = exchange.answer.startswith(("Yes", "对"))
            assert yes == is_true(word, AFRAID.values), exchange
            truths.append(yes)
        for word in claims_in(exchange.answer, exchange.language):
            assert is_true(word, AFRAID.values), exchange
    assert min(kinds.values()) > 30 and set(kinds) == {"describe", "part", "why", "claim"}
    assert 0.4 < sum(truths) / len(truths) < 0.6


def test_a_face_that_was_not_measured_is_only_named():
    exchange = ask_face(FaceFacts({}, {"anger": 0.8, "neutral": 0.2}), random.Random(1))
    assert exchange.kind == "describe" and not list(claims_in(exchange.answer, exchange.language))
