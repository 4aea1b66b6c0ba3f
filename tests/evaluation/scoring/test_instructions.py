"""Every instruction of IFEval has its rule, and every rule passes one reply and fails another."""

import json
from pathlib import Path

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.instructions import RULES, follows, follows_loosely, sentences_of

FINNISH = "Tämä on suomenkielinen lause, jossa on monta sanaa ja hyvää ruokaa."
VIETNAMESE = "Đây là một câu tiếng Việt dài để thử nghiệm việc nhận dạng ngôn ngữ."
PLAIN = "This is an English text with several plain words and nothing more."
# instruction, arguments, a reply that follows it, one that does not
CASES = [
    ("keywords:existence", {"keywords": ["sea", "Wind"]}, "The wind blows over the SEA.", "The sea is calm."),
    ("keywords:frequency", {"keyword": "knot", "frequency": 2, "relation": "at least"}, "Knot by knot.", "One knot."),
    ("keywords:frequency", {"keyword": "the", "frequency": 2, "relation": "less than"}, "The end.", "The and the."),
    ("keywords:forbidden_words", {"forbidden_words": ["rock", "tree"]}, "A rocket and streets.", "A Rock."),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "at least"}, "Quiq", "quit"),
    ("keywords:letter_frequency", {"letter": "a", "let_frequency": 2, "let_relation": "less than"}, "A bed", "a cat"),
    ("language:response_language", {"language": "hi"}, "यह हिंदी का एक वाक्य है। OK", PLAIN),
    ("language:response_language", {"language": "ar"}, "هذا نص باللغة العربية", "यह हिंदी का एक वाक्य है।"),
    ("language:response_language", {"language": "fi"}, FINNISH, PLAIN),
    ("language:response_language", {"language": "vi"}, VIETNAMESE, FINNISH),
    ("language:response_language", {"language": "ja"}, "私は日本語を話します。", "我说中文。"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "One\n***\nTwo\n***\nThree", "One\n***\nTwo"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\nOne\n***\nTwo\n***", "One ***\n*** Two"),
    ("length_constraints:number_words", {"num_words": 5, "relation": "at least"}, "It's one, two, three", "one two"),
    ("length_constraints:number_words", {"num_words": 4, "relation": "less than"}, "don't stop", "don't we stop"),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, "A b. C d! E?", "A b. C d."),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        "Pi is 3.14 or so.",
        "Ab. Bc.",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "it"},
        'We see.\n\n"It" rains.\n\nEnd.',
        "It rains.\n\nWe see.\n\nEnd.",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "send"},
        "Send, please.\n\n\nThanks.",
        "Send, please.\n\nThanks.\n\nBye.",
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye\nP. P. S. more", "Bye\nP.S. more"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\np.s. more", "Pass"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name], [city]!", "[name]"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "List\n* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:title", {}, "<<Joy>>\ntext", "<< >>\n<Joy>"),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "Maybe."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\na\nSECTION 2\nb",
        "SECTION 1\na\nSECTION\nb",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1, 2]}\n```', "{'a': 1}"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write it. "}, " write it.\nSo I write", "I write it."),
    ("combination:two_responses", {}, "One\n******\nTwo", "One\n******\nOne"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "GO NOW, please",
        "Go NOW, please",
    ),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": "less than"}, "go Now", "I go"),
    ("change_case:english_capital", {}, "ALL OF IT, 3 TIMES", "ALL OF it"),
    ("change_case:english_lowercase", {}, "all of it, 3 times", "All of it"),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, 'So. "any questions?" ', "Any questions? Ask."),
    ("startend:quotation", {}, ' "All of it." ', '"All" of it.'),
    ("punctuation:no_comma", {}, "All; of it.", "All, of it."),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_a_rule_tells_a_good_reply_from_a_bad_one(name, arguments, good, bad):
    assert follows(good, [name], [arguments]) == [True]
    assert follows(bad, [name], [arguments]) == [False]


def test_every_rule_is_tried():
    assert {case[0] for case in CASES} == set(RULES) and len(RULES) == 25


def test_several_instructions_are_checked_one_by_one_and_arguments_without_value_are_left_out():
    names = ["punctuation:no_comma", "startend:quotation", "detectable_format:title"]
    assert follows('"<<A>>, b"', names, [{"keyword": None}, {}, {}]) == [False, True, True]
    assert follows(" ", names, [{}, {}, {}]) == [False] * 3, "an empty reply has no comma, and follows nothing"


def test_loosely_a_preface_a_last_line_and_asterisks_do_not_count():
    quoted = ["startend:quotation"], [{}]
    for reply in ('Here it is:\n"It."', '"It."\nDone!', 'Sure:\n"It."\nDone!', '**"It."**', 'Sure:\n*"It."*\nDone!'):
        assert follows(reply, *quoted) == [False]
        assert follows_loosely(reply, *quoted) == [True]
    assert follows_loosely('Sure:\nindeed:\n"It."', *quoted) == [False], "one line at most"


def test_sentences_end_at_signs_as_punkt_finds_them():
    assert len(sentences_of("Dr. Smith met J. Doe at 3.30 p.m. today! Why?\n- a\n- b\n\n***")) == 3
    assert len(sentences_of("他笑了。你呢？好")) == 3


def test_an_instruction_that_cannot_be_checked_is_an_error():
    with pytest.raises(DataError, match="instruction 'keywords:none' has no rule; expected one of: keywords:existence"):
        follows("a", ["keywords:none"], [{}])
    with pytest.raises(DataError, match=r"instruction 'startend:quotation': cannot be checked with \{'a': 1\}"):
        follows("a", ["startend:quotation"], [{"a": 1}])
    with pytest.raises(DataError, match="cannot be checked with"):
        follows("a", ["keywords:frequency"], [{"keyword": "a", "frequency": 1, "relation": "about"}])


GOLDEN = json.loads(Path(__file__).with_name("ifeval_golden.json").read_text(encoding="utf-8"))
BY_LANGDETECT = ("change_case:english_capital", "change_case:english_lowercase")
"""The published checkers ask langdetect, which takes some rows of random English words for another language."""


def test_the_rules_are_those_of_the_published_checkers_on_300_replies():
    rows = GOLDEN["rows"]
    assert len(rows) == 312 and {name for name, *_ in rows} == set(RULES) - {"length_constraints:number_sentences"}
    other = [(name, reply) for name, given, reply, followed in rows if follows(reply, [name], [given]) != [followed]]
    assert len(other) == 3 and {name for name, _ in other} <= set(BY_LANGDETECT)
    assert {followed for *_, followed in rows} == {True, False}


PROSE = json.loads(Path(__file__).with_name("ifeval_golden_prose.json").read_text(encoding="utf-8"))


def test_strictly_and_loosely_as_published_on_325_replies_of_prose():
    """With apostrophes, hyphens, abbreviations, marks and prefaces; the published checkers take one for German."""
    rows = PROSE["rows"]
    assert len(rows) == 325 and {name for name, *_ in rows} == set(RULES)
    assert {(strictly, loosely) for *_, strictly, loosely in rows} == {(True, True), (False, True), (False, False)}
    other = [
        (name, reply) for name, given, reply, strictly, loosely in rows
        if (follows(reply, [name], [given]), follows_loosely(reply, [name], [given])) != ([strictly], [loosely])
    ]  # fmt: skip
    assert len(other) == 1 and other[0][0] == "language:response_language" and other[0][1].isupper()
