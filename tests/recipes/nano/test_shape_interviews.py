import random
from collections import Counter

import pytest

from recipes.nano.shape_interviews import BRIDGES, COPYING, KINDS_TRAINED, ask, interview
from recipes.nano.shape_questions import KINDS_ASKED, shapes_item
from recipes.nano.shapes import Background, Scene, Shape

GREY = Background((90, 90, 90), (90, 90, 90), 0)
SCENE = Scene(
    (
        Shape("star", "red", 0.8, 0.2, 0.23, 0),
        Shape("ring", "blue", 0.2, 0.85, 0.12, 0),
        Shape("ring", "red", 0.5, 0.5, 0.12, 0),
    ),
    GREY,
)


def answers(kind, language="en", scene=SCENE):
    rng = random.Random(0)
    return dict(one for one in (ask(kind, scene, language, rng) for _ in range(3000)) if one)


@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [
        ("place", "Where is the star?", "top right"),
        ("place", "Where is the blue ring?", "bottom left"),
        ("place", "Where is the red ring?", "middle centre"),
        ("size", "How big is the star?", "big"),
        ("size", "How big is the blue object?", "small"),
        ("coloured", "Which objects are red?", "ring, star"),
        ("coloured", "Which objects are green?", "none"),
        ("colours", "What colours do the ring objects have?", "blue, red"),
        ("direction", "Where is the star, seen from the blue ring?", None),
        ("direction", "Where is the red star, seen from the blue ring?", "right, above"),
        ("direction", "Where is the blue ring, seen from the red ring?", "left, below"),
        ("tally", "Count and name: red objects.", "2: ring, star"),
        ("correct", "Is the star red? Say what is right.", "yes: red"),
        ("correct", "Is the star green? Say what is right.", "no: red"),
        ("correct", "Is 3 the number of rings? Say what is right.", "no: 2"),
    ],
)
def test_the_answers_of_a_known_scene(kind, question, answer):
    assert answers(kind).get(question) == answer


def test_chinese_answers_say_the_same():
    assert answers("place", "zh")["星形在哪里？"] == "上右"
    assert answers("coloured", "zh")["哪些图形是红色？"] == "圆环、星形"
    assert answers("direction", "zh")["从蓝色的圆环看，红色的星形在哪边？"] == "右、上"
    assert answers("tally", "zh")["数一数并说出：圆环的图形。"] == "2: 蓝色、红色"


def test_the_letter_is_that_of_the_word():
    for question, answer in [*answers("letter").items(), *answers("choose").items()]:
        said = answer.split(": ")[-1]
        assert said in "ABCD"
        if question.startswith("Which letter"):
            value = question.removeprefix("Which letter stands for ").split("?")[0]
            assert f"{said}. {value}" in question
        else:
            assert f"{said}. {answer.split(': ')[0]}" in question


def test_a_word_is_found_by_its_letter_and_a_list_is_said_again():
    for question, answer in answers("word").items():
        letter = question.removeprefix("Which word stands at ")[0]
        assert f" {letter}. {answer}" in question
    for question, answer in answers("repeat", "zh").items():
        assert question == f"请重复：{answer}。" and len(answer.split("、")) >= 5


def test_an_interview_asks_nothing_twice_and_is_the_same_every_time():
    scene = shapes_item(3, "train").scene
    one, other = (interview(scene, "en", 12, random.Random(1), KINDS_TRAINED) for _ in range(2))
    assert one == other and len({question for question, _ in one}) == len(one) == 12


def test_a_scene_of_one_shape_is_asked_what_it_can_be_asked():
    scene = Scene((Shape("star", "red", 0.8, 0.2, 0.23, 0),), GREY)
    assert len(interview(scene, "en", 40, random.Random(0), KINDS_TRAINED)) >= 20
    assert ask("comparison", scene, "en", random.Random(0)) is None
    assert ask("direction", scene, "en", random.Random(0)) is None


def test_every_kind_comes_about_equally_often():
    drawn = Counter()
    for index in range(300):
        rng, scene = random.Random(index), shapes_item(index, "train").scene
        for kind in KINDS_TRAINED:
            drawn[kind] += any(ask(kind, scene, "en", rng) for _ in range(8))
    assert {*KINDS_TRAINED, *COPYING} == {*KINDS_ASKED, *BRIDGES} and min(drawn.values()) > 100


def test_a_legend_names_every_word_with_the_letter_before_it():
    for language, mark in (("en", "."), ("zh", "。")):
        for question, answer in answers("legend", language).items():
            asked, _, options = question.partition(f"{mark} A.")
            said = answer.split(" ")
            assert asked.endswith(" ".join(said[::2]))
            for word, letter in zip(said[::2], said[1::2], strict=True):
                assert f" {letter}. {word}" in f" A.{options}"
