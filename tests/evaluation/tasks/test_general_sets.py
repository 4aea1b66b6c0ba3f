"""MMMU, MathVista, RealWorldQA, Video-MME and MVBench from invented files; IFEval's list of instructions."""

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.instructions import RULES
from emotion_qwen.evaluation.scoring.records import Response
from emotion_qwen.evaluation.tasks import TASKS

from .. import general_files as files

ITEMS = {
    "mmmu": {"validation_Art_1": "B", "validation_Art_2": "B"},
    "mathvista": {"1": "B", "2": "1,200", "3": "1.25", "4": "[0, 2]"},
    "realworldqa": {"0": "B", "1": "2", "2": "Yes"},
    "videomme": {"001-1": "B", "002-1": "A"},
    "mvbench": {"action_sequence/0": "B", "action_sequence/1": "A"},
}
FINDINGS = {
    "mmmu": [
        "differs: questions: 4, published 900",
        "note: 1 questions without options were not read; the score covers those with options",
        "note: 1 questions have several pictures, which local models cannot answer",
        "fault: 1 row(s) left out, answer is not the letter of an option: validation_Art_4 (A)",
    ],
    "mathvista": [
        "differs: questions of testmini: 5, published 1000",
        "fault: 1 row(s) left out, answer is not one of the choices: 5 (5)",
    ],
    "videomme": [
        "differs: questions: 2, published 2700",
        "missing: 1 of 2 videos are missing: gone",
        "fault: 1 row(s) left out, answer is not the letter of an option: 001-2 (E)",
    ],
    "mvbench": [
        "differs: tasks: 1, published 20",
        "differs: questions: 2, published 4000",
        "missing: 1 of 2 videos are missing: 1",
        "fault: 1 row(s) left out, answer is not one of the candidates: action_sequence/2 (never)",
        "fault: 1 row(s) left out, without video, question, candidates and answer: action_sequence/3",
    ],
}


@pytest.mark.parametrize("name", ITEMS)
def test_every_usable_question_is_an_item(name, tmp_path):
    files.WRITERS[name](tmp_path)
    items = TASKS[name].items(tmp_path, side=None)
    assert {item.id: item.answer for item in items} == ITEMS[name]
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(DataError, match="give the folder as published"):
        TASKS[name].items(nothing, side=None)


@pytest.mark.parametrize("name", FINDINGS)
def test_what_is_odd_is_named(name, tmp_path):
    files.WRITERS[name](tmp_path)
    assert [f"{finding.kind}: {finding.text}" for finding in TASKS[name].check(tmp_path)] == FINDINGS[name]


def test_pictures_and_spans_are_those_of_the_question(tmp_path):
    files.write_mmmu(tmp_path / "mmmu")
    one, two = TASKS["mmmu"].items(tmp_path, side=None)
    assert [part["image"].column for part in two.parts] == ["image_1", "image_2"] and len(one.parts) == 1
    assert one.parts[0]["image"].load().shape == two.parts[1]["image"].load().shape and one.group == "Art"
    files.write_mvbench(tmp_path / "mvbench")
    moved = TASKS["mvbench"].items(tmp_path, side=None)[1].parts[0]
    assert (moved["start"], moved["end"]) == (1, 2.5) and moved["video"].parent.name == "star"
    files.write_realworld(tmp_path / "realworldqa")
    question = TASKS["realworldqa"].items(tmp_path, side=None)[0].question
    assert question == "Which way?\nA. Left\nB. Right\nAnswer with the letter of the right option."


@pytest.mark.parametrize(
    ("name", "reply", "points"),
    [
        ("1", "The answer is (B).", 1),
        ("1", "3", 0),
        ("2", "Adding up, the answer is 1200.", 1),
        ("2", "1201", 0),
        ("3", "1.24", 1),
        ("3", "1.31", 0),
        ("4", "[0, 2]", 1),
        ("4", "[0, 3]", 0),
        ("2", "many", 0),
    ],
)
def test_numbers_are_compared_as_precisely_as_the_reference(name, reply, points, tmp_path):
    files.write_mathvista(tmp_path)
    item = next(item.scored() for item in TASKS["mathvista"].items(tmp_path, side=None) if item.id == name)
    assert TASKS["mathvista"].score([item], [Response(name, reply)])["accuracy"].value == points


IFEVAL = """
change_case:capital_word_frequency change_case:english_capital change_case:english_lowercase combination:repeat_prompt
combination:two_responses detectable_content:number_placeholders detectable_content:postscript
detectable_format:constrained_response detectable_format:json_format detectable_format:multiple_sections
detectable_format:number_bullet_lists detectable_format:number_highlighted_sections detectable_format:title
keywords:existence keywords:forbidden_words keywords:frequency keywords:letter_frequency language:response_language
length_constraints:nth_paragraph_first_word length_constraints:number_paragraphs length_constraints:number_sentences
length_constraints:number_words punctuation:no_comma startend:end_checker startend:quotation
"""


def test_every_instruction_of_ifeval_has_a_rule():
    assert set(RULES) == set(IFEVAL.split()) and len(RULES) == 25, "Zhou et al. 2023, table 1 and the published data"
