"""Every answer is found again by a reader who knows only the picture's pixels and the question's words."""

import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
from skimage.measure import label, regionprops

from emotion_qwen.errors import DataError
from recipes.nano.shape_questions import (
    CHANCE,
    KINDS_ASKED,
    SPLITS,
    WORDS,
    shapes_item,
    shapes_sample,
)
from recipes.nano.shapes import COLOURS, render

KINDS = ("circle", "square", "triangle", "star", "cross", "ring")
COLOUR_WORDS = dict(
    zip(("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "白色"),
        ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"), strict=True)
)  # fmt: skip
KIND_WORDS = dict(zip(("圆形", "方形", "三角形", "星形", "十字形", "圆环"), KINDS, strict=True))
ENGLISH = {**COLOUR_WORDS, **KIND_WORDS, "左": "left", "右": "right", "是的": "yes", "不是": "no", "图形": "object",
           "最大的": "largest", "最小的": "smallest"}  # fmt: skip
REFERENCE = {
    "en": re.compile(rf"\b(?:(largest|smallest) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(KINDS)}|object)(?:es|s)?\b"),
    "zh": re.compile(rf"(最大的|最小的)?(?:({'|'.join(COLOUR_WORDS)})的)?({'|'.join(KIND_WORDS)}|图形)"),
}
OPTION = re.compile(r" ([A-D])\. (\S+)")


@dataclass
class Seen:
    kind: str
    colour: str
    x: float
    y: float
    area: float


@pytest.fixture(scope="module")
def items():
    return [shapes_item(index, "train") for index in range(6400)]


def kind_of(region):
    """Name an outline from its area, its hole and the symmetry of its rim."""
    if region.area_filled > 1.1 * region.area:
        return "ring"
    points = region.coords - np.array(region.centroid)
    distance = np.hypot(*points.T)
    if region.solidity > 0.9:
        filling = region.area / (np.pi * distance.max() ** 2)
        return "circle" if filling > 0.85 else "square" if filling > 0.52 else "triangle"
    angle = np.arctan2(*points.T)
    four, five = (abs((distance**8 * np.exp(1j * fold * angle)).sum()) for fold in (4, 5))
    return "star" if five > four else "cross"


def look(picture):
    """List the shapes in the pixels of a picture."""
    side, found = len(picture), []
    for colour, levels in COLOURS.items():
        for region in regionprops(label(np.abs(picture.astype(int) - levels).max(axis=2) <= 25)):
            if region.area >= 100:
                y, x = region.centroid
                found.append(Seen(kind_of(region), colour, x / side, y / side, region.area))
    return found


def named(view, reference):
    rank, colour, kind = reference
    fitting = [s for s in view if colour in ("", s.colour) and kind in ("object", s.kind)]
    if not rank:
        return fitting
    fitting.sort(key=lambda s: s.area, reverse=rank == "largest")
    assert max(fitting[0].area, fitting[1].area) > 1.2 * min(fitting[0].area, fitting[1].area)
    return fitting[:1]


def only(view, reference):
    fitting = named(view, reference)
    assert len(fitting) == 1, (reference, view)
    return fitting[0]


def direction(view, references, towards):
    """Say whether the one shape lies towards left, right, up or down of the other, or of the middle."""
    places = [only(view, reference) for reference in references]
    axis, sign = {"left": ("x", -1), "right": ("x", 1), "up": ("y", -1), "down": ("y", 1)}[towards]
    away = getattr(places[0], axis) - (getattr(places[1], axis) if len(places) > 1 else 0.5)
    assert abs(away) > 0.1, "too near to call"
    return away * sign > 0


def towards_in(text, language):
    words = {"left": "left", "right": "right", "top": "up", "above": "up", "bottom": "down", "below": "down"}
    if language == "zh":
        words = {"左": "left", "右": "right", "上": "up", "下": "down"}
    return list(dict.fromkeys(words[word] for word in re.findall("|".join(words), text)))


def read(text, language):
    """Read the references of a question, the first one first, as (rank, colour, kind)."""
    references = [
        tuple(part if language == "en" else ENGLISH.get(part, "") for part in match.groups(default=""))
        for match in REFERENCE[language].finditer(text)
    ]
    return references[::-1] if re.match("Seen from|与", text) else references


def solve(view, kind, text, language):
    """Answer a question from what was seen, in English; None means that the options decide."""
    if kind == "choice":
        options = {letter: ENGLISH.get(word, word) for letter, word in OPTION.findall(text)}
        stem = OPTION.sub("", text)
        reference = read(stem, language)[0]
        form = "colour" if re.search("colour|颜色", stem) else "kind" if re.search("hape|形状", stem) else "count"
        right = str(len(named(view, reference))) if form == "count" else getattr(only(view, reference), form)
        return {word: letter for letter, word in options.items()}[right]
    references = read(text, language)
    if kind == "count":
        return str(len(named(view, references[0])))
    if kind in ("colour", "kind"):
        return getattr(only(view, references[0]), kind)
    if kind == "position":
        return next(way for way in towards_in(text, language) if direction(view, references, way))
    if kind == "existence":
        return "yes" if named(view, references[0]) else "no"
    if kind == "comparison":
        return compare(view, references, text)
    return "yes" if holds(view, references, text, language) else "no"


def compare(view, references, text):
    if re.search("more|outnumber|多", text):
        counts = [len(named(view, reference)) for reference in references]
        assert counts[0] != counts[1] and min(counts) > 0
        if re.search("than|outnumber|是否", text):
            return "yes" if counts[0] > counts[1] else "no"
        return references[int(counts[1] > counts[0])][1]
    areas = [only(view, reference).area for reference in references]
    assert max(areas) > 1.2 * min(areas)
    wanted = max if re.search("larger|bigger|大", text) else min
    right = references[areas.index(wanted(areas))]
    return right[1] or right[2]


def holds(view, references, text, language):
    ways = towards_in(text, language)
    if ways:
        return direction(view, references, ways[0])
    number = re.search(r"\d", text)
    if number:
        return len(named(view, references[0])) == int(number.group())
    bare = {
        "en": rf"\b({'|'.join(COLOURS)})\b(?! (?:{'|'.join(KINDS)}|object))",
        "zh": rf"({'|'.join(COLOUR_WORDS)})(?!的)",
    }
    colour = re.search(bare[language], text)
    if colour:
        return only(view, references[0]).colour == ENGLISH.get(colour.group(), colour.group())
    claimed = next(reference for reference in references if reference[2] != "object")
    subject = next(reference for reference in references if reference[2] == "object")
    return only(view, subject).kind == claimed[2]


def in_english(question):
    if question.kind == "position" and question.answer in WORDS[question.language]:
        return {"左": "left", "右": "right", "上": "up", "下": "down", "top": "up", "above": "up", "bottom": "down",
                "below": "down"}.get(question.answer, question.answer)  # fmt: skip
    return ENGLISH.get(question.answer, question.answer)


@pytest.mark.parametrize("count", [30, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS_ASKED)
def test_the_pixels_and_the_words_give_the_answer_again(items, kind, count):
    chosen = items[KINDS_ASKED.index(kind) :: len(KINDS_ASKED)][:count]
    for item in chosen:
        view = look(render(item.scene, 160))
        assert len(view) == len(item.scene.shapes)
        for language, question in item.questions.items():
            found = solve(view, question.kind, question.text, language)
            assert found == in_english(question), (question, item.scene)


def test_kinds_take_turns(items):
    for number, item in enumerate(items[:80]):
        assert {question.kind for question in item.questions.values()} == {KINDS_ASKED[number % 8]}


def test_an_item_is_a_pure_function_of_seed_split_and_index(items):
    assert [shapes_item(index, "train") for index in (17, 3, 17)] == [items[17], items[3], items[17]]
    assert shapes_item(3, "train", seed=1) != items[3]
    state = random.getstate()
    shapes_item(5, "test")
    assert random.getstate() == state


def test_no_scene_stands_in_two_splits():
    scenes = {split: {shapes_item(index, split).scene for index in range(500)} for split in SPLITS}
    assert len(set.union(*scenes.values())) == sum(map(len, scenes.values())) == 1500


def test_both_languages_ask_the_same(items):
    for item in items[:800]:
        english, chinese = item.questions["en"], item.questions["zh"]
        assert english.choices.index(english.answer) == chinese.choices.index(chinese.answer)
        assert sorted(read(OPTION.sub("", english.text), "en")) == sorted(read(OPTION.sub("", chinese.text), "zh"))
        assert not re.search("[a-zE-Z]", chinese.text) and english.text.isascii()
        letters = OPTION.findall(chinese.text)
        assert [ENGLISH.get(word, word) for _, word in letters] == [word for _, word in OPTION.findall(english.text)]


def test_answers_are_choices_and_words(items):
    for item in items[:3000]:
        for language, question in item.questions.items():
            assert question.language == language and question.choices.count(question.answer) == 1
            assert len(set(question.choices)) == len(question.choices)
            assert set(question.choices) <= set(WORDS[language])
    assert all(len(set(words)) == len(words) for words in WORDS.values())


def test_no_constant_answer_beats_chance(items):
    answers, places = defaultdict(Counter), defaultdict(Counter)
    for item in items:
        question = item.questions["en"]
        answers[question.kind][question.answer] += 1
        places[question.kind][question.choices.index(question.answer)] += 1
    for kind in KINDS_ASKED:
        for counts in (answers[kind], places[kind]):
            assert 100 * max(counts.values()) / counts.total() <= CHANCE[kind] + 3, (kind, counts)


def test_the_wording_does_not_give_the_answer_away(items):
    said = defaultdict(Counter)
    for item in items:
        question = item.questions["en"]
        if question.choices == ("yes", "no"):
            said[question.kind, item.fact.form][question.answer] += 1
    for key, counts in said.items():
        assert abs(counts["yes"] / counts.total() - 0.5) < 2.6 * 0.5 / counts.total() ** 0.5, (key, counts)


def test_a_short_stretch_is_balanced_too(items):
    letters = Counter(item.questions["en"].answer for item in items[7:800:8])
    truths = Counter(item.questions["zh"].answer for item in items[6:800:8])
    assert letters == dict.fromkeys("ABCD", 25) and truths == {"是的": 50, "不是": 50}


def test_chance_is_the_mean_share_of_one_choice(items):
    for place, kind in enumerate(KINDS_ASKED):
        shares = [100 / len(item.questions["zh"].choices) for item in items[place:400:8]]
        assert CHANCE[kind] == pytest.approx(np.mean(shares))


def test_every_form_is_said_in_three_ways_and_more(items):
    stems = defaultdict(set)
    for item in items:
        for language, question in item.questions.items():
            stem = REFERENCE[language].sub("_", OPTION.sub("", question.text))
            stem = re.sub("|".join((r"\d", *COLOURS, *COLOUR_WORDS)), "_", stem)
            stems[language, question.kind == "yes_no", item.fact.form].add(stem)
    assert len(stems) == 2 * (12 + 7)
    assert all(len(ways) >= 3 for ways in stems.values()), stems


def test_a_sample_carries_the_picture_the_question_and_the_answer(items):
    sample = shapes_sample(11, "train", "zh", side=96)
    question = items[11].questions["zh"]
    assert sample.id == "shapes/train/11/zh" and (sample.split, sample.source) == ("train", "shapes")
    assert sample.license == "Apache-2.0" and sample.labels == {"shapes": "position", "answer": question.answer}
    user, assistant = sample.messages
    image, text = user["content"]
    assert np.array_equal(image["image"], render(items[11].scene, 96)) and text["text"] == question.text
    assert (user["role"], assistant) == ("user", {"role": "assistant", "content": question.answer})


def test_what_does_not_exist_is_refused_by_name():
    with pytest.raises(DataError, match=r"unknown split 'valid'; expected one of: test, train, validation\."):
        shapes_item(0, "valid")
    with pytest.raises(DataError, match=r"unknown language 'de'; expected one of: en, zh\."):
        shapes_sample(0, "train", "de")
    with pytest.raises(DataError, match=r"item -1 of the shapes does not exist; count from 0"):
        shapes_item(-1, "train")
    with pytest.raises(DataError, match=r"a side of 16 pixels is too small for shapes"):
        shapes_sample(0, "train", "en", side=16)


def test_the_words_of_a_chinese_yes_or_no_never_stand_in_the_question(items):
    asked = [item.questions["zh"] for item in items[:1600] if item.questions["en"].choices == ("yes", "no")]
    assert len(asked) > 300
    assert all(question.choices == ("是的", "不是") for question in asked)
    assert not [question.text for question in asked if "是的" in question.text or "不是" in question.text]
