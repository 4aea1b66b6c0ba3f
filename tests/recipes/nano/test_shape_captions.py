import re

import numpy as np
import pytest

from emotion_qwen.errors import DataError
from recipes.nano.shape_captions import copying_conversation, describe, shapes_conversation
from recipes.nano.shape_questions import shapes_item, shapes_sample
from recipes.nano.shapes import Background, Scene, Shape

GREY = Background((90, 90, 90), (90, 90, 90), 0)


def test_a_description_names_every_shape_with_size_colour_kind_and_place():
    scene = Scene((Shape("star", "red", 0.8, 0.2, 0.23, 0), Shape("ring", "blue", 0.2, 0.85, 0.12, 0)), GREY)
    assert describe(scene, "en") == "2: small blue ring bottom left, big red star top right."
    assert describe(scene, "zh") == "2：小蓝色圆环下左，大红色星形上右。"


def test_the_description_agrees_with_the_scene_in_both_languages():
    for index in range(60):
        scene = shapes_item(index, "train").scene
        told = describe(scene, "en")
        assert int(told.split(":")[0]) == len(scene.shapes) == describe(scene, "zh").count("，") + 1
        words = re.findall(r"\w+", told)
        assert all(words.count(s.kind) == sum(o.kind == s.kind for o in scene.shapes) for s in scene.shapes)
        assert all(words.count(s.colour) == sum(o.colour == s.colour for o in scene.shapes) for s in scene.shapes)


def test_a_conversation_holds_the_items_own_question_among_others_and_often_a_description():
    described, places = 0, set()
    for index in range(80):
        sample = shapes_conversation(index, "train", "en", 6)
        plain = shapes_sample(index, "train", "en")
        asked = [m["content"][-1]["text"] for m in sample.messages if m["role"] == "user"]
        said = [m["content"] for m in sample.messages if m["role"] == "assistant"]
        place = asked.index(plain.messages[0]["content"][-1]["text"])
        assert said[place] == plain.messages[1]["content"] and sample.id == plain.id
        pictures = [p for m in sample.messages if m["role"] == "user" for p in m["content"] if p["type"] == "image"]
        assert len(pictures) == 1 and pictures[0] is sample.messages[0]["content"][0]
        assert np.array_equal(pictures[0]["image"], plain.messages[0]["content"][0]["image"])
        told = describe(shapes_item(index, "train").scene, "en")
        described += said[-1] == told
        assert told not in said[:-1]  # what follows it could be answered without looking
        assert len(asked) <= 7
        places.add(place)
    assert 25 < described < 55 and places == set(range(6))


def test_an_unknown_language_is_refused():
    with pytest.raises(DataError, match="unknown language 'de'; expected one of: en, zh"):
        shapes_conversation(0, "train", "de", 4)


def test_copying_needs_no_picture_and_every_answer_stands_in_its_question():
    plain = ("letter", "word", "repeat", "recite")  # a legend puts letters between the words
    for index in range(40):
        sample = copying_conversation(index, "train", ("en", "zh")[index % 2], 5, plain)
        assert sample == copying_conversation(index, "train", ("en", "zh")[index % 2], 5, plain)
        asked, said = sample.messages[::2], sample.messages[1::2]
        assert len(asked) == len(said) == 5
        assert all(isinstance(m["content"], str) for m in sample.messages)
        assert all(answer["content"] in question["content"] for question, answer in zip(asked, said, strict=True))


def test_the_lists_to_recite_are_long_and_hold_no_mark():
    for message in copying_conversation(0, "train", "zh", 12, ("recite",)).messages[1::2]:
        assert 6 <= len(message["content"].split(" ")) <= 24 and "、" not in message["content"]
