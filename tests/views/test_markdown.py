import re
from dataclasses import replace

import pytest
from tests.views.reports import KINDS, nobody_seen, two_people

from emotion_qwen.views.markdown import as_markdown, escape


def tables(text: str) -> list[list[str]]:
    """Return the rows of every table."""
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]


def cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_is_one(kind):
    text = as_markdown(KINDS[kind]())
    assert text.startswith("## ") and text.endswith("\n") and (tables(text) or kind == "unanswered")
    for rows in tables(text):
        assert len({cells(row) for row in rows}) == 1 and re.fullmatch(r"[|:-]+", rows[1])
    assert text.count("<details>") == text.count("</details>") and len(re.findall("^```", text, re.MULTILINE)) == 2


def test_what_matters_is_said():
    text = as_markdown(two_people())
    for expected in (
        "## happy 55%", "`clips/interview.mp4` · valence +0.26", "| happy | `███████████░░░░░░░░░` | 55.0% |",
        "| clip | sad | 0.0–9.0 s | peak 2.5 s, 70% |",
        "| | shows | | smoothed |", "| 2 | **happy 22%**, sad", "| words | sad 52% | 20% | ×0.83 | **",
        "| context | *no answer* | | | |", "**sound** `measured` Voice at 241 Hz", "pitch, Hz 241 ·",
        "- `generated` *“The tears", "1. **observe** `generated`", "- 9.5–12.0 s · It worked!", "calibrated",
        "**warning**: 2 of 43 frames", '"label_set": "dfew7"', "**A face shows an expression, not what a person feels",
    ):  # fmt: skip
        assert expected in text, expected
    assert "[!WARNING]" not in text


def test_an_answer_that_is_none_is_a_warning():
    text = as_markdown(KINDS["abstaining"]())
    assert "> [!WARNING]\n> **not sure**: closest is happy; confidence 24% is below 40%." in text


def test_kinds_without_people_or_time():
    assert "*no face was found*" in as_markdown(nobody_seen())
    assert "> [!NOTE]\n> Where nobody was found, the whole picture and all sound were used" in as_markdown(
        nobody_seen()
    )
    assert "*no picture; sound and words" in as_markdown(KINDS["sound_only"]())
    evoked = as_markdown(KINDS["evoked"]())
    assert "> [!NOTE]\n> This is what the picture evokes in viewers" in evoked and "*not searched for*" in evoked
    picture = as_markdown(KINDS["picture_only"]())
    assert "### Timeline" not in picture and "- **picture, person 1** `measured`" in picture
    chinese = as_markdown(KINDS["chinese"]())
    assert chinese.startswith("## 高兴 55%") and "### 线索" in chinese and "`测得`" in chinese


def test_without_an_answer_there_is_no_number_but_a_reason():
    text = as_markdown(KINDS["unanswered"]())
    assert text.startswith("## No answer\n\n`truck.jpg`\n\n> [!WARNING]\n> **no answer**: no face was found.")
    assert "%" not in text.split("<details>")[0]
    gapped = as_markdown(KINDS["gapped"]())
    assert "| clip | *no answer* | 9.0–13.0 s | no face was found, and no voice was heard |" in gapped


def test_text_from_outside_stays_text():
    assert escape("a|b <img> *x* [y](z) `c`\n# @me \x1b[0m") == (
        r"a\|b \<img\> \*x\* \[y\](z) \`c\` # @" + "\u2060" + r"me \[0m"
    )
    text = as_markdown(KINDS["hostile"]())
    outside = re.sub(r"```json.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(?!/?(?:details|summary|sub|br)>)", outside)
    assert "@someone" not in outside and "\x1b" not in text


def test_no_run_of_backticks_ends_the_folded_block():
    report = replace(two_people(), provenance={**two_people().provenance, "model": "a```` b"})
    text = as_markdown(report)
    assert text.count("\n`````") == 2 and '"model": "a```` b"' in text
