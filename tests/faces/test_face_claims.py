"""Claims about a face: the word for every measurement, found again in a text, true of its own face."""

import math

import pytest

from emotion_qwen.faces.face_claims import (
    NAMES,
    PHRASES,
    SCALES,
    SHAPES,
    FaceClaim,
    bounds_of,
    claims_in,
    face_claims,
    face_word,
    is_true,
    measurements,
)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("smile", 0.0, "no smile"), ("smile", 0.08, None), ("smile", 0.29, None), ("smile", 0.3, "smile"),
        ("smile", 0.75, "broad smile"), ("jaw", 0.02, "mouth closed"), ("jaw", 0.39, "mouth open"),
        ("jaw", 1.0, "mouth wide open"), ("eyelids", 0.19, "eyes open"), ("eyelids", 0.5, "eyes almost closed"),
        ("yaw", -20.1, "head left"), ("yaw", -15, None), ("yaw", 0, "head forward"), ("yaw", 33, "head right"),
        ("pitch", 0, None), ("roll", -13, "head tilted left"),
    ],
)  # fmt: skip
def test_the_word_for_a_value(name, value, word):
    assert face_word(name, value) == word


def test_measurements_are_means_of_both_sides():
    actions = {shape: 0.0 for shapes in SHAPES.values() for shape in shapes}
    actions |= {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.5, "jawOpen": 0.2, "browInnerUp": 0.41}
    values = measurements(actions, {"yaw": 25.0, "pitch": 1.0, "roll": 2.0})
    assert values["smile"] == pytest.approx(0.7) and values["jaw"] == 0.2 and values["yaw"] == 25.0
    words = [claim.word for claim in face_claims(values)]
    assert words == ["smile", "mouth open", "inner brows raised", "eyes open", "head right"]
    assert "smile" not in measurements({"mouthSmileLeft": 1.0}), "half of a measurement is none"


@pytest.mark.parametrize(
    ("word", "value", "true"),
    [
        ("smile", 0.5, True), ("smile", 0.2, True), ("smile", 0.18, False), ("smile", 0.75, False),
        ("no smile", 0.17, True), ("no smile", 0.19, False), ("broad smile", 0.74, False),
        ("head left", -15.9, False), ("head left", -16.1, True), ("head forward", 15.9, True),
        ("head up", 13.1, True), ("head up", 12.9, False),
        ("eyes narrowed", 0.51, True), ("eyes narrowed", 0.49, False),
    ],
)  # fmt: skip
def test_what_is_uncertain_counts_for_the_nearer_word(word, value, true):
    assert is_true(word, {NAMES[word]: value}) is true
    assert is_true(word, {}) is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_phrase_is_found_again_as_its_own_word(language):
    column = 0 if language == "en" else 1
    phrases = [(phrase, word) for word, both in PHRASES.items() for phrase in both[column]]
    assert len({phrase for phrase, _ in phrases}) == len(phrases)
    for phrase, word in phrases:
        assert list(claims_in(f"{phrase.capitalize()}, and nothing else.", language)) == [word]
    text = " ".join(phrase for phrase, _ in phrases)
    assert list(claims_in(text, language)) == [word for _, word in phrases]


def test_every_word_has_a_measurement_phrases_and_an_interval():
    assert set(NAMES) == set(PHRASES)
    for name, scale in SCALES.items():
        bounds = [bound for bound, _ in scale]
        assert bounds == sorted(bounds) and math.isinf(bounds[-1])
        for word in filter(None, (word for _, word in scale)):
            low, high = bounds_of(word)
            middle = high - 1e-6 if math.isinf(low) else low
            assert face_word(name, middle) == word and is_true(word, {name: middle})


def test_clearer_claims_are_stronger():
    assert FaceClaim("smile", "smile", 0.5).strength > FaceClaim("smile", "smile", 0.31).strength
    assert FaceClaim("jaw", "mouth closed", 0.0).strength > FaceClaim("jaw", "mouth closed", 0.029).strength
    sides = FaceClaim("yaw", "head left", -40.0), FaceClaim("yaw", "head right", 40.0)
    assert [claim.strength for claim in sides] == [1.0, 1.0] and FaceClaim("yaw", "head left", -21.0).strength < 0.1
